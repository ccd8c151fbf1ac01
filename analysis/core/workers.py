"""Tasks over processes, on this machine or a cluster: every task writes a file, and a file that exists is not redone.

A worker that dies is replaced and its task given to another; an interrupted run continues with the missing files.
`pool_of_processes` is for short work that needs processes of its own.
"""

import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.core.environment import HANDED_DOWN
from analysis.core.files import BorderError
from analysis.core.progress import progress, within

if TYPE_CHECKING:
    from analysis.params import ComputeParams

log = logging.getLogger(__name__)

DEATHS = 3  # of workers over one task, before the task is given up
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
TELL_S = 2.0  # between two messages of a worker on the progress of its task


def pool_of_processes(processes: int, **settings: Any) -> ProcessPoolExecutor:
    """A pool of new processes, which share nothing with this one and end when it ends, however it ends.

    Without this they would keep running: they wait for tasks from a pipe, and hold both of its ends.

    Parameters
    ----------
    settings : of `ProcessPoolExecutor`
    """
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent, **settings)


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)


def scatter(task: Callable, tasks: Mapping[Path, tuple], compute: "ComputeParams", *, what: str) -> None:
    """Run `task(path, *arguments)` for every path that does not exist, on the workers that `compute` describes.

    Parameters
    ----------
    task : function of a module, not of a notebook; it writes its path whole or not at all, from its arguments alone
    tasks : arguments by path, on a file system that every worker sees
    what : name of the tasks in the plural, for the log and the lines of progress

    Raises
    ------
    BorderError
        If workers keep dying over a task.
    Exception
        The first exception that a task raised, after all other tasks have finished.
    """
    missing = {path: arguments for path, arguments in tasks.items() if not path.is_file()}
    log.info("%d %s, %d of them done before", len(tasks), what, len(tasks) - len(missing))
    if not missing:
        return
    if compute.processes == 0 and compute.cluster == "local" and compute.scheduler is None:
        advance = progress(what, len(missing))
        for path, arguments in missing.items():
            with within(advance):
                task(path, *arguments)
        return
    from dask.distributed import KilledWorker, as_completed  # seconds to import, and only here

    failed = []
    with _client(compute, len(missing)) as client:
        heard, finished = _progress_of_tasks(client, what, len(missing))
        futures = {
            client.submit(_once, task, path, arguments, heard, pure=False): path for path, arguments in missing.items()
        }
        for future in as_completed(futures):
            failed += [future] if future.exception() is not None else []  # the others go on
            finished(futures[future])
        for future in failed:
            try:
                future.result()
            except KilledWorker:
                raise BorderError(
                    f"{DEATHS} workers died over one of {len(missing)} {what}, most often because memory was short;"
                    f" raise compute.memory_gb ({compute.memory_gb:g}), or lower compute.processes"
                ) from None


def _progress_of_tasks(client: Any, what: str, tasks: int) -> tuple[str, Callable[[Path], None]]:
    """The Dask topic on which workers report progress, and a function to call with the path of a finished task.

    A share of a task counts once, also where the task begins again on another worker.
    """
    advance, shares, topic = progress(what, tasks), dict[str, float](), f"progress of {what} for {client.id}"

    def heard(path: str, share: float) -> None:
        before = shares.get(path, 0.0)
        if share > before:
            shares[path] = share
            advance(share - before)

    client.subscribe_topic(topic, lambda event: heard(*event[1]))
    return topic, lambda path: heard(str(path), 1.0)


def _once(task: Callable, path: Path, arguments: tuple, topic: str) -> None:
    """Do a task unless its file exists: Dask repeats tasks whose results were lost with their worker."""
    if not path.is_file():
        with within(_sender(str(path), topic)):
            task(path, *arguments)


