"""Tables of any format as chunks of rows: what a file has, and its rows a few at a time, so that memory stays bounded.

Each format has its module here with one function that opens it. Compressed files are refused, and so are those that
claim many more rows than their bytes can hold: unpacked in memory either could fill it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analysis.files import BorderError

CHUNK_ROWS = 500_000
ROWS_A_BYTE = 100  # more than this is no catalogue
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x9d": "compress",
}
SIGNATURES = {"fits": b"SIMPLE  =", "parquet": b"PAR1", "hdf5": b"\x89HDF\r\n\x1a\n", "ecsv": b"# %ECSV"}

Chunk = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Opened:
    """A table that is open for reading.

    Parameters
    ----------
    path : Path
    columns : tuple of str
    rows : int or None
        None where only reading to the end tells (CSV).
    chunks : function of column names
        Iterator over chunks: (n,) of each column, of kind b, i, u, f or U; masked values are NaN, or empty text. Whole
        numbers that float64 cannot hold are objects where some are masked.
    units : mapping
        Units that the file states, as text.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int | None
    chunks: Callable[[Sequence[str]], Iterator[Chunk]]
    units: Mapping[str, str] = field(default_factory=dict)


def check_plain(path: Path, kind: str) -> None:
    """Make sure that a file is there, is not compressed, and begins as its format should.

    Raises
    ------
    BorderError
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(16)
    except OSError as error:
        raise BorderError(f"{path} cannot be read ({error.strerror}); correct the path of the catalogue.") from None
    if not start:
        raise BorderError(f"{path} is empty (0 bytes, 0 rows); make or fetch it again.")
    for magic, name in COMPRESSED.items():
        if start.startswith(magic):
            raise BorderError(f"{path} is compressed ({name}); unpack it first, since rows are read from it in place.")
    for name, magic in SIGNATURES.items():
        if start.startswith(magic) != (name == kind) and (start.startswith(magic) or name == kind):
            found = next(
                (other for other, begin in SIGNATURES.items() if start.startswith(begin)), "none that is known"
            )
            raise BorderError(
                f"{path} is read as {kind}, but its first bytes are of {found}; correct `format` or the file."
            )


def check_size(path: Path, rows: int) -> None:
    """Make sure that a file is no bomb: rows that its bytes cannot hold.

    Raises
    ------
    BorderError
    """
    if rows > ROWS_A_BYTE * path.stat().st_size:
        raise BorderError(
            f"{path} claims {rows} rows in {path.stat().st_size} bytes, more than real galaxies can be packed;"
            " write it again without compression if they are real."
        )


def check_columns(path: Path, wanted: Sequence[str], have: Sequence[str]) -> None:
    """Make sure that a table has the columns asked for.

    Raises
    ------
    BorderError
    """
    for name in wanted:
        if name not in have:
            shown = ", ".join(str(column)[:40] for column in have[:20]) + (", ..." if len(have) > 20 else "")
            alike = next((column for column in have if column.strip().lower() == name.strip().lower()), None)
            hint = f"did you mean {alike!r}? correct" if alike else "correct"
            raise BorderError(
                f"column {name!r} is not in {path} (columns: {shown or 'none'}); {hint} `columns` or `cuts`."
            )


def plain(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    """A column in the machine's byte order, text as str, masked or missing values as NaN or empty text.

    Raises
    ------
    BorderError
        If it holds neither numbers, nor truths, nor text, or several to a row.
    """
    if values.ndim != 1:
        raise BorderError(
            f"column {name} of {path} holds {int(np.prod(values.shape[1:]))} values a row"
            f" ({len(np.atleast_1d(values))} rows read); give a table with one number a row in each column."
        )
    masked = np.ma.getmaskarray(values)
    values = np.ma.getdata(values)
    if values.dtype.kind == "O":
        values = _from_objects(values)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "U":
        return np.where(masked, "", np.char.rstrip(values))
    if values.dtype.kind not in "biuf":
        raise BorderError(f"column {name} of {path} is of type {values.dtype}, not numbers or text; convert it.")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if not masked.any():
        return values
    if values.dtype.kind == "f":
        return np.where(masked, np.nan, values)
    numbers = values.astype(np.float64)
    exact = (np.abs(numbers[~masked]) < 2**53).all()
    return np.where(masked, np.nan, numbers if exact else values.astype(object))


def _from_objects(values: np.ndarray) -> np.ndarray:
    """Objects as text, missing ones empty."""
    words = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    return np.array(["" if word is None else str(word) for word in words], dtype=str)


@contextmanager
def told(path: Path, kind: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a reader raises into one sentence that names the file."""
    try:
        yield
    except BorderError:
        raise
    except errors as error:
        reason = " ".join(str(error).split())[:200]
        raise BorderError(
            f"{path} cannot be read as {kind}, it is cut short or damaged ({type(error).__name__}: {reason}); make or"
            " fetch it again, or correct `format`."
        ) from None
