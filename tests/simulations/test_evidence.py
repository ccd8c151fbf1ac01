"""Statistics of maps with known results, and the released numbers of the public map."""

import os

import numpy as np
import pytest
from astropy.table import Table
from scipy.special import hyp2f1
from scipy.stats import norm

from analysis.core.tables import load_table
from analysis.flatsky.maps import MapSet
from analysis.flatsky.power import ARCMIN, gaussian_field, grid_power
from analysis.simulations.evidence import (
    KAPPA_EDGES,
    PUBLISHED,
    PUBLISHED_PIXEL_ARCMIN,
    SMOOTHING_ARCMIN,
    evidence_table,
    expected_c_ell,
    halo_summary,
    map_statistics,
    missing_mean,
    multipoles,
    of_pixel_scale,
    summary,
)
from analysis.simulations.halos import mass_function
from analysis.simulations.theory import growth_factors
from analysis.tools import published

PIXEL = 0.82
THEORY = Table({"ell": np.geomspace(10, 3e4, 80), "c_ell": 3e-10 * (np.geomspace(10, 3e4, 80) / 1000) ** -1.2})

SKEWNESS = Table({"smoothing_arcmin": SMOOTHING_ARCMIN, "skewness": np.linspace(2.0, 0.5, len(SMOOTHING_ARCMIN))})


@pytest.fixture(scope="module")
def gaussian():
    """Pieces of a wider Gaussian sky."""
    power = grid_power(np.asarray(THEORY["ell"]), np.asarray(THEORY["c_ell"]), (256, 256), PIXEL)
    return gaussian_field(power, 60, rng=np.random.default_rng(1))[:, :96, :96]


def test_spectrum_of_pieces_of_a_gaussian_sky_is_theorys(gaussian):
    x, values = map_statistics(gaussian, PIXEL)["c_ell"]
    ratio = values.mean(axis=0) / expected_c_ell(THEORY, (96, 96), PIXEL)
    error = values.std(axis=0) / np.sqrt(60) / values.mean(axis=0)
    assert len(x) == len(multipoles(PIXEL)) - 1
    assert np.all(np.abs(ratio - 1) < 4 * error + 0.01)


def test_gaussian_maps_have_no_skewness_and_a_gaussian_one_point_distribution(gaussian):
    statistics = map_statistics(gaussian, PIXEL)
    skewness = statistics["skewness"][1]
    assert np.all(np.abs(skewness.mean(axis=0)) < 4 * skewness.std(axis=0) / np.sqrt(60))
    x, density = statistics["one_point"]
    width = np.diff(KAPPA_EDGES)[0]
    sigma = np.sqrt(np.sum(x**2 * density.mean(axis=0)) * width)
    assert np.sum(density.mean(axis=0)) * width == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(density.mean(axis=0), norm(scale=sigma).pdf(x), atol=0.03 * density.mean(axis=0).max())


def test_skewness_of_squares_is_that_of_chi_squared():
    """kappa = g^2 of pixels that smoothing hardly touches: skewness sqrt(8)."""
    white = np.random.default_rng(2).standard_normal((40, 64, 64)) ** 2
    x, values = map_statistics(0.01 * white, 60.0)["skewness"]
    assert values[:, 0].mean() == pytest.approx(np.sqrt(8), rel=0.05)
    assert x[0] == 1.0


def test_minima_of_a_map_are_peaks_of_its_negative(gaussian):
    statistics, turned = map_statistics(gaussian, PIXEL), map_statistics(-gaussian, PIXEL)
    peaks, minima = statistics["peaks"][1].sum(), turned["minima"][1].sum()
    assert peaks > 100
    high = gaussian.shape[0]
    assert minima / high == pytest.approx(peaks / high, rel=0.3)


def test_table_holds_every_statistic_and_its_summary_the_decisive_numbers(gaussian):
    held_out = MapSet(gaussian, np.repeat([0, 1, 2], 20))
    bands = len(multipoles(PIXEL)) - 1
    table = evidence_table(gaussian, held_out, THEORY, SKEWNESS, None, PIXEL, boxes=12)
    values = map_statistics(gaussian, PIXEL)["skewness"][1].reshape(3, 20, -1).mean(axis=1)
    np.testing.assert_allclose(table["error"][table["statistic"] == "skewness"], values.std(axis=0, ddof=1) / 12**0.5)
    assert set(table["statistic"]) == {"c_ell", "skewness", "one_point", "peaks", "minima"}
    short = summary(table)
    assert len(short["ell"]) == len(short["c_ell_over_halofit"]) == bands
    assert "published_over_halofit" not in short


