import numpy as np
import pytest
from astropy import units as u

from analysis.clusters import (
    aperture_mass,
    clusters_on_grid,
    empty_clusters,
    load_clusters,
    peak_height,
    presence,
    random_places,
    read_xray,
    save_clusters,
    stack_snr,
)
from analysis.files import BorderError
from analysis.sky import Grid

LINES = """# ID RA DEC r500 flux z M500
3\t150.10\t2.20\t1.0\t0.70   0.16\t0.25\t0.69   0.14\t2.2   0.5\t0.56   0.06\t1
9\t150.00\t2.30\t1.1\t1.97   0.38\t1.25\t9.62   1.65\t75.4   14.5\t2.62   0.23\t1
11\t153.00\t2.20\t0.7\t0.40   0.08\t0.60\t1.88   0.35\t10.2   2.1\t1.06   0.10\t1
"""


@pytest.fixture
def xray(tmp_path):
    path = tmp_path / "xray.txt"
    path.write_text(LINES)
    return path


def disc(shape, x, y, radius):
    rows, columns = np.indices(shape)
    return (np.hypot(columns - x, rows - y) <= radius).astype(float)


def test_columns_and_units_of_the_xray_list(xray):
    clusters = read_xray(xray)
    assert list(clusters["id"]) == [3, 9, 11]
    np.testing.assert_array_equal(clusters["z"], [0.25, 1.25, 0.6])
    np.testing.assert_array_equal(clusters["r500_arcmin"], [1.0, 1.1, 0.7])
    assert clusters["m500"].quantity[1].to_value(u.solMass) == pytest.approx(9.62e13)
    assert clusters["ra_deg"].unit == clusters["dec_deg"].unit == u.deg


@pytest.mark.parametrize("has_rows", [True, False])
def test_clusters_return_from_their_file(xray, tmp_path, has_rows):
    clusters = read_xray(xray) if has_rows else empty_clusters()
    path = tmp_path / "clusters.ecsv"
    save_clusters(path, clusters, cards={"PROFILE": "quick"})
    loaded = load_clusters(path)
    assert len(loaded) == (3 if has_rows else 0)
    for name in clusters.colnames:
        np.testing.assert_array_equal(loaded[name], clusters[name])
        assert loaded[name].unit == clusters[name].unit
        assert loaded[name].description == clusters[name].description
    assert loaded.meta["PROFILE"] == "quick"


@pytest.mark.parametrize(
    "bad", ["3 150.1 2.2", LINES.replace("150.10", "RA"), LINES.replace("2.20", "92"), LINES.replace("0.25", "nan")]
)
def test_a_bad_line_is_told(tmp_path, bad):
    path = tmp_path / "xray.txt"
    path.write_text(bad)
    with pytest.raises(BorderError, match=r"xray.txt, line [12]"):
        read_xray(path)


def test_a_bad_cluster_file_is_told(xray, tmp_path):
    path = tmp_path / "clusters.ecsv"
    with pytest.raises(BorderError, match="does not exist; run"):
        load_clusters(path)
    clusters = read_xray(xray)
    clusters.remove_column("z")
    save_clusters(path, clusters)
    with pytest.raises(BorderError, match="has no column 'z'"):
        load_clusters(path)
    path.write_text("not ECSV at all")
    with pytest.raises(BorderError, match="cannot be read as ECSV"):
        load_clusters(path)


def test_clusters_on_the_grid_in_the_mask_and_below_a_redshift(xray):
    grid = Grid(61, 1.0, 150.1, 2.2)
    mask = np.ones(grid.shape, bool)
    placed = clusters_on_grid(read_xray(xray), grid, mask)
    assert list(placed["id"]) == [3, 9]  # the third is off the grid
    assert (placed["x"][0], placed["y"][0]) == pytest.approx((30, 30))
    assert placed["x"][1] == pytest.approx(36, abs=0.02)  # 6 arcmin west, to the right
    assert placed["y"][1] == pytest.approx(36, abs=0.02)
    assert list(clusters_on_grid(read_xray(xray), grid, mask, redshift_max=1.25)["id"]) == [3]
    mask[30, 30] = False
    assert list(clusters_on_grid(read_xray(xray), grid, mask)["id"]) == [9]
    assert len(clusters_on_grid(empty_clusters(), grid, mask)) == 0


