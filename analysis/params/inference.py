"""Sections about sampling the posterior and the prior."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import ByName, Count, Positive, TrackedPath, record


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
    amplitude: Positive = 1.0
    """amplitude of the prior's maps, in units of the simulations'; `predictive` estimates it from the field"""
    preset: Literal["gibbs", "hmc", "remy2020", "dps"] | None = None
    """the sampler of this run; null for that of all runs"""


@record
class GibbsParams:
    """Split Gibbs: cycles of falling noise, those at the last noise `renoise`, and the steps that denoise in each."""

    cycles: Annotated[int, Field(ge=2)]
    """cycles of noise that falls from `sigma_start` to `renoise`"""
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
    """Annealed HMC: levels of falling noise, trajectories at each, and the steps of the reverse diffusion between."""

    levels: Annotated[int, Field(ge=2)]
    """noise levels from `sigma_start` down to `renoise`"""
    trajectories: Count
    """trajectories of a chain at each level"""
    last_trajectories: Annotated[int, Field(ge=0)]
    """further trajectories at the last level"""
    leapfrog_steps: Annotated[int, Field(ge=2, multiple_of=2)]
    """steps of a trajectory, an even number"""
    step: Positive
    """length of a step, radians: a trajectory of pi / 2 forgets where a Gaussian mode was"""
    renoise: Positive
    """noise level of the last trajectories [convergence]; the data may ask for less"""
    sigma_end: Positive
    """noise level [convergence] below which the rest is denoised at once"""
    spacing: Positive
    """step of the noise level's cube root in the reverse diffusion [convergence^(1/3)]"""


@record
class SampleParams:
    """The runs, folder of their network, sampler, chains at a time, noise levels, and transitions for diagnosis."""

    fields: Annotated[ByName[RunParams], Field(min_length=1)]
    """the posteriors to sample, each by its name"""
    network: TrackedPath
    """folder of the network: `data/score`, or one that was released"""
    preset: Literal["gibbs", "hmc", "remy2020", "dps"]
    """the sampler: split Gibbs, annealed HMC, the schedule of Remy et al. 2020, or diffusion posterior sampling"""
    batch: Annotated[int, Field(ge=2)]
    """chains of a task"""
    tile_pixels: Count | None
    """side of the largest map that the network is given at once, which bounds its memory; null for any"""
    sigma_start: Positive
    """noise level at which chains of gibbs and hmc start [convergence]; the prior must be nearly Gaussian there"""
    sigma_final: Positive
    """noise level at which chains of remy2020 end, and the last level of dps [convergence]"""
    reduced_shear: bool
    """whether galaxies show gamma / (1 - kappa), and each chain corrects its data by its own map"""
    further: Annotated[int, Field(ge=4)]
    """further transitions a chain, for R-hat and effective numbers alone"""
    gibbs: GibbsParams
    """settings of `preset: gibbs`"""
    hmc: HmcParams
    """settings of `preset: hmc`"""

    @model_validator(mode="after")
    def downward(self) -> "SampleParams":
        """Noise levels fall, whichever sampler walks down them."""
        for name, sampler in (("gibbs", self.gibbs), ("hmc", self.hmc)):
            if not self.sigma_final <= sampler.sigma_end < sampler.renoise < self.sigma_start:
                raise ValueError(
                    f"noise levels must fall, but sigma_start, {name}.renoise, {name}.sigma_end, sigma_final are"
                    f" {self.sigma_start}, {sampler.renoise}, {sampler.sigma_end}, {self.sigma_final}"
                )
        return self

    def of_run(self, name: str) -> "SampleParams":
        """The parameters of one run: with its own sampler, where it names one."""
        return replace(self, preset=self.fields[name].preset or self.preset)


@record
class PriorParams:
    """Samples of the prior alone, compared with held-out maps."""

    samples: Annotated[int, Field(ge=2)]
    """number of samples without data"""
    fatal: bool
    """whether samples that differ from the maps end the run"""
