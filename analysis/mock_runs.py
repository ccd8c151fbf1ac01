"""Mocks sampled by the hundred, over workers: ranks of the small ones, posterior samples of the full fields."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.calibration import CutOut, calibrate_mock, cut_out
from analysis.files import atomic, read_json, write_json
from analysis.maps import MapSet, load_maps
from analysis.mocks import Mock
from analysis.params import DATA, Params, load_params, stage_rng
from analysis.posterior import gaussian_margin
from analysis.sampler import annealer
from analysis.score import Prior, load_prior
from analysis.sky import load_observation
from analysis.workers import scatter


def calibrated_mocks(params: Params, kinds: Mapping[str, int], work: Path) -> dict[str, Table]:
    """Calibrate every small mock of each kind; those that lie in `work` already are not run again.

    Parameters
    ----------
    kinds : number of mocks by kind
    work : folder of one JSON file a mock

    Returns
    -------
    Table a kind, one row a mock
    """
    paths = {kind: [work / f"{kind}_{number:04d}.json" for number in range(count)] for kind, count in kinds.items()}
    tasks = {path: (kind, number) for kind, each in paths.items() for number, path in enumerate(each)}
    scatter(_calibrate, tasks, params.compute, what="small mocks")
    return {kind: Table(rows=[read_json(path) for path in each]) for kind, each in paths.items()}


def sampled_mocks(params: Params, mocks: Sequence[Mock], work: Path) -> np.ndarray:
    """Posterior samples of every full-field mock, (mocks, chains, ny, nx); the mock's name decides its random numbers.

    Parameters
    ----------
    work : folder of one file a mock; those that are there are not sampled again
    """
    tasks = {work / f"{mock.name}.npy": (mock,) for mock in mocks}
    scatter(_sample, tasks, params.compute, what="mocks of the field")
    return np.stack([np.load(path, allow_pickle=False) for path in tasks])


def small_mock(params: Params, held_out: MapSet, weight: np.ndarray, redrawn, kind: str, number: int) -> CutOut:
    """The mock of a kind and a number.

    Parameters
    ----------
    held_out : maps of boxes that no training saw
    weight : (2, ny, nx), of the field that lends its noise
    redrawn : `posterior.gaussian_margin` of the prior
    """
    rng = stage_rng(params.seed, "calibrate", "mock", kind, str(number))
    side, margin = params.train.crop_pixels, params.train.margin
    return cut_out(held_out, weight, side, margin, kind, rng=rng, redrawn=redrawn)


def calibrated(mock: CutOut, params: Params, prior: Prior, anneal, kind: str, number: int) -> dict[str, float]:
    """Ranks of a mock's truth among its samples (`calibrate_mock`), by random numbers of its kind and number alone."""
    rng = stage_rng(params.seed, "calibrate", "samples", kind, str(number))
    samples = np.asarray(anneal(mock.gamma, mock.weight, params.calibrate.samples, rng=rng)[0], float)
    return calibrate_mock(mock, samples, prior, rng=rng)


def _calibrate(path: Path, kind: str, number: int) -> None:
    """Sample one small mock and keep its ranks."""
    params, prior, anneal = _setting(path.parent.name, small=True)
    mock = small_mock(params, *_source(path.parent.name), kind, number)
    write_json(path, calibrated(mock, params, prior, anneal, kind, number))


def _sample(path: Path, mock: Mock) -> None:
    """Sample one mock of the whole field and keep the samples."""
    params, _, anneal = _setting(path.parent.name, small=False)
    rng = stage_rng(params.seed, "validate", mock.name)
    samples = anneal(mock.observation.gamma, mock.observation.weight, params.validate.chains, rng=rng)[0]
    with atomic(path) as temporary:
        np.save(temporary, samples, allow_pickle=False)


@lru_cache(maxsize=1)
def _setting(run: str, small: bool):
    """Parameters, prior and compiled sampler of a run, once a process.

    Workers may outlive a run; the next has another name, that of the folder of its code, parameters and data.
    """
    params = load_params()
    prior = load_prior(DATA / "score", side=params.train.crop_pixels if small else None)
    return params, prior, annealer(prior, params.sample)


@lru_cache(maxsize=1)
def _source(run: str):
    """What small mocks of a run are made of, once a process: test maps, weights of the field, margins drawn anew."""
    params, prior, _ = _setting(run, small=True)
    observation = load_observation(DATA / "observation" / f"{params.mocks.field}.fits")
    return load_maps(DATA / "simulations", "test"), observation.weight, gaussian_margin(prior.power, prior.margin)
