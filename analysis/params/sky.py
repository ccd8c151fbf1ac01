"""Sections that say what is observed: the grid, the fields, and the mocks of one of them."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from analysis.params.expression import parsed
from analysis.params.types import Count, Finite, Positive, Title, UserPath, record
from analysis.params.universe import SourcesParams


@record
class GridParams:
    """The square pixel grid of every map: pixels a side and arcmin a pixel."""

    pixels: Annotated[int, Field(ge=16)]
    """of a side of the square grid"""
    pixel_arcmin: Positive
    """side of a pixel [arcmin]"""
    projection: Literal["TAN", "CAR"] = "TAN"
    """of the sky: gnomonic, or plate carree as the original's maps"""


@record
class ColumnFiles:
    """A shear catalogue with one FITS file a column, as paths below the data mirror."""

    ra: UserPath
    """right ascension [deg]"""
    dec: UserPath
    """declination [deg]"""
    e1: UserPath
    """ellipticity along the grid's axes"""
    e2: UserPath
    """ellipticity along its diagonals"""
    weight: UserPath
    """weight of a galaxy, 0 for none"""


SUFFIXES = {
    "fits": (".fits", ".fit", ".fts"),
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": (".csv",),
    "ecsv": (".ecsv",),
    "hdf5": (".hdf5", ".h5", ".hdf"),
}
Format = Literal["fits", "parquet", "csv", "ecsv", "hdf5"]


@record
class TableColumns:
    """Names of the columns of a table: positions, shear estimates, and lensing weights, if it has any."""

    ra: str
    """right ascension, in `units`"""
    dec: str
    """declination, in `units`"""
    e1: str
    """first component of the shear estimate"""
    e2: str
    """second component"""
    weight: str | None = None
    """lensing weight; null for one of 1"""


@record
class SkyUnits:
    """Units of RA and Dec, which win over those that the file states; null for the file's, or degrees."""

    ra: Literal["deg", "rad", "arcsec", "arcmin", "hourangle"] | None = None
    """of right ascension; null for the file's, or degrees"""
    dec: Literal["deg", "rad", "arcsec", "arcmin"] | None = None
    """of declination; null for the file's, or degrees"""


