"""Training: crops that batch and epoch decide, a network that learns what a Gaussian cannot, and a run that resumes."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from pipeline import PATHS

from analysis.flatsky.power import ell_grid, gaussian_field, periodogram
from analysis.params import GridParams, load_params
from analysis.prior.score import prior_score
from analysis.prior.training import (
    EpochLog,
    LevelValidation,
    current_score,
    level_errors,
    save_history,
    train_prior,
    training_record,
    untrained,
)

POWER = 4e-3 * (np.maximum(ell_grid((32, 32), 0.82), 500) / 500) ** -1.5
GRID = GridParams(pixels=32, pixel_arcmin=0.82)
PARAMS = load_params().train
SMALL = dataclasses.replace(
    PARAMS,
    epochs=2,
    steps_per_epoch=60,
    batch=4,
    learning_rate=0.003,
    ema_momentum=0.9,
    margin=4,
    peak_weight=1.0,
    network=dataclasses.replace(PARAMS.network, widths=[8, 16, 16]),
)
TINY = dataclasses.replace(SMALL, epochs=4, network=dataclasses.replace(PARAMS.network, widths=[4, 8]))


def skewed_maps(n, seed):
    """Shifted lognormal maps with a spectrum near `POWER`: voids and peaks, as convergence has."""
    gaussian = gaussian_field(POWER, n, rng=np.random.default_rng(seed)) / np.sqrt(POWER.mean())
    return (0.06 * (np.exp(0.9 * gaussian - 0.405) - 1)).astype("float32")


def powers(maps):
    """Spectra of whole maps and of crops."""
    return [periodogram(maps), periodogram(maps[:, :16, :16])]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    maps = skewed_maps(64, 2)
    return train_prior(
        maps, skewed_maps(8, 3), powers(maps), GRID, SMALL, seed=1, log_folder=tmp_path_factory.mktemp("log")
    )


def test_network_denoises_better_than_the_gaussian_score(trained):
    prior, history, _ = trained
    maps = skewed_maps(8, 4)
    assert maps.max() > prior.highest  # by a few pixels, which no prior of these maps can know
    errors = level_errors(prior, np.minimum(maps, prior.highest), (0.02, 0.04), seed=5)
    assert max(errors) < 0.98
    assert len(history["loss"]) == 2
    assert history["error_0.02"][-1] < history["error_0.02"][0] < 1.01


def test_the_history_is_a_plain_table(trained, tmp_path):
    save_history(trained[1], tmp_path / "history.csv")
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0].split(",")[:2] == ["epoch", "loss"]
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]
    assert float(lines[2].split(",")[1]) == trained[1]["loss"][1]


def test_what_the_training_cost_is_recorded(trained, tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    record = training_record(trained[0], SMALL, "float32", trained[2], tmp_path / "weights")
    assert record["steps"] == 120
    assert record["weights"] == trained[0].network.count_params()
    assert record["seconds"] > 0
    assert re.match(r"\d+ (cores, .+|x .+)", record["hardware"])


def test_seconds_of_an_epoch_that_was_run_twice_count_once(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('\n[0, {"loss": 1.0}, 10.0]\n[1, {"loss": 0.9}, 20.0]\n[1, {"lo\n[1, {"loss": 0.8}, 30.0]')
    assert EpochLog(path, resumed=True).history() == ({"loss": [1.0, 0.8]}, 40.0)


def test_on_gaussian_maps_it_does_no_better(trained):
    prior = trained[0]
    gaussian = gaussian_field(prior.power, 8, rng=np.random.default_rng(6))
    chance = 2e-3  # of 8 maps of 32 x 32 pixels
    assert min(level_errors(prior, gaussian, (0.02, 0.04), seed=7)) > 1 - chance


@pytest.mark.long
def test_a_training_cut_in_a_validation_ends_as_an_uncut_one(trained, tmp_path, monkeypatch):
    maps, validation = skewed_maps(64, 2), skewed_maps(8, 3)
    original = LevelValidation.on_epoch_end

    def cut(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("power cut")
        original(self, epoch, logs)

    monkeypatch.setattr(LevelValidation, "on_epoch_end", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train_prior(maps, validation, powers(maps), GRID, SMALL, seed=1, log_folder=tmp_path)
    monkeypatch.undo()
    kept, log = tmp_path / "checkpoint", tmp_path / "history.jsonl"
    assert [path.name for path in kept.iterdir()] == ["epoch_000001.weights.h5"]
    (kept / "epoch_000002.weights.h5").write_bytes(b"of a disk that lost its power")
    first_epoch = log.read_text().splitlines()[1]  # with its seconds, which no other run takes
    prior, history, _ = train_prior(maps, validation, powers(maps), GRID, SMALL, seed=1, log_folder=tmp_path)
    assert log.read_text().splitlines()[1] == first_epoch, "the first epoch was run again"
    assert history.keys() == trained[1].keys()
    # within a process, bits depend on where in memory arrays lie; that of the next test is new each time
    np.testing.assert_allclose(history["loss"], trained[1]["loss"], rtol=1e-5)  # the epoch before the cut included
    for resumed, whole in zip(prior.network.get_weights(), trained[0].network.get_weights(), strict=True):
        np.testing.assert_allclose(resumed, whole, atol=1e-5)


TRAINING = """
import sys
from pathlib import Path

