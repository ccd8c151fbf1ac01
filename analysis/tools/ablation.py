"""The effect of each choice of network and training: experiments of equal training time, and a table of their results.

Every row is a `dvc exp` on the profile's simulations with one choice changed. It trains for as many steps as one core
makes in a given time, and is judged on validation maps: denoising error at each noise level, and samples of the prior
alone. The time of a step is measured first, so that the parameters alone determine an experiment. Rows that exist for
the current commit are not run again. The simulations of the profile must be made and committed (on a branch), or every
row would make them again. One row repeats the first with another seed: smaller differences may be chance.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dvc.api
import dvc.exceptions
import numpy as np
import yaml
from astropy.table import Table
from tqdm import tqdm

from analysis.core.files import BorderError
from analysis.core.paths import DATA, ROOT
from analysis.core.tables import save_table
from analysis.core.workers import pool_of_processes
from analysis.flatsky.maps import load_maps
from analysis.flatsky.power import load_power, periodogram
from analysis.params import Params, load_params
from analysis.params.load import composed
from analysis.prior.training import untrained

ROWS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "as it is, another seed": ("train.seed=2021",),
    "no more weight for peaks": ("train.peak_weight=0.0",),
    "no more weight for long waves": ("train.long_weight=0.0",),
    "batch normalisation": ("train.network.normalisation=batch",),
    "group normalisation": ("train.network.normalisation=group",),
    "spectral normalisation": ("train.network.spectral_norm=true",),
    "noise level as a channel of the input": ("train.network.conditioning=channel",),
    "skips concatenated": ("train.network.skips=concatenate",),
    "no gate": ("train.gate_sigma=1000000.0",),
    "no local skip": ("train.local_skip=false",),
    "noise levels as the paper's": ("train.noise=half_normal",),
    "loss in units of the noise": ("train.level_unit=noise",),
    "no symmetries": ("train.symmetries=false",),
    "amplitudes scattered by a fifth": ("train.amplitude_jitter=0.2",),
    "half the channels": ("train.network.widths=[8,16,32,64]",),
    "twice the channels": ("train.network.widths=[32,64,128,256]",),
    "two blocks a scale": ("train.network.blocks=2",),
    "the paper's choices together": (
        "train.network.normalisation=batch",
        "train.network.spectral_norm=true",
        "train.network.conditioning=channel",
        "train.network.skips=concatenate",
        "train.gate_sigma=1000000.0",
        "train.local_skip=false",
        "train.noise=half_normal",
        "train.level_unit=noise",
        "train.peak_weight=0.0",
        "train.long_weight=0.0",
    ),
}
JUDGED = ("prior.samples=64", "prior.fatal=false")
LEVELS = ("0.01", "0.02", "0.04", "0.08", "0.16")
EPOCHS = 2
FIRST_STEPS, TIMED_STEPS = 3, 16
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
DVC = (sys.executable, "-m", "dvc")
TABLE = DATA / "released" / "ablation.ecsv"


def main(profile: str, minutes: float, jobs: int) -> None:
    """Run every missing row, `jobs` at once, and write the table.

    Parameters
    ----------
    profile : name of the profile that the rows start from
    minutes : of training for each row, on one core

    Raises
    ------
    BorderError
        If an experiment failed, the tree lacks the profile's simulations, holds uncommitted changes, or has no .git.
    """
    if not (ROOT / ".git").exists():
        raise BorderError("DVC keeps experiments in Git, and this tree has no .git; clone the project instead")
    stale = yaml.safe_load(_heard(*DVC, "status", "--json", "simulations"))
    if load_params().profile != profile or stale:
        raise BorderError(
            f"the tree holds no simulations of the profile {profile}, and every row would make them again; on a branch,"
            f" run `dvc exp run -S profile={profile} simulations` and commit it, then try again"
        )
    if _heard("git", "status", "--porcelain"):
        raise BorderError("the tree holds uncommitted changes, which experiments would not see; commit them first")
    names = {row: experiment_name(profile, minutes, row) for row in ROWS}
    known = _heard(*DVC, "exp", "list", "--name-only").split() + _waiting()
    missing = [row for row, name in names.items() if name not in known]
    seconds = step_times([row_params(profile, row) for row in missing], jobs)
    for row, one in zip(missing, tqdm(seconds, desc="timing", total=len(missing), disable=not missing), strict=True):
        steps = max(1, round(60 * minutes / one / EPOCHS))
        chosen = [f"profile={profile}", *JUDGED, *ROWS[row], f"train.epochs={EPOCHS}", f"train.steps_per_epoch={steps}"]
        settings = [word for value in chosen for word in ("--set-param", value)]
        _run(*DVC, "exp", "run", "--queue", "--name", names[row], *settings, "prior")
    if _waiting():
        _run(*DVC, "exp", "run", "--run-all", "--jobs", str(jobs))
    reached = {row: _reached(name) for row, name in names.items()}
    table = ablation_table({row: metrics for row, metrics in reached.items() if metrics})
    save_table(table, TABLE)
    table.pprint_all()
    failed = [names[row] for row, metrics in reached.items() if not metrics]
    if failed:
        raise BorderError(
            f"{len(failed)} experiments left no results and no row: {', '.join(failed)};"
            " `dvc queue logs NAME` says why, `make ablation` tries them again"
        )


def experiment_name(profile: str, minutes: float, row: str) -> str:
    """Name of a row's experiment, in letters, digits and hyphens; other settings give another name."""
    settings = hashlib.sha256(repr((minutes, JUDGED, ROWS[row])).encode()).hexdigest()[:8]
    return f"ablation-{profile}-" + "".join(letter if letter.isalnum() else "-" for letter in row) + f"-{settings}"


