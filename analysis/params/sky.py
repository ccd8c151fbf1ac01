"""Sections about the observed sky: the grid, the fields, null tests, and the mocks of a field."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from analysis.params.types import (
    Condition,
    Count,
    Digest,
    Finite,
    Increasing,
    Positive,
    Several,
    Title,
    UserPath,
    record,
)
from analysis.params.universe import SourcesParams


@record
class GridParams:
    """The square pixel grid of every map."""

    pixels: Annotated[int, Field(ge=16)]
    """number of pixels along a side"""
    pixel_arcmin: Positive
    """side of a pixel [arcmin]"""
    projection: Literal["TAN", "CAR"] = "TAN"
    """projection of the sky: gnomonic (TAN), or plate carree (CAR) as in the original's maps"""


@record
class ColumnFiles:
    """A shear catalogue with one FITS file for each column; paths below the data mirror."""

    ra: UserPath
    """right ascension [deg]"""
    dec: UserPath
    """declination [deg]"""
    e1: UserPath
    """ellipticity along the axes of the grid"""
    e2: UserPath
    """ellipticity along the diagonals of the grid"""
    weight: UserPath
    """lensing weight of a galaxy; 0 leaves it out"""


Format = Literal["fits", "parquet", "csv", "ecsv", "hdf5"]
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "fits": (".fits", ".fit", ".fts"),
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": (".csv",),
    "ecsv": (".ecsv",),
    "hdf5": (".hdf5", ".h5", ".hdf"),
}


@record
class TableColumns:
    """Names of the columns of a table: positions, shear estimates, and lensing weights if it has any."""

    ra: str
    """right ascension, in `units`"""
    dec: str
    """declination, in `units`"""
    e1: str
    """first component of the shear estimate"""
    e2: str
    """second component of the shear estimate"""
    weight: str | None = None
    """lensing weight; null if all weights are 1"""


@record
class SkyUnits:
    """Units of RA and Dec, used instead of those in the file."""

    ra: Literal["deg", "rad", "arcsec", "arcmin", "hourangle"] | None = None
    """unit of right ascension; null for the unit in the file, or degrees without one"""
    dec: Literal["deg", "rad", "arcsec", "arcmin"] | None = None
    """unit of declination; null for the unit in the file, or degrees without one"""


@record
class CatalogueTable:
    """A shear catalogue as one table, with its own names, units and signs.

    Shear estimates e become e / (<response> (1 + <multiplicative_bias>)), where < > is the mean with the weights.
    """

    path: UserPath
    """an address, an absolute path, or a path below the data mirror or the project"""
    columns: TableColumns
    """names of its columns"""
    format: Format | None = None
    """format of the file; null to take it from the suffix of `path`"""
    sha256: Digest | None = None
    """SHA-256 digest of the file; required for an address"""
    units: SkyUnits = SkyUnits()
    """units of positions, used instead of those in the file"""
    flip_e1: bool = False
    """whether to change the sign of e1, so that it refers to axes (west, north)"""
    flip_e2: bool = False
    """whether to change the sign of e2, so that it refers to axes (west, north)"""
    response: Finite | str | Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    """response to shear, a divisor: a number, a column, or two columns, one for each component"""
    multiplicative_bias: Finite | str | None = None
    """multiplicative bias m, with divisor 1 + m: a number or a column"""
    cuts: Condition | None = None
    """condition on columns for galaxies to keep, like `z_b > 0.5 & flag == 0`; it is parsed, never executed"""
    hdu: Annotated[int, Field(ge=0)] | str | None = None
    """HDU of a FITS file, by number or name; null for the first table that has the columns"""
    key: str | None = None
    """HDF5 group with the columns"""
    allow_duplicates: bool = False
    """whether the same galaxy may be in the table twice"""

    @property
    def kind(self) -> Format | None:
        """The format, given or taken from the suffix; None if neither is known."""
        suffix = PurePath(self.path).suffix.lower()
        return self.format or next((name for name, known in SUFFIXES.items() if suffix in known), None)

    @model_validator(mode="after")
    def readable(self) -> "CatalogueTable":
        """The format is known, the calibration can be divided by, and downloads can be verified."""
        if not self.path:
            raise ValueError("path is empty; name a file")
        if self.kind is None:
            raise ValueError(f"path is {self.path!r}, without a known suffix; give `format`, one of {[*SUFFIXES]}")
        if isinstance(self.response, float) and not abs(self.response) > 0.01:
            raise ValueError(f"response is {self.response}, which is too small to divide by; give null for none")
        if isinstance(self.multiplicative_bias, float) and not abs(self.multiplicative_bias) < 0.9:
            raise ValueError(f"multiplicative_bias is {self.multiplicative_bias}; give m of (1 + m), a small number")
        if self.path.startswith(("http://", "https://")) and self.sha256 is None:
            raise ValueError(f"path is the address {self.path}; give `sha256` of the file, so that it can be verified")
        return self


