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
from analysis.power import wavenumbers
from analysis.score import Prior, check_grid, denoised, gaussian_score, load_prior, prior_score, save_prior

SETTINGS = dataclasses.replace(load_params().train.network, widths=[4, 8, 16], blocks=1)
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
@pytest.mark.parametrize("skips", ["sum", "concatenate"])
def test_network_takes_maps_of_any_size(normalisation, spectral_norm, skips):
    settings = dataclasses.replace(SETTINGS, normalisation=normalisation, spectral_norm=spectral_norm, skips=skips)
    network = build_network(settings)
    out = network([np.ones((2, 24, 32, 2), "float32"), np.ones((2, 1), "float32")])
    assert out.shape == (2, 24, 32, 1)
    assert np.all(np.asarray(out) == 0)


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
