"""The prior's score: exact for Gaussian fields, the network's share zero at the start, saved = reloaded."""

import dataclasses
import json

import numpy as np
import pytest
from small_prior import POWER, SETTINGS, shifted

from analysis.core.files import BorderError
from analysis.prior.files import load_prior, save_prior
from analysis.prior.network import build_network
from analysis.prior.recalibration import recalibration_of
from analysis.prior.score import (
    Prior,
    check_grid,
    denoised,
    denoised_by,
    gaussian_score,
    inside_margin,
    local_skip,
    prior_score,
    score_network,
)


def prior(*, gain=True):
    return Prior(POWER.astype("float32"), 0.82, score_network(SETTINGS, gain=gain), 0.3, (0.005, 0.5), gain=gain)


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


def test_what_stands_out_of_the_noise_is_left_as_it_is():
    sigma = np.array([0.02], "float32")
    ones = np.ones((1, 1, 1), "float32")
    share = {z: float(local_skip(z * ones, sigma, POWER)[0, 0, 0]) for z in (0.0, 1.0, 3.0, 40.0, 1e6)}
    assert share[0.0] < 1e-12
    assert share[1.0] < 2e-3 < share[3.0] < 0.15
    assert 1 - share[40.0] < 2e-3
    assert share[1e6] == 1
    # significant, but lower than the noise
    assert float(local_skip(20 * ones, np.array([1.0], "float32"), POWER)[0, 0, 0]) < 0.2


@pytest.mark.parametrize("variance", [2e-5, 2e-4, 1e-2])
def test_a_local_gain_gives_the_wiener_filter_of_another_variance(variance):
    """A checkerboard, a single mode: what a gain must be so that the mode has this variance and not the model's."""
    board = 0.02 * (1.0 - 2.0 * (np.indices((1, 16, 16)).sum(axis=0) % 2)).astype("float32")
    sigma = np.array([0.005], "float32")
    expected, local = (power / (power + sigma[0] ** 2) for power in (POWER[8, 8], variance))
    gain = (local - expected) / (1 - expected)

    def network(inputs, training):
        np.testing.assert_allclose(inputs[0][..., 3], board / (POWER[8, 8] + sigma[0] ** 2) ** 0.5, rtol=1e-4)
        return np.stack([np.zeros_like(board), np.full_like(board, -np.log(1 - gain))], axis=-1)

    one = Prior(POWER.astype("float32"), 0.82, network, gain=True)
    found = np.asarray(denoised(board, sigma, prior_score(one, board, sigma)))
    np.testing.assert_allclose(found, local * board, atol=1e-6)


def test_as_the_noise_falls_the_second_output_is_the_log_of_the_variance_over_the_model():
    board = 0.02 * (1.0 - 2.0 * (np.indices((1, 16, 16)).sum(axis=0) % 2)).astype("float32")
    for log_variance in (-1.5, 0.7):
        variance, sigma = POWER[8, 8] * np.exp(log_variance), np.array([1e-4], "float32")

        def network(inputs, training, log_variance=log_variance):
            return np.stack([np.zeros_like(board), np.full_like(board, log_variance)], axis=-1)

        one = Prior(POWER.astype("float32"), 0.82, network, gain=True)
        lost = 1 - np.asarray(denoised(board, sigma, prior_score(one, board, sigma))) / board
        np.testing.assert_allclose(lost, sigma[0] ** 2 / (variance + sigma[0] ** 2), rtol=0.04)


@pytest.mark.parametrize("gain", [0.0, 0.03])
def test_where_a_map_stands_out_the_network_moves_it_by_the_noise(gain):
    """A checkerboard far above the noise, a single mode of power S, and a network that says its sign, and some gain."""
    board = 1.0 - 2.0 * (np.indices((1, 16, 16)).sum(axis=0) % 2).astype("float32")
    sigma, low = np.array([0.01], "float32"), 1.0 - POWER[8, 8] / (POWER[8, 8] + 0.01**2)
    moved = {}
    for skip in (False, True):

        def network(inputs, training):
            sign = np.sign(inputs[0][..., :1])
            return np.concatenate([sign, np.full_like(sign, -np.log(1 - gain))], axis=-1)

        one = Prior(POWER.astype("float32"), 0.82, network, gain=True, skip=skip)
        moved[skip] = np.asarray(denoised(200 * board, sigma, prior_score(one, 200 * board, sigma))) - 200 * board
    np.testing.assert_allclose(moved[True], low * sigma[0] * board, atol=1e-3)
    rms = np.sqrt(POWER.mean())
    missed = rms - 200 * (1 - gain * min(1, rms / sigma[0]))
    np.testing.assert_allclose(moved[False], low * missed * board, rtol=1e-4)


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


@pytest.mark.parametrize("gain", [False, True])
def test_saved_is_reloaded(tmp_path, gain):
    kappa = 0.02 * np.random.default_rng(4).standard_normal((2, 16, 16)).astype("float32")
    sigma = np.array([0.02, 0.2], "float32")
    one = dataclasses.replace(shifted(prior(gain=gain)), skip=not gain, highest=0.03)
    if gain:
        rows = {"sigmas": [0.01, 0.5], "values": [[-0.02, 0.06]] * 2, "shifts": [[0.004, 0.0], [0.0, 0.0]]}
        one = dataclasses.replace(one, recalibration=recalibration_of(rows))
    save_prior(one, SETTINGS, tmp_path)
    if not gain:  # as in releases before there was one
        path = tmp_path / "network.json"
        path.write_text(
            path.read_text().replace(' "local_variance": false,\n', "").replace(' "recalibration": null,\n', "")
        )
        assert not {"local_variance", "recalibration"} & set(json.loads(path.read_text()))
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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"blocks": 1', '"blocks": 2'), "dvc repro -f train"),
        (('"local_variance": true', '"gain": true'), "earlier code trained it: its second output is a gain"),
    ],
    ids=["other weights", "the gain of earlier code"],
)
def test_a_network_that_is_not_as_described_is_told(tmp_path, change, told):
    save_prior(prior(), SETTINGS, tmp_path)
    path = tmp_path / "network.json"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(BorderError, match=told):
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


def test_both_scores_denoise_the_same_noise():
    one = shifted(prior())
    truth = np.random.default_rng(4).normal(0, 0.02, (16, 16))
    found = denoised_by(one, truth, 0.05, rng=np.random.default_rng(5))
    assert list(found) == ["noisy", "Gaussian score", "hybrid score"]
    assert np.std(found["noisy"] - truth) == pytest.approx(0.05, rel=0.1)
    k = np.fft.fft2(found["noisy"])  # the Wiener filter is the Gaussian score's mean
    np.testing.assert_allclose(found["Gaussian score"], np.fft.ifft2(k * POWER / (POWER + 0.05**2)).real, atol=1e-6)
    assert np.abs(found["hybrid score"] - found["Gaussian score"]).max() > 1e-4
