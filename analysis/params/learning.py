"""Sections about learning the score (network, training), and about the machines that do the work."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import Count, Positive, Precision, TrackedPath, record


@record
class NetworkParams:
    """The residual U-Net."""

    widths: Annotated[list[Count], Field(min_length=2)]
    """channels at each scale, from full resolution down; each scale has half the size of the one before"""
    blocks: Count
    """residual blocks at each scale"""
    skips: Literal["sum", "concatenate"]
    """how the upward path joins the features kept from the downward path"""
    conditioning: Literal["scale_shift", "channel"]
    """how the noise level enters: by scaling and shifting the channels, or as an extra channel"""
    normalisation: Literal["none", "batch", "group"]
    """normalisation of the activations; the paper uses `batch`"""
    spectral_norm: bool
    """whether the largest singular value of every layer is fixed to 1, as in the paper"""

    @property
    def scales(self) -> int:
        """Number of times that the network halves a map."""
        return len(self.widths) - 1


@record
class TrainParams:
    """Training of the network by denoising score matching."""

    input: TrackedPath
    """folder of the maps: `data/simulations`, or a released folder with the same files"""
    seed: Annotated[int, Field(ge=0)]
    """seed of weights, crops and noise"""
    epochs: Count
    """number of epochs; each ends with a validation and a checkpoint"""
    steps_per_epoch: Count
    """batches in an epoch"""
    batch: Count
    """maps in a batch"""
    optimizer: Literal["muon", "adam"]
    """optimiser of the kernels of convolutions; all other weights are trained by Adam"""
    learning_rate: Positive
    """highest learning rate, between the warm-up and the cosine decay"""
    sigma_min: Positive
    """lowest noise level [convergence]"""
    sigma_max: Positive
    """highest noise level [convergence]"""
    noise: Literal["log_uniform", "half_normal"]
    """distribution of noise levels: uniform in their logarithm, or half-normal as in the paper"""
    level_unit: Literal["gaussian", "noise"]
    """unit of the loss at each noise level: the error of the Gaussian denoiser, or the noise"""
    peak_weight: Annotated[float, Field(ge=0)]
    """extra weight of a pixel for each rms above three"""
    void_weight: Annotated[float, Field(ge=0)]
    """extra weight of a pixel for each rms below -0.8"""
    peak_share: Annotated[float, Field(ge=0, lt=1)]
    """share of the crops that are drawn around one of the highest peaks; weights keep the mean of the loss"""
    long_weight: Annotated[float, Field(ge=0)]
    """weight of a second loss in which every octave of wavelength counts the same; 0 for none"""
    symmetries: bool
    """whether maps are rotated and reflected at random"""
    amplitude_jitter: Annotated[float, Field(ge=0)]
    """standard deviation of a random factor on every map; 0 for none"""
    ema_momentum: Annotated[float, Field(ge=0, lt=1)]
    """momentum of the moving average of the weights, which is the result; 0 for no average"""
    gate_sigma: Positive
    """noise level [convergence] above which the network's part falls with its fourth power, leaving theory"""
    local_gain: bool
    """whether the network also says where maps vary less than the Gaussian model expects (voids) or more (peaks)"""
    local_skip: bool
    """whether a rule keeps the map where it stands out of the noise, so that the network has to find the noise alone"""
    margin: Annotated[int, Field(ge=0)]
    """pixels along each edge where the prior is Gaussian and nothing may be observed"""
    crop_pixels: Count
    """pixels along a side of the smaller crops, which is the size of the small mocks"""
    network: NetworkParams
    """network of the score"""

    @model_validator(mode="after")
    def noise_range(self) -> "TrainParams":
        """The noise levels are a range."""
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min is {self.sigma_min}, which is not below sigma_max ({self.sigma_max})")
        return self


@record
class SlurmParams:
    """Jobs of SLURM, one for each worker."""

    jobs: Count
    """largest number of jobs at a time"""
    cores: Count
    """cores of a job"""
    hours: Annotated[float, Field(ge=0.1, allow_inf_nan=False)]
    """time limit of a job [h]"""
    partition: str | None
    """partition of the jobs; null for the default"""
    account: str | None
    """account to charge; null for the default"""
    directives: list[str]
    """further `#SBATCH` lines, such as `--gres=gpu:1`"""


@record
class ComputeParams:
    """The machine: number format of the network, who moves the particles, and workers for boxes, mocks and chains.

    Results depend on the first two by rounding alone, and not on the workers.
    """

    precision: Precision
    """number format of the network's layers; weights and output are float32"""
    nbody: Literal["numba", "jax"]
    """N-body boxes on the CPU (`numba`), or by `jax`, which uses a GPU if there is one"""

    cluster: Literal["local", "slurm"]
    """who does the tasks: processes on this machine, or SLURM jobs"""
    processes: Annotated[int, Field(ge=0)] | None
    """workers on this machine; null for one per core; 0 for none: the process of the stage does its tasks in turn"""
    memory_gb: Positive
    """memory of a worker [GB]; a worker that exceeds it is ended and its task done again"""
    scheduler: str | None
    """address of a running Dask scheduler, like `tcp://host:8786`; null to start workers"""
    slurm: SlurmParams
    """the jobs, if `cluster` is slurm"""
