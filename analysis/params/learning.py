"""Sections that say how the score is learnt: the network and its training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import Count, Positive, Precision, TrackedPath, record


@record
class NetworkParams:
    """The residual U-Net: channels from full resolution downwards, residual blocks a scale, and the paper's guards."""

    widths: Annotated[list[Count], Field(min_length=2)]
    """channels from full resolution downwards, each scale half the size of the one before"""
    blocks: Count
    """residual blocks a scale"""
    skips: Literal["sum", "concatenate"]
    """how the way up takes in what the way down kept"""
    conditioning: Literal["scale_shift", "channel"]
    """how the network is told the noise level: it scales and shifts channels, or is a channel"""
    normalisation: Literal["none", "batch", "group"]
    """of the activations; `batch` is the paper's"""
    spectral_norm: bool
    """whether the largest singular value of every layer is held at 1, the paper's guard"""

    @property
    def scales(self) -> int:
        """How often the network halves a map."""
        return len(self.widths) - 1


@record
class TrainParams:
    """Denoising score matching of the network, on crops of the grid's side and of a smaller one, weighted by pixel."""

    input: TrackedPath
    """folder of the maps: `data/simulations`, or a released folder of the same layout"""
    seed: Annotated[int, Field(ge=0)]
    """of weights, crops and noise"""
    epochs: Count
    """checkpoints and validations, one after each"""
    steps_per_epoch: Count
    """batches between two of them"""
    batch: Count
    """maps of a step"""
    precision: Precision
    """of the layers; weights and output are float32"""
    learning_rate: Positive
    """the highest of Adam, between its warm-up and its cosine decay"""
    sigma_min: Positive
    """lowest noise level [convergence]"""
    sigma_max: Positive
    """highest noise level [convergence]"""
    noise: Literal["log_uniform", "half_normal"]
    """how levels are drawn: evenly in their logarithm, or as the paper does"""
    level_unit: Literal["gaussian", "noise"]
    """what the loss of a level is measured in: the Gaussian denoiser's error, or the noise"""
    peak_weight: Annotated[float, Field(ge=0)]
    """how much more a pixel counts for each rms by which it exceeds three"""
    long_weight: Annotated[float, Field(ge=0)]
    """weight of the loss whose octaves of waves count the same; 0 leaves it out"""
    symmetries: bool
    """whether maps are turned and mirrored"""
    amplitude_jitter: Annotated[float, Field(ge=0)]
    """spread of a random factor on every map; 0 for none"""
    ema_momentum: Annotated[float, Field(ge=0, lt=1)]
    """of the moving average of the weights, which is what is kept; 0 for no average"""
    gate_sigma: Positive
    """noise level [convergence] beyond which the network's part fades, as its fourth power, and theory is left"""
    local_skip: bool
    """whether a map that stands out of the noise has the network look for the noise instead"""
    margin: Annotated[int, Field(ge=0)]
    """pixels along each edge in which maps are Gaussian and nothing may be observed"""
    crop_pixels: Count
    """side of the smaller crops [pixels], those of the small mocks"""
    network: NetworkParams
    """of the score"""

    @model_validator(mode="after")
    def noise_range(self) -> "TrainParams":
        """Noise levels of the training span a range."""
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min is {self.sigma_min}, which is not below sigma_max ({self.sigma_max})")
        return self
