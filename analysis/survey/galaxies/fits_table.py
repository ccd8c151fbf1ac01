"""Binary tables of FITS files, a range of rows at a time."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from analysis.core.files import BorderError
from analysis.sky.images import scaled
from analysis.survey.galaxies.opened import CHUNK_ROWS, Chunk, Opened, check_size, plain, told

CHUNK_BYTES = 2**26  # a survey's rows may have hundreds of columns, all of which are read
TYPES = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S"}
SIZES = {"X": 1 / 8, "C": 8, "M": 16, "P": 8, "Q": 16}  # bytes of what no column asked for may be
BAD = (fits.VerifyError, OSError, TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)


def open_fits(path: Path, *, hdu: int | str | None, suits: Callable[[Sequence[str]], bool]) -> Opened:
    """The table of an HDU, by number or name; the first whose columns suit where `hdu` is None.

    Rows are read as they lie on disk, and scaled (TSCAL, TZERO) and masked (TNULL) by this module: no more than a chunk
    is ever in memory. What astropy only warns of (odd cards, bytes after the last HDU) is no damage.

    Raises
    ------
    BorderError
        If the file is cut short or damaged, or has no such table.
    """
    with told(path, "fits", BAD), warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        with open(path, "rb") as handle, fits.open(handle, lazy_load_hdus=True, character_as_bytes=True) as file:
            header, offset = _found(file, path, hdu, suits)
        rows, width = int(header["NAXIS2"]), int(header["NAXIS1"])
        names, kind = _names(header), _row(header)
        units = {name: str(header.get(f"TUNIT{n}", "")).strip() for n, name in enumerate(names, start=1)}
    check_size(path, rows)
    if offset + rows * width > path.stat().st_size:
        whole = max(0, path.stat().st_size - offset) // max(width, 1)
        raise BorderError(
            f"{path} is cut short: {rows} rows in its header, {whole} rows in the file; fetch or make it again."
        )
    read = partial(_chunks, path, header, kind, offset, rows)
    return Opened(path, names, rows, read, {name: unit for name, unit in units.items() if unit})


def _found(
    file: fits.HDUList, path: Path, hdu: int | str | None, suits: Callable[[Sequence[str]], bool]
) -> tuple[fits.Header, int]:
    """Header, its odd cards mended, and first byte of the table asked for."""
    tables = [each for each in file if each.header.get("XTENSION", "").strip() == "BINTABLE"]
    if hdu is not None:
        try:
            tables = [each for each in [file[hdu]] if each in tables]
        except (KeyError, IndexError):
            tables = []
    for each in tables:
        for card in each.header.cards:
            card.verify("silentfix+ignore")
    several = len(tables) > 1
    fitting = [each for each in tables if suits(_names(each.header))] if several else tables
    if not fitting:
        have = ", ".join(f"{number} {each.name}".strip() for number, each in enumerate(file))[:200]
        asked = "no binary table" if hdu is None else f"no binary table {hdu!r}"
        asked = f"{len(tables)} binary tables, of which none has all columns" if several else asked
        remedy = "name one" if several else "or write the catalogue as a binary table"
        raise BorderError(
            f"{path} has {asked} (HDUs: {have}); set `hdu` of the catalogue, or --hdu of check, {remedy}."
        )
    header = fitting[0].header
    if header.get("ZTABLE"):
        raise BorderError(f"{path} is a compressed FITS table (ZTABLE); unpack it first (funpack).")
    return header, fitting[0].fileinfo()["datLoc"]


def _names(header: fits.Header) -> tuple[str, ...]:
    """Names of the columns of a table."""
    return tuple(str(header.get(f"TTYPE{n}", f"col{n}")).strip() for n in range(1, header["TFIELDS"] + 1))


def _row(header: fits.Header) -> np.dtype:
    """Type of a row as it lies on disk, its columns named by their numbers."""
    formats, offsets, at = [], [], 0
    for n in range(1, header["TFIELDS"] + 1):
        match = re.fullmatch(r"(\d*)([LXBIJKAEDCMPQ]).*", str(header[f"TFORM{n}"]).strip())
        if match is None:
            raise ValueError(f"TFORM{n} is {header[f'TFORM{n}']!r}")
        repeat, letter = int(match[1] or 1), match[2]
        if letter in SIZES:
            size = int(np.ceil(repeat * SIZES[letter]))
            kind = np.dtype((np.void, size))
        elif letter == "A":
            kind = np.dtype(f"S{repeat}")
        else:
            kind = np.dtype((TYPES[letter], () if repeat == 1 else (repeat,)))
        formats.append(kind)
        offsets.append(at)
        at += kind.itemsize
    if at > header["NAXIS1"]:
        raise ValueError(f"columns of {at} bytes in rows of {header['NAXIS1']}")
    names = [str(n) for n in range(1, len(formats) + 1)]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": header["NAXIS1"]})


def _chunks(
    path: Path, header: fits.Header, kind: np.dtype, offset: int, rows: int, wanted: Sequence[str]
) -> Iterator[Chunk]:
    """Chunks of the columns asked for."""
    step = int(np.clip(CHUNK_BYTES // max(kind.itemsize, 1), 1, CHUNK_ROWS))
    with told(path, "fits", BAD), open(path, "rb") as handle:
        numbers = {name: _names(header).index(name) + 1 for name in wanted}
        handle.seek(offset)
        for start in range(0, rows, step):
            block = np.fromfile(handle, kind, min(step, rows - start))
            yield {name: plain(_meant(block[str(n)], header, n), name, path) for name, n in numbers.items()}


def _meant(raw: np.ndarray, header: fits.Header, number: int) -> np.ndarray:
    """A column by its TNULL, TSCAL and TZERO; a truth that is neither T nor F is missing."""
    if str(header[f"TFORM{number}"]).strip().lstrip("0123456789").startswith("L"):
        return np.ma.masked_array(raw == b"T", (raw != b"T") & (raw != b"F"))
    scale, zero, null = (
        header.get(f"{key}{number}", start) for key, start in (("TSCAL", 1), ("TZERO", 0), ("TNULL", None))
    )
    if raw.dtype.newbyteorder("=") == np.int64 and (scale, zero) == (1, 2**63):  # unsigned, which float64 would round
        whole = raw.astype(np.int64).view(np.uint64) ^ np.uint64(2**63)
        return whole if null is None else np.ma.masked_array(whole, raw == null)
    return scaled(raw, scale=scale, zero=zero, missing=[] if null is None else [null])
