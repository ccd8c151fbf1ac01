"""Sections from the network to the figures: how the score is learnt, the posterior sampled, the result judged."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import Count, Positive, Precision, record


@record
class NetworkParams:
    """The residual U-Net: channels from full resolution downwards, residual blocks a scale, and the paper's guards."""

    widths: Annotated[list[Count], Field(min_length=2)]
    blocks: Count
    skips: Literal["sum", "concatenate"]
    conditioning: Literal["scale_shift", "channel"]
    normalisation: Literal["none", "batch", "group"]
    spectral_norm: bool

    @property
    def scales(self) -> int:
        """How often the network halves a map."""
        return len(self.widths) - 1


@record
class TrainParams:
    """Denoising score matching of the network, on crops of the grid's side and of a smaller one, weighted by pixel."""

    input: str
    seed: Annotated[int, Field(ge=0)]
    epochs: Count
    steps_per_epoch: Count
    batch: Count
    precision: Precision
    learning_rate: Positive
    sigma_min: Positive
    sigma_max: Positive
    noise: Literal["log_uniform", "half_normal"]
    level_unit: Literal["gaussian", "noise"]
    peak_weight: Annotated[float, Field(ge=0)]
    long_weight: Annotated[float, Field(ge=0)]
    symmetries: bool
    amplitude_jitter: Annotated[float, Field(ge=0)]
    ema_momentum: Annotated[float, Field(ge=0, lt=1)]
    gate_sigma: Positive
    local_skip: bool
    margin: Annotated[int, Field(ge=0)]
    crop_pixels: Count
    network: NetworkParams

    @model_validator(mode="after")
    def noise_range(self) -> "TrainParams":
        """Noise levels of the training span a range."""
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min is {self.sigma_min}, which is not below sigma_max ({self.sigma_max})")
        return self


@record
class RunParams:
    """One posterior to sample: its observation, its chains, and how it departs from the plain run."""

    observation: str
    chains: Annotated[int, Field(ge=2)]
    rotate_deg: float = 0.0
    prior: Literal["network", "gaussian"] = "network"


@record
class GibbsParams:
    """Split Gibbs: cycles of falling noise, those at the last noise `renoise`, and the steps that denoise in each."""

    cycles: Annotated[int, Field(ge=2)]
    last_cycles: Annotated[int, Field(ge=0)]
    renoise: Positive
    sigma_end: Positive
    spacing: Positive


@record
class HmcParams:
    """Annealed HMC: the ladder of noise levels down to `sigma_end`, trajectories at each, and the ODE that ends it."""

    sigma_end: Positive
    levels: Annotated[int, Field(ge=2)]
    pilot_chains: Annotated[int, Field(ge=2)]
    acceptance: Annotated[float, Field(gt=0, lt=1)]
    trajectories: Count
    leapfrog_steps: Annotated[int, Field(ge=2, multiple_of=2)]
    step: Positive
    ode_steps: Count
    solver_iterations: Count
    diffused_levels: Count

    @model_validator(mode="after")
    def shared(self) -> "HmcParams":
        """Some of the ladder is left to the annealed posterior."""
        if self.diffused_levels >= self.levels:
            raise ValueError(f"diffused_levels is {self.diffused_levels}, but the ladder has only {self.levels} levels")
        return self


@record
class SampleParams:
    """The runs, folder of their network, sampler, chains at a time, noise levels, and transitions for diagnosis."""

    fields: Annotated[dict[str, RunParams], Field(min_length=1)]
    network: str
    precision: Precision
    preset: Literal["gibbs", "hmc", "remy2020"]
    batch: Annotated[int, Field(ge=2)]
    sigma_start: Positive
    sigma_final: Positive
    further: Annotated[int, Field(ge=4)]
    gibbs: GibbsParams
    hmc: HmcParams

    @model_validator(mode="after")
    def downward(self) -> "SampleParams":
        """Noise levels fall, whichever sampler walks down them."""
        if not self.sigma_final < self.hmc.sigma_end < self.sigma_start:
            raise ValueError(
                f"noise levels must fall, but sigma_start, hmc.sigma_end, sigma_final are {self.sigma_start},"
                f" {self.hmc.sigma_end}, {self.sigma_final}"
            )
        if not self.sigma_final <= self.gibbs.sigma_end < self.gibbs.renoise < self.sigma_start:
            raise ValueError(
                f"noise levels must fall, but sigma_start, gibbs.renoise, gibbs.sigma_end, sigma_final are"
                f" {self.sigma_start}, {self.gibbs.renoise}, {self.gibbs.sigma_end}, {self.sigma_final}"
            )
        return self


