"""Sections about judging and showing the result: rivals, calibration, clusters, cost, figures."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.learning import NetworkParams
from analysis.params.types import Count, Positive, Several, record


@record
class BaselinesParams:
    """Kaiser-Squires, Wiener filter and Gaussian realisations."""

    smoothing_arcmin: Annotated[list[Positive], Field(min_length=1)]
    """standard deviations of the Gaussian that smooths Kaiser-Squires [arcmin]; validation mocks choose the best"""
    realisations: Several
    """number of constrained realisations of the Gaussian model"""


@record
class SparseParams:
    """Mass maps with sparse halos."""

    scales: Count
    """number of starlet scales"""
    thresholds: Annotated[list[Positive], Field(min_length=1)]
    """thresholds of halo coefficients [standard deviations of noise]; validation mocks choose the best"""
    turns: Annotated[list[Count], Field(min_length=1)]
    """numbers of updates of both components; validation mocks choose the best"""


@record
class DeepMassParams:
    """A network from data to map."""

    steps: Count
    """number of batches in total"""
    rounds: Count
    """rounds that share the steps, each with new mocks; the best one is used"""
    batch: Count
    """mocks in a batch"""
    seeds: Count
    """networks that differ in their seed; their maps are averaged"""
    learning_rate: Positive
    """highest learning rate of Adam"""
    network: NetworkParams
    """network from data to map"""

    @model_validator(mode="after")
    def even_rounds(self) -> "DeepMassParams":
        """The rounds share the steps equally."""
        if self.steps % self.rounds:
            raise ValueError(f"steps is {self.steps}, which {self.rounds} rounds cannot share; give a multiple")
        return self


@record
class RivalsParams:
    """Other methods that the posterior mean is compared with, tuned on the validation mocks."""

    sparse: SparseParams
    """sparse halos in a Gaussian field, as in MCALens"""
    deepmass: DeepMassParams
    """a network from data to map, as in DeepMass"""


@record
class ValidateParams:
    """Accuracy on mocks, and the stack of clusters."""

    chains: Several
    """posterior samples of each test mock"""
    own: Several
    """number of test mocks sampled again with the shear of the sampler's own operator"""
    cluster_redshift_max: Positive
    """highest redshift of clusters in the stack"""


@record
class CalibrateParams:
    """Ranks of the truth of small mocks among their posterior samples."""

    own: Several
    """number of small mocks with the shear of the sampler's own operator"""
    sky: Several
    """number of small mocks with shear as on the sky"""
    prior: Several
    """number of small mocks whose truths are drawn from the network's own prior"""
    second: Several
    """number of the `own` mocks that the other exact sampler samples too"""
    dps: Several | Literal[0]
    """number of the `own` mocks that diffusion posterior sampling samples too; 0 for none"""
    samples: Several
    """posterior samples of each mock, among which the truth is ranked"""

    @model_validator(mode="after")
    def repeated_of_own(self) -> "CalibrateParams":
        """Other samplers repeat mocks of `own`."""
        for name in ("second", "dps"):
            if (count := getattr(self, name)) > self.own:
                raise ValueError(f"{name} is {count}, above own, {self.own}: that sampler repeats those mocks")
        return self


@record
class InjectionParams:
    """NFW halos injected into small mocks."""

    masses: Annotated[list[Positive], Field(min_length=1)]
    """masses M200c of the halos [solar masses]"""
    redshift: Positive
    """redshift of the halos"""
    realisations: Several
    """number of mocks for each mass"""
    samples: Several
    """posterior samples of each mock"""


@record
class ClustersParams:
    """Clusters in samples: a peak of `threshold` within the larger of r500 and `radius_arcmin` shows a cluster."""

    threshold: Positive
    """smallest height of a peak that shows a cluster [convergence]"""
    radius_arcmin: Positive
    """smallest search radius for peaks [arcmin]"""
    aperture_arcmin: Positive
    """radius of the aperture mass [arcmin]"""
    random_places: Annotated[int, Field(ge=100)]
    """number of random places, for the rate of chance detections"""
    controls: Annotated[dict[str, str | None], Field(min_length=1)]
    """runs to examine, each with the B-mode run of its field, or null"""
    injection: InjectionParams
    """halos injected into mocks"""


@record
class BenchmarkParams:
    """The cost of a sample: by sampler, by map size, by number of chains."""

    pixels: Count
    """pixels along a side of the field for the comparison of samplers"""
    chains: Several
    """chains of each sampler in this comparison"""
    sides: Annotated[list[Count], Field(min_length=2)]
    """pixels along a side of maps of other sizes"""
    side_chains: Several
    """chains on maps of other sizes"""
    chain_numbers: Annotated[list[Count], Field(min_length=1)]
    """numbers of chains on a map of the first of `sides`, for the cost of each"""


@record
class MethodParams:
    """Figures of the method."""

    runs: Annotated[list[str], Field(min_length=1, max_length=2)]
    """one or two of `sample.fields` whose data are shown"""
    sigmas: Annotated[list[Positive], Field(min_length=1)]
    """noise levels of the denoising figure [convergence]"""
    maps: Count
    """number of maps of each kind"""


@record
class FiguresParams:
    """Figures of the results."""

    colormap: str
    """Matplotlib colour map of the maps"""
    cluster_redshift_max: Positive
    """highest redshift of marked clusters"""
    cluster_mass_min: Positive
    """lowest mass M500 of marked clusters [1e13 solar masses]"""
    cutout_arcmin: Positive
    """side of cut-out maps [arcmin]"""
