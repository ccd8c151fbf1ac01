"""Sections about the simulated universe: cosmology, sources, and where the maps come from."""

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from analysis.params.types import Count, Digest, Positive, UserPath, increasing, record

MOST_BOXES = 1000  # of a split; their numbers identify the split


@record
class SmailParams:
    """Smail distribution of source redshifts, n(z) ~ z^alpha exp(-(z / z0)^beta)."""

    alpha: Positive
    """alpha of the distribution"""
    beta: Positive
    """beta of the distribution"""
    z0: Positive
    """redshift scale z0 of the distribution"""


@record
class SourcesParams:
    """Redshifts of the sources: one plane, a two-column file (z, n), or a Smail distribution."""

    redshift: Positive | None = None
    """redshift of a single plane of sources"""
    file: UserPath | None = None
    """two-column file (z, n); changes are noticed if it is in `data/sources`"""
    smail: SmailParams | None = None
    """Smail distribution n(z)"""

    @model_validator(mode="after")
    def one_form(self) -> "SourcesParams":
        """The sources have exactly one of the three forms."""
        if sum(form is not None for form in (self.redshift, self.file, self.smail)) != 1:
            raise ValueError("give one of `redshift`, `file` and `smail`, and make the others null")
        return self


@record
class TheoryParams:
    """Cosmology (flat, massless neutrinos) and source redshifts of the theory spectrum."""

    h: Positive
    """Hubble constant [100 km/s/Mpc]"""
    omega_m: Positive
    """matter density parameter"""
    omega_b: Positive
    """baryon density parameter"""
    a_s: Positive
    """amplitude of the primordial spectrum at 0.05 / Mpc"""
    n_s: Positive
    """slope of the primordial spectrum"""
    sources: SourcesParams
    """redshifts of the galaxies whose shapes are measured"""
    ell_max: Annotated[int, Field(ge=1000)]
    """highest multipole of the table"""


@record
class Splits:
    """A number for each split: training, validation and test."""

    train: Count
    """for training"""
    validation: Count
    """for choosing settings"""
    test: Count
    """for reporting results only"""


@record
class DescentParams:
    """Displacement of the particles that sharpens halos, amplitude a^growth, on scales below 1 / k_long."""

    amplitude: Positive
    """amplitude of the displacement today"""
    growth: float
    """exponent of the scale factor in the amplitude"""
    k_long: Positive
    """wavenumber above which it acts [h/Mpc]"""


@record
class NbodyParams:
    """Boxes of the particle-mesh N-body simulation, and their resolution."""

    boxes: Splits
    """number of boxes; the maps of a split are shared equally among its boxes"""
    box_mpc_h: Positive
    """side of a box [comoving Mpc/h]"""
    particles: Annotated[int, Field(ge=16)]
    """particles along a side"""
    mesh: Annotated[int, Field(ge=16)]
    """cells along a side of the force mesh"""
    steps: Annotated[int, Field(ge=4)]
    """time steps"""
    start_redshift: Positive
    """redshift of the initial conditions"""
    plane_pixels: Annotated[int, Field(ge=16)]
    """pixels along a side of a density plane"""
    descent: DescentParams | None
    """displacement that sharpens halos (`make descent` fits it); null for none"""

    @model_validator(mode="after")
    def resolved(self) -> "NbodyParams":
        """The force mesh is at least as fine as the particles."""
        if self.mesh < self.particles:
            raise ValueError(f"mesh is {self.mesh}, less than particles ({self.particles}): forces would be too coarse")
        return self


@record
class MassivenusParams:
    """MassiveNuS maps, from an address, an archive or a folder."""

    address: UserPath
    """https address or path of the archive, or a folder with its content"""
    bytes: Count
    """size of the archive [bytes]"""
    sha256: Digest
    """SHA-256 digest of the archive"""


@record
class KappatngParams:
    """kappaTNG maps, from an address or a folder."""

    address: UserPath
    """https address or folder that has `LP001/LP001_run001_maps.hdf5` and so on"""
    realisations: Splits
    """number of realisations (LP numbers) of each split"""


@record
class FilesParams:
    """Convergence maps of one size and pixel scale in any folder."""

    folder: UserPath
    """folder with FITS, NPY or HDF5 maps"""
    pixel_arcmin: Positive
    """pixel scale of the maps [arcmin]"""
    dataset: str | None = None
    """name of the map in HDF5 files"""


@record
class SimulationsParams:
    """Simulated maps that the prior learns from: their source, number and width."""

    source: Literal["nbody", "massivenus", "kappatng", "files"]
    """the section below that describes the maps"""
    maps: Splits
    """number of maps of each split"""
    map_pixels: Annotated[int, Field(ge=16)]
    """pixels along a side of a training map; crops are taken from it"""
    mock_pixels: Annotated[int, Field(ge=16)]
    """pixels along a side of a validation or test map; wider than the grid, because the sky does not end there"""
    join_ell: Annotated[list[Positive], Field(min_length=2, max_length=2), AfterValidator(increasing)]
    """multipoles between which the prior's spectrum changes from theory to the simulated maps"""
    nbody: NbodyParams | None = None
    """our own particle-mesh boxes"""
    massivenus: MassivenusParams | None = None
    """the published suite MassiveNuS"""
    kappatng: KappatngParams | None = None
    """the published suite kappaTNG"""
    files: FilesParams | None = None
    """a folder of maps"""

    @model_validator(mode="after")
    def consistent(self) -> "SimulationsParams":
        """The source has its section, and the maps of a split can be shared equally among its boxes."""
        if getattr(self, self.source) is None:
            raise ValueError(
                f"source is {self.source}, but the section {self.source} is missing; choose it with"
                f" `-S simulations={self.source}`"
            )
        if self.source == "nbody" and self.nbody is not None:
            for split, maps in asdict(self.maps).items():
                boxes = getattr(self.nbody.boxes, split)
                if boxes > MOST_BOXES:
                    raise ValueError(f"nbody.boxes.{split} is {boxes}; give at most {MOST_BOXES}")
                if maps % boxes:
                    raise ValueError(f"maps.{split} is {maps}, which {boxes} boxes cannot share; give a multiple")
        return self
