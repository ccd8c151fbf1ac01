"""The prior's score: exact for Gaussian fields, the network's share zero at the start, saved = reloaded."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from analysis.files import BorderError
from analysis.network import build_network
from analysis.params import ROOT, load_params
from analysis.power import gaussian_field, wavenumbers
from analysis.score import (
    Prior,
    ScoreMatching,
    check_grid,
    denoised,
    gaussian_error,
    gaussian_score,
    inside_margin,
    load_prior,
    long_waves,
    prior_score,
    save_prior,
    wiener_significance,
)

TRAIN = load_params().train
SETTINGS = dataclasses.replace(TRAIN.network, widths=[4, 8, 16], blocks=1)
POWER = 4e-3 * (np.maximum(wavenumbers((16, 16), 0.82), 500) / 500) ** -1.5


def prior():
    return Prior(POWER.astype("float32"), 0.82, build_network(SETTINGS), 0.3, (0.005, 0.5))


def test_gaussian_score_is_the_gradient_of_the_log_density():
    rng = np.random.default_rng(1)
    kappa, direction = rng.standard_normal((2, 1, 16, 16))
    sigma = np.array([0.05])

    def log_density(x):
        return -0.5 * np.sum(np.abs(np.fft.fft2(x, norm="ortho")) ** 2 / (POWER + sigma[0] ** 2))

    slope = (log_density(kappa + 1e-4 * direction) - log_density(kappa - 1e-4 * direction)) / 2e-4
    np.testing.assert_allclose(np.sum(np.asarray(gaussian_score(kappa, sigma, POWER)) * direction), slope, rtol=1e-7)


def test_a_new_network_leaves_the_gaussian_score():
    kappa = np.random.default_rng(2).standard_normal((2, 16, 16)).astype("float32")
    sigma = np.array([0.02, 0.2], "float32")
    np.testing.assert_array_equal(
        np.asarray(prior_score(prior(), kappa, sigma)), np.asarray(gaussian_score(kappa, sigma, prior().power))
    )


def shifted(one):
    """The prior after its weights were moved, so that the network says something."""
    rng = np.random.default_rng(3)
    one.network.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in one.network.get_weights()])
    return one


def residuals(one, maps, seed=1, **settings):
    """Weighted residuals that the training squares, as maps."""
    model = ScoreMatching([one], dataclasses.replace(TRAIN, **{"long_weight": 0.0, **settings}), seed=seed)
    found = np.asarray(model((maps,)))
    return found.reshape((-1, *maps.shape) if found.size > maps.size else maps.shape)


def test_the_loss_of_a_new_network_is_one_whatever_the_weights():
    maps = gaussian_field(POWER, 256, rng=np.random.default_rng(2)).astype("float32")
    for weights in ({"peak_weight": 0.0}, {"peak_weight": 3.0}, {"peak_weight": 0.0, "long_weight": 2.0}):
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


def test_an_error_of_the_mean_counts_more_with_a_weight_for_long_waves():
    waves = long_waves((16, 16))
    assert np.mean(waves**2) == pytest.approx(1)
    assert waves[0, 0] == waves[0, 1] == pytest.approx(4 * waves[0, 4])
    maps = np.zeros((64, 16, 16), "float32")
    level = {"sigma_min": 0.0499, "sigma_max": 0.0501}
    biased = maps + np.float32(0.01)
    plain, long = (
        [np.mean(residuals(prior(), one, long_weight=weight, **level) ** 2) for one in (maps, biased)]
        for weight in (0.0, 1.0)
    )
    assert long[1] - long[0] > 2 * (plain[1] - plain[0]) > 0


def test_levels_are_log_uniform_or_half_normal():
    maps = np.zeros((4096, 2, 2), "float32")
    white = Prior(np.full((2, 2), 1e-12, "float32"), 0.82)  # a model without power: what is left is the noise itself
    levels = {}
    for noise in ("log_uniform", "half_normal"):
        model = ScoreMatching([white], dataclasses.replace(TRAIN, noise=noise), seed=4)
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


def test_the_network_is_told_the_margin():
    kappa = 0.02 * np.random.default_rng(6).standard_normal((2, 16, 16)).astype("float32")
    sigma = np.array([0.02, 0.1], "float32")
    free = shifted(prior())
    scores = [np.asarray(prior_score(one, kappa, sigma)) for one in (free, dataclasses.replace(free, margin=4))]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3 * np.abs(scores[0]).max()
    inside = inside_margin((8, 6), 2)
    assert inside.sum() == inside[2:6, 2:4].sum() == 8


def test_no_denoised_map_exceeds_the_highest_of_the_training_maps():
    kappa = 0.02 * np.random.default_rng(5).standard_normal((2, 16, 16)).astype("float32")
    sigma = np.array([0.02, 0.1], "float32")
    free = shifted(prior())
    without = np.asarray(denoised(kappa, sigma, prior_score(free, kappa, sigma)))
    highest = float(np.quantile(without, 0.9))
    bounded = dataclasses.replace(free, highest=highest)
    found = np.asarray(denoised(kappa, sigma, prior_score(bounded, kappa, sigma)))
    np.testing.assert_allclose(found, np.minimum(without, highest), atol=1e-5)


def test_saved_is_reloaded(tmp_path):
    kappa = 0.02 * np.random.default_rng(4).standard_normal((2, 16, 16)).astype("float32")
    sigma = np.array([0.02, 0.2], "float32")
    one = dataclasses.replace(shifted(prior()), highest=0.03)
    save_prior(one, SETTINGS, tmp_path)
    score = np.asarray(prior_score(one, kappa, sigma))
    np.testing.assert_array_equal(np.asarray(prior_score(load_prior(tmp_path), kappa, sigma)), score)
    assert np.abs(score - np.asarray(gaussian_score(kappa, sigma, POWER))).max() > 1e-3


def test_the_spectrum_of_a_smaller_grid_is_loaded_with_the_same_network(tmp_path):
    save_prior(prior(), SETTINGS, tmp_path, crops={8: POWER[::2, ::2]})
    small = load_prior(tmp_path, side=8)
    np.testing.assert_allclose(small.power, POWER[::2, ::2])
    assert small.network.count_params() == prior().network.count_params()
    with pytest.raises(BorderError, match=r"power_4\.npy"):
        load_prior(tmp_path, side=4)


@pytest.mark.parametrize("file", ["network.json", "network.weights.h5", "power.npy"])
def test_a_prior_cut_short_is_told(tmp_path, file):
    save_prior(prior(), SETTINGS, tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BorderError, match=str(tmp_path)):
        load_prior(tmp_path)


def test_weights_of_another_network_are_told(tmp_path):
    save_prior(prior(), SETTINGS, tmp_path)
    path = tmp_path / "network.json"
    path.write_text(path.read_text().replace('"blocks": 1', '"blocks": 2'))
    with pytest.raises(BorderError, match="dvc repro -f train"):
        load_prior(tmp_path)


@pytest.mark.parametrize(("shape", "pixel_arcmin"), [((24, 24), 0.82), ((16, 16), 0.41)])
def test_a_prior_of_another_grid_is_told(shape, pixel_arcmin):
    check_grid(prior(), (16, 16), 0.82)
    with pytest.raises(BorderError, match=r"made for 16x16 pixels of 0\.82 arcmin"):
        check_grid(prior(), shape, pixel_arcmin)


@pytest.mark.parametrize("normalisation", ["none", "batch", "group"])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize(("skips", "conditioning"), [("sum", "scale_shift"), ("concatenate", "channel")])
def test_network_takes_maps_of_any_size(normalisation, spectral_norm, skips, conditioning):
    settings = dataclasses.replace(
        SETTINGS, normalisation=normalisation, spectral_norm=spectral_norm, skips=skips, conditioning=conditioning
    )
    network = build_network(settings)
    out = network([np.ones((2, 24, 32, 3), "float32"), np.ones((2, 1), "float32")])
    assert out.shape == (2, 24, 32, 1)
    assert np.all(np.asarray(out) == 0)


@pytest.mark.parametrize("conditioning", ["scale_shift", "channel"])
def test_network_is_told_the_noise_level(conditioning):
    settings = dataclasses.replace(SETTINGS, conditioning=conditioning)
    network = shifted(dataclasses.replace(prior(), network=build_network(settings))).network
    maps = np.ones((2, 16, 16, 3), "float32")
    low, high = np.asarray(network([maps, np.array([[-1.0], [1.0]], "float32")]))
    assert np.abs(high - low).max() > 1e-3


def test_both_backends_give_the_same_score(tmp_path):
    kappa = (0.02 * np.random.default_rng(5).standard_normal((2, 16, 16))).astype("float32")
    sigma = np.array([0.02, 0.2], "float32")
    one = shifted(prior())
    save_prior(one, SETTINGS, tmp_path)
    np.save(tmp_path / "kappa.npy", kappa)
    code = (
        "import numpy as np\n"
        "from analysis.score import load_prior, prior_score\n"
        f"folder = {str(tmp_path)!r}\n"
        "kappa, sigma = np.load(folder + '/kappa.npy'), np.array([0.02, 0.2], 'float32')\n"
        "np.save(folder + '/score.npy', np.asarray(prior_score(load_prior(folder), kappa, sigma)))\n"
    )
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        score = np.load(tmp_path / "score.npy")
        np.testing.assert_allclose(score, np.asarray(prior_score(one, kappa, sigma)), rtol=2e-3, atol=1e-4)