def row_params(profile: str, row: str) -> Params:
    """Parameters of a profile with the changes of a row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(yaml.safe_dump(composed(profile, ROWS[row])), encoding="utf-8")
        return load_params(path)


def step_times(params: Sequence[Params], jobs: int) -> Iterator[float]:
    """Core time of one training step of each; `jobs` at once, as in the experiments, which slow each other down."""
    with pool_of_processes(jobs, max_tasks_per_child=1) as pool:
        yield from pool.map(step_seconds, params)


def step_seconds(params: Params) -> float:
    """Core time of one training step: the median of some, after compilation, in a process of its own."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    folder = ROOT / params.train.input
    maps, power = load_maps(folder, "train").kappa, load_power(folder / "power.npy")
    if len(power) != params.grid.pixels:
        raise BorderError(
            f"{params.train.input} holds maps for {len(power)} pixels a side, the profile {params.profile} has"
            f" {params.grid.pixels}; run `dvc exp run -S profile={params.profile} simulations` first"
        )
    powers = [power, periodogram(maps[..., : params.train.crop_pixels, : params.train.crop_pixels])]
    how = {"seed": params.train.seed, "precision": params.compute.precision}
    model, batches = untrained(maps, powers, params.grid, params.train, **how)
    seconds = []
    for index in range(FIRST_STEPS + TIMED_STEPS):
        start = time.process_time()  # core time, since other work may share the core
        model.train_on_batch(*batches[index])
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[FIRST_STEPS:]))


def ablation_table(reached: Mapping[str, Mapping]) -> Table:
    """Results of the experiments, one row each, the smallest mean error over noise levels first.

    Parameters
    ----------
    reached : by row, metrics of the stages `train` and `prior`, and number of `steps`
    """
    rows = []
    for row, metrics in reached.items():
        errors = [metrics["train"][f"error_{level}"] for level in LEVELS]
        prior = metrics["prior"]
        rows.append(
            {"row": row, "steps": metrics["steps"], "parameters": metrics["train"]["parameters"]}
            | {"mean_error": float(np.mean(errors))}
            | {f"error_{level}": error for level, error in zip(LEVELS, errors, strict=True)}
            | {key: float(prior[key]) for key in ("band_power_max_departure", "peak_count_excess", "at_bound")}
        )
    table = Table(rows)
    table.sort("mean_error")
    return table


def _reached(name: str) -> dict:
    """Metrics of an experiment; empty if it failed."""
    try:
        train, prior, params = (
            yaml.safe_load(dvc.api.read(path, repo=str(ROOT), rev=name))
            for path in ("data/score/metrics.json", "data/prior/metrics.json", "params.yaml")
        )
    except (OSError, dvc.exceptions.DvcException):
        return {}
    return {"train": train, "prior": prior, "steps": params["train"]["epochs"] * params["train"]["steps_per_epoch"]}


def _waiting() -> list[str]:
    """Names of the experiments that are queued or running."""
    lines = [line.split() for line in _heard(*DVC, "queue", "status").splitlines()]
    return [words[1] for words in lines if len(words) > 2 and words[-1] in ("Queued", "Running")]


def _run(*command: str) -> None:
    """Run a command; trainings in it use one core.

    Raises
    ------
    BorderError
        If it fails.
    """
    if subprocess.run(command, cwd=ROOT, env={**os.environ, **ONE_THREAD}, check=False).returncode:
        raise BorderError(f"`{' '.join(command[:6])}` failed; see its output above")


def _heard(*command: str) -> str:
    """Output of a command."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
