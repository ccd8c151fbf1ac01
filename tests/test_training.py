"""Training: crops that batch and epoch decide, a network that learns what a Gaussian cannot, and a run that resumes."""

import dataclasses

import numpy as np
import pytest

from analysis.params import GridParams, load_params
from analysis.power import gaussian_field, periodogram, wavenumbers
from analysis.training import CropBatches, LevelValidation, level_errors, train_prior

POWER = 4e-3 * (np.maximum(wavenumbers((32, 32), 0.82), 500) / 500) ** -1.5
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
    network=dataclasses.replace(PARAMS.network, widths=[8, 16, 16]),
)


def skewed_maps(n, seed):
    """Shifted lognormal maps with a spectrum near `POWER`: voids and peaks, as convergence has."""
    gaussian = gaussian_field(POWER, n, rng=np.random.default_rng(seed)) / np.sqrt(POWER.mean())
    return (0.06 * (np.exp(0.9 * gaussian - 0.405) - 1)).astype("float32")


def powers(maps):
    """Spectra of whole maps and of crops."""
    return [periodogram(maps), periodogram(maps[:, :16, :16])]


def test_batch_and_epoch_decide_the_crops():
    maps = skewed_maps(4, 1)
    params = dataclasses.replace(PARAMS, batch=2, margin=3)
    spectra = [np.full((side, side), 1e-3) for side in (24, 12)]
    first, again, other = (CropBatches(maps, spectra, params, seed=seed) for seed in (1, 1, 2))
    for size in (0, 1):
        np.testing.assert_array_equal(first[3][0][size], again[3][0][size])
        assert not np.array_equal(first[3][0][size], other[3][0][size])
        assert not np.array_equal(first[3][0][size], first[4][0][size])
    first.epoch = 1
    assert not np.array_equal(first[3][0][0], again[3][0][0])
    assert [stack.shape for stack in first[0][0]] == [(2, 24, 24), (8, 12, 12)]  # as many pixels of either
    assert len(first) == params.steps_per_epoch


def test_amplitudes_of_crops_scatter_where_asked():
    maps = np.ones((4, 32, 32), "float32")
    params = dataclasses.replace(PARAMS, batch=400, amplitude_jitter=0.2, margin=0)
    spectra = [np.full((8, 8), 1e-3)]
    amplitudes = np.log(CropBatches(maps, spectra, params, seed=1)[0][0][0][:, 4, 4])
    assert abs(amplitudes.std() - 0.2) < 0.04
    plain = CropBatches(maps, spectra, dataclasses.replace(PARAMS, margin=2), seed=1)[0][0][0]
    assert np.all(plain[:, 2:-2, 2:-2] == 1)
    assert not np.any(plain[:, :2] == 1)  # of the Gaussian margin


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    maps = skewed_maps(64, 2)
    return train_prior(
        maps, skewed_maps(8, 3), powers(maps), GRID, SMALL, seed=1, log_folder=tmp_path_factory.mktemp("log")
    )


def test_network_denoises_better_than_the_gaussian_score(trained):
    prior, history = trained
    maps = skewed_maps(8, 4)
    assert maps.max() > prior.highest  # by a few pixels, which no prior of these maps can know
    errors = level_errors(prior, np.minimum(maps, prior.highest), (0.02, 0.04), seed=5)
    assert max(errors) < 0.98
    assert len(history["loss"]) == 2
    assert history["error_0.02"][-1] < history["error_0.02"][0] < 1.01


def test_on_gaussian_maps_it_does_no_better(trained):
    prior = trained[0]
    gaussian = gaussian_field(prior.power, 8, rng=np.random.default_rng(6))
    assert min(level_errors(prior, gaussian, (0.02, 0.04), seed=7)) > 1


@pytest.mark.parametrize("when", ["in an epoch", "in the validation after it"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(trained, tmp_path, monkeypatch, when):
    maps, validation = skewed_maps(64, 2), skewed_maps(8, 3)
    calls = []
    original = CropBatches.__getitem__

    def failing(self, index):
        calls.append(index)
        if len(calls) == 75:  # in the second epoch
            raise RuntimeError("power cut")
        return original(self, index)

    def unvalidated(self, epoch, logs=None):
        raise RuntimeError("power cut")

    if when == "in an epoch":
        monkeypatch.setattr(CropBatches, "__getitem__", failing)
    else:
        monkeypatch.setattr(LevelValidation, "on_epoch_end", unvalidated)
    with pytest.raises(Exception, match="power cut"):
        train_prior(maps, validation, powers(maps), GRID, SMALL, seed=1, log_folder=tmp_path)
    monkeypatch.undo()
    prior, history = train_prior(maps, validation, powers(maps), GRID, SMALL, seed=1, log_folder=tmp_path)
    assert history.keys() == trained[1].keys()
    np.testing.assert_allclose(history["loss"], trained[1]["loss"], rtol=1e-4)  # epochs before the cut included
    kappa = skewed_maps(8, 4)
    resumed, whole = (level_errors(one, kappa, (0.02, 0.04), seed=5) for one in (prior, trained[0]))
    np.testing.assert_allclose(resumed, whole, rtol=1e-5)
