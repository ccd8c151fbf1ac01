"""Baselines: a smoothed plane wave, the best of a list of smoothings, the mean of a Gaussian posterior."""

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.power import ARCMIN, ell_grid, gaussian_field
from analysis.rivals.baselines import (
    best_smoothing,
    load_baseline,
    mock_baselines,
    save_baselines,
    smoothed_kaiser_squires,
    wiener_filter,
)
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, Observation

GRID = Grid(32, 0.82, 150.0, 2.0)
POWER = 4e-3 * (np.maximum(ell_grid((32, 32), 0.82), 500) / 500) ** -1.5


def test_smoothing_damps_a_plane_wave_by_the_beam():
    wave = np.tile(np.cos(2 * np.pi * 3 * np.arange(32) / 32), (32, 1))
    ell = 2 * np.pi * 3 / (32 * 0.82 * ARCMIN)
    smoothed = smoothed_kaiser_squires(np.asarray(shear_from_convergence(wave)), 1.5, 0.82)
    np.testing.assert_allclose(smoothed, wave * np.exp(-0.5 * (ell * 1.5 * ARCMIN) ** 2), atol=1e-12)


def gaussian_mock(sigma, seed):
    """A mock of a Gaussian field, half of it observed with white noise."""
    rng = np.random.default_rng(seed)
    truth = gaussian_field(POWER, 1, rng=rng)[0]
    observed = np.ones((2, 32, 32))
    observed[:, :, :8] = 0
    gamma = (np.asarray(shear_from_convergence(truth)) + sigma * rng.standard_normal((2, 32, 32))) * observed
    return Mock(f"mock_{seed}", truth, Observation(gamma, observed / sigma**2, observed[0], GRID), 0)


def test_noisier_data_want_more_smoothing():
    scales = [0.2, 0.8, 1.6, 3.2]
    chosen = [best_smoothing([gaussian_mock(sigma, seed) for seed in range(6)], scales) for sigma in (0.003, 0.03, 0.3)]
    assert chosen[0] < chosen[1] < chosen[2]


def test_wiener_filter_errs_as_the_gaussian_posterior_does_and_less_than_the_rest():
    mocks = [gaussian_mock(0.05, seed) for seed in range(20)]
    maps = mock_baselines(mocks, POWER, best_smoothing(mocks, [0.4, 0.8, 1.6]))
    mask = mocks[0].observation.mask
    truths = np.stack([mock.truth for mock in mocks])
    mse = {name: np.mean((kappa - truths)[..., mask] ** 2) for name, kappa in maps.items()}
    assert mse["wiener"] < mse["kaiser_squires"]
    wrong = mock_baselines(mocks, 0.3 * POWER, 1.0)["wiener"]
    assert mse["wiener"] < np.mean((wrong - truths)[..., mask] ** 2)


def test_wiener_filter_of_full_uniform_data_is_known_mode_by_mode():
    truth = gaussian_field(POWER, 1, rng=np.random.default_rng(3))[0][:31, :31]
    power = 4e-3 * (np.maximum(ell_grid((31, 31), 0.82), 500) / 500) ** -1.5
    gamma = np.asarray(shear_from_convergence(truth))
    wiener = wiener_filter(gamma, np.full((2, 31, 31), 1 / 0.05**2), power)
    exact = np.fft.ifft2(np.fft.fft2(truth - truth.mean()) * power / (power + 0.05**2)).real
    np.testing.assert_allclose(wiener, exact, atol=1e-8)
    stack = wiener_filter(np.stack([gamma, 2 * gamma]), np.full((2, 31, 31), 1 / 0.05**2), power)
    np.testing.assert_allclose(stack, [exact, 2 * exact], atol=1e-8)


def test_baselines_are_read_back(tmp_path):
    maps = {"wiener": np.ones((32, 32)), "realisations": np.full((3, 32, 32), 2.0)}
    save_baselines(tmp_path / "b.fits", maps, GRID, cards={"PROFILE": "tiny"})
    np.testing.assert_array_equal(load_baseline(tmp_path / "b.fits", "wiener"), maps["wiener"])
    assert load_baseline(tmp_path / "b.fits", "realisations").shape == (3, 32, 32)
    with pytest.raises(BorderError, match="KAISER_SQUIRES"):
        load_baseline(tmp_path / "b.fits", "kaiser_squires")
