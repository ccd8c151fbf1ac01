"""One set of weights on both array libraries: the same score, and the same samples of every sampler."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from pipeline import PATHS
from small_prior import POWER, SETTINGS, shifted

from analysis.flatsky.backend import compiled
from analysis.flatsky.power import gaussian_field, resampled_power
from analysis.params import load_params
from analysis.posterior.sampler import annealer
from analysis.prior.files import load_prior, save_prior
from analysis.prior.score import Prior, prior_score, score_network
from analysis.prior.training import recalibrated

pytestmark = pytest.mark.long
LEVELS = (0.005, 0.03, 0.2)
SAMPLERS = ("gibbs", "hmc")
TILE = 72  # narrower than the map that is given in tiles


def results(folder, precision="float32"):
    """The score at several noise levels and samples under a mask, of the prior of a folder, by name."""
    rng, prior, params = np.random.default_rng(5), load_prior(folder, precision=precision), load_params().sample
    kappa = 0.05 * rng.standard_normal((2, *POWER.shape)).astype("float32")
    found = {
        f"score at {sigma}": np.asarray(prior_score(prior, kappa, np.full(2, sigma, "float32"))) for sigma in LEVELS
    }
    wide = dataclasses.replace(prior, power=resampled_power(POWER, 96).astype("float32"))
    kappa = 0.05 * rng.standard_normal((2, 96, 96)).astype("float32")
    found["score"] = np.asarray(prior_score(wide, kappa, np.full(2, 0.03, "float32")))
    wide = dataclasses.replace(wide, tiles=load_prior(folder, tile_pixels=TILE).tiles)
    in_tiles = compiled(lambda *of: prior_score(wide, *of))
    found["score in tiles"] = np.asarray(in_tiles(kappa, np.full(2, 0.03, "float32")))
    weight = np.zeros((2, *POWER.shape), "float32")
    weight[:, 3:13, 3:13] = 400.0
    gamma = np.where(weight > 0, 0.05 * rng.standard_normal(weight.shape), 0.0).astype("float32")
    for preset in SAMPLERS:
        anneal = annealer(prior, dataclasses.replace(params, preset=preset))
        found[preset] = np.asarray(anneal(gamma, weight, 2, rng=np.random.default_rng(1))[0])
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Results on TensorFlow, of this process, on JAX, of another, and with layers in half precision."""
    folder = tmp_path_factory.mktemp("prior")
    network = score_network(SETTINGS, gain=True)
    one = Prior(POWER.astype("float32"), 0.82, network, 1.0, (0.002, 1.0), margin=2, gain=True, highest=0.5)
    maps = gaussian_field(POWER, 4, rng=np.random.default_rng(6))
    save_prior(recalibrated(shifted(one, by=0.02), maps, seed=1), SETTINGS, folder)
    code = f"import numpy, test_backends as t; numpy.savez({str(folder / 'jax.npz')!r}, **t.results({str(folder)!r}))"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": PATHS}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return results(folder), np.load(folder / "jax.npz"), results(folder, "bfloat16")


@pytest.mark.parametrize("what", [*(f"score at {sigma}" for sigma in LEVELS), "score in tiles", *SAMPLERS])
def test_both_backends_give_the_same(found, what):
    ours, theirs = (of[what] for of in found[:2])
    assert np.std(ours) > 0
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(ours)


@pytest.mark.parametrize("backend", [0, 1])
def test_tiles_give_the_same_on_both(found, backend):
    whole, tiles = (found[backend][what] for what in ("score", "score in tiles"))
    assert np.abs(tiles - whole).max() < 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("what", [*(f"score at {sigma}" for sigma in LEVELS), *SAMPLERS])
def test_half_precision_rounds_the_score_and_the_samples_alone(found, what):
    whole, half = found[0][what], found[2][what]
    distance = np.linalg.norm(whole - half) / np.linalg.norm(whole)
    assert 1e-6 < distance < 0.02
