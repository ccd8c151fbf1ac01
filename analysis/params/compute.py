"""Where the work is done: no number depends on it."""

from typing import Annotated, Literal

from pydantic import Field

from analysis.params.types import Count, Positive, record


@record
class SlurmParams:
    """A worker is a job of its own: how many, their cores and hours, and what `sbatch` wants to know besides."""

    jobs: Count
    cores: Count
    hours: Annotated[float, Field(ge=0.1, allow_inf_nan=False)]
    partition: str | None
    account: str | None
    directives: list[str]


@record
class ComputeParams:
    """Workers for boxes, mocks and chains.

    `processes` of this machine, null for every core; `memory_gb`, beyond which a worker is ended and its task redone;
    `scheduler`, the address of a Dask scheduler that runs already, instead of a cluster of our own.
    """

    cluster: Literal["local", "slurm"]
    processes: Count | None
    memory_gb: Positive
    scheduler: str | None
    slurm: SlurmParams
