"""Maps and observations as FITS, each with the WCS of its grid."""

import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import SupportsFloat

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from analysis.core.files import BorderError, atomic
from analysis.sky.grid import Grid
from analysis.sky.observation import Observation


def read_image(path: Path | str, hdu: int | str = 0) -> tuple[np.ndarray, fits.Header]:
    """One image of a FITS file, and its header; pixels marked as missing (BLANK) are NaN.

    Raises
    ------
    BorderError
        If the file is missing, cut short or not FITS, or has no such image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # about odd cards, or bytes after the last HDU
            with open(path, "rb") as handle, fits.open(handle, memmap=False, do_not_scale_image_data=True) as file:
                data, header = file[hdu].data, file[hdu].header
                blank = header.get("BLANK") if data is not None and data.dtype.kind in "iu" else None
                scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
                _check_end(file[hdu], Path(path).stat().st_size)
    except FileNotFoundError as error:
        raise BorderError(f"{path} does not exist; run the stage that writes it (dvc repro).") from error
    except KeyError as error:
        raise BorderError(f"{path} has no HDU {hdu!r}; it was not written by this stage, make it again.") from error
    except (OSError, TypeError, ValueError, IndexError, fits.VerifyError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(
            f"{path} cannot be read as FITS, it is cut short or damaged ({reason}); delete it, and fetch or make it"
            " again."
        ) from error
    if data is None:
        raise BorderError(f"{path} has no image in HDU {hdu!r}; give a file whose HDU {hdu!r} is an image.")
    values = scaled(data, scale=scale, zero=zero, missing=[] if blank is None else [blank])  # astropy ignores BLANK = 0
    if np.ma.is_masked(values):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values, values.dtype.newbyteorder("=")), header


def _check_end(hdu: fits.PrimaryHDU | fits.ImageHDU, size: int) -> None:
    """Raise if a file of `size` bytes ends within the padding of an HDU; no padding at all is allowed."""
    where = hdu.fileinfo()
    if size < where["datLoc"] + where["datSpan"] and size != where["datLoc"] + hdu.size:
        raise OSError(f"{size} bytes, of {where['datLoc'] + where['datSpan']}")


def scaled(raw: np.ndarray, *, scale: float = 1, zero: float = 0, missing: Sequence[SupportsFloat] = ()) -> np.ndarray:
    """Stored numbers turned into values: scale x raw + zero, masked where `raw` is one of the codes for missing.

    Parameters
    ----------
    raw : as stored in the file; anything but numbers is returned unchanged
    scale, zero : TSCAL and TZERO or BSCALE and BZERO of FITS, `scale_factor` and `add_offset` of HDF5
    missing : TNULL or BLANK of FITS, `_FillValue` and `missing_value` of HDF5
    """
    if raw.dtype.kind not in "iuf":
        return raw
    codes = [code if isinstance(code, int) else float(code) for code in missing]  # Python numbers compare as float32
    values = np.ma.masked_array(raw, np.any([raw == code for code in codes], axis=0)) if codes else raw
    scale, zero = float(scale), float(zero)
    return values if (scale, zero) == (1, 0) else values.astype(np.float64) * scale + zero


def image_hdu(data: np.ndarray, grid: Grid, name: str, *, axis: str = "", unit: str = "") -> fits.ImageHDU:
    """A float32 image HDU with the WCS of `grid`.

    Parameters
    ----------
    data : (ny, nx) or (n, ny, nx)
    name : EXTNAME
    axis : name of the first of three dimensions (`COMPONENT`, `SAMPLE`)
    unit : BUNIT; empty if dimensionless
    """
    header = grid.header(axis)
    header["BUNIT"] = (unit, "" if unit else "dimensionless")
    return fits.ImageHDU(np.asarray(data, np.float32), header, name=name)


def card_text(text: str) -> str:
    """Free text as a FITS card can hold it: one line of ASCII without & at its end, which would continue the card.

    Letters lose their accents, other characters become `?`.
    """
    letters = unicodedata.normalize("NFKD", " ".join(text.split()))
    return re.sub("[^ -~]", "?", "".join(each for each in letters if not unicodedata.combining(each))).rstrip("& ")


def write_fits(path: Path | str, hdus: Sequence[fits.ImageHDU | fits.BinTableHDU], cards: Mapping[str, object]) -> None:
    """Write a FITS file whole or not at all: a primary HDU with `cards` (text through `card_text`), then `hdus`."""
    plain = {key: card_text(value) if isinstance(value, str) else value for key, value in cards.items()}
    primary = fits.PrimaryHDU(header=fits.Header(plain))
    with atomic(path) as temporary:
        fits.HDUList([primary, *hdus]).writeto(temporary)


def save_observation(
    path: Path | str, observation: Observation, *, cards: Mapping[str, object], truth: np.ndarray | None = None
) -> None:
    """Write an observation as FITS: HDUs SHEAR, WEIGHT, COUNT, and TRUTH if it is given.

    Parameters
    ----------
    cards : PROFILE, SOURCE, SEED and CODEHASH, for the primary header
    truth : (ny, nx), true convergence of a mock
    """
    grid = observation.grid
    hdus = [
        image_hdu(observation.gamma, grid, "SHEAR", axis="COMPONENT"),
        image_hdu(observation.weight, grid, "WEIGHT", axis="COMPONENT"),
        image_hdu(observation.count, grid, "COUNT", unit="count"),
    ]
    if truth is not None:
        hdus.append(image_hdu(truth, grid, "TRUTH"))
    write_fits(path, hdus, {**cards, "OBJECT": observation.title, "REDUCED": observation.reduced})


def load_observation(path: Path | str) -> Observation:
    """Read an observation as written by `save_observation` (float32).

    Raises
    ------
    BorderError
        If the file is missing, cut short, or lacks an HDU.
    """
    gamma, header = read_image(path, "SHEAR")
    weight, count = (read_image(path, name)[0] for name in ("WEIGHT", "COUNT"))
    about = fits.getheader(path)
    title, reduced = str(about.get("OBJECT", "")), bool(about.get("REDUCED", False))
    return Observation(gamma, weight, count.astype(np.int64), grid_from_header(header), title, reduced)


def load_truth(path: Path | str) -> np.ndarray:
    """(ny, nx), true convergence of a mock as written by `save_observation`.

    Raises
    ------
    BorderError
        If the file is missing, cut short, or has no truth.
    """
    return read_image(path, "TRUTH")[0]


def grid_from_header(header: fits.Header) -> Grid:
    """The grid that the WCS cards of a header describe."""
    step_deg = header["CDELT2"]
    projection = header["CTYPE1"][-3:]
    dec_deg = header["CRVAL2"]
    if projection == "CAR":
        dec_deg = ((header["NAXIS2"] + 1) / 2 - header["CRPIX2"]) * step_deg
    return Grid(header["NAXIS1"], round(step_deg * 60, 10), header["CRVAL1"], round(dec_deg, 10), projection)