def test_random_places_fill_the_mask_and_nothing_else():
    mask = np.zeros((5, 7), bool)
    mask[1, 2] = mask[4, 6] = True
    x, y = random_places(mask, np.random.default_rng(0), (50, 4))
    assert x.shape == y.shape == (50, 4)
    assert {*zip(x.ravel(), y.ravel(), strict=True)} == {(2, 1), (6, 4)}


def test_stack_snr_of_white_noise_and_of_a_known_excess():
    rng = np.random.default_rng(1)
    kappa = rng.normal(size=(128, 128)) + 7  # a mean that must drop out
    mask = np.ones_like(kappa, bool)
    x, y = random_places(mask, rng, 25)
    chance = stack_snr(kappa, x, y, mask, rng=np.random.default_rng(2))
    assert abs(chance) < 3
    kappa[y.astype(int), x.astype(int)] += 2
    excess = stack_snr(kappa, x, y, mask, rng=np.random.default_rng(2))
    assert excess - chance == pytest.approx(2 * np.sqrt(25), rel=0.1)


def test_stack_snr_draws_inside_the_mask_alone():
    rng = np.random.default_rng(3)
    kappa = rng.normal(size=(64, 64))
    mask = np.zeros_like(kappa, bool)
    mask[:32] = True
    kappa[~mask] = 1e6
    x, y = random_places(mask, rng, 10)
    assert abs(stack_snr(kappa, x, y, mask, rng=rng)) < 4


def test_stack_snr_needs_clusters():
    empty = np.empty(0)
    with pytest.raises(ValueError, match="at least one cluster"):
        stack_snr(np.ones((4, 4)), empty, empty, np.ones((4, 4), bool), rng=np.random.default_rng(0))


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8])
def test_aperture_mass_of_a_disc(fraction):
    kappa = disc((161, 161), 80, 80, fraction * 60)
    expected = 3 * fraction**2 * (1 - fraction**2) ** 2
    assert aperture_mass(kappa, 80, 80, 60) == pytest.approx(expected, rel=0.02)


def test_aperture_mass_sees_no_constant_and_no_slope():
    rows, columns = np.indices((40, 40))
    maps = np.stack([np.ones((40, 40)), rows - 0.3 * columns, disc((40, 40), 20, 18, 3)])
    masses = aperture_mass(maps, 20, 18, 8)
    assert masses.shape == (3,)
    np.testing.assert_allclose(masses[:2], 0, atol=1e-12)
    assert masses[2] > 0.1
    assert aperture_mass(maps[0], 0, 39, 8) == pytest.approx(0, abs=1e-12)  # cut by the corner


def test_peak_height_takes_the_highest_peak_within_reach():
    kappa = np.zeros((30, 30))
    kappa[10, 12], kappa[10, 15], kappa[10, 20] = 1, 2, 5
    assert peak_height(kappa, 12, 10, 2) == 1
    assert peak_height(kappa, 12, 10, 4) == 2
    assert peak_height(kappa, 12.4, 10.3, 30) == 5


def test_the_flank_of_a_peak_out_of_reach_is_no_peak():
    rows, columns = np.indices((30, 30))
    hill = -np.hypot(columns - 20, rows - 15)
    assert peak_height(hill, 15, 15, 3) == -np.inf
    assert peak_height(hill, 17, 15, 3) == 0


def test_presence_counts_the_samples_with_a_peak():
    samples = np.zeros((4, 20, 20))
    samples[:3, 5, 6] = [0.1, 0.2, 0.3]
    found = presence(samples, np.array([6, 15]), np.array([5, 15]), radius=2, threshold=0.15)
    np.testing.assert_array_equal(found, [0.5, 0])
