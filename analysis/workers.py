"""Calibration mocks over processes: Dask workers, one mock a task, every finished mock kept until all are there."""

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.calibration import calibrate_mock, cut_out
from analysis.files import read_json, write_json
from analysis.maps import load_maps
from analysis.params import DATA, Params, load_params, stage_rng
from analysis.posterior import gaussian_margin
from analysis.sampler import annealer
from analysis.score import load_prior
from analysis.sky import load_observation

log = logging.getLogger(__name__)

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def run_mocks(params: Params, kinds: Mapping[str, int], work: Path) -> dict[str, Table]:
    """Calibrate every mock of each kind; those that lie in `work` already are not run again.

    Parameters
    ----------
    kinds : number of mocks by kind
    work : folder of one JSON file a mock

    Returns
    -------
    Table a kind, one row a mock
    """
    work.mkdir(parents=True, exist_ok=True)
    wanted = [(kind, number) for kind, count in kinds.items() for number in range(count)]
    missing = [task for task in wanted if not _path(work, *task).is_file()]
    log.info("%d mocks, %d of them at hand", len(wanted), len(wanted) - len(missing))
    if missing:
        from dask.distributed import as_completed  # seconds to import, and only here

        with _client(params, len(missing)) as client:
            futures = [client.submit(_one, *task, work, pure=False) for task in missing]
            failed = []
            for done, future in enumerate(as_completed(futures), 1):
                failed += [future] if future.exception() is not None else []  # the other mocks go on
                if done % 10 == 0 or done == len(missing):
                    log.info("%d of %d mocks", done, len(missing))
            for future in failed:
                future.result()
    return {
        kind: Table(rows=[read_json(_path(work, kind, number)) for number in range(count)])
        for kind, count in kinds.items()
    }


def _client(params: Params, tasks: int):
    """Workers on this machine, or those of `compute.scheduler`."""
    from dask.distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.WARNING)
    if params.compute.scheduler is not None:
        return Client(params.compute.scheduler)
    processes = min(params.compute.processes or os.cpu_count(), tasks)
    os.environ.update(ONE_THREAD)  # a worker is one process on one core
    return Client(LocalCluster(processes, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.ERROR))


def _one(kind: str, number: int, work: Path) -> None:
    """Sample one mock and keep its ranks."""
    params, prior, anneal, redrawn, maps, weight = _setting(work.name)
    rng = stage_rng(params.seed, "calibrate", kind, str(number))
    mock = cut_out(maps, weight, params.train.crop_pixels, prior.margin, kind, rng=rng, redrawn=redrawn)
    samples = np.asarray(anneal(mock.gamma, mock.weight, params.calibrate.samples, rng=rng)[0], float)
    write_json(_path(work, kind, number), calibrate_mock(mock, samples, prior, rng=rng))


@lru_cache(maxsize=1)
def _setting(run: str):
    """What every mock of a run needs, read once a process: parameters, prior, sampler, margins, maps, field's weights.

    Workers may outlive a run; the next has another name, that of the folder of its code, parameters and data.
    """
    params = load_params()
    prior = load_prior(DATA / "score", side=params.train.crop_pixels)
    weight = load_observation(DATA / "observation" / f"{params.mocks.field}.fits").weight
    redrawn = gaussian_margin(prior.power, prior.margin)
    return params, prior, annealer(prior, params.sample), redrawn, load_maps(DATA / "simulations", "test"), weight


def _path(work: Path, kind: str, number: int) -> Path:
    """Where the result of one mock lies."""
    return work / f"{kind}_{number:04d}.json"
