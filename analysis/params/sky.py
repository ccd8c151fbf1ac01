"""Sections that say what is observed: the grid, the fields, and the mocks of one of them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.params.types import Count, Positive, record


@record
class GridParams:
    """The square pixel grid of every map: pixels a side and arcmin a pixel."""

    pixels: Annotated[int, Field(ge=16)]
    pixel_arcmin: Positive
    projection: Literal["TAN", "CAR"] = "TAN"


@record
class ColumnFiles:
    """A shear catalogue with one FITS file a column, as paths below the data mirror."""

    ra: str
    dec: str
    e1: str
    e2: str
    weight: str


@record
class GriddedShear:
    """Shear that is already on the grid: images below the data mirror, and the noise of a pixel."""

    shear: str
    mask: str
    truth: str
    sigma: Positive


@record
class FieldParams:
    """A field of the sky: where its galaxies come from and where it lies."""

    title: str
    center_deg: Annotated[list[float], Field(min_length=2, max_length=2)]
    catalogue: ColumnFiles | None = None
    gridded: GriddedShear | None = None
    rows: Count | None = None
    clusters: str | None = None

    @model_validator(mode="after")
    def one_source(self) -> "FieldParams":
        """A field comes from a catalogue or from gridded shear."""
        if (self.catalogue is None) == (self.gridded is None):
            raise ValueError("give either `catalogue` or `gridded`, not both and not neither")
        return self


@record
class CatalogueParams:
    """Which entries of `fields` are put on the grid."""

    fields: Annotated[list[str], Field(min_length=1)]


@record
class MocksParams:
    """Mock observations: how many, the field whose mask and noise they copy, and whether shear is reduced."""

    field: str
    validation: Count
    test: Annotated[int, Field(ge=2)]
    reduced_shear: bool
