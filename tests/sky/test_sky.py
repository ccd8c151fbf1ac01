import errno
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.wcs import WCS

from analysis.core.download import fetch
from analysis.core.files import BorderError
from analysis.flatsky.lensing import convergence_from_shear
from analysis.params import load_params
from analysis.sky import (
    Grid,
    Observation,
    PixelSums,
    bin_catalogue,
    load_observation,
    load_truth,
    read_image,
    rotate_shear,
    save_observation,
    write_fits,
)
from analysis.survey.catalogue import open_catalogue
from analysis.survey.clusters import clusters_on_grid, read_xray, stack_snr
from analysis.survey.units_and_signs import galaxies_of

CENTER = (150.1161025, 2.247490268)
GRIDS = [Grid(21, 0.82, *CENTER), Grid(20, 0.82, *CENTER), Grid(21, 0.82, *CENTER, "CAR")]

needs_catalogue = pytest.mark.skipif(
    "DATA_MIRROR" not in os.environ,
    reason="NOT TESTED: real COSMOS needs DATA_MIRROR, a folder or address with the public files",
)


def one(value):
    return np.array([float(value)])


def galaxies(rng, grid, n):
    """Galaxies all over a grid (and a little beyond): RA, Dec, e1, e2, weight."""
    half = 0.55 * grid.pixels * grid.pixel_arcmin / 60
    ra_deg = grid.ra_deg + rng.uniform(-half, half, n) / np.cos(np.deg2rad(grid.dec_deg))
    dec_deg = grid.dec_deg + rng.uniform(-half, half, n)
    return ra_deg, dec_deg, *rng.normal(0, 0.3, (2, n)), rng.uniform(0.2, 3, n)


def noise(e1, e2, weight):
    """Shape noise of galaxies, wherever they lie."""
    sums = PixelSums(GRIDS[0])
    sums.add(0 * e1, 0 * e1, e1, e2, weight)
    return sums.sigma_e()


@pytest.fixture
def observation():
    return bin_catalogue(*galaxies(np.random.default_rng(0), GRIDS[0], 600), grid=GRIDS[0], title="a field")


@pytest.mark.parametrize("grid", GRIDS)
def test_pixels_lie_on_the_sky_where_astropy_says(grid):
    middle = (grid.pixels - 1) / 2
    assert np.allclose(grid.pixel_positions(*CENTER), middle)
    ra_deg, _ = grid.wcs.wcs_pix2world([0, grid.pixels - 1], [middle, middle], 0)
    east_is_left = ra_deg[0] > ra_deg[1]
    assert east_is_left == (grid.projection == "TAN")
    assert np.diff(grid.wcs.wcs_pix2world([middle, middle], [0, grid.pixels - 1], 0)[1]) > 0  # north is up


def test_a_tan_pixel_is_pixel_arcmin_wide_at_any_declination():
    for dec_deg in (0, 2.2, -60, 85):
        grid = Grid(32, 0.5, 10.0, dec_deg)
        first, second = SkyCoord(*grid.wcs.wcs_pix2world([15, 16], [15, 15], 0), unit="deg")
        assert first.separation(second).to_value(u.arcmin) == pytest.approx(0.5, rel=1e-4)


def test_a_car_grid_is_linear_in_ra_and_dec():
    grid = GRIDS[2]
    x, y = grid.pixel_positions(CENTER[0] + np.arange(-3, 4) * 0.82 / 60, CENTER[1] + np.arange(-3, 4) * 0.82 / 60)
    np.testing.assert_allclose(x, 10 + np.arange(-3, 4), atol=1e-9)
    np.testing.assert_allclose(y, 10 + np.arange(-3, 4), atol=1e-9)


def test_extent_and_offsets_agree():
    for grid in GRIDS:
        east, north = grid.offsets_arcmin(CENTER[0] + 0.05, CENTER[1] - 0.03)
        assert (east, north) == pytest.approx((3, -1.8), rel=2e-3)


@pytest.mark.parametrize("grid", GRIDS)
def test_one_galaxy_in_one_pixel(grid):
    ra_deg, dec_deg = grid.wcs.wcs_pix2world([4.3], [7.2], 0)
    mirrored = -1 if grid.projection == "CAR" else 1
    seen = bin_catalogue(ra_deg, dec_deg, one(0.3), one(-0.2), one(1.7), grid=grid)
    assert seen.mask.sum() == seen.count.sum() == seen.count[7, 4] == 1
    np.testing.assert_allclose(seen.gamma[:, 7, 4], [0.3, -0.2 * mirrored], atol=1e-4)
    np.testing.assert_allclose(seen.weight[:, 7, 4], [0.3**-2, 0.2**-2])
    assert not seen.gamma[:, ~seen.mask].any()


