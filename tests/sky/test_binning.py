"""Galaxies added chunk by chunk, their middle on the sphere, and ellipticities that turn with local north."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from analysis.sky import Grid, PixelSums, bin_catalogue, robust_center

CENTERS = [(150.0, 2.0), (0.05, 30.0), (359.98, -60.0), (40.0, 89.8), (200.0, -89.9), (0.0, 90.0)]


def around(center, n, rng, half_deg=0.6):
    """Galaxies within a disc around a place, wherever it is."""
    separation = half_deg * np.sqrt(rng.uniform(0, 1, n))
    there = SkyCoord(*center, unit="deg").directional_offset_by(rng.uniform(0, 360, n) * u.deg, separation * u.deg)
    return there.ra.deg, there.dec.deg


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
def test_chunks_add_up_to_the_whole(projection):
    rng = np.random.default_rng(0)
    grid = Grid(20, 3.0, 150.0, 2.0, projection)
    ra_deg, dec_deg = around((150.0, 2.0), 4000, rng)
    e1, e2 = rng.normal(0, 0.3, (2, 4000))
    weight = rng.uniform(0, 2, 4000)
    weight[:50] = 0
    whole = bin_catalogue(ra_deg, dec_deg, e1, e2, weight, grid=grid)
    sums = PixelSums(grid)
    for part in np.array_split(np.arange(4000), [1, 700, 700, 2500]):
        sums.add(*(values[part] for values in (ra_deg, dec_deg, e1, e2, weight)))
    added = sums.observation()
    np.testing.assert_allclose(added.gamma, whole.gamma, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(added.weight, whole.weight, rtol=1e-12)
    np.testing.assert_array_equal(added.count, whole.count)
    assert sums.rows == 4000
    halved = sums.observation(np.array([2.0, 0.5]))
    calibrated = bin_catalogue(ra_deg, dec_deg, e1 / 2, e2 / 0.5, weight, grid=grid)
    np.testing.assert_allclose(halved.gamma, calibrated.gamma, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(halved.weight[1], whole.weight[1] / 4, rtol=1e-12)


@pytest.mark.parametrize("center", CENTERS)
def test_the_middle_of_a_field_is_found_wherever_it_lies(center):
    rng = np.random.default_rng(1)
    ra_deg, dec_deg = around(center, 4000, rng)
    ra_deg[:40], dec_deg[:40] = 0, 0  # rows without a position
    ra_deg[40:2000] -= 360
    found = SkyCoord(*robust_center(ra_deg, dec_deg), unit="deg")
    assert found.separation(SkyCoord(*center, unit="deg")).deg < 0.03


def test_galaxies_all_over_the_sky_have_no_middle():
    rng = np.random.default_rng(2)
    assert robust_center(rng.uniform(0, 360, 5000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 5000)))) is None
    assert robust_center(np.array([0.0, 180.0]), np.zeros(2)) is None
    assert robust_center(np.array([10.0]), np.array([-5.0])) == pytest.approx((10, -5))


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("pattern", ["tangential", "cross"])
def test_shear_about_a_point_is_so_in_the_pixels(center, pattern):
    """Position angles of astropy on the sky, plain angles in the pixels, near the poles and across RA 0 too."""
    grid = Grid(41, 1.2, *center)
    y, x = np.mgrid[:41, :41].reshape(2, -1)
    off = np.hypot(x - 20, y - 20) > 1.5
    x, y = x[off], y[off]
    ra_deg, dec_deg = grid.wcs.wcs_pix2world(x, y, 0)
    to_point = SkyCoord(ra_deg, dec_deg, unit="deg").position_angle(SkyCoord(*center, unit="deg")).rad
    turn = -1 if pattern == "tangential" else 1j
    sky = 0.3 * turn * np.exp(2j * (to_point + np.pi / 2))  # from west to north
    seen = bin_catalogue(ra_deg, dec_deg, sky.real, sky.imag, np.ones(len(x)), grid=grid)
    assert seen.count.max() == 1
    pixels = 0.3 * turn * np.exp(2j * np.arctan2(20 - y, 20 - x))
    np.testing.assert_allclose((seen.gamma[0] + 1j * seen.gamma[1])[y, x], pixels, atol=2e-4)
