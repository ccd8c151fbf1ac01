"""The sky and its pixels: a grid with its WCS, a catalogue of galaxies, and the shear observed on the grid.

Conventions, decided here and nowhere else. Rows run with Dec, upward. On a TAN grid columns run against RA (east
is left), on a CAR grid with RA, as in the maps of Remy et al. 2020. Catalogue ellipticities are in the frame
(west, north): e1 > 0 along a parallel, e2 > 0 along the diagonal from south-east to north-west. Shear on a grid is
in the frame of its pixels (x along columns, y along rows), so that `lensing` needs no knowledge of the sky.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from analysis.files import BorderError, atomic
from analysis.params import FieldParams, GridParams


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
        oblique = self.projection != "CAR"  # CAR stays linear in RA and Dec only around the equator
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
        """0-based positions (x along columns, y along rows) of places on the sky; pixel centres are whole."""
        return tuple(self.wcs.wcs_world2pix(ra_deg, dec_deg, 0))

    def offsets_arcmin(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of places from the centre along the axes of `extent`, arcmin east and north."""
        x, y = self.pixel_positions(ra_deg, dec_deg)
        left, right, bottom, top = self.extent
        return left + (x + 0.5) / self.pixels * (right - left), bottom + (y + 0.5) / self.pixels * (top - bottom)

    def pixel_indices(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column of the pixel that holds each place, and whether it lies on the grid at all."""
        x, y = self.pixel_positions(ra_deg, dec_deg)
        column, row = (np.floor(position + 0.5) for position in (x, y))  # NaN behind the tangent plane
        inside = (column >= 0) & (column < self.pixels) & (row >= 0) & (row < self.pixels)
        row, column = (np.where(inside, index, 0).astype(np.int64) for index in (row, column))
        return row, column, inside


def field_grid(params: GridParams, field: FieldParams) -> Grid:
    """The grid of `params` around the centre of a field."""
    ra_deg, dec_deg = field.center_deg
    return Grid(params.pixels, params.pixel_arcmin, ra_deg, dec_deg, params.projection)


@dataclass(frozen=True, eq=False)
class Observation:
    """Shear observed on a grid.

    Parameters
    ----------
    gamma : (2, ny, nx), dimensionless
        Mean shear of each pixel in the frame of the grid; 0 where unobserved.
    weight : (2, ny, nx), dimensionless
        Inverse variance of `gamma`; 0 = unobserved.
    count : (ny, nx), galaxies
    grid : Grid
    title : str
    """

    gamma: np.ndarray
    weight: np.ndarray
    count: np.ndarray
    grid: Grid
    title: str = ""

    @property
    def mask(self) -> np.ndarray:
        """(ny, nx), True where the shear is observed."""
        return (self.weight > 0).all(axis=0)


def shape_noise(e1: np.ndarray, e2: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Shape noise of each component: sigma_e^2 = sum(w^2 e^2) / sum(w^2).

    Returns
    -------
    (2,), dimensionless
        Standard deviation of the components e1 and e2.
    """
    square = weight**2
    return np.sqrt([np.sum(square * e**2) / np.sum(square) for e in (e1, e2)])


def bin_catalogue(
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    e1: np.ndarray,
    e2: np.ndarray,
    weight: np.ndarray,
    *,
    grid: Grid,
    title: str = "",
) -> Observation:
    """Weighted mean shear of the galaxies in each pixel.

    gamma = sum(w e) / sum(w), of variance sigma_e^2 sum(w^2) / (sum w)^2.

    Parameters
    ----------
    ra_deg, dec_deg : (n_gal,), deg
    e1, e2 : (n_gal,), dimensionless
        Shear estimates, in the frame (west, north).
    weight : (n_gal,), dimensionless
        Lensing weights; only their ratios matter.
    grid : Grid
        Galaxies outside it are left out.
    title : str
        What the observation is called.

    Returns
    -------
    Observation
        float64; pixels without galaxies, or of zero total weight, are unobserved.
    """
    row, column, inside = grid.pixel_indices(ra_deg, dec_deg)
    pixel = (row * grid.pixels + column)[inside]
    kept = weight[inside]
    count, total, square = (_pixel_sums(pixel, values, grid) for values in (None, kept, kept**2))
    seen = total > 0
    components = _turn_to_grid(ra_deg[inside], dec_deg[inside], e1[inside], e2[inside], grid)
    gamma = np.zeros((2, *grid.shape))
    inverse_variance = np.zeros_like(gamma)
    for a, sigma_e in enumerate(shape_noise(e1, e2, weight)):
        gamma[a][seen] = _pixel_sums(pixel, kept * components[a], grid)[seen] / total[seen]
        inverse_variance[a][seen] = total[seen] ** 2 / (sigma_e**2 * square[seen])
    return Observation(gamma, inverse_variance, count, grid, title)


def _pixel_sums(pixel: np.ndarray, values: np.ndarray | None, grid: Grid) -> np.ndarray:
    """Sum of `values` over the galaxies of each pixel, in their order; their number where `values` is None."""
    return np.bincount(pixel, values, grid.pixels**2).reshape(grid.shape)


def _turn_to_grid(
    ra_deg: np.ndarray, dec_deg: np.ndarray, e1: np.ndarray, e2: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Ellipticities in the frame of the grid, from the frame (west, north) of each galaxy.

    Where columns run with RA the frame is a mirror image: e2 changes sign. Where local north leans by an angle a
    (counter-clockwise from +y), e turns by 2a. On a CAR grid north is along the rows everywhere.
    """
    if grid.projection == "CAR":
        return e1, -e2
    step_deg = np.where(dec_deg < 89.9, 1e-4, -1e-4)
    x, y = grid.pixel_positions(ra_deg, dec_deg)
    x_north, y_north = grid.pixel_positions(ra_deg, dec_deg + step_deg)
    angle = np.arctan2(-(x_north - x) * np.sign(step_deg), (y_north - y) * np.sign(step_deg))
    turned = (e1 + 1j * e2) * np.exp(2j * angle)
    return turned.real, turned.imag


def rotate_shear(observation: Observation, degrees: float) -> Observation:
    """The observation with every shear turned: gamma exp(2 i angle).

    At 45 degrees E-modes become B-modes, which lensing does not make: a control.

    Parameters
    ----------
    observation : Observation
    degrees : float
        Angle by which the shape of each galaxy turns, counter-clockwise in the frame of the grid, deg.
    """
    cosine, sine = np.cos(np.deg2rad(2 * degrees)), np.sin(np.deg2rad(2 * degrees))
    gamma1, gamma2 = observation.gamma
    gamma = np.stack([cosine * gamma1 - sine * gamma2, sine * gamma1 + cosine * gamma2])
    seen = observation.mask
    variance1, variance2 = 1 / np.where(seen, observation.weight, 1)
    variance = np.stack([cosine**2 * variance1 + sine**2 * variance2, sine**2 * variance1 + cosine**2 * variance2])
    kind = observation.gamma.dtype
    return replace(observation, gamma=gamma.astype(kind), weight=np.where(seen, 1 / variance, 0).astype(kind))


def read_image(path: Path | str, hdu: int | str = 0) -> tuple[np.ndarray, fits.Header]:
    """One image of a FITS file and its header.

    Raises
    ------
    BorderError
        If the file is missing, cut short or not FITS, or has no such image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)  # a file cut short is a warning to astropy
            with open(path, "rb") as handle, fits.open(handle, memmap=False) as file:
                data, header = file[hdu].data, file[hdu].header
    except FileNotFoundError as error:
        raise BorderError(f"{path} does not exist; run the stage that writes it (dvc repro).") from error
    except KeyError as error:
        raise BorderError(f"{path} has no HDU {hdu!r}; it was not written by this stage, make it again.") from error
    except (OSError, TypeError, ValueError, IndexError, AstropyUserWarning, fits.VerifyError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(
            f"{path} cannot be read as FITS, it is cut short or damaged ({reason});"
            " delete it and fetch or make it again."
        ) from error
    if data is None:
        raise BorderError(f"{path} has no image in HDU {hdu!r}; give a file whose HDU {hdu!r} is an image.")
    return data.astype(data.dtype.newbyteorder("=")), header


def image_hdu(data: np.ndarray, grid: Grid, name: str, *, axis: str = "", unit: str = "") -> fits.ImageHDU:
    """A float32 image HDU with the WCS of `grid`.

    Parameters
    ----------
    data : (ny, nx) or (n, ny, nx)
    grid : Grid
    name : str
        EXTNAME.
    axis : str
        Name of the first of three dimensions (`COMPONENT`, `SAMPLE`).
    unit : str
        BUNIT; empty where dimensionless.
    """
    header = grid.header(axis)
    header["BUNIT"] = (unit, "" if unit else "dimensionless")
    return fits.ImageHDU(np.asarray(data, np.float32), header, name=name)


def write_fits(path: Path | str, hdus: Sequence[fits.ImageHDU | fits.BinTableHDU], cards: Mapping[str, object]) -> None:
    """Write HDUs behind a primary one that holds `cards` (in ASCII, as FITS wants): the whole file or none."""
    plain = {
        key: value.encode("ascii", "replace").decode() if isinstance(value, str) else value
        for key, value in cards.items()
    }
    primary = fits.PrimaryHDU(header=fits.Header(plain))
    with atomic(path) as temporary:
        fits.HDUList([primary, *hdus]).writeto(temporary)


def save_observation(
    path: Path | str, observation: Observation, *, cards: Mapping[str, object], truth: np.ndarray | None = None
) -> None:
    """Write an observation as FITS: HDUs SHEAR, WEIGHT, COUNT, and TRUTH where it is known.

    Parameters
    ----------
    path : Path or str
    observation : Observation
    cards : mapping
        PROFILE, SOURCE, SEED and CODEHASH of the primary header.
    truth : (ny, nx), dimensionless
        True convergence of a mock.
    """
    grid = observation.grid
    hdus = [
        image_hdu(observation.gamma, grid, "SHEAR", axis="COMPONENT"),
        image_hdu(observation.weight, grid, "WEIGHT", axis="COMPONENT"),
        image_hdu(observation.count, grid, "COUNT", unit="count"),
    ]
    if truth is not None:
        hdus.append(image_hdu(truth, grid, "TRUTH"))
    write_fits(path, hdus, {**cards, "OBJECT": observation.title})


def load_observation(path: Path | str) -> Observation:
    """Read an observation as written by `save_observation` (float32).

    Raises
    ------
    BorderError
        If the file is missing, cut short, or lacks an HDU.
    """
    gamma, header = read_image(path, "SHEAR")
    weight, count = (read_image(path, name)[0] for name in ("WEIGHT", "COUNT"))
    title = str(fits.getheader(path).get("OBJECT", ""))
    return Observation(gamma, weight, count.astype(np.int64), grid_from_header(header), title)


def load_truth(path: Path | str) -> np.ndarray:
    """(ny, nx), true convergence of a mock as written by `save_observation`.

    Raises
    ------
    BorderError
        If the file is missing, cut short, or knows no truth.
    """
    return read_image(path, "TRUTH")[0]


def grid_from_header(header: fits.Header) -> Grid:
    """The grid whose WCS cards a header holds."""
    step_deg = header["CDELT2"]
    projection = header["CTYPE1"][-3:]
    dec_deg = header["CRVAL2"]
    if projection == "CAR":
        dec_deg = ((header["NAXIS2"] + 1) / 2 - header["CRPIX2"]) * step_deg
    return Grid(header["NAXIS1"], round(step_deg * 60, 10), header["CRVAL1"], round(dec_deg, 10), projection)
