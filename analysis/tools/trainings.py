"""Trainings that differ in one choice, judged alike on validation maps: `ablation` and `learning`.

The ablation gives each variant of the network the same time on one core. The learning curve changes the number of
N-body boxes, of weights and of steps one by one, to show which of them limits the network. Both start from params.yaml
and the maps in `train.input`. Each training is a task with a file of its own, so that an interrupted run goes on; its
table has the trainings that are done.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError, read_json, write_json
from analysis.core.paths import DATA, ROOT
from analysis.core.tables import load_table, save_table
from analysis.core.workers import scatter
from analysis.flatsky.maps import load_maps
from analysis.judge.prior_checks import prior_test
from analysis.params import Params, load_params, stage_rng
from analysis.prior.training import level_errors, train_prior, training_data, untrained
from analysis.simulations.boxes import nbody_maps

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "as it is, another seed": {"train.seed": 2021},
    "Adam alone": {"train.optimizer": "adam"},
    "no more weight for peaks": {"train.peak_weight": 0.0},
    "no more crops around peaks": {"train.peak_share": 0.0},
    "no more weight for long waves": {"train.long_weight": 0.0},
    "batch normalisation": {"train.network.normalisation": "batch"},
    "group normalisation": {"train.network.normalisation": "group"},
    "spectral normalisation": {"train.network.spectral_norm": True},
    "noise level as a channel of the input": {"train.network.conditioning": "channel"},
    "skips concatenated": {"train.network.skips": "concatenate"},
    "no gate": {"train.gate_sigma": 1e6},
    "no more weight for voids": {"train.void_weight": 0.0},
    "no local gain": {"train.local_gain": False},
    "no rule for peaks": {"train.local_skip": False},
    "noise levels as the paper's": {"train.noise": "half_normal"},
    "loss in units of the noise": {"train.level_unit": "noise"},
    "no symmetries": {"train.symmetries": False},
    "amplitudes scattered by a fifth": {"train.amplitude_jitter": 0.2},
    "two blocks a scale": {"train.network.blocks": 2},
    "the paper's choices together": {
        "train.optimizer": "adam",
        "train.network.normalisation": "batch",
        "train.network.spectral_norm": True,
        "train.network.conditioning": "channel",
        "train.network.skips": "concatenate",
        "train.gate_sigma": 1e6,
        "train.local_gain": False,
        "train.local_skip": False,
        "train.void_weight": 0.0,
        "train.noise": "half_normal",
        "train.level_unit": "noise",
        "train.peak_weight": 0.0,
        "train.peak_share": 0.0,
        "train.long_weight": 0.0,
    },
}
BOXES, FACTORS = (2, 4, 8, 16), (0.25, 4.0)  # of the learning curve: training boxes; of the weights and of the steps
LEVELS = (0.01, 0.02, 0.04, 0.08, 0.16)
TESTED = (
    "band_power_max_departure",
    "band_power_excess",
    "peak_count_excess",
    "minimum_count_excess",
    "deepest_excess",
    "planted_worst",
    "at_bound",
    "passed",
)
EPOCHS = 2  # of a variant
FIRST_STEPS, TIMED_STEPS = 3, 16
ABLATION, LEARNING = (DATA / "released" / f"{name}.ecsv" for name in ("ablation", "learning"))


def ablation(minutes: float) -> None:
    """Train each variant for `minutes` of one core, and write the table, the smallest mean error first."""
    params = checked(load_params())
    rows = [({"row": name}, changed(params, changes)) for name, changes in VARIANTS.items()]
    trained_rows(rows, ABLATION, minutes=minutes, order="mean_error").pprint_all()


def learning(seeds: int) -> None:
    """Train the rows of the learning curve with each of `seeds` seeds, and write the table."""
    params = checked(load_params())
    if params.simulations.source != "nbody":
        raise BorderError(
            f"simulations.source is {params.simulations.source}, but the learning curve changes the number of N-body"
            " boxes; set it to nbody"
        )
    trained_rows(list(learning_rows(params, seeds)), LEARNING).pprint_all()


def checked(params: Params) -> Params:
    """Parameters whose simulations are there.

    Raises
    ------
    BorderError
        If they are not, or are maps of another grid.
    """
    folder = ROOT / params.train.input
    if not (folder / "power.npy").is_file():
        raise BorderError(f"there are no maps in {params.train.input}; make them with `dvc repro simulations`")
    side = len(np.load(folder / "power.npy", allow_pickle=False))
    if side != params.grid.pixels:
        raise BorderError(
            f"{params.train.input} holds maps for {side} pixels a side, params.yaml has {params.grid.pixels}; make them"
            " again with `dvc repro simulations`"
        )
    return params


def changed(record: Any, changes: Mapping[str, Any]) -> Any:
    """Parameters with other values at dotted keys."""
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        record = dataclasses.replace(record, **{name: changed(getattr(record, name), {rest: value}) if rest else value})
    return record


def learning_rows(params: Params, seeds: int) -> Iterator[tuple[dict, Params]]:
    """What each row of the learning curve changes, and its parameters.

    Boxes share the maps of the training equally, so their number may fall by a few. Weights grow as the square of the
    channels, steps with the number of epochs.
    """
    train, maps, boxes = params.train, params.simulations.maps.train, params.simulations.nbody.boxes.train
    changes: list[tuple[str, float, dict[str, Any]]] = [("as it is", 1.0, {})]
    for number in BOXES:
        if number != boxes and number <= maps:
            shared = {"simulations.maps.train": maps - maps % number, "simulations.nbody.boxes.train": number}
            changes.append(("boxes", number / boxes, shared))
    for factor in FACTORS:
        widths = [max(1, round(width * factor**0.5)) for width in train.network.widths]
        changes.append(("weights", factor, {"train.network.widths": widths}))
    for factor in FACTORS:
        changes.append(("steps", factor, {"train.epochs": max(1, round(train.epochs * factor))}))
    for seed in range(train.seed, train.seed + seeds):
        for axis, factor, change in changes:
            row = changed(params, {**change, "train.seed": seed})
            told = {"profile": params.profile, "axis": axis, "factor": factor, "seed": seed}
            yield {**told, "boxes": row.simulations.nbody.boxes.train}, row


def trained_rows(
    rows: Sequence[tuple[dict, Params]], target: Path, *, minutes: float | None = None, order: str | None = None
) -> Table:
    """A table of trainings, also written to `target`: what each row is, then what it reached (`train_row`).

    Parameters
    ----------
    minutes : of each training on one core; None for the steps of its parameters
    order : column to sort by
    """
    work = ROOT / ".work" / "trainings"
    paths = [work / f"{digest(params, minutes)}.json" for _, params in rows]
    maps = {params.simulations.nbody.boxes.train: _training_maps(params, work) for _, params in rows}
    shortest_first = sorted(zip(paths, (params for _, params in rows), strict=True), key=lambda task: _cost(task[1]))
    tasks = {path: (params, maps[params.simulations.nbody.boxes.train], minutes) for path, params in shortest_first}
    try:
        scatter(train_row, tasks, rows[0][1].compute, what="trainings")
    finally:  # also if it is interrupted: a later run adds the rest
        done = [about | read_json(path) for path, (about, _) in zip(paths, rows, strict=True) if path.is_file()]
        table = Table(done)
        if done:
            if order:
                table.sort(order)
            save_table(table, target)
    return table


def _cost(params: Params) -> int:
    """Time of a training, but for a factor."""
    return params.train.epochs * params.train.steps_per_epoch * sum(width**2 for width in params.train.network.widths)


def digest(params: Params, minutes: float | None) -> str:
    """Name of a training: a digest of all that decides its result but the code."""
    content = [params.train, params.simulations, params.prior, params.seed, minutes]
    return hashlib.sha256(json.dumps(content, default=dataclasses.asdict).encode()).hexdigest()[:16]


def _training_maps(params: Params, work: Path) -> Path | None:
    """File of the training maps of a number of boxes; None for the maps in `train.input`."""
    boxes = params.simulations.nbody.boxes.train
    if boxes == load_params().simulations.nbody.boxes.train:
        return None
    path = work / f"maps_{boxes}" / "train.npy"
    if not path.is_file():
        matter = load_table(DATA / "theory" / "matter_power.ecsv")
        where = {"work": path.parent, "planes": work / "planes", "splits": ("train",)}
        simulated = (matter, params.theory, params.simulations, params.grid)
        maps = nbody_maps(*simulated, seed=params.seed, compute=params.compute, **where)
        np.save(path, maps["train"].kappa, allow_pickle=False)
    return path


def train_row(path: Path, params: Params, other_maps: Path | None, minutes: float | None) -> None:
    """Train, judge on the validation maps of `train.input`, and write what was reached.

    Parameters
    ----------
    other_maps : file of training maps, None for those of `train.input`
    minutes : of training on one core; None for the steps of the parameters
    """
    train, folder = params.train, ROOT / params.train.input
    theory = load_table(DATA / "theory" / "c_ell.ecsv")
    maps, held_out, powers = training_data(folder, theory, params)
    maps = maps if other_maps is None else np.load(other_maps, allow_pickle=False)
    how = {"seed": train.seed, "precision": params.compute.precision}
    if minutes is not None:
        seconds = step_seconds(*untrained(maps, powers, params.grid, train, **how))
        steps = max(1, round(60 * minutes / seconds / EPOCHS))
        train = dataclasses.replace(train, epochs=EPOCHS, steps_per_epoch=steps)
    prior, _, seconds = train_prior(maps, held_out, powers, params.grid, train, log_folder=path.with_suffix(""), **how)
    errors = level_errors(prior, held_out, LEVELS, seed=train.seed)
    crop = dataclasses.replace(prior, power=powers[1].astype("float32"))
    *_, health = prior_test(crop, load_maps(folder, "validation"), params, rng=stage_rng(params.seed, "prior"))
    reached = {"steps": train.epochs * train.steps_per_epoch, "parameters": prior.network.count_params()}
    reached |= {"minutes": seconds / 60, "mean_error": float(np.mean(errors))}
    reached |= {f"error_{level:g}": error for level, error in zip(LEVELS, errors, strict=True)}
    write_json(path, reached | {name: health[name] for name in TESTED})


def step_seconds(model: Any, batches: Any) -> float:
    """Core time of one training step: the median of some, after compilation."""
    seconds = []
    for index in range(FIRST_STEPS + TIMED_STEPS):
        start = time.process_time()  # core time, since other work may share the core
        model.train_on_batch(*batches[index])
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[FIRST_STEPS:]))
