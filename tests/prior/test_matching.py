"""Denoising score matching: a loss of one for Gaussian fields, its weights, and its noise levels."""

import dataclasses

import numpy as np
import pytest

from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.params import load_params
from analysis.prior.loss import ScoreMatching, gaussian_error, long_waves
from analysis.prior.score import Prior, score_network, wiener_significance

TRAIN = load_params().train
SETTINGS = dataclasses.replace(TRAIN.network, widths=[4, 8, 16], blocks=1)
POWER = 4e-3 * (np.maximum(ell_grid((16, 16), 0.82), 500) / 500) ** -1.5


def prior():
    return Prior(POWER.astype("float32"), 0.82, score_network(SETTINGS, gain=True), 0.3, (0.005, 0.5), gain=True)


def residuals(one, maps, seed=1, **settings):
    """Weighted residuals that the training squares, as maps."""
    settings = {"long_weight": 0.0, "void_weight": 0.0, **settings}
    model = ScoreMatching([one], maps, dataclasses.replace(TRAIN, **settings), seed=seed)
    found = np.asarray(model.residuals([maps], [np.ones(len(maps), "float32")]))
    return found.reshape((-1, *maps.shape) if found.size > maps.size else maps.shape)


def test_the_loss_of_a_new_network_is_one_whatever_the_weights():
    maps = gaussian_field(POWER, 256, rng=np.random.default_rng(2)).astype("float32")
    for weights in (
        {"peak_weight": 0.0},
        {"peak_weight": 3.0},
        {"peak_weight": 0.0, "long_weight": 2.0},
        {"peak_weight": 0.0, "void_weight": 3.0},
        {"peak_weight": 3.0, "void_weight": 3.0, "long_weight": 2.0},
    ):
        squares = residuals(prior(), maps, **weights) ** 2
        by_map = squares.mean(axis=(0, 2, 3)) if squares.ndim == 4 else squares.mean(axis=(1, 2))
        assert abs(by_map.mean() - 1) < 4 * by_map.std() / 16, weights


def test_the_weight_of_a_peak_grows_with_its_significance():
    maps = gaussian_field(POWER, 4, rng=np.random.default_rng(3)).astype("float32")
    maps[:, 8, 8] += 1.0
    level = {"sigma_min": 0.0199, "sigma_max": 0.0201}
    ratio = residuals(prior(), maps, peak_weight=2.0, **level) / residuals(prior(), maps, peak_weight=0.0, **level)
    significance = np.abs(wiener_significance(maps, np.full(4, 0.02, "float32"), POWER))
    np.testing.assert_allclose(ratio[:, 8, 8] ** 2, 1 + 2 * (significance[:, 8, 8] - 3), rtol=0.1)  # and noise
    assert np.mean(ratio[significance < 1] == 1) > 0.9


def test_the_weight_of_a_void_grows_with_its_depth():
    maps = gaussian_field(POWER, 4, rng=np.random.default_rng(3)).astype("float32")
    level = {"peak_weight": 0.0, "sigma_min": 1.99e-5, "sigma_max": 2.01e-5}  # the noise moves no map
    weighted, plain = (residuals(prior(), maps, void_weight=weight, **level) for weight in (2.0, 0.0))
    ratio = (weighted / plain) ** 2
    significance = np.asarray(wiener_significance(maps, np.full(4, 2e-5, "float32"), POWER))
    assert ratio[significance > -0.5].std() < 1e-3 * ratio.mean()
    expected = 1 + 2 * np.maximum(-significance - 0.8, 0)
    np.testing.assert_allclose(ratio / ratio.min(), expected, rtol=0.02)


def test_an_error_of_the_mean_counts_more_with_a_weight_for_long_waves():
    waves = long_waves((16, 16))
    assert np.mean(waves**2) == pytest.approx(1)
    assert waves[0, 0] == waves[0, 1] == pytest.approx(4 * waves[0, 4])
    maps = np.zeros((64, 16, 16), "float32")
    level = {"sigma_min": 0.0499, "sigma_max": 0.0501, "peak_weight": 1.0}
    biased = maps + np.float32(0.01)
    plain, long = (
        [np.mean(residuals(prior(), one, long_weight=weight, **level) ** 2) for one in (maps, biased)]
        for weight in (0.0, 1.0)
    )
    assert long[1] - long[0] > 2 * (plain[1] - plain[0]) > 0


def test_a_crop_counts_by_its_weight_and_the_others_as_before():
    maps = np.zeros((3, 16, 16), "float32")
    plain, weighted = (
        np.asarray(ScoreMatching([prior()], maps, TRAIN, seed=1).residuals([maps], [weights])).reshape(-1, 3, 16, 16)
        for weights in (np.ones(3, "float32"), np.array([1, 4, 0.25], "float32"))
    )
    np.testing.assert_allclose(
        np.mean(weighted**2, axis=(0, 2, 3)), np.mean(plain**2, axis=(0, 2, 3)) * [1, 4, 0.25], rtol=1e-5
    )


def test_levels_are_log_uniform_or_half_normal():
    maps = np.zeros((4096, 2, 2), "float32")
    white = Prior(np.full((2, 2), 1e-12, "float32"), 0.82)  # a model without power: what is left is the noise itself
    levels = {}
    for noise in ("log_uniform", "half_normal"):
        model = ScoreMatching([white], maps, dataclasses.replace(TRAIN, noise=noise), seed=4)
        levels[noise] = np.asarray(model._levels(len(maps)))
    low, high = TRAIN.sigma_min, TRAIN.sigma_max
    fraction = np.log(levels["log_uniform"] / low) / np.log(high / low)
    np.testing.assert_allclose(np.quantile(fraction, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)
    np.testing.assert_allclose(np.quantile(levels["half_normal"], [0.3829, 0.6827]), [0.1, 0.2], rtol=0.06)
    assert levels["half_normal"].min() >= low


def test_a_level_counts_in_units_of_the_gaussian_error_or_of_the_noise():
    maps = gaussian_field(POWER, 4, rng=np.random.default_rng(5)).astype("float32")
    level = {"sigma_min": 0.0499, "sigma_max": 0.0501}
    gaussian, noise = (residuals(prior(), maps, level_unit=unit, **level) for unit in ("gaussian", "noise"))
    np.testing.assert_allclose(
        noise / gaussian, float(gaussian_error(np.array([0.05], "float32"), POWER)[0]), rtol=2e-3
    )
