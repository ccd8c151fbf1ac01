"""Sections about sampling the posterior and the prior."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import ByName, Count, Positive, Precision, TrackedPath, record


@record
class RunParams:
    """One posterior to sample: its observation, its chains, and how it differs from a standard run."""

    observation: TrackedPath
    """path of the observation, like `data/observation/<field>.fits`"""
    chains: Annotated[int, Field(ge=2)]
    """number of chains; each gives one independent sample"""
    rotate_deg: float = 0.0
    """rotation of every ellipticity [deg]; 45 is the B-mode control"""
    prior: Literal["network", "gaussian"] = "network"
    """the prior: theory and network, or theory alone"""


@record
class GibbsParams:
    """Split Gibbs: cycles of falling noise, those at the last noise `renoise`, and the steps that denoise in each."""

    cycles: Annotated[int, Field(ge=2)]
    """cycles of falling noise"""
    last_cycles: Annotated[int, Field(ge=0)]
    """further cycles at the last noise, so that long waves follow the data"""
    renoise: Positive
    """last noise of the split [convergence]; the data may ask for less"""
    sigma_end: Positive
    """noise level [convergence] below which the rest is denoised at once"""
    spacing: Positive
    """step of the noise level's cube root [convergence^(1/3)]"""


@record
class HmcParams:
    """Annealed HMC: the ladder of noise levels down to `sigma_end`, trajectories at each, and the ODE that ends it."""

    sigma_end: Positive
    """noise level [convergence] at which the ladder ends"""
    levels: Annotated[int, Field(ge=2)]
    """noise levels of the ladder"""
    pilot_chains: Annotated[int, Field(ge=2)]
    """chains that find the steps, and are thrown away"""
    acceptance: Annotated[float, Field(gt=0, lt=1)]
    """share of proposals that steps are adapted to"""
    trajectories: Count
    """of a chain at each level"""
    leapfrog_steps: Annotated[int, Field(ge=2, multiple_of=2)]
    """of a trajectory, an even number"""
    step: Positive
    """length of a leapfrog step at the start, where pi / 2 is a quarter of a Gaussian mode's period"""
    ode_steps: Count
    """steps of the reverse diffusion after the ladder"""
    solver_iterations: Count
    """of the conjugate gradients in the score of the data at a noise level"""
    diffused_levels: Count
    """last levels of the ladder at which the data are diffused as the map is"""

    @model_validator(mode="after")
    def shared(self) -> "HmcParams":
        """Some of the ladder is left to the annealed posterior."""
        if self.diffused_levels >= self.levels:
            raise ValueError(f"diffused_levels is {self.diffused_levels}, but the ladder has only {self.levels} levels")
        return self


@record
class SampleParams:
    """The runs, folder of their network, sampler, chains at a time, noise levels, and transitions for diagnosis."""

    fields: Annotated[ByName[RunParams], Field(min_length=1)]
    """the posteriors to sample, each by its name"""
    network: TrackedPath
    """folder of the network: `data/score`, or one that was released"""
    precision: Precision
    """of the network's layers in sampling"""
    preset: Literal["gibbs", "hmc", "remy2020"]
    """the sampler: split Gibbs, annealed HMC, or the schedule of Remy et al. 2020"""
    batch: Annotated[int, Field(ge=2)]
    """chains of a task"""
    tile_pixels: Count | None
    """side of the largest map that the network is given at once, which bounds its memory; null for any"""
    sigma_start: Positive
    """noise level at which chains start [convergence]"""
    sigma_final: Positive
    """noise level at which they end [convergence]; of HMC and of remy2020"""
    further: Annotated[int, Field(ge=4)]
    """further transitions a chain, for R-hat and effective numbers alone"""
    gibbs: GibbsParams
    """settings of `preset: gibbs`"""
    hmc: HmcParams
    """settings of `preset: hmc`"""

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
    """Samples of the prior alone, compared with held-out maps."""

    samples: Annotated[int, Field(ge=2)]
    """number of samples without data"""
    against: Literal["validation", "test"]
    """the held-out maps for the comparison"""
    fatal: bool
    """whether samples that differ from the maps end the run"""
