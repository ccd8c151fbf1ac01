"""Where the work is done: no number depends on it."""

from typing import Annotated, Literal

from pydantic import Field

from analysis.params.types import Count, Positive, record


@record
class SlurmParams:
    """A worker is a job of its own: how many, their cores and hours, and what `sbatch` wants to know besides."""

    jobs: Count
    """most jobs at a time, one worker each"""
    cores: Count
    """cores of a job"""
    hours: Annotated[float, Field(ge=0.1, allow_inf_nan=False)]
    """walltime of a job [h]"""
    partition: str | None
    """partition that jobs go to; null for the default one"""
    account: str | None
    """account that pays; null for the default one"""
    directives: list[str]
    """further lines for `#SBATCH`, such as `--gres=gpu:1`"""


@record
class ComputeParams:
    """Workers for boxes, mocks and chains.

    `processes` of this machine, null for every core; `memory_gb`, beyond which a worker is ended and its task redone;
    `scheduler`, the address of a Dask scheduler that runs already, instead of a cluster of our own.
    """

    cluster: Literal["local", "slurm"]
    """who does the tasks: processes of this machine, or jobs of SLURM"""
    processes: Count | None
    """workers on this machine; null for one a core"""
    memory_gb: Positive
    """memory of a worker [GB], beyond which it is ended and its task done again"""
    scheduler: str | None
    """address of a Dask scheduler that runs already, as `tcp://host:8786`; null to start workers"""
    slurm: SlurmParams
    """the jobs, where `cluster` is slurm"""
