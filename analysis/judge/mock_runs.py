"""Sample mocks over workers: ranks of hundreds of small mocks, posterior samples of full fields."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.table import Table

from analysis.core.files import atomic, read_json, write_json
from analysis.core.paths import DATA
from analysis.core.workers import scatter
from analysis.flatsky.maps import load_maps
from analysis.judge.calibration import CutOut, calibrate_mock, cut_out, statistics_moved, under_field
from analysis.params import Params, load_params, stage_rng
from analysis.posterior.diffusion import prior_draws, reverse_diffusion
from analysis.posterior.sampler import CHECK, annealed, field_sampler, transitions
from analysis.prior.files import load_prior
from analysis.prior.margin import gaussian_margin
from analysis.prior.score import Prior
from analysis.simulations.mocks import Mock
from analysis.sky import load_observation

TRANSITIONS = 4  # from the truth, of chains that should keep its posterior
REPEATED = ("second", "dps")  # kinds of mocks that are those of `own`, by another sampler


def calibrated_mocks(params: Params, kinds: Mapping[str, int], work: Path) -> dict[str, Table]:
    """Ranks of the small mocks of each kind: one table per kind, one row per mock (`calibrate_mock`).

    Parameters
    ----------
    kinds : number of mocks by kind
    work : folder with one JSON file per mock; a mock whose file exists is not run again
    """
    paths = {kind: [work / f"{kind}_{number:04d}.json" for number in range(count)] for kind, count in kinds.items()}
    tasks = {path: (kind, number) for kind, each in paths.items() for number, path in enumerate(each)}
    scatter(_calibrate, tasks, params.compute, what="small mocks")
    return {kind: Table(rows=[read_json(path) for path in each]) for kind, each in paths.items()}


def sampled_mocks(params: Params, mocks: Sequence[Mock], work: Path) -> np.ndarray:
    """Posterior samples of every full-field mock, (mocks, chains, ny, nx); the mock's name sets its random numbers.

    Parameters
    ----------
    work : folder with one file per mock; a mock whose file exists is not sampled again
    """
    tasks = {work / f"{mock.name}.npy": (mock,) for mock in mocks}
    scatter(_sample, tasks, params.compute, what="mocks of the field")
    return np.stack([np.load(path, allow_pickle=False) for path in tasks])


def sampling_seconds(mocks: Sequence[Mock], work: Path) -> float:
    """Seconds for all samples of one mock of `sampled_mocks`: the fewest, since the first mock also compiles."""
    return min(read_json(work / f"{mock.name}.json")["seconds"] for mock in mocks)


def mock_rng(params: Params, kind: str, number: int) -> np.random.Generator:
    """Random numbers of a small mock, and then of its samples."""
    return stage_rng(params.seed, "calibrate", kind, str(number))


def judging_rng(params: Params, kind: str, number: int) -> np.random.Generator:
    """Random numbers of what a small mock is judged by: places, and draws of the Gaussian posterior.

    They do not depend on the sampler, so that two samplers of one mock are judged alike.
    """
    return stage_rng(params.seed, "calibrate", kind, str(number), "judged")


def small_mocks(params: Params, prior: Prior, data: Path) -> Callable:
    """A function (kind, rng) that makes a mock with the noise of a piece of the field.

    Its truth is cut from a held-out map; for the kind `self` it is a draw of the prior.

    Parameters
    ----------
    prior : on the grid of the mocks
    data : folder of the stages' outputs
    """
    held_out = load_maps(data / "simulations", "test")
    weight = load_observation(data / "observation" / f"{params.mocks.field}.fits").weight
    redrawn, side, fall = gaussian_margin(prior.power, prior.margin), params.train.crop_pixels, reverse_diffusion(prior)

    def mock(kind: str, rng: np.random.Generator) -> CutOut:
        if kind == "self":
            truth = prior_draws(prior, fall, 1, rng=rng)[0][0]
            return under_field(truth, weight, prior.margin, box=int(rng.integers(2**31)), rng=rng)
        return cut_out(held_out, weight, side, prior.margin, kind, rng=rng, redrawn=redrawn)

    return mock


def calibrated(
    mock: CutOut, params: Params, prior: Prior, anneal: Callable, rng: np.random.Generator, judged: np.random.Generator
) -> dict:
    """Ranks of a mock's truth among its samples (`calibrate_mock`).

    Parameters
    ----------
    rng, judged : of the samples, and of what they are judged by (`judging_rng`)
    """
    n = params.calibrate.samples
    samples = np.asarray(anneal(mock.gamma, mock.weight, n, reduced=mock.reduced, rng=rng)[0], float)
    return calibrate_mock(mock, samples, prior, rng=judged)


def _calibrate(path: Path, kind: str, number: int) -> None:
    """Sample one small mock and write its ranks.

    Mocks of the kind `second` are those of the kind `own`, sampled by the other exact sampler; those of the kind `dps`,
    by diffusion posterior sampling.
    """
    run, repeated = path.parent.name, kind in REPEATED
    params, prior, on_field = run_setting(run, small=True, by=kind if repeated else None)
    of = "own" if repeated else kind
    rng = mock_rng(params, of, number)
    mock = run_small_mocks(run)(of, rng)
    row = calibrated(mock, params, prior, annealed(on_field), rng, judging_rng(params, of, number))
    if kind == "self":
        start = np.repeat(mock.truth[None], params.calibrate.samples, axis=0)
        moved = transitions(on_field, mock.gamma, mock.weight, start, TRANSITIONS, rng=rng)
        changes = statistics_moved(mock, moved, prior, rng=judging_rng(params, of, number))
        row |= {f"{name}_moved": value for name, value in changes.items()}
    write_json(path, row)


def _sample(path: Path, mock: Mock) -> None:
    """Sample one full-field mock and write the samples."""
    params, _, on_field = run_setting(path.parent.name, small=False)
    rng, start, seen = stage_rng(params.seed, "validate", mock.name), time.perf_counter(), mock.observation
    settings = {"reduced": seen.reduced, "rng": rng}
    samples = np.asarray(annealed(on_field)(seen.gamma, seen.weight, params.validate.chains, **settings)[0])
    write_json(path.with_suffix(".json"), {"seconds": time.perf_counter() - start})
    with atomic(path) as temporary:
        np.save(temporary, samples, allow_pickle=False)


@lru_cache(maxsize=3)
def run_setting(run: str, *, small: bool, by: Literal["second", "dps"] | None = None):
    """Parameters, prior and sampler (`field_sampler`) of a run, made once a process.

    Workers may outlive a run. The next run has another name: the folder of its code, parameters and data.

    Parameters
    ----------
    run : name of the folder of the run
    small : whether for small mocks or for the whole field
    by : the sampler, that of the parameters where left out: `second` is the one that checks it (`CHECK`)
    """
    params = load_params()
    side = params.train.crop_pixels if small else None
    prior = load_prior(DATA / "score", side=side, precision=params.compute.precision)
    preset = {None: params.sample.preset, "second": CHECK[params.sample.preset], "dps": "dps"}[by]
    return params, prior, field_sampler(prior, replace(params.sample, preset=preset))


@lru_cache(maxsize=1)
def run_small_mocks(run: str) -> Callable:
    """`small_mocks` of a run, made once a process."""
    params, prior, _ = run_setting(run, small=True)
    return small_mocks(params, prior, DATA)
