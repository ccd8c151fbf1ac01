"""Binary tables of FITS files, a range of rows at a time."""

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from analysis.files import BorderError
from analysis.galaxies.opened import CHUNK_ROWS, Chunk, Opened, check_size, plain, told

CHUNK_BYTES = 2**26  # a survey's rows may have hundreds of columns, all of which are read
TYPES = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S"}
SIZES = {"X": 1 / 8, "C": 8, "M": 16, "P": 8, "Q": 16}  # bytes of what no column asked for may be
BAD = (
    fits.VerifyError,
    OSError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    AstropyWarning,
)


def open_fits(path: Path, *, hdu: int | str | None) -> Opened:
    """The table of an HDU, by number or name; the first binary table where `hdu` is None.

    Rows are read as they lie on disk, and scaled (TSCAL, TZERO) and masked (TNULL) by this module: no more than a chunk
    is ever in memory.

    Raises
    ------
    BorderError
        If the file is cut short or damaged, or has no such table.
    """
    with told(path, "fits", BAD), warnings.catch_warnings():
        warnings.simplefilter("error", AstropyWarning)
        with open(path, "rb") as handle, fits.open(handle, lazy_load_hdus=True, character_as_bytes=True) as file:
            header, offset = _found(file, path, hdu)
        rows, width = int(header["NAXIS2"]), int(header["NAXIS1"])
        fields = _fields(header, path)
        names = tuple(fields["names"])
        units = {name: str(header.get(f"TUNIT{n + 1}", "")).strip() for n, name in enumerate(names)}
        kind = np.dtype({key: fields[key] for key in ("names", "formats", "offsets")} | {"itemsize": width})
    check_size(path, rows)
    if offset + rows * width > path.stat().st_size:
        whole = max(0, path.stat().st_size - offset) // max(width, 1)
        raise BorderError(
            f"{path} is cut short: {rows} rows in its header, {whole} rows in the file; fetch or make it again."
        )
    read = partial(_chunks, path, header, kind, offset, rows)
    return Opened(path, names, rows, read, {name: unit for name, unit in units.items() if unit})


def _found(file: fits.HDUList, path: Path, hdu: int | str | None) -> tuple[fits.Header, int]:
    """Header and first byte of the table asked for."""
    tables = [each for each in file if each.header.get("XTENSION", "").strip() == "BINTABLE"]
    if hdu is not None:
        try:
            tables = [each for each in [file[hdu]] if each in tables]
        except (KeyError, IndexError):
            tables = []
    if not tables:
        have = ", ".join(f"{number} {each.name}".strip() for number, each in enumerate(file))[:200]
        asked = "no binary table" if hdu is None else f"no binary table {hdu!r}"
        raise BorderError(f"{path} has {asked} (HDUs: {have}); set `hdu`, or write the catalogue as a binary table.")
    header = tables[0].header
    if header.get("ZTABLE"):
        raise BorderError(f"{path} is a compressed FITS table (ZTABLE); unpack it first (funpack).")
    return header, tables[0].fileinfo()["datLoc"]


def _fields(header: fits.Header, path: Path) -> dict[str, list]:
    """Names, types and offsets of the columns of a row."""
    fields = {"names": [], "formats": [], "offsets": []}
    at = 0
    for n in range(1, header["TFIELDS"] + 1):
        match = re.fullmatch(r"(\d*)([LXBIJKAEDCMPQ]).*", str(header[f"TFORM{n}"]).strip())
        if match is None:
            raise ValueError(f"TFORM{n} is {header[f'TFORM{n}']!r}")
        repeat, letter = int(match[1] or 1), match[2]
        name = str(header.get(f"TTYPE{n}", f"col{n}")).strip()
        if letter in SIZES:
            size = int(np.ceil(repeat * SIZES[letter]))
            kind = np.dtype((np.void, size))
        elif letter == "A":
            kind = np.dtype(f"S{repeat}")
        else:
            kind = np.dtype((TYPES[letter], () if repeat == 1 else (repeat,)))
        if name in fields["names"]:
            raise BorderError(f"{path} has two columns {name!r}; rename one.")
        for key, value in zip(fields, (name, kind, at), strict=True):
            fields[key].append(value)
        at += kind.itemsize
    if at > header["NAXIS1"]:
        raise ValueError(f"columns of {at} bytes in rows of {header['NAXIS1']}")
    return fields


def _chunks(
    path: Path, header: fits.Header, kind: np.dtype, offset: int, rows: int, wanted: Sequence[str]
) -> Iterator[Chunk]:
    """Chunks of the columns asked for."""
    step = int(np.clip(CHUNK_BYTES // max(kind.itemsize, 1), 1, CHUNK_ROWS))
    with told(path, "fits", BAD), open(path, "rb") as handle:
        handle.seek(offset)
        for start in range(0, rows, step):
            block = np.fromfile(handle, kind, min(step, rows - start))
            yield {name: _scaled(block[name], header, kind.names.index(name) + 1, path) for name in wanted}


def _scaled(raw: np.ndarray, header: fits.Header, number: int, path: Path) -> np.ndarray:
    """A column by its TNULL, TSCAL and TZERO."""
    name = str(header.get(f"TTYPE{number}", f"col{number}")).strip()
    if str(header[f"TFORM{number}"]).strip().lstrip("0123456789").startswith("L"):
        return plain(raw == b"T", name, path)
    scale, zero, null = (
        header.get(f"{key}{number}", start) for key, start in (("TSCAL", 1), ("TZERO", 0), ("TNULL", None))
    )
    values = np.ma.masked_equal(raw, null) if null is not None and raw.dtype.kind in "iu" else raw
    if raw.dtype.newbyteorder("=") == np.int64 and (scale, zero) == (1, 2**63):  # unsigned, which float64 would round
        values = values.astype(np.int64).view(np.uint64) ^ np.uint64(2**63)
    elif raw.dtype.kind in "iuf" and (scale, zero) != (1, 0):
        values = values.astype(np.float64) * scale + zero
    return plain(values, name, path)
