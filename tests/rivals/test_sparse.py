"""Sparse halos: the starlet's known filters and noise, and maps against the Wiener filter's."""

import numpy as np
import pytest

from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.params import load_params
from analysis.rivals.baselines import wiener_filter
from analysis.rivals.sparse import (
    active_coefficients,
    coefficient_noise,
    sparse_components,
    starlet,
    starlet_filters,
    tuned,
)
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, Observation

SIDE = 48
POWER = 4e-5 * (np.maximum(ell_grid((SIDE, SIDE), 0.82), 500) / 500) ** -1.5
SETTINGS = {"scales": 4, "threshold": 4.0, "turns": 4}


@pytest.fixture
def weight():
    """Inverse variance of an uneven survey of the middle of the grid."""
    depth = np.zeros((2, SIDE, SIDE))
    depth[:, 8:40, 6:42] = np.linspace(400, 900, 36)
    return depth


def test_scales_of_any_map_add_up_to_it():
    maps = np.random.default_rng(1).standard_normal((3, 33, SIDE))
    scales = np.asarray(starlet(maps, starlet_filters((33, SIDE), 5)))
    assert scales.shape == (3, 6, 33, SIDE)
    np.testing.assert_allclose(scales.sum(axis=1), maps, atol=1e-12)


def test_finest_scales_of_a_point_are_those_of_the_spline():
    point = np.zeros((SIDE, SIDE))
    point[20, 20] = 1
    finest, second = np.asarray(starlet(point, starlet_filters((SIDE, SIDE), 2)))[:2]
    spline = np.array([1, 4, 6, 4, 1]) / 16
    expected = -np.outer(spline, spline)
    expected[2, 2] += 1
    np.testing.assert_allclose(finest[18:23, 18:23], expected, atol=1e-12)
    assert np.abs(finest).sum() == pytest.approx(np.abs(expected).sum())
    holes = np.zeros(9)
    holes[::2] = spline
    wide = np.convolve(spline, holes)
    expected = -np.outer(wide, wide)
    expected[4:9, 4:9] += np.outer(spline, spline)
    np.testing.assert_allclose(second[14:27, 14:27], expected, atol=1e-12)


def test_white_noise_has_the_known_spread_at_every_scale():
    noise = np.random.default_rng(2).standard_normal((60, SIDE, SIDE))
    found = np.asarray(starlet(noise, starlet_filters((SIDE, SIDE), 3))).std(axis=(0, 2, 3))
    np.testing.assert_allclose(found[:3], [0.8908, 0.2007, 0.0856], rtol=0.02)  # Starck & Murtagh 2002, table 2.1


def test_noise_of_coefficients_is_that_of_realisations(weight):
    filters = starlet_filters((SIDE, SIDE), 4)[:-1]
    noise = np.random.default_rng(3).standard_normal((400, 2, SIDE, SIDE)) * np.sqrt(weight)
    realised = np.asarray(starlet(convergence_from_shear(noise), filters)).std(axis=0)
    expected = coefficient_noise(weight, filters)
    seen = expected > 0.1 * expected.max(axis=(1, 2), keepdims=True)
    ratio = realised[seen] / expected[seen]
    assert abs(ratio.mean() - 1) < 0.01
    assert ratio.std() < 1.3 / np.sqrt(2 * 400)


def test_noise_alone_activates_as_many_coefficients_as_chance_has_it(weight):
    gamma = np.random.default_rng(4).standard_normal((60, 2, SIDE, SIDE)) / np.sqrt(
        np.where(weight > 0, weight, np.inf)
    )
    active = active_coefficients(gamma, weight, starlet_filters((SIDE, SIDE), 3), 2.0)
    assert active[..., weight[0] > 0].mean() == pytest.approx(0.0228, rel=0.1)
    assert not active[..., weight[0] == 0].any()


def test_without_an_active_coefficient_the_map_is_the_wiener_map(weight):
    rng = np.random.default_rng(5)
    gamma = np.asarray(shear_from_convergence(gaussian_field(POWER, 2, rng=rng))) * (weight > 0)
    sparse, gaussian = sparse_components(gamma, weight, POWER, **SETTINGS | {"threshold": 1e3})
    assert not sparse.any()
    exact = np.stack([wiener_filter(each, weight, POWER) for each in gamma])
    np.testing.assert_allclose(gaussian, exact, atol=1e-5 * exact.std())


def halo_mock(weight, seed, height=0.4):
    """A mock of a halo of some pixels in a weak Gaussian field."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    truth = gaussian_field(POWER, 1, rng=rng)[0] + height * np.exp(-0.5 * ((x - 22) ** 2 + (y - 25) ** 2) / 1.2**2)
    noise = rng.standard_normal(weight.shape) / np.sqrt(np.where(weight > 0, weight, np.inf))
    gamma = np.where(weight > 0, np.asarray(shear_from_convergence(truth)) + noise, 0)
    return Mock(f"mock_{seed}", truth, Observation(gamma, weight, weight[0], Grid(SIDE, 0.82, 150.0, 2.0)), 0)


def test_a_strong_halo_is_recovered_better_than_by_the_wiener_filter(weight):
    mocks = [halo_mock(weight, seed) for seed in range(4)]
    gamma, truths = np.stack([m.observation.gamma for m in mocks]), np.stack([m.truth for m in mocks])
    sparse, gaussian = sparse_components(gamma, weight, POWER, **SETTINGS)
    wiener = np.stack([wiener_filter(each, weight, POWER) for each in gamma])
    assert (sparse >= 0).all()
    halo = np.s_[:, 22:29, 19:26]
    error, error_wiener = (np.sqrt(np.mean((maps - truths)[halo] ** 2)) for maps in (sparse + gaussian, wiener))
    assert error < 0.6 * error_wiener
    assert abs((sparse + gaussian)[:, 25, 22].mean() - 0.4) < 0.1 < abs(wiener[:, 25, 22].mean() - 0.4)


def test_settings_are_those_of_the_smallest_error(weight):
    params = load_params().rivals.sparse.__class__(scales=3, thresholds=[0.5, 4.0, 1e3], turns=[1, 4])
    settings, tried = tuned([halo_mock(weight, seed) for seed in range(3)], POWER, params)
    assert (settings["scales"], settings["threshold"]) == (3, 4.0)
    assert len(tried) == 6
    assert tried["rmse"].min() == tried["rmse"][(tried["threshold"] == 4.0) & (tried["turns"] == settings["turns"])][0]
