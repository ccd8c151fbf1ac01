"""Sections that say what is simulated: cosmology and sources, and where maps of it come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import Count, Positive, record

MOST_BOXES = 1000  # of a split: its numbers are its own


@record
class SmailParams:
    """Sources that follow n(z) ~ z^alpha exp(-(z / z0)^beta)."""

    alpha: Positive
    beta: Positive
    z0: Positive


@record
class SourcesParams:
    """Redshifts of the sources: one plane, a two-column file (z, n), or a Smail distribution."""

    redshift: Positive | None = None
    file: str | None = None
    smail: SmailParams | None = None

    @model_validator(mode="after")
    def one_form(self) -> "SourcesParams":
        """Sources take one of the three forms."""
        if sum(form is not None for form in (self.redshift, self.file, self.smail)) != 1:
            raise ValueError("give one of `redshift`, `file` and `smail`, and make the others null")
        return self


@record
class TheoryParams:
    """Cosmology (flat, massless neutrinos) and source redshifts of the theory spectrum."""

    h: Positive
    omega_m: Positive
    omega_b: Positive
    a_s: Positive
    n_s: Positive
    sources: SourcesParams
    ell_max: Annotated[int, Field(ge=1000)]


@record
class Splits:
    """A number for the maps that train, the maps that validate, and the maps that nothing but reports see."""

    train: Count
    validation: Count
    test: Count


@record
class DescentParams:
    """Displacement that sharpens halos (`nbody.descent`): amplitude a^growth, on scales below 1 / k_long (h/Mpc)."""

    amplitude: Positive
    growth: float
    k_long: Positive


@record
class NbodyParams:
    """Boxes of the particle-mesh N-body and how finely they are resolved; lengths in comoving Mpc/h."""

    boxes: Splits
    box_mpc_h: Positive
    particles: Annotated[int, Field(ge=16)]
    mesh: Annotated[int, Field(ge=16)]
    steps: Annotated[int, Field(ge=4)]
    start_redshift: Positive
    candidates: Count
    plane_pixels: Annotated[int, Field(ge=16)]
    backend: Literal["numba", "jax"]
    descent: DescentParams | None

    @model_validator(mode="after")
    def resolved(self) -> "NbodyParams":
        """The force mesh is no coarser than the particles."""
        if self.mesh < self.particles:
            raise ValueError(f"mesh is {self.mesh}, less than particles ({self.particles}): forces would be too coarse")
        return self


@record
class MassivenusParams:
    """MassiveNuS maps: an address, an archive or a folder, and what the archive must be."""

    address: str
    bytes: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@record
class KappatngParams:
    """kappaTNG maps: an address or a folder that holds `LP001/LP001_run001_maps.hdf5`, and LP numbers a split."""

    address: str
    realisations: Splits


@record
class FilesParams:
    """Any folder of convergence maps (FITS, NPY, HDF5) of one pixel scale; `dataset` names the map in HDF5."""

    folder: str
    pixel_arcmin: Positive
    dataset: str | None = None


@record
class SimulationsParams:
    """Where the maps come from that the prior learns from, how many, and how wide: `source` names the section used."""

    source: Literal["nbody", "massivenus", "kappatng", "files"]
    maps: Splits
    map_pixels: Annotated[int, Field(ge=16)]
    mock_pixels: Annotated[int, Field(ge=16)]
    join_ell: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    nbody: NbodyParams | None = None
    massivenus: MassivenusParams | None = None
    kappatng: KappatngParams | None = None
    files: FilesParams | None = None

    @model_validator(mode="after")
    def consistent(self) -> "SimulationsParams":
        """The source is described, every box has as many maps as the next, and the join goes upward."""
        if getattr(self, self.source) is None:
            raise ValueError(
                f"source is {self.source}, but the section {self.source} is not there; choose it with"
                f" `-S simulations={self.source}`"
            )
        if self.source == "nbody":
            for split in ("train", "validation", "test"):
                maps, boxes = getattr(self.maps, split), getattr(self.nbody.boxes, split)
                if boxes > MOST_BOXES:
                    raise ValueError(f"nbody.boxes.{split} is {boxes}; give at most {MOST_BOXES}")
                if maps % boxes:
                    raise ValueError(f"maps.{split} is {maps}, which {boxes} boxes cannot share; give a multiple")
        if self.join_ell[0] >= self.join_ell[1]:
            raise ValueError(f"join_ell is {self.join_ell}: give the lower multipole first")
        return self
