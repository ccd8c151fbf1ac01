"""A field of the simulated universe passes; one of another amplitude is found, with its amplitude."""

import dataclasses

import numpy as np
import pytest

from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.judge.predictive import STATISTICS, amplitudes, correlation_of, predictive_check, statistics_table
from analysis.params import load_params
from analysis.simulations.mocks import mock_observation
from analysis.sky import Grid, Observation

PARAMS = dataclasses.replace(
    load_params().predictive, mocks=59, bands=4, smoothing_arcmin=1.2, distances_arcmin=[0.5, 2.0, 6.0, 12.0]
)
GRID, WIDE = Grid(40, 0.8, 150.0, 2.0), (56, 56)


@pytest.fixture(scope="module")
def maps():
    """Gaussian maps with long waves, wider than the field."""
    power = 0.06 * (np.maximum(ell_grid(WIDE, 0.8), 500) / 500) ** -1.5
    return gaussian_field(power, 40, rng=np.random.default_rng(1))


def field(kappa, rng):
    """The shear of a map in a field with a hole and a border."""
    weight = np.full((2, *GRID.shape), 30.0**2)
    weight[:, 10:15, 20:28] = weight[:, :2] = 0
    empty = Observation(0 * weight, weight, weight[0], GRID, "a field")
    return mock_observation(kappa, empty, rng=rng, reduced=False)[1]


def test_fields_of_the_simulated_universe_are_as_likely_as_mocks(maps):
    found = []
    for seed in range(12):
        rng = np.random.default_rng([2, seed])
        found.append(predictive_check(field(maps[seed], rng), maps[12:], PARAMS, rng=rng)[0])
    for name in STATISTICS:
        p_values = [metrics["p_value"][name] for metrics in found]
        assert min(p_values) > 1 / 12 / 30  # one of twelve below this: 3 %
        assert 0.2 < np.mean(p_values) < 0.8  # 0.5 +- 0.083
    amplitudes, errors = (np.array([m[key] for m in found]) for key in ("amplitude", "amplitude_err"))
    assert abs(np.mean(amplitudes) - 1) < 3.5 * np.mean(errors) / 12**0.5
    assert np.std(amplitudes, ddof=1) == pytest.approx(np.mean(errors), rel=0.6)  # 1 / sqrt(22) is 21 %


def test_a_field_of_another_amplitude_is_found_and_its_amplitude_measured(maps):
    rng = np.random.default_rng(3)
    metrics, statistics, ell = predictive_check(field(1.6 * maps[0], rng), maps[12:], PARAMS, rng=rng)
    assert abs(metrics["amplitude"] - 1.6) < 3 * metrics["amplitude_err"]
    assert metrics["amplitude_rank"] == 1
    assert metrics["p_value"]["e_minus_b"] < 0.05
    assert metrics["ratio"]["correlation"] > 1.5
    assert metrics["amplitude_of_mocks"][0] < 1 < metrics["amplitude_of_mocks"][1]
    assert len(ell) == statistics["e_minus_b"].shape[1] == 4
    assert statistics_table(metrics)["statistic"].tolist() == list(STATISTICS)


def test_the_correlation_is_the_mean_product_of_pairs():
    rng = np.random.default_rng(4)
    gamma, weight = rng.standard_normal((2, 6, 6)), rng.uniform(1, 2, (6, 6))
    weight[2:4, 1] = 0
    y, x = np.mgrid[:6, :6]
    edges = [0.9, 1.7, 3.1, 40.0, 50.0]
    found = correlation_of(weight, edges, 0.8)(gamma)
    distance = 0.8 * np.hypot(y.ravel()[:, None] - y.ravel(), x.ravel()[:, None] - x.ravel())
    both = np.outer(weight, weight)
    product = sum(np.outer(component, component) for component in gamma)
    for low, high, value in zip(edges[:3], edges[1:4], found[:3], strict=True):
        chosen = (distance >= low) & (distance < high)
        assert value == pytest.approx(np.sum((both * product)[chosen]) / np.sum(both[chosen]))
    assert np.isnan(found[3])


def test_bands_count_by_signal_over_variance_and_no_power_is_no_amplitude():
    rng = np.random.default_rng(5)
    mocks = [1.0, 4.0] + rng.standard_normal((4000, 2)) * [0.1, 2.0]
    assert amplitudes(np.array([[4.0, 16.0], [-1.0, 0.0]]), mocks) == pytest.approx([2, 0], rel=0.01)
    of_mocks = amplitudes(mocks, mocks)
    share = np.array([1 / 0.01, 4 / 4.0])
    assert of_mocks.mean() == pytest.approx(1, abs=0.01)
    assert of_mocks.std() == pytest.approx(
        np.sqrt(np.sum((share * [0.1, 2.0]) ** 2)) / np.sum(share * [1, 4]) / 2, rel=0.05
    )


def test_the_error_of_an_amplitude_is_the_scatter_of_fields_of_that_amplitude(maps):
    """Sample variance grows with the amplitude, noise does not."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng([6, seed])
        found.append(predictive_check(field(3 * maps[seed], rng), maps[12:], PARAMS, rng=rng)[0])
    values, errors = (np.array([m[key] for m in found]) for key in ("amplitude", "amplitude_err"))
    assert np.mean(values) == pytest.approx(3, rel=0.05)
    assert np.std(values, ddof=1) == pytest.approx(np.mean(errors), rel=0.6)  # 1 / sqrt(22) is 21 %
