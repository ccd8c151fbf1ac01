"""Kinds of mock: what they share, what differs, and the exact answers of simple cases."""

import numpy as np
import pytest

from analysis.flatsky.power import ARCMIN, ell_grid, gaussian_field
from analysis.judge.effects import KINDS, effect_summary, mock_effects, shear_inside_pixels
from analysis.sky import Grid, Observation

PIXELS, PIXEL = 32, 1.0
POWER = 4e-3 * (np.maximum(ell_grid((PIXELS, PIXELS), PIXEL), 700) / 700) ** -1.5


@pytest.fixture(scope="module")
def observation():
    weight = np.full((2, PIXELS, PIXELS), 400.0)
    weight[:, :, :6] = 0
    grid = Grid(PIXELS, PIXEL, 150.0, 2.0, "TAN")
    return Observation(np.zeros_like(weight), weight, (weight[0] > 0).astype(np.int32), grid, "field")


def test_gaussian_truths_under_the_own_operator_are_covered_as_they_should_be(observation):
    truths = gaussian_field(POWER, 24, rng=np.random.default_rng(1))
    summary = effect_summary(mock_effects(truths, observation, POWER, seed=1))
    assert summary["own"]["coverage68"] == pytest.approx(0.683, abs=0.03)
    assert set(summary) == set(KINDS)


def test_reduced_shear_of_faint_maps_changes_nothing(observation):
    truths = 1e-4 * gaussian_field(POWER, 3, rng=np.random.default_rng(2))
    tables = mock_effects(truths, observation, 1e-8 * POWER, seed=2)
    np.testing.assert_allclose(tables["sky"]["rmse"], tables["wide"]["rmse"], rtol=1e-6)
    np.testing.assert_allclose(tables["own"]["rmse"], tables["wide"]["rmse"], rtol=1e-6)


def test_change_is_paired(observation):
    wide = gaussian_field(np.kron(POWER, np.ones((2, 2))) / 4 + 1e-5, 4, rng=np.random.default_rng(3))
    tables = mock_effects(wide, observation, POWER, seed=3)
    change = np.mean(tables["wide"]["rmse"] / tables["own"]["rmse"]) - 1
    assert effect_summary(tables)["wide"]["rmse_change"] == pytest.approx(change)
    assert change != 0


def test_shear_inside_pixels_of_a_single_wave():
    """Power in a narrow line: variance / 2 a component, less what the pixel's mean keeps."""
    ell = np.linspace(4990, 5010, 2001)
    c_ell = np.exp(-0.5 * ((ell - 5000) / 2) ** 2)
    variance = np.trapezoid(ell * c_ell / (2 * np.pi), ell)
    x = 5000 * PIXEL * ARCMIN
    angles = np.linspace(0, 2 * np.pi, 4001)[:-1]
    kept = np.mean(np.sinc(x * np.cos(angles) / 2 / np.pi) ** 2 * np.sinc(x * np.sin(angles) / 2 / np.pi) ** 2)
    assert shear_inside_pixels(ell, c_ell, PIXEL) == pytest.approx(0.5 * variance * (1 - kept), rel=1e-3)
    assert 0.1 < 1 - kept < 0.5
