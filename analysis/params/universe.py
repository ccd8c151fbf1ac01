"""Sections that say what is simulated: cosmology and sources, and where maps of it come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import Count, Positive, UserPath, record

MOST_BOXES = 1000  # of a split: its numbers are its own


@record
class SmailParams:
    """Sources that follow n(z) ~ z^alpha exp(-(z / z0)^beta)."""

    alpha: Positive
    """power of z"""
    beta: Positive
    """power of z within the exponential"""
    z0: Positive
    """scale of z"""


@record
class SourcesParams:
    """Redshifts of the sources: one plane, a two-column file (z, n), or a Smail distribution."""

    redshift: Positive | None = None
    """of one plane of sources"""
    file: UserPath | None = None
    """path of a two-column file (z, n), below `data/sources` for it to be watched"""
    smail: SmailParams | None = None
    """n(z) by formula"""

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
    """Hubble constant [100 km/s/Mpc]"""
    omega_m: Positive
    """all matter"""
    omega_b: Positive
    """baryons"""
    a_s: Positive
    """amplitude of the primordial spectrum at 0.05 / Mpc"""
    n_s: Positive
    """its slope"""
    sources: SourcesParams
    """redshifts of the galaxies whose shapes are measured"""
    ell_max: Annotated[int, Field(ge=1000)]
    """highest multipole of the table"""


@record
class Splits:
    """A number for the maps that train, the maps that validate, and the maps that nothing but reports see."""

    train: Count
    """for training"""
    validation: Count
    """to choose settings on"""
    test: Count
    """that nothing but reports see"""


@record
class DescentParams:
    """Displacement that sharpens halos (`nbody.descent`): amplitude a^growth, on scales below 1 / k_long (h/Mpc)."""

    amplitude: Positive
    """of the displacement, today"""
    growth: float
    """power of the scale factor that it grows as"""
    k_long: Positive
    """wavenumber [h/Mpc] above which it acts"""


@record
class NbodyParams:
    """Boxes of the particle-mesh N-body and how finely they are resolved; lengths in comoving Mpc/h."""

    boxes: Splits
    """boxes of each split, which share its maps"""
    box_mpc_h: Positive
    """side of a box [comoving Mpc/h]"""
    particles: Annotated[int, Field(ge=16)]
    """particles a side"""
    mesh: Annotated[int, Field(ge=16)]
    """cells a side of the mesh of forces"""
    steps: Annotated[int, Field(ge=4)]
    """of time"""
    start_redshift: Positive
    """at which boxes start"""
    candidates: Count
    """random phases of which the one closest to halofit is taken"""
    plane_pixels: Annotated[int, Field(ge=16)]
    """pixels a side of a density plane"""
    backend: Literal["numba", "jax"]
    """`numba` on the CPU, or `jax`, on a GPU where there is one"""
    descent: DescentParams | None
    """displacement that sharpens halos (`make descent` fits it); null for none"""

    @model_validator(mode="after")
    def resolved(self) -> "NbodyParams":
        """The force mesh is no coarser than the particles."""
        if self.mesh < self.particles:
            raise ValueError(f"mesh is {self.mesh}, less than particles ({self.particles}): forces would be too coarse")
        return self


@record
class MassivenusParams:
    """MassiveNuS maps: an address, an archive or a folder, and what the archive must be."""

    address: UserPath
    """https address of the archive, its path, or a folder that holds what it holds"""
    bytes: Count
    """length of the archive"""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 digest of the archive"""


@record
class KappatngParams:
    """kappaTNG maps: an address or a folder that holds `LP001/LP001_run001_maps.hdf5`, and LP numbers a split."""

    address: UserPath
    """https address or folder that holds `LP001/LP001_run001_maps.hdf5` and so on"""
    realisations: Splits
    """LP numbers of each split"""


@record
class FilesParams:
    """Any folder of convergence maps (FITS, NPY, HDF5) of one pixel scale; `dataset` names the map in HDF5."""

    folder: UserPath
    """of FITS, NPY or HDF5 maps"""
    pixel_arcmin: Positive
    """their pixel [arcmin]"""
    dataset: str | None = None
    """name of the map in HDF5; null for the only one"""


@record
class SimulationsParams:
    """Where the maps come from that the prior learns from, how many, and how wide: `source` names the section used."""

    source: Literal["nbody", "massivenus", "kappatng", "files"]
    """the section that is used"""
    maps: Splits
    """maps of each split"""
    map_pixels: Annotated[int, Field(ge=16)]
    """side of a training map, of which crops are taken"""
    mock_pixels: Annotated[int, Field(ge=16)]
    """side of a validation or test map; wider than the grid, as the sky is"""
    join_ell: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    """multipoles between which the prior's spectrum goes from theory to the maps' own"""
    nbody: NbodyParams | None = None
    """our own particle-mesh boxes"""
    massivenus: MassivenusParams | None = None
    """MassiveNuS"""
    kappatng: KappatngParams | None = None
    """kappaTNG"""
    files: FilesParams | None = None
    """a folder of maps"""

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