def _sender(path: str, topic: str) -> Callable[[float], None]:
    """A function to call with how much more of a task is done; it sends the share done so far to the topic."""
    from dask.distributed import get_worker

    worker, share, told = get_worker(), 0.0, time.monotonic()

    def advance(by: float) -> None:
        nonlocal share, told
        share += by
        if time.monotonic() - told >= TELL_S:
            told = time.monotonic()
            worker.log_event(topic, [path, share])

    return advance


@contextmanager
def _client(compute: "ComputeParams", tasks: int) -> Iterator[Any]:
    """A client of workers on a running scheduler, on SLURM, or on this machine; each does one task at a time.

    Workers that were started here end with the block, whatever happened.
    """
    import dask
    from dask.distributed import Client

    logging.getLogger("distributed").setLevel(logging.WARNING)
    # Dask's own setting gives every freed page back at once, and page faults then cost as much as the arithmetic
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
    dask.config.set(
        {"distributed.scheduler.allowed-failures": DEATHS - 1, "distributed.nanny.pre-spawn-environ": environment}
    )
    if compute.scheduler is not None:
        with Client(compute.scheduler) as client:
            _hand_down(client)
            yield client
        return
    start = _slurm if compute.cluster == "slurm" else _local
    with start(compute, tasks) as cluster, Client(cluster) as client:
        yield client


def _hand_down(client: Any) -> None:
    """Give the workers of a running scheduler the environment of this process; those with another are restarted.

    Raises
    ------
    BorderError
        If a worker keeps another environment.
    """
    from distributed.diagnostics.plugin import Environ

    ours = _handed_down()
    if _differing(client, ours) or not client.scheduler_info()["workers"]:
        client.register_plugin(Environ(ours), name="environment of the project")
    if found := _differing(client, ours):
        name, theirs = found.popitem()
        raise BorderError(
            f"a worker of compute.scheduler has {name}={theirs}, not {ours[name]}; start it with that, or by a nanny"
        )


def _differing(client: Any, ours: Mapping[str, str]) -> dict[str, str | None]:
    """Variables whose value on a worker differs from ours, with the worker's value."""
    return {
        name: theirs[name]
        for theirs in client.run(_variables, list(ours)).values()
        for name in ours
        if theirs[name] != ours[name]
    }


def _variables(names: list[str]) -> dict[str, str | None]:
    """Environment variables of this process."""
    return {name: os.environ.get(name) for name in names}


def _handed_down() -> dict[str, str]:
    """Environment variables of this process that workers on other machines need."""
    return {name: os.environ[name] for name in HANDED_DOWN if name in os.environ}


def _local(compute: "ComputeParams", tasks: int) -> Any:
    """A cluster on this machine with one process per core, or with `compute.processes` processes."""
    from dask.distributed import LocalCluster

    return LocalCluster(
        min(compute.processes or os.cpu_count() or 1, tasks),
        threads_per_worker=1,
        env=dict.fromkeys(THREADS, "1"),  # a worker is one process on one core
        memory_limit=f"{compute.memory_gb:g}GB",
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )


def _slurm(compute: "ComputeParams", tasks: int) -> Any:
    """A cluster with one worker per SLURM job. `compute.slurm` sets the cores, hours and directives of a job."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise BorderError(
            "compute.cluster is slurm, which needs dask-jobqueue: pip install dask-jobqueue, or set it to local"
        ) from None
    slurm = compute.slurm
    environment = dict.fromkeys(THREADS, str(slurm.cores)) | _handed_down()
    cluster = SLURMCluster(
        cores=1,  # tasks at a time
        job_cpu=slurm.cores,
        processes=1,
        memory=f"{compute.memory_gb:g}GB",
        walltime=f"{int(slurm.hours):02d}:{round(60 * (slurm.hours % 1)):02d}:00",
        queue=slurm.partition,
        account=slurm.account,
        job_extra_directives=list(slurm.directives),
        job_script_prologue=[f"export {name}={shlex.quote(value)}" for name, value in environment.items()],
        python=sys.executable,
        log_directory=str(Path(".work") / "slurm"),
    )
    cluster.scale(jobs=min(slurm.jobs, tasks))
    return cluster
