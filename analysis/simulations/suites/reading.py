"""One map: read from FITS, checked, and its pixel scale held against what is stated."""

import gzip
import io
import warnings
import zlib

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from analysis.core.files import BorderError

TOLERANCE = 0.01  # relative, between pixel scales
GZIP = b"\x1f\x8b"


def fits_image(content: bytes, name: str) -> tuple[np.ndarray, fits.Header]:
    """The first image of a FITS file, packed by gzip or not, and its header.

    Raises
    ------
    BorderError
        If it is cut short, is not FITS or holds no image.
    """
    try:
        plain = gzip.decompress(content) if content.startswith(GZIP) else content
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # published headers are not always by the book
            warnings.filterwarnings("error", ".*truncated", AstropyWarning)  # which is how astropy tells a cut
            with fits.open(io.BytesIO(plain), memmap=False) as file:
                image = next((hdu for hdu in file if hdu.is_image and hdu.data is not None), None)
                if image is not None:
                    return image.data, image.header
    except (OSError, EOFError, TypeError, ValueError, zlib.error, AstropyWarning, fits.VerifyError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(f"{name} cannot be read as FITS ({reason}); fetch or make it again.") from error
    raise BorderError(f"{name} holds no image; give FITS files whose first image is a map.")


def checked(kappa: np.ndarray, name: str, side: int | None = None) -> np.ndarray:
    """A map as float32, if it is a square of finite numbers, `side` pixels wide where that is given.

    Raises
    ------
    BorderError
        If it is not.
    """
    if kappa.ndim != 2 or kappa.shape[0] != kappa.shape[1] or not kappa.size:
        raise BorderError(f"{name} has shape {kappa.shape}, but a map is a square; crop it or take it away.")
    if not (np.issubdtype(kappa.dtype, np.floating) or np.issubdtype(kappa.dtype, np.integer)):
        raise BorderError(f"{name} holds {kappa.dtype}, but convergence is a real number; convert it.")
    if side is not None and len(kappa) != side:
        raise BorderError(f"{name} is {len(kappa)} pixels wide, the maps before it {side}; give maps of one size.")
    bad = np.count_nonzero(~np.isfinite(kappa))
    if bad:
        raise BorderError(f"{name} holds {bad} values that are not finite; repair it or take it away.")
    return np.ascontiguousarray(kappa, np.float32)


def celestial_arcmin(header: fits.Header) -> list[float]:
    """Pixel scales along both axes, arcmin, by a header's celestial WCS; none where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(header)
        except ValueError:  # not a WCS that wcslib knows: it says nothing
            return []
        return [60 * float(scale) for scale in proj_plane_pixel_scales(wcs.celestial)] if wcs.has_celestial else []


def check_scale(stated_arcmin: float, header_arcmin: list[float], name: str, remedy: str) -> None:
    """Raise where a header gives another pixel scale than what is stated."""
    for scale in header_arcmin:
        if abs(scale - stated_arcmin) > TOLERANCE * stated_arcmin:
            raise BorderError(
                f"{name} has pixels of {scale:.5g} arcmin by its header, not {stated_arcmin:.5g}; {remedy}."
            )
