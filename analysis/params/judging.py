"""Sections that say how the result is judged and shown: rivals, mocks, clusters, figures."""

from typing import Annotated

from pydantic import Field, model_validator

from analysis.params.learning import NetworkParams
from analysis.params.types import Count, Positive, UserPath, record


@record
class NullsParams:
    """Null tests of a field: realisations of noise, smoothing, bands of power, rings around places."""

    realisations: Annotated[int, Field(ge=19)]
    """random turns of all ellipticities, which p-values are read from"""
    smoothing_arcmin: Positive
    """spread of the Gaussian that smooths the maps [arcmin]"""
    bands: Annotated[int, Field(ge=2)]
    """bands of the spectra"""
    rings_arcmin: Annotated[list[Positive], Field(min_length=2)]
    """radii of the rings around places, from the inside out [arcmin]"""
    random_sets: Annotated[int, Field(ge=19)]
    """sets of random places that stacks are compared with"""
    positions: dict[str, UserPath]
    """by field, a list of places (ECSV or CSV of ra and dec) to look around besides X-ray clusters"""

    @model_validator(mode="after")
    def outward(self) -> "NullsParams":
        """Rings follow one upon the other."""
        if sorted(set(self.rings_arcmin)) != self.rings_arcmin:
            raise ValueError(f"rings_arcmin is {self.rings_arcmin}: give radii from the inside out")
        return self


@record
class BaselinesParams:
    """Kaiser-Squires smoothing scales to try, and Gaussian realisations to draw."""

    smoothing_arcmin: Annotated[list[Positive], Field(min_length=1)]
    """spreads of the Gaussian that smooths Kaiser-Squires [arcmin]; validation mocks choose"""
    realisations: Annotated[int, Field(ge=2)]
    """constrained realisations of the Gaussian model"""


@record
class SparseParams:
    """Mass maps with sparse halos: scales of starlets, thresholds and turns of both components to choose from."""

    scales: Count
    """of the starlets"""
    thresholds: Annotated[list[Positive], Field(min_length=1)]
    """of halos [noise], to choose from on the validation mocks"""
    turns: Annotated[list[Count], Field(min_length=1)]
    """of the halos and the Gaussian field, to choose from likewise"""


@record
class DeepMassParams:
    """A network from data to map: steps in so many rounds, each on fresh mocks; the best round is kept."""

    steps: Count
    """batches in all"""
    rounds: Count
    """rounds that share them, each on fresh mocks; the best is kept"""
    batch: Count
    """mocks of a step"""
    learning_rate: Positive
    """of Adam, at the start"""
    network: NetworkParams
    """from data to map"""

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
    """halos in a Gaussian field, as MCALens has them"""
    deepmass: DeepMassParams
    """a network from data to map, as DeepMass"""


@record
class ValidateParams:
    """Chains a mock, mocks that are sampled once more with the sampler's own shear, redshift limit of the stacks."""

    chains: Annotated[int, Field(ge=2)]
    """samples of each test mock"""
    own: Annotated[int, Field(ge=2)]
    """test mocks that are sampled once more with shear of the sampler's own operator"""
    cluster_redshift_max: Positive
    """redshift beyond which clusters are not stacked"""


@record
class CalibrateParams:
    """Mocks with the sampler's own shear and with the sky's, and posterior samples of each."""

    own: Annotated[int, Field(ge=2)]
    """small mocks with shear of the sampler's own operator"""
    sky: Annotated[int, Field(ge=2)]
    """small mocks with the sky's shear"""
    samples: Annotated[int, Field(ge=2)]
    """posterior samples of each, among which the truth is ranked"""


@record
class InjectionParams:
    """NFW halos put into small mocks: `masses` M200c in solar masses, realisations of each, samples of a posterior."""

    masses: Annotated[list[Positive], Field(min_length=1)]
    """M200c of the halos [solar masses]"""
    redshift: Positive
    """of the halos"""
    realisations: Annotated[int, Field(ge=2)]
    """mocks of each mass"""
    samples: Annotated[int, Field(ge=2)]
    """posterior samples of a mock"""


@record
class ClustersParams:
    """When a sample shows a cluster: a peak of `threshold` within r500, or within `radius_arcmin` where that is more.

    `controls` : the runs to look at, each with the B-mode run of the same field, or null
    """

    threshold: Positive
    """height of a peak that shows a cluster [convergence]"""
    radius_arcmin: Positive
    """least distance within which a peak counts [arcmin]"""
    aperture_arcmin: Positive
    """radius of the aperture mass [arcmin]"""
    random_places: Annotated[int, Field(ge=100)]
    """places that say how often chance shows a cluster"""
    controls: Annotated[dict[str, str | None], Field(min_length=1)]
    """runs to look at, each with the B-mode run of its field, or null"""
    injection: InjectionParams
    """halos put into mocks"""


@record
class BenchmarkParams:
    """A field for every sampler; maps of several sides and several numbers of chains for the growth of the cost."""

    pixels: Count
    """side of the field that every sampler samples"""
    chains: Annotated[int, Field(ge=2)]
    """of each sampler there"""
    sides: Annotated[list[Count], Field(min_length=2)]
    """sides of larger maps [pixels]"""
    side_chains: Annotated[int, Field(ge=2)]
    """chains on those"""
    chain_numbers: Annotated[list[Count], Field(min_length=1)]
    """numbers of chains on the field"""


@record
class MethodParams:
    """Figures of the method: runs whose data are shown, noise levels that are denoised, and how many maps of a kind."""

    runs: Annotated[list[str], Field(min_length=1, max_length=2)]
    """one or two of `sample.fields` whose data are shown"""
    sigmas: Annotated[list[Positive], Field(min_length=1)]
    """noise levels that are denoised [convergence]"""
    maps: Count
    """maps of a kind"""


@record
class FiguresParams:
    """Colours, which clusters are marked (mass in 1e13 solar masses), and the side of cut-outs."""

    colormap: str
    """Matplotlib's name of the colours of maps"""
    cluster_redshift_max: Positive
    """redshift beyond which clusters are not marked"""
    cluster_mass_min: Positive
    """mass M500 below which clusters are not marked [1e13 solar masses]"""
    cutout_arcmin: Positive
    """side of cut-outs [arcmin]"""