@record
class CatalogueTable:
    """A shear catalogue as one table, by its own names, units and signs.

    `path` is an address, an absolute path, or one below the data mirror or the project. Shear estimates e become
    e / (<response> (1 + <multiplicative_bias>)), both a number or a column averaged with the weights; a response of two
    columns is one a component. `flip_e1` and `flip_e2` change signs into the frame (west, north) of `analysis.sky`.
    """

    path: UserPath
    """an address, an absolute path, or one below the data mirror or the project"""
    columns: TableColumns
    """names of its columns"""
    format: Format | None = None
    """null where the suffix of `path` tells"""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 digest of the file; an address needs it"""
    units: SkyUnits = SkyUnits()
    """of positions, which win over those that the file states"""
    flip_e1: bool = False
    """whether e1 changes sign, into the frame (west, north)"""
    flip_e2: bool = False
    """whether e2 changes sign, into the frame (west, north)"""
    response: Finite | str | Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    """response to shear, which divides: a number, a column, or two, one a component"""
    multiplicative_bias: Finite | str | None = None
    """m, where 1 + m divides: a number or a column"""
    cuts: str | None = None
    """condition on columns that galaxies meet, as `z_b > 0.5 & flag == 0`; it is read, never executed"""
    hdu: Annotated[int, Field(ge=0)] | str | None = None
    """HDU of FITS, by number or name; null for the first table that has the columns"""
    key: str | None = None
    """group of HDF5 that holds the columns"""
    allow_duplicates: bool = False
    """whether the same galaxy may stand in it twice"""

    @property
    def kind(self) -> Format | None:
        """The format: as given, or by the suffix; None where neither tells."""
        suffix = PurePath(self.path).suffix.lower()
        return self.format or next((name for name, known in SUFFIXES.items() if suffix in known), None)

    @model_validator(mode="after")
    def readable(self) -> "CatalogueTable":
        """The cuts are a condition, the format is known, the calibration can be divided by, downloads are verified."""
        if not self.path:
            raise ValueError("path is empty; name a file")
        if self.kind is None:
            raise ValueError(
                f"path is {self.path!r}, whose suffix tells no format; give `format`, one of {[*SUFFIXES]}"
            )
        if self.cuts is not None:
            try:
                parsed(self.cuts)
            except ValueError as error:
                raise ValueError(f"cuts is {self.cuts[:60]!r}: {error}") from None
        if isinstance(self.response, float) and not abs(self.response) > 0.01:
            raise ValueError(f"response is {self.response}, which nothing can be divided by; give null for none")
        if isinstance(self.multiplicative_bias, float) and not abs(self.multiplicative_bias) < 0.9:
            raise ValueError(f"multiplicative_bias is {self.multiplicative_bias}; give m of (1 + m), a small number")
        if self.path.startswith(("http://", "https://")) and self.sha256 is None:
            raise ValueError(f"path is the address {self.path}; give `sha256` of the file, so that it can be verified")
        return self


def _catalogue_tag(value: Any) -> str:
    """Which record describes a catalogue: a table has a path."""
    table = isinstance(value, CatalogueTable) or (isinstance(value, dict) and "path" in value)
    return "<table>" if table else "<files>"


Catalogue = Annotated[
    Annotated[ColumnFiles, Tag("<files>")] | Annotated[CatalogueTable, Tag("<table>")], Discriminator(_catalogue_tag)
]


@record
class GriddedShear:
    """Shear that is already on the grid: FITS images, and their noise.

    Either a `mask` and `sigma`, the noise of each pixel in it, or `weight`, an image of inverse variances, 0 where
    nothing is observed. `truth` is the convergence of a mock. Names are those of the registry, or paths.
    """

    shear: UserPath | Annotated[list[UserPath], Field(min_length=2, max_length=2)]
    """image of both components, first or last of its axes, or two images, one a component"""
    mask: UserPath | None = None
    """image, more than 0 where observed"""
    truth: UserPath | None = None
    """image of the true convergence, of a mock"""
    sigma: Positive | None = None
    """standard deviation of a pixel's shear, for each component, in `mask`"""
    weight: UserPath | None = None
    """image of inverse variances, 0 where nothing is observed"""

    @model_validator(mode="after")
    def one_noise(self) -> "GriddedShear":
        """The noise is given in one of the two ways."""
        if (self.mask is None) != (self.sigma is None) or (self.mask is None) == (self.weight is None):
            raise ValueError("give either `weight`, or both `mask` and `sigma`")
        return self


@record
class FieldParams:
    """A field of the sky: where its galaxies come from, where it lies (null: amid them), and how far they are."""

    title: Title
    """of the field, in figures and files"""
    center_deg: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None
    """right ascension and declination of the grid's centre [deg]; null for amid the galaxies of a table"""
    catalogue: Catalogue | None = None
    """its galaxies: one table, or a FITS file a column"""
    gridded: GriddedShear | None = None
    """its shear, where it is on the grid already"""
    rows: Count | None = None
    """how many rows from the top are taken; null for all"""
    clusters: UserPath | None = None
    """list of X-ray clusters, in the layout of Finoguenov et al. 2007; null for none"""
    sources: SourcesParams | None = None
    """redshifts of its galaxies, where they are not those of `theory`"""

    @model_validator(mode="after")
    def one_source(self) -> "FieldParams":
        """A field comes from a catalogue or from gridded shear, and lies on the sky."""
        if (self.catalogue is None) == (self.gridded is None):
            raise ValueError("give either `catalogue` or `gridded`, not both and not neither")
        if self.center_deg is None and not isinstance(self.catalogue, CatalogueTable):
            raise ValueError("center_deg is null, which only a table may have; give RA and Dec of the centre")
        if self.center_deg is not None and not abs(self.center_deg[1]) <= 90:
            raise ValueError(f"center_deg is {self.center_deg}, whose Dec leaves -90 to 90; give RA and Dec in degrees")
        return self


@record
class CatalogueParams:
    """Which entries of `fields` are put on the grid."""

    fields: Annotated[list[str], Field(min_length=1)]
    """entries of `fields` to put on the grid"""


@record
class MocksParams:
    """Mock observations: how many, the field whose mask and noise they copy, and whether shear is reduced."""

    field: str
    """whose mask and noise mocks have"""
    validation: Count
    """mocks that settings are chosen on"""
    test: Annotated[int, Field(ge=2)]
    """mocks that nothing but reports see"""
    reduced_shear: bool
    """whether shear is divided by 1 - kappa, as the sky's is"""
