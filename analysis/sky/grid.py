"""The pixels of a map and where they lie on the sky."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from analysis.params import FieldParams, GridParams

COMMITTED_PIXELS = 160  # simulated maps of the committed params.yaml are wide enough for such a grid
SKY_AROUND = 64  # pixels by which simulated maps are larger than the grid
COMMITTED_CROP = 80  # side of the training crops in the committed params.yaml, pixels


@dataclass(frozen=True)
class Grid:
    """A square grid of pixels on the sky.

    Parameters
    ----------
    pixels : int
        Pixels a side.
    pixel_arcmin : float
        Side of a pixel, arcmin.
    ra_deg, dec_deg : float
        Centre of the grid, deg.
    projection : {"TAN", "CAR"}
        Tangent plane, or the linear grid in RA and Dec (no cos Dec) of the maps of Remy et al. 2020.
    """

    pixels: int
    pixel_arcmin: float
    ra_deg: float
    dec_deg: float
    projection: str = "TAN"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels, self.pixels

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge as offsets from the centre, arcmin east and north."""
        half = 0.5 * self.pixels * self.pixel_arcmin
        east = half if self.projection == "CAR" else -half
        return -east, east, -half, half

    @cached_property
    def wcs(self) -> WCS:
        """Celestial WCS of the pixels; 0-based positions x along columns, y along rows."""
        return WCS(self.header())

    def header(self, axis: str = "") -> fits.Header:
        """WCS cards of a map on this grid.

        Parameters
        ----------
        axis : str
            Name of a third axis (`COMPONENT`, `SAMPLE`), where the array has one.
        """
        step_deg = self.pixel_arcmin / 60
        middle = (self.pixels + 1) / 2
        oblique = self.projection != "CAR"  # CAR is linear in RA and Dec only if its reference is on the equator
        cards = {
            "WCSAXES": 3 if axis else 2,
            "CTYPE1": f"RA---{self.projection}",
            "CTYPE2": f"DEC--{self.projection}",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": self.ra_deg,
            "CRVAL2": self.dec_deg if oblique else 0.0,
            "CRPIX1": middle,
            "CRPIX2": middle if oblique else middle - self.dec_deg / step_deg,
            "CDELT1": -step_deg if oblique else step_deg,
            "CDELT2": step_deg,
            "RADESYS": "ICRS",
        }
        if axis:
            cards |= {"CTYPE3": axis, "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 1.0}
        return fits.Header(cards)

    def pixel_positions(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """0-based positions (x along columns, y along rows) of places on the sky; pixel centres are whole numbers."""
        return tuple(self.wcs.wcs_world2pix(ra_deg, dec_deg, 0))

    def offsets_arcmin(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of places from the centre along the axes of `extent`, arcmin east and north."""
        x, y = self.pixel_positions(ra_deg, dec_deg)
        left, right, bottom, top = self.extent
        return left + (x + 0.5) / self.pixels * (right - left), bottom + (y + 0.5) / self.pixels * (top - bottom)

    def pixel_indices(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column of the pixel that holds each place, and whether the place lies on the grid."""
        x, y = self.pixel_positions(ra_deg, dec_deg)
        row, column = pixels_at(x, y)  # NaN for the half of the sky that a tangent plane does not show
        inside = (column >= 0) & (column < self.pixels) & (row >= 0) & (row < self.pixels)
        row, column = (np.where(inside, index, 0).astype(np.int64) for index in (row, column))
        return row, column, inside


def pixels_at(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column, as floats, of the pixels that hold 0-based positions."""
    return np.floor(np.asarray(y) + 0.5), np.floor(np.asarray(x) + 0.5)


def field_grid(params: GridParams, field: FieldParams) -> Grid:
    """The grid of `params` around the centre of a field."""
    if field.center_deg is None:
        raise ValueError(f"the field {field.title!r} has no centre; take it from its galaxies (`catalogue.centered`)")
    ra_deg, dec_deg = field.center_deg
    return Grid(params.pixels, params.pixel_arcmin, ra_deg, dec_deg, params.projection)


def training_command(pixels: int, pixel_arcmin: float, run: str, *settings: str) -> str:
    """The command that makes maps for a grid, trains a network on them and samples a run with it, for messages.

    Parameters
    ----------
    pixels, pixel_arcmin : of the grid
    run : str
        Name in `sample.fields`.
    settings : str
        Further keys and values, such as `train.sigma_min=0.001`.
    """
    chosen = ["sample.network=data/score", f"grid.pixels={pixels}", f"grid.pixel_arcmin={pixel_arcmin:g}"]
    if pixels > COMMITTED_PIXELS:
        chosen += [f"simulations.{key}_pixels={pixels + SKY_AROUND}" for key in ("map", "mock")]
    if pixels < COMMITTED_CROP:
        chosen.append(f"train.crop_pixels={pixels}")
    return " ".join(["dvc exp run", *(f"-S {each}" for each in (*chosen, *settings)), f"sample@{run}"])