@record
class PriorParams:
    """Samples of the prior alone, the held-out maps that they should look like, and whether they may end the run."""

    samples: Annotated[int, Field(ge=2)]
    against: Literal["validation", "test"]
    fatal: bool


@record
class BaselinesParams:
    """Kaiser-Squires smoothing scales to try, and Gaussian realisations to draw."""

    smoothing_arcmin: Annotated[list[Positive], Field(min_length=1)]
    realisations: Annotated[int, Field(ge=2)]


@record
class SparseParams:
    """Mass maps with sparse halos: scales of starlets, thresholds and turns of both components to choose from."""

    scales: Count
    thresholds: Annotated[list[Positive], Field(min_length=1)]
    turns: Annotated[list[Count], Field(min_length=1)]


@record
class DeepMassParams:
    """A network from data to map: steps in so many rounds, each on fresh mocks; the best round is kept."""

    steps: Count
    rounds: Count
    batch: Count
    learning_rate: Positive
    network: NetworkParams

    @model_validator(mode="after")
    def even_rounds(self) -> "DeepMassParams":
        """Every round has as many steps as the next."""
        if self.steps % self.rounds:
            raise ValueError(f"steps is {self.steps}, which {self.rounds} rounds cannot share; give a multiple")
        return self


@record
class RivalsParams:
    """What the posterior mean is compared with besides the baselines, each tuned on the validation mocks."""

    sparse: SparseParams
    deepmass: DeepMassParams


@record
class ValidateParams:
    """Chains a mock, mocks that are sampled once more with the sampler's own shear, redshift limit of the stacks."""

    chains: Annotated[int, Field(ge=2)]
    own: Annotated[int, Field(ge=2)]
    cluster_redshift_max: Positive


@record
class CalibrateParams:
    """Mocks with the sampler's own shear and with the sky's, and posterior samples of each."""

    own: Annotated[int, Field(ge=2)]
    sky: Annotated[int, Field(ge=2)]
    samples: Annotated[int, Field(ge=2)]


@record
class InjectionParams:
    """NFW halos put into small mocks: `masses` M200c in solar masses, realisations of each, samples of a posterior."""

    masses: Annotated[list[Positive], Field(min_length=1)]
    redshift: Positive
    realisations: Annotated[int, Field(ge=2)]
    samples: Annotated[int, Field(ge=2)]


@record
class ClustersParams:
    """When a sample shows a cluster: a peak of `threshold` within r500, or within `radius_arcmin` where that is more.

    `controls` : the runs to look at, each with the B-mode run of the same field, or null
    """

    threshold: Positive
    radius_arcmin: Positive
    aperture_arcmin: Positive
    random_places: Annotated[int, Field(ge=100)]
    controls: Annotated[dict[str, str | None], Field(min_length=1)]
    injection: InjectionParams


@record
class BenchmarkParams:
    """A field for every sampler; maps of several sides and several numbers of chains for the growth of the cost."""

    pixels: Count
    chains: Annotated[int, Field(ge=2)]
    sides: Annotated[list[Count], Field(min_length=2)]
    side_chains: Annotated[int, Field(ge=2)]
    chain_numbers: Annotated[list[Count], Field(min_length=1)]


@record
class MethodParams:
    """Figures of the method: runs whose data are shown, noise levels that are denoised, and how many maps of a kind."""

    runs: Annotated[list[str], Field(min_length=1, max_length=2)]
    sigmas: Annotated[list[Positive], Field(min_length=1)]
    maps: Count


@record
class FiguresParams:
    """Colours, which clusters are marked (mass in 1e13 solar masses), and the side of cut-outs."""

    colormap: str
    cluster_redshift_max: Positive
    cluster_mass_min: Positive
    cutout_arcmin: Positive