def _catalogue_tag(value: Any) -> str:
    """Tag of the record that describes a catalogue; a table has a path."""
    table = isinstance(value, CatalogueTable) or (isinstance(value, dict) and "path" in value)
    return "<table>" if table else "<files>"


Catalogue = Annotated[
    Annotated[ColumnFiles, Tag("<files>")] | Annotated[CatalogueTable, Tag("<table>")], Discriminator(_catalogue_tag)
]


@record
class GriddedShear:
    """Shear that is already on the grid, as FITS images, with its noise: `weight`, or `mask` and `sigma`.

    Names are those of the registry, or paths.
    """

    shear: UserPath | Annotated[list[UserPath], Field(min_length=2, max_length=2)]
    """one image with both components as its first or last axis, or two images, one for each component"""
    mask: UserPath | None = None
    """image that is positive where the shear is observed"""
    truth: UserPath | None = None
    """image of the true convergence, for a mock"""
    sigma: Positive | None = None
    """standard deviation of the shear of a pixel, for each component, inside `mask`"""
    weight: UserPath | None = None
    """image of inverse variances, 0 where nothing is observed"""
    reduced: bool = True
    """whether it is what galaxies show, gamma / (1 - kappa); false for the shear of a simulation"""

    @model_validator(mode="after")
    def one_noise(self) -> "GriddedShear":
        """The noise is given in one of the two ways."""
        if (self.mask is None) != (self.sigma is None) or (self.mask is None) == (self.weight is None):
            raise ValueError("give either `weight`, or both `mask` and `sigma`")
        return self


@record
class FieldParams:
    """A field of the sky: its galaxies or gridded shear, its position, and its clusters."""

    title: Title
    """title of the field in figures and files"""
    center_deg: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None
    """right ascension and declination of the grid's centre [deg]; null for the middle of a table's galaxies"""
    catalogue: Catalogue | None = None
    """its galaxies: one table, or one FITS file for each column"""
    gridded: GriddedShear | None = None
    """its shear, if it is already on the grid"""
    rows: Count | None = None
    """number of rows to use from the top; null for all"""
    clusters: UserPath | None = None
    """list of X-ray clusters, in the layout of Finoguenov et al. 2007; null for none"""
    sources: SourcesParams | None = None
    """redshifts of its galaxies, if they are not those of `theory`"""

    @model_validator(mode="after")
    def one_source(self) -> "FieldParams":
        """A field has either a catalogue or gridded shear, and its centre is on the sky."""
        if (self.catalogue is None) == (self.gridded is None):
            raise ValueError("give exactly one of `catalogue` and `gridded`")
        if self.center_deg is None and not isinstance(self.catalogue, CatalogueTable):
            raise ValueError("center_deg is null, which only a table may have; give RA and Dec of the centre")
        if self.center_deg is not None and not abs(self.center_deg[1]) <= 90:
            raise ValueError(f"center_deg is {self.center_deg}, with Dec outside -90 to 90; give RA and Dec in degrees")
        return self


@record
class CatalogueParams:
    """The fields whose galaxies are averaged on the grid."""

    fields: Annotated[list[str], Field(min_length=1)]
    """entries of `fields` to put on the grid"""


@record
class NullsParams:
    """Null tests of a field."""

    realisations: Annotated[int, Field(ge=19)]
    """realisations of the noise, from which p-values are computed"""
    smoothing_arcmin: Positive
    """standard deviation of the Gaussian that smooths the maps [arcmin]"""
    bands: Several
    """number of multipole bands of the spectra"""
    rings_arcmin: Increasing
    """radii of the rings around places, from the inside out [arcmin]"""
    random_sets: Annotated[int, Field(ge=19)]
    """sets of random places to compare stacks with"""
    positions: dict[str, UserPath]
    """by field, a list of places (ECSV or CSV with ra and dec) to stack around besides X-ray clusters"""


@record
class PredictiveParams:
    """Prior-predictive checks: a field beside mocks of simulated maps under its noise."""

    mocks: Annotated[int, Field(ge=19)]
    """mocks of held-out maps, from which p-values are computed"""
    smoothing_arcmin: Positive
    """standard deviation of the Gaussian that smooths the maps for peaks and skewness [arcmin]"""
    bands: Several
    """number of multipole bands of the spectra"""
    distances_arcmin: Increasing
    """edges of the bins of distance of the shear correlation [arcmin]"""


@record
class MocksParams:
    """Mock observations of simulated maps with the mask and noise of a field."""

    field: str
    """field whose mask and noise the mocks have"""
    validation: Count
    """number of mocks to choose settings with"""
    test: Several
    """number of mocks used only to report results"""
    reduced_shear: bool
    """whether the shear is divided by 1 - kappa, as on the sky"""