def test_many_galaxies_in_one_pixel():
    rng = np.random.default_rng(1)
    e1, e2 = rng.normal(0, 0.3, (2, 50))
    weight = rng.uniform(0.1, 4, 50)
    grid = GRIDS[2]
    seen = bin_catalogue(np.full(50, CENTER[0]), np.full(50, CENTER[1]), e1, e2, weight, grid=grid)
    assert seen.count[10, 10] == seen.count.sum() == 50
    np.testing.assert_allclose(seen.gamma[:, 10, 10], [np.average(e1, weights=weight), -np.average(e2, weights=weight)])
    n_eff = weight.sum() ** 2 / (weight**2).sum()
    np.testing.assert_allclose(seen.weight[:, 10, 10], n_eff / noise(e1, e2, weight) ** 2)


def test_shape_noise_of_two_galaxies():
    sigma_e = noise(np.array([0.1, 0.3]), np.array([0.2, 0.0]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(sigma_e, np.sqrt([(0.01 + 4 * 0.09) / 5, 0.04 / 5]))


def test_variance_is_that_of_random_ellipticities():
    rng = np.random.default_rng(2)
    grid = Grid(4, 5.0, *CENTER)
    ra_deg, dec_deg, _, _, weight = galaxies(rng, grid, 120)
    seen = []
    for _ in range(1500):
        e1, e2 = rng.normal(0, [[0.2], [0.4]], (2, 120))
        seen.append(bin_catalogue(ra_deg, dec_deg, e1, e2, weight, grid=grid))
    measured = np.var([each.gamma for each in seen], axis=0)
    predicted = np.mean([1 / each.weight for each in seen], axis=0)
    np.testing.assert_allclose(measured / predicted, 1, atol=4.5 * np.sqrt(2 / 1500))


def test_weight_and_galaxies_are_conserved():
    rng = np.random.default_rng(3)
    grid = Grid(40, 0.82, *CENTER)
    ra_deg, dec_deg, _, _, weight = galaxies(rng, grid, 3000)
    ones = np.ones(3000)
    seen = bin_catalogue(ra_deg, dec_deg, ones, ones, ones, grid=grid)
    inside = grid.pixel_indices(ra_deg, dec_deg)[2]
    assert seen.count.sum() == inside.sum() < 3000
    np.testing.assert_allclose(seen.weight[0], seen.count)  # sigma_e = 1 and equal weights: one each
    heavier = bin_catalogue(ra_deg, dec_deg, ones, ones, 5 * weight, grid=grid)
    lighter = bin_catalogue(ra_deg, dec_deg, ones, ones, weight, grid=grid)
    np.testing.assert_allclose(heavier.weight, lighter.weight)  # only ratios of weights matter


def test_a_galaxy_of_no_weight_is_not_seen():
    ra_deg, dec_deg = GRIDS[0].wcs.wcs_pix2world([4, 9], [7, 9], 0)
    seen = bin_catalogue(ra_deg, dec_deg, *np.full((2, 2), 0.1), np.array([0.0, 1.0]), grid=GRIDS[0])
    assert seen.count[7, 4] == 1
    assert not seen.mask[7, 4]
    assert seen.mask[9, 9]


@pytest.mark.parametrize("dec_deg", [2.2, 60, -75])
def test_ellipticities_turn_with_local_north(dec_deg):
    """An ellipse along a short arc of the sky lies along that arc's image, whatever the declination."""
    grid = Grid(101, 6.0, 200.0, dec_deg)
    start = SkyCoord(*grid.wcs.wcs_pix2world([8.0], [80.0], 0), unit="deg")
    position_angle = 25 * u.deg  # from north through east
    end = start.directional_offset_by(position_angle, 1 * u.arcsec)
    along_west = 90 * u.deg + position_angle  # from the axis west, towards north
    seen = bin_catalogue(
        start.ra.deg,
        start.dec.deg,
        np.cos(2 * along_west).value * one(1),
        np.sin(2 * along_west).value * one(1),
        one(1),
        grid=grid,
    )
    x, y = grid.pixel_positions(np.append(start.ra.deg, end.ra.deg), np.append(start.dec.deg, end.dec.deg))
    direction = np.arctan2(np.diff(y), np.diff(x))
    expected = np.concatenate([np.cos(2 * direction), np.sin(2 * direction)])
    # the tangent plane stretches along the radius; a degree of that is left to the shear's own size
    np.testing.assert_allclose(seen.gamma[:, 80, 8], expected, atol=0.01)


def test_an_ellipse_along_a_diagonal_of_the_sky_lies_so_in_the_pixels():
    """e2 > 0 is elongation from south-east to north-west; pixels of a CAR grid see the mirror image."""
    for grid in GRIDS:
        southeast = (CENTER[0] + 0.05, CENTER[1] - 0.05)
        northwest = (CENTER[0] - 0.05, CENTER[1] + 0.05)
        (x0, y0), (x1, y1) = grid.pixel_positions(*southeast), grid.pixel_positions(*northwest)
        seen = bin_catalogue(one(CENTER[0]), one(CENTER[1]), one(0.1), one(1), one(1), grid=grid)
        assert np.sign(seen.gamma[1].sum()) == np.sign((x1 - x0) * (y1 - y0))


def test_rotation_by_45_degrees_makes_e_modes_b_modes(observation):
    turned = rotate_shear(observation, 45)
    np.testing.assert_allclose(turned.gamma, [-observation.gamma[1], observation.gamma[0]], atol=1e-15)
    np.testing.assert_allclose(turned.weight, observation.weight[::-1])
    back = rotate_shear(rotate_shear(observation, 30), 150)
    np.testing.assert_allclose(back.gamma, observation.gamma, atol=1e-14)
    np.testing.assert_array_equal(turned.mask, observation.mask)


def test_an_observation_returns_from_its_file(observation, tmp_path):
    path = tmp_path / "field.fits"
    truth = np.arange(441.0).reshape(21, 21)
    save_observation(path, observation, cards={"PROFILE": "quick", "SEED": 3}, truth=truth)
    loaded = load_observation(path)
    np.testing.assert_array_equal(loaded.gamma, observation.gamma.astype(np.float32))
    np.testing.assert_array_equal(loaded.weight, observation.weight.astype(np.float32))
    np.testing.assert_array_equal(loaded.count, observation.count)
    np.testing.assert_array_equal(load_truth(path), truth)
    assert loaded.title == "a field"
    assert fits.getheader(path)["PROFILE"] == "quick"
    assert fits.getheader(path)["SEED"] == 3


@pytest.mark.parametrize("grid", [*GRIDS, Grid(33, 0.29, 10.0, -33.3, "CAR"), Grid(32, 0.41, 359.9, 71.0)])
def test_the_grid_returns_and_every_hdu_has_its_wcs(grid, tmp_path):
    path = tmp_path / "field.fits"
    zeros = np.zeros((2, *grid.shape))
    save_observation(path, Observation(zeros, zeros, zeros[0], grid), cards={})
    assert load_observation(path).grid == grid
    for name in ("SHEAR", "WEIGHT", "COUNT"):
        header = fits.getheader(path, name)
        assert "BUNIT" in header
        assert header["BITPIX"] == -32
        corner = WCS(header).celestial.wcs_pix2world([[0, 0]], 0)
        np.testing.assert_allclose(corner, grid.wcs.wcs_pix2world([[0, 0]], 0), rtol=1e-12)


def test_the_same_observation_gives_the_same_bytes(observation, tmp_path):
    for name in ("a.fits", "b.fits"):
        save_observation(tmp_path / name, observation, cards={"PROFILE": "quick"})
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_titles_that_fits_cannot_hold_are_spelt_in_ascii(observation, tmp_path):
    save_observation(tmp_path / "a.fits", replace(observation, title="\u00e9toile"), cards={"SOURCE": "\u03ba"})
    assert load_observation(tmp_path / "a.fits").title == "etoile"


def test_a_truncated_file_is_told(observation, tmp_path):
    path = tmp_path / "field.fits"
    save_observation(path, observation, cards={})
    whole = path.read_bytes()
    for size in (len(whole) - 100, len(whole) // 2, len(whole) - 5000, 1000, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(BorderError, match=r"field.fits .*(cut short|no HDU)") as caught:
            load_observation(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "cards", "meant"),
    [
        (np.int16([[0, 7], [1, 2]]), {"BLANK": 0}, [[np.nan, 7], [1, 2]]),
        (np.int16([[0, 7], [1, 2]]), {"BLANK": 7, "BSCALE": 0.5, "BZERO": 3}, [[3, np.nan], [3.5, 4]]),
        (np.uint16([[0, 7], [1, 65535]]), {"BLANK": 32767}, [[0, 7], [1, np.nan]]),
        (np.float32([[0, 7], [1, 2]]), {"BLANK": 7}, [[0, 7], [1, 2]]),  # which is no card of such images
    ],
)
def test_pixels_that_an_image_calls_missing_are_nan(tmp_path, values, cards, meant):
    path = tmp_path / "a.fits"
    fits.writeto(path, values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        for key, value in cards.items():
            fits.setval(path, key, value=value)
    np.testing.assert_array_equal(read_image(path)[0], meant)


def test_a_compressed_image_is_read_as_it_is_meant(tmp_path):
    values = np.arange(400, dtype=np.int16).reshape(20, 20)
    for header, meant in (({}, values), ({"BLANK": 7}, np.where(values == 7, np.nan, values))):
        fits.CompImageHDU(values, fits.Header(header)).writeto(tmp_path / "a.fits", overwrite=True)
        np.testing.assert_array_equal(read_image(tmp_path / "a.fits", 1)[0], meant)


def test_what_astropy_warns_of_is_no_damage_of_an_image(tmp_path):
    path, values = tmp_path / "a.fits", np.arange(900.0).reshape(30, 30)
    fits.writeto(path, values, fits.Header({"OBSERVER": "me"}))
    raw = path.read_bytes()
    for content in (
        raw[: raw.rindex(b"END     ") // 2880 * 2880 + 2880 + values.nbytes],  # never padded
        raw + b"notes of the observer",
        raw.replace(b"'me      '", b"me \xe9      "),
    ):
        path.write_bytes(content)
        np.testing.assert_array_equal(read_image(path)[0], values)


def test_a_missing_file_or_hdu_is_told(observation, tmp_path):
    with pytest.raises(BorderError, match=r"field.fits does not exist; run"):
        load_observation(tmp_path / "field.fits")
    save_observation(tmp_path / "field.fits", observation, cards={})
    with pytest.raises(BorderError, match="no HDU 'TRUTH'"):
        load_truth(tmp_path / "field.fits")
    with pytest.raises(BorderError, match="no image in HDU 0"):
        read_image(tmp_path / "field.fits")


def test_a_full_disk_leaves_no_file(observation, tmp_path, monkeypatch):
    def writeto(_, path):
        Path(path).write_bytes(b"SIMPLE")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", writeto)
    with pytest.raises(BorderError, match=r"field.fits: the disk is full"):
        save_observation(tmp_path / "field.fits", observation, cards={})
    assert list(tmp_path.iterdir()) == []


def test_tables_are_written_beside_images(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("sigma", "D", array=np.arange(3.0))], name="CHAIN")
    write_fits(tmp_path / "samples.fits", [table], {"SEED": 1})
    np.testing.assert_array_equal(fits.getdata(tmp_path / "samples.fits", "CHAIN")["sigma"], np.arange(3.0))


@pytest.fixture(scope="module")
def cosmos():
    field = load_params().fields["cosmos"]
    (galaxies,) = galaxies_of(*open_catalogue(field, fetch))
    columns = {name: getattr(galaxies, name) for name in ("ra_deg", "dec_deg", "e1", "e2", "weight")}
    return columns, read_xray(fetch(field.clusters))


@needs_catalogue
def test_the_maps_of_remy_et_al_2020_bit_for_bit(cosmos):
    seen = bin_catalogue(**cosmos[0], grid=Grid(360, 0.29, *CENTER, "CAR"))
    for a in (0, 1):
        original, _ = read_image(fetch(f"cosmos/cosmos_full_e{a + 1}_0.29arcmin360.fits"))
        assert np.abs(seen.gamma[a].astype(np.float32) - original).max() == 0
    assert seen.mask.sum() == 69191


@needs_catalogue
def test_shape_noise_of_cosmos(cosmos):
    columns = cosmos[0]
    sigma_e = noise(columns["e1"], columns["e2"], columns["weight"])
    np.testing.assert_allclose(sigma_e, [0.2949, 0.2955], atol=5e-5)
    seen = bin_catalogue(**columns, grid=Grid(160, 0.82, *CENTER))
    chi2 = (seen.weight * seen.gamma**2)[:, seen.mask].mean()
    assert chi2 == pytest.approx(1.07, abs=0.005)


@needs_catalogue
@pytest.mark.parametrize("projection", ["TAN", "CAR"])
def test_clusters_are_mass_in_the_e_mode_alone(cosmos, projection):
    """The sign of e2 and the run of the columns, by physics: any other choice gives |S/N| < 2."""
    columns, xray = cosmos
    seen = bin_catalogue(**columns, grid=Grid(360, 0.29, *CENTER, projection))
    places = clusters_on_grid(xray, seen.grid, seen.mask, redshift_max=1.0)
    mirrored = replace(seen, gamma=seen.gamma * np.array([1, -1])[:, None, None])

    def snr(observed):
        kappa = smoothed(np.asarray(convergence_from_shear(observed.gamma)), 2)
        return stack_snr(kappa, places["x"], places["y"], seen.mask, rng=np.random.default_rng(0))

    assert snr(seen) == pytest.approx(8.9, abs=0.7)
    assert abs(snr(rotate_shear(seen, 45))) < 2
    assert abs(snr(mirrored)) < 2


def smoothed(kappa, sigma):
    """A map smoothed by a Gaussian of `sigma` pixels."""
    wavenumbers = np.meshgrid(*(np.fft.fftfreq(n) for n in kappa.shape), indexing="ij")
    damping = np.exp(-2 * (np.pi * sigma) ** 2 * sum(k**2 for k in wavenumbers))
    return np.fft.ifft2(damping * np.fft.fft2(kappa)).real
