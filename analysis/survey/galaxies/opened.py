"""Tables of any format as chunks of rows: what a file has, and its rows a few at a time, so that memory stays bounded.

Each format has its module here with one function that opens it. Compressed files are refused, and so are those that
claim many more rows than their bytes can hold: unpacked in memory either could fill it.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.table.meta import get_header_from_yaml

from analysis.core.files import BorderError

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


def check_size(path: Path, rows: int, files: Iterable[Path] = ()) -> None:
    """Make sure that a file, with others that hold rows of it, is no bomb: rows that its bytes cannot hold.

    Raises
    ------
    BorderError
    """
    size = sum(each.stat().st_size for each in {path, *files})
    if rows > ROWS_A_BYTE * size:
        raise BorderError(
            f"{path} claims {rows} rows in {size} bytes, more than real galaxies can be packed;"
            " write it again without compression if they are real."
        )


def check_columns(path: Path, wanted: Sequence[str], have: Sequence[str]) -> None:
    """Make sure that a table has the columns asked for, each once.

    Raises
    ------
    BorderError
    """
    for name in wanted:
        if have.count(name) > 1:
            raise BorderError(f"{path} has two columns {name!r}; rename one.")
        if name not in have:
            shown = ", ".join(str(column)[:40] for column in have[:20]) + (", ..." if len(have) > 20 else "")
            alike = next((column for column in have if column.strip().lower() == name.strip().lower()), None)
            hint = f"did you mean {alike!r}? correct" if alike else "correct"
            raise BorderError(
                f"column {name!r} is not in {path} (columns: {shown or 'none'}); {hint} `columns` or `cuts`."
            )


def with_masks(opened: Opened) -> Opened:
    """The table with the values of NAME missing where a column NAME.mask says so: astropy writes masks like this."""
    masks = {name: f"{name}.mask" for name in {each.removesuffix(".mask") for each in opened.columns}}
    masks = {name: mask for name, mask in masks.items() if {name, mask} <= set(opened.columns)}
    if not masks:
        return opened

    def chunks(wanted: Sequence[str]) -> Iterator[Chunk]:
        beside = [masks[name] for name in wanted if name in masks]
        check_columns(opened.path, beside, opened.columns)
        for chunk in opened.chunks(list(dict.fromkeys([*wanted, *beside]))):
            yield {name: _masked(chunk, name, masks.get(name), opened.path) for name in wanted}

    return replace(opened, chunks=chunks)


def _masked(chunk: Chunk, name: str, mask: str | None, path: Path) -> np.ndarray:
    """A column of a chunk, missing where its mask is not 0."""
    if mask is None:
        return chunk[name]
    if chunk[mask].dtype.kind == "U":
        raise BorderError(f"column {mask} of {path} holds text; write the mask of {name} as true and false.")
    return plain(np.ma.masked_array(chunk[name], chunk[mask] != 0), name, path)


def astropy_units(lines: Iterable[str | bytes], path: Path) -> dict[str, str]:
    """Units that astropy states in the lines of YAML which it writes beside a table.

    Raises
    ------
    BorderError
        If they are no such lines.
    """
    with told(path, "a table of astropy", (Exception,)), warnings.catch_warnings():  # a reader of types raises anything
        warnings.simplefilter("ignore")
        columns = get_header_from_yaml([_text(line) for line in lines])["datatype"]
        return {each["name"]: str(each["unit"]) for each in columns if each.get("unit")}


def unit_of(attributes: Mapping[str | bytes, object]) -> str:
    """Unit among the attributes of a column, under one of its usual names; empty where there is none."""
    found = {_text(key).lower(): value for key, value in attributes.items()}
    return _text(next((found[key] for key in ("unit", "units") if key in found), ""))


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


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