def test_halos_are_counted_against_the_mass_function_of_their_redshift():
    """Every halo of a universe that follows the mass function: ratios of one, with the growth in closed form."""
    k, a, omega_m, boxes, side = np.geomspace(1e-4, 50, 2000), 1 / 1.3, 0.3, 4, 1500.0
    linear = 5e4 * k / 0.02 / (1 + (k / 0.02) ** 2) ** 1.3

    def growth(a):
        return a * hyp2f1(1 / 3, 1, 11 / 6, -(a**3) * (1 - omega_m) / omega_m)

    mass = np.geomspace(1e14, 3e15, 3000)
    density = mass_function(mass, k, linear * (growth(a) / growth(1.0)) ** 2, 1 / a - 1, omega_m)
    steps = density[:-1] * np.diff(np.log(mass)) * boxes * side**3
    found = np.interp(np.arange(0.5, steps.sum()), np.append(0, np.cumsum(steps)), mass)
    cores = {f"core_{i}": np.linspace(0.5, 1.5 + i, len(found)) for i in range(3)}
    halos = Table({"box": np.zeros(len(found), int), "mass": found} | cores)
    summed = halo_summary(halos, Table({"k": k, "linear": linear}), boxes, side, omega_m)
    assert len(found) > 300
    np.testing.assert_allclose(summed["halos_over_tinker"], 1, atol=0.03)
    np.testing.assert_allclose(summed["halos_over_tinker_err"][0], len(found) ** -0.5, rtol=0.05)
    np.testing.assert_allclose(summed["core_mass_over_nfw"]["mean"], [1, 1.5, 2])
    np.testing.assert_allclose(summed["core_mass_over_nfw"]["highest"], [1.5, 2.5, 3.5])


def test_the_missing_mean_of_a_box_is_that_of_its_volume():
    """White density: its mean over a volume V has the variance P / V, and the power answers by 68/21 - 1."""
    k = np.geomspace(1e-5, 1000, 400_000)
    growth = growth_factors(0.3).first(-np.log(1.3))
    found = missing_mean(Table({"k": k, "linear": np.full(len(k), 64.0 / growth**2)}), 8.0, 0.3)["missing_mean"]
    assert found["rms"] == pytest.approx((64.0 / 8.0**3) ** 0.5, rel=1e-3)
    assert found["of_power"] == pytest.approx((68 / 21 - 1) * found["rms"], rel=1e-3)


def test_released_numbers_serve_the_profiles_pixels_and_no_others():
    table = load_table(PUBLISHED)
    for pixel_arcmin in (0.41016, 0.82, 4.1):
        assert len(of_pixel_scale(table, pixel_arcmin)) > 0
    assert of_pixel_scale(table, 0.6) is None
    assert of_pixel_scale(table, 1.25) is None


def test_summary_places_the_public_map_in_the_scatter():
    rows = load_table(PUBLISHED)
    rows = rows[rows["rebin"] == 2]
    rng = np.random.default_rng(3)
    sky = gaussian_field(
        grid_power(np.asarray(THEORY["ell"]), np.asarray(THEORY["c_ell"]), (160, 160), PIXEL), 4, rng=rng
    )
    short = summary(evidence_table(sky, MapSet(sky, np.arange(4)), THEORY, SKEWNESS, rows, PIXEL, boxes=4))[
        "skewness_at_1_arcmin"
    ]
    assert short["massivenus"] == rows["value"][rows["statistic"] == "skewness"][0]
    expected = (short["massivenus"] - short["mean"]) / short["scatter"]
    assert short["massivenus_in_sigma"] == pytest.approx(expected)


@pytest.mark.skipif(
    not os.environ.get("DATA_MIRROR"), reason="NOT TESTED: the public map needs DATA_MIRROR, a folder or address"
)
def test_released_numbers_are_those_of_the_public_map(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "PUBLISHED", tmp_path / "massivenus.ecsv")
    published.main()
    again, released = load_table(tmp_path / "massivenus.ecsv"), load_table(PUBLISHED)
    np.testing.assert_allclose(again["value"], released["value"], rtol=1e-6)


def test_pixel_scale_of_the_public_map_is_an_angle():
    assert pytest.approx(PUBLISHED_PIXEL_ARCMIN, rel=1e-4) == 3.5 * 60 / 512
    assert pytest.approx(1.193e-4, rel=1e-3) == PUBLISHED_PIXEL_ARCMIN * ARCMIN
