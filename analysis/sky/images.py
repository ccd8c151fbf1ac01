"""Maps and observations as FITS, each with the WCS of its grid."""

import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from analysis.files import BorderError, atomic
from analysis.sky.grid import Grid
from analysis.sky.observation import Observation


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


def card_text(text: str) -> str:
    """Free text as a FITS card may hold it: one line of ASCII that no & ends (it would go on).

    Letters lose their accents, other signs become `?`.
    """
    letters = unicodedata.normalize("NFKD", " ".join(text.split()))
    return re.sub("[^ -~]", "?", "".join(each for each in letters if not unicodedata.combining(each))).rstrip("& ")


def write_fits(path: Path | str, hdus: Sequence[fits.ImageHDU | fits.BinTableHDU], cards: Mapping[str, object]) -> None:
    """Write HDUs behind a primary one that holds `cards`, text as `card_text` has it: the whole file or none."""
    plain = {key: card_text(value) if isinstance(value, str) else value for key, value in cards.items()}
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
