"""Training of the prior's network, with validation at fixed noise levels after each epoch, and its history."""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from astropy.table import Table

from analysis.core.files import atomic, sha256
from analysis.core.progress import progress
from analysis.flatsky.backend import compiled, device_use, fit_through_xla, hardware, share_devices
from analysis.flatsky.maps import central_crops, crops, load_maps
from analysis.flatsky.power import load_power, prior_power
from analysis.params import GridParams, Params, Precision, TrainParams, stage_rng
from analysis.prior.batches import CropBatches, stack_sizes
from analysis.prior.loss import ScoreMatching, denoising_error
from analysis.prior.margin import gaussian_margin
from analysis.prior.optimizer import training_optimizer
from analysis.prior.recalibration import measured
from analysis.prior.score import Prior, denoised, prior_score, score_network

log = logging.getLogger(__name__)

VALIDATION_SIGMA = (0.001, 0.0025, 0.005, 0.01, 0.014, 0.02, 0.028, 0.04, 0.057, 0.08, 0.16, 0.32)
HELD_OUT = 16  # maps
RECALIBRATION_MAPS = 96
WATCHED_SIGMA, WATCHED_MAPS = (0.01, 0.02, 0.04, 0.08), 8  # after each epoch: enough to see how a training goes


class LevelValidation(keras.callbacks.Callback):
    """Denoising error of held-out maps over the Gaussian score's, at each noise level, after each epoch."""

    def __init__(self, prior: Prior, maps: np.ndarray, *, seed: int):
        super().__init__()
        self.relative_error = _relative_error(prior, maps[:WATCHED_MAPS], seed)
        self.averaged = keras.callbacks.SwapEMAWeights()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the error of the averaged weights at each noise level to the epoch's log."""
        self.averaged.set_model(self.model)
        self.averaged.on_test_begin()
        errors = {f"error_{sigma:g}": self.relative_error(sigma) for sigma in WATCHED_SIGMA}
        self.averaged.on_test_end()
        logs.update(errors)
        log.info("epoch %d: loss %.4f, error / Gaussian %s", epoch + 1, logs["loss"], _row(errors.values()))
        for line in device_use():
            log.info("epoch %d: %s", epoch + 1, line)


class Progress(keras.callbacks.Callback):
    """Lines of progress over the steps of all epochs, with those before an interruption."""

    async_safe = True  # training need not wait for it

    def __init__(self, steps: int, *, done: int):
        super().__init__()
        self.steps, self.done = steps, done

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the clock."""
        self.advance = progress("training", self.steps, done=self.done)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count a step."""
        self.advance()