import numpy
import test_training as t

folder, out = map(Path, sys.argv[1:])
maps = t.skewed_maps(64, 2)
prior, history, _ = t.train_prior(
    maps, t.skewed_maps(8, 3), t.powers(maps)[:1], t.GRID, t.TINY, seed=1, log_folder=folder
)
numpy.savez(out, *prior.network.get_weights(), loss=history["loss"])
"""


@pytest.mark.long
def test_a_training_killed_at_a_random_moment_ends_with_the_same_bits(tmp_path):
    environment = {**os.environ, "PYTHONPATH": PATHS}

    def train(folder, out):
        command = [sys.executable, "-W", "ignore", "-c", TRAINING, str(tmp_path / folder), str(tmp_path / out)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    undisturbed, cut = train("whole", "whole.npz"), train("cut", "cut.npz")
    checkpoint, log = (tmp_path / "cut" / name for name in ("checkpoint/epoch_000001.weights.h5", "history.jsonl"))
    while cut.poll() is None and not checkpoint.is_file():
        time.sleep(0.02)
    time.sleep(np.random.default_rng(3).uniform(0, 0.5))
    assert cut.poll() is None, "the training was over before it was killed"
    cut.kill()
    cut.wait()
    first_epoch = log.read_text().splitlines()[1]
    assert undisturbed.wait() == train("cut", "cut.npz").wait() == 0
    assert log.read_text().splitlines()[1] == first_epoch, "the first epoch was run again"
    whole, resumed = (np.load(tmp_path / f"{name}.npz") for name in ("whole", "cut"))
    assert whole.files == resumed.files
    for name in whole.files:
        np.testing.assert_array_equal(resumed[name], whole[name])


def distance_from_current_score(model, maps):
    """How far the score that validation uses is from that of the network, after steps since it was compiled."""
    prior, sigma = model.priors[0], np.full(len(maps), 0.03, "float32")
    score = current_score(prior)
    score(maps, sigma)
    for weight in model.network.trainable_variables:
        weight.assign(weight * 1.5 + 0.01)
    found, expected = (np.asarray(one(maps, sigma)) for one in (score, lambda *noisy: prior_score(prior, *noisy)))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.long
def test_half_precision_learns_the_same_and_keeps_whole_weights(trained):
    maps = skewed_maps(64, 2)
    model, batches = untrained(maps, powers(maps), GRID, SMALL, seed=1, precision="bfloat16")
    assert {str(weight.dtype) for weight in model.network.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model.network.layers if "conv" in layer.name} == {"bfloat16", "float32"}
    losses = [float(model.train_on_batch(*batches[index])) for index in range(60)]
    first = trained[1]["loss"][0]
    assert abs(np.mean(losses) / first - 1) < 0.02


def test_validation_sees_the_weights_of_the_moment(trained):
    model, _ = untrained(skewed_maps(4, 2), powers(skewed_maps(4, 2)), GRID, SMALL, seed=1)
    assert distance_from_current_score(model, skewed_maps(2, 3)) < 1e-5


DEVICES = """
import json, numpy
import test_training as t
from analysis.prior.batches import MapStore
from analysis.prior.training import untrained

maps = t.skewed_maps(64, 2)
model, batches = untrained(maps, t.powers(maps)[:1], t.GRID, t.TINY, seed=1)
losses = [float(model.train_on_batch(*batches[index])) for index in range(6)]
weights = [float(numpy.abs(numpy.asarray(weight)).sum()) for weight in model.network.trainable_variables]
distance = t.distance_from_current_score(model, maps[:2])
large = MapStore(numpy.zeros((131, 512, 512), "float32"))  # of so many pixels Keras makes a weight where it will lie
holders = [len(store.maps.value.sharding.device_set) for store in (model.store, large)]
print(json.dumps([holders, losses, weights, distance]))
"""


def on_devices(count):
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        "PYTHONPATH": PATHS,
    }
    return subprocess.run([sys.executable, "-c", DEVICES], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_two_devices_train_as_one_does():
    runs = [on_devices(count) for count in (1, 2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    (one, losses, weights, distance), (two, losses_of_two, weights_of_two, _) = (
        json.loads(run.stdout.splitlines()[-1]) for run in runs
    )
    assert (one, two) == ([1, 1], [2, 2])
    assert losses[-1] != losses[0]
    np.testing.assert_allclose(losses_of_two, losses, rtol=1e-4)
    np.testing.assert_allclose(weights_of_two, weights, rtol=1e-3)
    assert distance < 1e-5


@pytest.mark.long
def test_a_batch_that_devices_cannot_share_is_told_in_a_sentence():
    run = on_devices(3)
    assert run.returncode == 1
    assert "BorderError: 3 devices cannot share batches of 4 crops: make train.batch a multiple of 3" in run.stderr
