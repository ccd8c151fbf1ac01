import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params import load_params
from analysis.sky import Grid, Observation
from analysis.survey.clusters import (
    cluster_evidence,
    clusters_on_grid,
    empty_clusters,
    load_clusters,
    random_places,
    read_places,
    read_xray,
    save_clusters,
    stack_snr,
)

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


def evidence(xray, **changes):
    """Evidence of four samples with a peak at the cluster 3 in three of them, and noise-free apertures."""
    grid = Grid(60, 0.5, 150.10, 2.20, "TAN")
    weight = np.full((2, 60, 60), 400.0)
    observation = Observation(np.zeros_like(weight), weight, np.ones((60, 60)), grid, "a field")
    placed = clusters_on_grid(read_xray(xray), grid, observation.mask)
    x, y = (round(float(placed[name][0])) for name in ("x", "y"))
    samples = np.random.default_rng(1).normal(0, 1e-3, (4, 60, 60))
    samples[:3, y, x + 1] = 0.1
    kappa = 0.05 * disc((60, 60), x, y, 4)
    settings = dataclasses.replace(load_params().clusters, threshold=0.06, radius_arcmin=1.0, random_places=500)
    return cluster_evidence(placed, samples, observation, kappa, settings, rng=np.random.default_rng(2), **changes)


def test_evidence_is_the_share_of_samples_against_chance_and_bmode(xray):
    found = evidence(xray, control=np.zeros((2, 60, 60)))
    row = found[0]
    assert row["id"] == 3
    assert row["probability"] == 0.75
    assert row["probability_err"] == pytest.approx((0.75 * 0.25 / 4) ** 0.5)
    assert row["chance"] == pytest.approx(0.75 * np.pi * 2**2 / 60**2, abs=3e-3)  # a disc of 2 pixels in the field
    assert row["p_value"] < 0.02
    assert row["bmode"] == 0
    assert row["snr"] > 5
    assert np.isnan(evidence(xray)["bmode"][0])


def test_evidence_of_no_clusters_has_no_rows(xray):
    grid = Grid(20, 0.5, 10.0, 2.20, "TAN")
    weight = np.full((2, 20, 20), 400.0)
    observation = Observation(np.zeros_like(weight), weight, np.ones((20, 20)), grid, "elsewhere")
    placed = clusters_on_grid(empty_clusters(), grid, observation.mask)
    settings = load_params().clusters
    rng = np.random.default_rng(2)
    found = cluster_evidence(placed, np.zeros((3, 20, 20)), observation, np.zeros((20, 20)), settings, rng=rng)
    assert len(found) == 0
    assert {"probability", "chance", "p_value", "bmode", "mass", "snr"} <= set(found.colnames)


def test_lists_of_places(tmp_path):
    (tmp_path / "a.csv").write_text("# stars\nDEC,name,RA\n-1.5,x,359.9\n2,y,0.1\n")
    found = read_places(tmp_path / "a.csv")
    assert list(found["ra_deg"]) == [359.9, 0.1]
    assert list(found["dec_deg"]) == [-1.5, 2.0]
    units = {"ra_deg": u.hourangle, "dec_deg": u.arcmin}
    Table({"ra_deg": [10.0], "dec_deg": [60.0]}, units=units).write(tmp_path / "b.ecsv", format="ascii.ecsv")
    found = read_places(tmp_path / "b.ecsv")
    assert (found["ra_deg"][0], found["dec_deg"][0]) == pytest.approx((150, 1))
    assert len(read_places(ROOT / "data" / "positions" / "example.csv")) == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ra,decl\n1,2\n", r"no column dec_deg or dec \(columns: ra, decl\)"),
        ("ra,dec\n1,2\n3,95\n", r"no place in row 1 \(of 2\)"),
        ("ra,dec\n1,nan\n", "no place in row 0"),
        ("ra,dec\n1,\n", "no place in row 0"),
        ("ra,dec\n", "no rows"),
        ("ra,dec\n10:00:00,2\n", "cannot be read"),
        ("\x00\xff", "cannot be read|has no"),
        ("", "has no column ra_deg"),
    ],
)
def test_bad_lists_are_told(tmp_path, text, told):
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(BorderError, match=told) as caught:
        read_places(path)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BorderError, match=r"does not exist; give nulls\.positions a list"):
        read_places(tmp_path / "none.csv")
