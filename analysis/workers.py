"""Work over processes, on this machine or a cluster: every task ends in a file, and what is there is not redone.

A worker that dies is replaced and its task given to another; a run that was cut goes on with what is missing.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.files import BorderError
from analysis.params import ComputeParams

log = logging.getLogger(__name__)

DEATHS = 3  # of workers over one task, before it is given up
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
# to workers on other machines
HANDED_DOWN = (
    "KERAS_BACKEND",
    "PYTHONPATH",
    "TF_CPP_MIN_LOG_LEVEL",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "DATA_MIRROR",
)


def scatter(task: Callable, tasks: Mapping[Path, tuple], compute: ComputeParams, *, what: str) -> None:
    """Run `task(path, *arguments)` for every path that is not there yet, on the workers that `compute` describes.

    Parameters
    ----------
    task : of a module, not of a notebook; writes its path whole or not at all, and is decided by its arguments alone
    tasks : arguments by path, on a file system that every worker sees
    what : plural, of the tasks, for the log

    Raises
    ------
    BorderError
        If workers keep dying over a task.
    Exception
        The first that a task raised; the other tasks are finished before.
    """
    missing = {path: arguments for path, arguments in tasks.items() if not path.is_file()}
    log.info("%d %s, %d of them at hand", len(tasks), what, len(tasks) - len(missing))
    if not missing:
        return
    from dask.distributed import KilledWorker, as_completed  # seconds to import, and only here

    failed = []
    with _client(compute, len(missing)) as client:
        futures = [client.submit(_once, task, path, arguments, pure=False) for path, arguments in missing.items()]
        for done, future in enumerate(as_completed(futures), 1):
            failed += [future] if future.exception() is not None else []  # the others go on
            if done % max(1, len(missing) // 50) == 0 or done == len(missing):
                log.info("%d of %d %s", done, len(missing), what)
        for future in failed:
            try:
                future.result()
            except KilledWorker:
                raise BorderError(
                    f"{DEATHS} workers died over one of {len(missing)} {what}, most often for want of memory; raise"
                    f" compute.memory_gb ({compute.memory_gb:g}), or lower compute.processes"
                ) from None


def _once(task: Callable, path: Path, arguments: tuple) -> None:
    """Do a task unless its file is there: Dask asks again for results that died with the worker which had them."""
    if not path.is_file():
        task(path, *arguments)


@contextmanager
def _client(compute: ComputeParams, tasks: int) -> Iterator[Any]:
    """Workers of a scheduler that runs already, of SLURM, or of this machine; one task at a time each.

    Those that were started for this are ended with the block, whatever happened.
    """
    import dask
    from dask.distributed import Client

    logging.getLogger("distributed").setLevel(logging.WARNING)
    # Dask has workers give every freed page back at once: tensors then cost as much in page faults as in arithmetic
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
    dask.config.set(
        {"distributed.scheduler.allowed-failures": DEATHS - 1, "distributed.nanny.pre-spawn-environ": environment}
    )
    if compute.scheduler is not None:
        with Client(compute.scheduler) as client:
            yield client
        return
    start = _slurm if compute.cluster == "slurm" else _local
    with start(compute, tasks) as cluster, Client(cluster) as client:
        yield client


def _local(compute: ComputeParams, tasks: int):
    """One process a core, or as many as are asked for."""
    from dask.distributed import LocalCluster

    return LocalCluster(
        min(compute.processes or os.cpu_count(), tasks),
        threads_per_worker=1,
        env=dict.fromkeys(THREADS, "1"),  # a worker is one process on one core
        memory_limit=f"{compute.memory_gb:g}GB",
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )


def _slurm(compute: ComputeParams, tasks: int):
    """One worker a SLURM job, with the cores, hours and directives of `compute.slurm`."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise BorderError(
            "compute.cluster is slurm, which needs dask-jobqueue: pip install dask-jobqueue, or set it to local"
        ) from None
    slurm = compute.slurm
    environment = dict.fromkeys(THREADS, str(slurm.cores)) | {
        name: os.environ[name] for name in HANDED_DOWN if name in os.environ
    }
    cluster = SLURMCluster(
        cores=1,  # tasks at a time
        job_cpu=slurm.cores,
        processes=1,
        memory=f"{compute.memory_gb:g}GB",
        walltime=f"{int(slurm.hours):02d}:{round(60 * (slurm.hours % 1)):02d}:00",
        queue=slurm.partition,
        account=slurm.account,
        job_extra_directives=list(slurm.directives),
        job_script_prologue=[f"export {name}='{value}'" for name, value in environment.items()],
        python=sys.executable,
        log_directory=str(Path(".work") / "slurm"),
    )
    cluster.scale(jobs=min(slurm.jobs, tasks))
    return cluster
