"""What every suite gives, and the shared parts of reading it: downloads, FITS images, checks of a map, tar archives."""

import gzip
import io
import lzma
import re
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from analysis.core.download import download
from analysis.core.files import BorderError
from analysis.core.paths import DATA, ROOT

CACHE = DATA / "cache" / "suites"
TOLERANCE = 0.01  # relative, between pixel scales
GZIP = b"\x1f\x8b"
MEMBER_BYTES = 64 * 2**20  # far more than a map
EXTENSION_BYTES = 2**20  # far more than a header with a long name or extra fields needs
UNPACKED_TIMES = 100  # largest unpacked over packed size; maps are noise and hardly shrink
EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)

PublishedMap = tuple[str, int, np.ndarray]  # split, number of the box, convergence (side, side)


@dataclass(frozen=True)
class Suite:
    """Maps of a suite as they were published.

    `pixel_arcmin` : pixel scale; `pixels` : side of a map;
    `about` : further facts for the reader (version, redshifts of the sources, approximations);
    `read` : function from the number of maps wanted of each split to these maps, split by split, train first.
    """

    pixel_arcmin: float
    pixels: int
    about: Mapping[str, object]
    read: Callable[[Mapping[str, int]], Iterator[PublishedMap]]


def local(address: str) -> Path:
    """The path that an address means on this machine; relative paths start at the repository."""
    return ROOT / Path(address).expanduser()


def at_hand(address: str, remedy: str, *, size: int | None = None, digest: str | None = None) -> Path:
    """Path of a file or folder on this machine: `address` itself, or its download if it is a URL.

    Parameters
    ----------
    remedy : what to do if the path does not exist
    size, digest : bytes and SHA-256 that a download must have, where they are known
    """
    if "://" in address:
        return download(address, cached(address), size=size, digest=digest)
    if not local(address).exists():
        raise BorderError(f"{local(address)} does not exist; {remedy}.")
    return local(address)


def cached(address: str) -> Path:
    """Where a download is kept, below `data/cache/suites`, by host and path."""
    parts = urlsplit(address)
    names = [name for name in parts.path.split("/") if name not in ("", ".", "..")]
    return CACHE.joinpath(parts.netloc.rpartition("@")[2], *names)


def fits_image(content: bytes, name: str) -> tuple[np.ndarray, fits.Header]:
    """The first image of a FITS file, with or without gzip, and its header.

    Raises
    ------
    BorderError
        If the file is cut short, is not FITS or has no image.
    """
    try:
        plain = gzip.decompress(content) if content.startswith(GZIP) else content
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # published headers often break the FITS standard
            warnings.filterwarnings("error", ".*truncated", AstropyWarning)  # the sign of a file cut short
            with fits.open(io.BytesIO(plain), memmap=False) as file:
                image = next((hdu for hdu in file if hdu.is_image and hdu.data is not None), None)
                if image is not None:
                    return image.data, image.header
    except (OSError, EOFError, TypeError, ValueError, zlib.error, AstropyWarning, fits.VerifyError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(f"{name} cannot be read as FITS ({reason}); fetch or make it again.") from error
    raise BorderError(f"{name} has no image; give FITS files whose first image is a map.")


def checked(kappa: np.ndarray, name: str, side: int | None = None) -> np.ndarray:
    """A map as float32, if it is a square of finite numbers, `side` pixels wide where that is given.

    Raises
    ------
    BorderError
        If it is not.
    """
    if kappa.ndim != 2 or kappa.shape[0] != kappa.shape[1] or not kappa.size:
        raise BorderError(f"{name} has shape {kappa.shape}, but a map is a square; crop it or remove it.")
    if not (np.issubdtype(kappa.dtype, np.floating) or np.issubdtype(kappa.dtype, np.integer)):
        raise BorderError(f"{name} holds {kappa.dtype}, but convergence is a real number; convert it.")
    if side is not None and len(kappa) != side:
        raise BorderError(f"{name} is {len(kappa)} pixels wide, the maps before it {side}; give maps of one size.")
    bad = np.count_nonzero(~np.isfinite(kappa))
    if bad:
        raise BorderError(f"{name} holds {bad} values that are not finite; repair it or remove it.")
    return np.ascontiguousarray(kappa, np.float32)


def celestial_arcmin(header: fits.Header) -> list[float]:
    """Pixel scales along both axes by the celestial WCS of a header, arcmin; empty without one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(header)
        except ValueError:  # a WCS unknown to wcslib gives no scale
            return []
        return [60 * float(scale) for scale in proj_plane_pixel_scales(wcs.celestial)] if wcs.has_celestial else []


def check_scale(stated_arcmin: float, header_arcmin: list[float], name: str, remedy: str) -> None:
    """Raise if the pixel scale in a header differs from the stated one."""
    for scale in header_arcmin:
        if abs(scale - stated_arcmin) > TOLERANCE * stated_arcmin:
            raise BorderError(
                f"{name} has pixels of {scale:.5g} arcmin by its header, not {stated_arcmin:.5g}; {remedy}."
            )


def members(path: Path, wanted: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files in a .tar or .tgz whose name matches, in the archive's order, without unpacking it.

    Parameters
    ----------
    wanted : regular expression, searched in the name

    Raises
    ------
    BorderError
        If the file is not a whole archive, a name leads out of it, a member is a link or a device, a member is far
        larger than a map, or all of them are far larger than the archive.
    """
    try:
        most = UNPACKED_TIMES * path.stat().st_size + MEMBER_BYTES
        with tarfile.open(path, "r|*", tarinfo=_Header) as archive:
            for member in archive:
                _check_member(member, path)
                if archive.offset > most:
                    raise BorderError(
                        f"{path} unpacks to more than {UNPACKED_TIMES} times its size, which maps do not; use an"
                        " archive of maps from a source you trust."
                    )
                if member.isfile() and re.search(wanted, member.name):
                    yield member.name, archive.extractfile(member).read()
            # an archive ends with a block of zeros; tarfile does not notice a cut between two members
            if archive.fileobj.tell() < archive.offset + tarfile.BLOCKSIZE:
                raise EOFError("the end is missing")
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise BorderError(
            f"{path} is not a whole tar archive ({' '.join(str(error).split())}); fetch it again."
        ) from error


class _Header(tarfile.TarInfo):
    """A header of an archive, limited in size: tarfile reads extended headers into memory, whatever size they claim."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Header":
        """The header of one block."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENSIONS and header.size > EXTENSION_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Raise if a member is not a plain file or folder inside the archive, or is too large to be read at once."""
    try:
        tarfile.data_filter(member, str(path.with_name(f"{path.name}.unpacked")))
        fault = "is a link" if member.issym() or member.islnk() else None
    except tarfile.FilterError as error:
        fault = f"is refused ({' '.join(str(error).split())})"
    if member.size > MEMBER_BYTES:
        fault = f"has {member.size} bytes, and no map has more than {MEMBER_BYTES}"
    if fault:
        raise BorderError(
            f"{path}: the member {member.name!r} {fault}; use an archive of maps from a source you trust."
        )