class EpochRandomness(keras.callbacks.Callback):
    """Crops and noise of an epoch depend on its number, so that a resumed training continues with the same bits."""

    def __init__(self, batches: CropBatches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the epoch of the crops, and the state of the noise: (seed, number of draws)."""
        self.batches.epoch = epoch
        self.model.noise.state.assign(np.array([self.batches.seed, epoch << 20], "uint32"))


class EpochLog(keras.callbacks.Callback):
    """One line of JSON for each epoch; unlike the history that `fit` returns, it survives an interruption."""

    def __init__(self, path: Path, *, resumed: bool):
        super().__init__()
        self.path = path
        if not resumed:
            path.unlink(missing_ok=True)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Append the epoch's numbers and seconds, on a new line even if the line before was cut short."""
        numbers = {key: float(value) for key, value in logs.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps([epoch, numbers, time.perf_counter() - self.begun]))

    def history(self) -> tuple[dict[str, list[float]], float]:
        """All numbers of the training by name, and its seconds; for an epoch that was run twice, the later ones."""
        epochs = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                epoch, *rest = json.loads(line)
            except ValueError:
                continue  # empty, or cut short: the epoch was run again
            epochs[epoch] = rest
        rows = [numbers for _, (numbers, _) in sorted(epochs.items())]
        return {key: [row[key] for row in rows] for key in rows[-1]}, sum(seconds for _, seconds in epochs.values())


class Checkpoint(keras.callbacks.Callback):
    """Weights and optimiser after the last two epochs, in files that are whole whenever the process dies.

    Keras' own `BackupAndRestore` overwrites its file in place: if it is killed there, nothing is left. The second file
    is for a machine that stops before its disk has the last one.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def restore(self, model: keras.Model) -> int:
        """Load the last state of a training into a compiled model; return the number of epochs done."""
        for path in reversed(self._kept()):
            model.optimizer.build(model.trainable_variables)
            try:
                model.load_weights(path)
            except OSError as error:
                log.warning("%s cannot be read (%s); continuing from the epoch before", path.name, error)
                continue
            return int(path.name.removeprefix("epoch_").partition(".")[0])
        return 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write the state after an epoch, then delete all but the last two."""
        with atomic(self.folder / f"epoch_{epoch + 1:06d}.weights.h5") as temporary:
            self.model.save_weights(temporary)
        last_two = self._kept()[-2:]
        for path in self.folder.glob("*.weights.h5"):  # also half-written files of a process that died
            if path not in last_two:
                path.unlink()

    def _kept(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(self.folder.glob("epoch_*.weights.h5"))


def training_data(folder: Path, theory: Table, params: Params) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Training maps, held-out maps, and the spectra of the Gaussian score on the grid and on the smaller crops.

    Parameters
    ----------
    folder : with the maps of `train` and `validation`, and the spectrum on the grid
    theory : its columns `ell` and `c_ell` [sr]

    Returns
    -------
    maps : (n, side, side)
    held_out : (at most 16, ny, nx), of the grid's size, with the prior's margin
    powers : (ny, nx) each
    """
    maps, power, train = load_maps(folder, "train").kappa, load_power(folder / "power.npy"), params.train
    held_out = central_crops(load_maps(folder, "validation").kappa, params.grid.pixels)[:HELD_OUT]
    held_out = gaussian_margin(power, train.margin)(held_out, stage_rng(train.seed, "train", "margin"))
    cropped = crops(maps, train.crop_pixels, rng=stage_rng(train.seed, "train", "spectrum"))
    known = (theory["ell"], theory["c_ell"], cropped, params.grid.pixel_arcmin, params.simulations.join_ell)
    return maps, held_out, [power, prior_power(*known)]


def train_prior(
    maps: np.ndarray,
    validation_maps: np.ndarray,
    powers: Sequence[np.ndarray],
    grid: GridParams,
    params: TrainParams,
    *,
    seed: int,
    log_folder: Path,
    precision: Precision = "float32",
) -> tuple[Prior, dict[str, list[float]], float]:
    """Train a network on maps and validate it on others.

    Parameters
    ----------
    maps : (n, side, side), clean training maps; crops are drawn from them
    validation_maps : (m, ny, nx), clean, of the grid's size, with the prior's margin
    powers : (ny, nx) each, pixel variance per mode of the grid, then of each other side of crops
    log_folder : of TensorBoard's events and the checkpoint of an unfinished training
    precision : of the network's layers

    Returns
    -------
    prior : on the grid, with the running average of the weights
    history : for each epoch the weighted loss (`ScoreMatching`) and `error_<sigma>`, RMSE over the Gaussian score's
    seconds : of all epochs, with those before an interruption
    """
    model, batches = untrained(maps, powers, grid, params, seed=seed, precision=precision)
    prior = model.priors[0]
    checkpoint = Checkpoint(log_folder / "checkpoint")
    log_folder.mkdir(parents=True, exist_ok=True)
    done = checkpoint.restore(model)
    epochs = EpochLog(log_folder / "history.jsonl", resumed=done > 0)
    callbacks = [
        LevelValidation(prior, validation_maps, seed=seed),
        keras.callbacks.TensorBoard(log_folder / "tensorboard", write_graph=False),
        epochs,
        checkpoint,  # after the epoch's numbers are written, so that none is lost
        EpochRandomness(batches),
        Progress(params.epochs * params.steps_per_epoch, done=done * params.steps_per_epoch),
    ]
    model.fit(batches, initial_epoch=done, epochs=params.epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return dataclasses.replace(prior, highest=float(maps.max())), *epochs.history()


def recalibrated(prior: Prior, maps: np.ndarray, *, seed: int, turned: bool = True) -> Prior:
    """A trained prior with the mean error of its denoised maps taken away, as `recalibration` measures it.

    Parameters
    ----------
    maps : (n, side, side), clean training maps
    turned : as for `crops`
    """
    prior, rng = dataclasses.replace(prior, recalibration=None), stage_rng(seed, "train", "recalibration")
    chosen = maps[np.sort(rng.permutation(len(maps))[:RECALIBRATION_MAPS])]
    inside = crops(chosen, len(prior.power), rng=rng, turned=turned)
    clean, score = np.asarray(gaussian_margin(prior.power, prior.margin)(inside, rng)), current_score(prior)

    def denoise(noisy, sigma):
        return denoised(noisy, sigma, score(noisy, sigma))

    found = measured(denoise, clean, prior.noise_range, margin=prior.margin, rng=rng)
    return dataclasses.replace(prior, recalibration=found)


def training_record(
    prior: Prior, params: TrainParams, precision: Precision, seconds: float, weights: Path
) -> dict[str, str | int | float]:
    """Cost of a training, and the digest of the file of its network."""
    return {
        "pixels": prior.power.shape[-1],
        "pixel_arcmin": prior.pixel_arcmin,
        "hardware": hardware(),
        "backend": keras.backend.backend(),
        "precision": precision,
        "weights": prior.network.count_params(),
        "epochs": params.epochs,
        "steps": params.epochs * params.steps_per_epoch,
        "batch": params.batch,
        "seconds": round(seconds, 1),
        "network": sha256(weights),
    }


def save_history(history: dict[str, list[float]], path: Path) -> None:
    """Write a training's numbers as CSV, one row for each epoch; `dvc plots` reads it too."""
    epochs = range(1, 1 + len(next(iter(history.values()))))
    with atomic(path) as temporary:
        Table({"epoch": epochs, **history}).write(temporary, format="ascii.csv")


def untrained(
    maps: np.ndarray,
    powers: Sequence[np.ndarray],
    grid: GridParams,
    params: TrainParams,
    *,
    seed: int,
    precision: Precision = "float32",
) -> tuple[ScoreMatching, CropBatches]:
    """A new network in the priors of all grids, compiled, and its batches; arguments as for `train_prior`."""
    keras.utils.set_random_seed(seed)
    sides = [len(power) for power in powers]
    share_devices(stack_sizes(sides, params.batch))
    prior = Prior(
        power=powers[0].astype("float32"),
        pixel_arcmin=grid.pixel_arcmin,
        network=score_network(params.network, precision, gain=params.local_gain),
        gate_sigma=params.gate_sigma,
        margin=params.margin,
        gain=params.local_gain,
        skip=params.local_skip,
        noise_range=(params.sigma_min, params.sigma_max),
    )
    priors = [dataclasses.replace(prior, power=power.astype("float32")) for power in powers]
    model = ScoreMatching(priors, maps, params, seed=seed)
    batches = CropBatches(maps, sides, params, seed=seed)
    model(batches[0][0])  # builds it, so that a checkpoint can be restored before the first step
    model.compile(training_optimizer(params), jit_compile=fit_through_xla())
    return model, batches


def level_errors(prior: Prior, maps: np.ndarray, sigmas: Sequence[float], *, seed: int) -> list[float]:
    """Denoising RMSE of the prior's score over the Gaussian score's at each noise level, with the same noise.

    Only pixels inside the prior's margin count.

    Parameters
    ----------
    maps : (n, ny, nx), clean
    """
    relative_error = _relative_error(prior, maps, seed)
    return [relative_error(sigma) for sigma in sigmas]


def _relative_error(prior: Prior, maps: np.ndarray, seed: int) -> Callable[[float], float]:
    """A function of the noise level; the error of the Gaussian score is computed once."""
    gaussian = Prior(power=prior.power, pixel_arcmin=prior.pixel_arcmin)
    gaussian_score = compiled(lambda kappa, sigma: prior_score(gaussian, kappa, sigma))
    score = current_score(prior)
    kept: dict[float, float] = {}

    def error(of: Callable, sigma: float) -> float:
        rng = np.random.default_rng([seed, round(1e6 * sigma)])
        return float(np.mean(denoising_error(of, maps, sigma, rng=rng, margin=prior.margin)))

    def relative_error(sigma: float) -> float:
        if sigma not in kept:
            kept[sigma] = error(gaussian_score, sigma)
        return (error(score, sigma) / kept[sigma]) ** 0.5

    return relative_error


def current_score(prior: Prior) -> Callable:
    """The prior's score of (kappa, sigma) with the network's current weights, compiled once.

    Weights are arguments here, since a function that JAX compiles keeps the weights it was compiled with.
    """
    variables = prior.network.variables

    @compiled
    def score(values, kappa, sigma):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return prior_score(prior, kappa, sigma)

    return lambda kappa, sigma: score([variable.value for variable in variables], kappa, sigma)


def _row(values) -> str:
    """Numbers of a log line."""
    return " ".join(f"{value:.3f}" for value in values)
