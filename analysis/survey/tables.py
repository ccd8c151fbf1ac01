"""A table of galaxies on disk: where it lies, what it has, and its rows in chunks, so that memory stays bounded.

`table_formats` and `hdf5_table` open the files. Compressed files are refused, and so are files that claim many more
rows than their bytes can hold: unpacked, both could fill the memory.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from astropy.table.meta import get_header_from_yaml

from analysis.core.download import CACHE, download, verified
from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params import CatalogueTable

CHUNK_ROWS = 500_000
ROWS_A_BYTE = 100  # no real catalogue has more
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
class OpenTable:
    """A table that is open for reading.

    Parameters
    ----------
    path : the file, or another name for messages
    columns : their names
    rows : None if the file must be read to its end to know (CSV)
    chunks : function of column names, iterator over chunks: (n,) of each column, of kind b, i, u, f or U; missing ones
        are NaN, or empty text. If some are missing, integers that float64 cannot hold are Python objects.
    units : those that the file states, as text
    """

    path: Path | str
    columns: tuple[str, ...]
    rows: int | None
    chunks: Callable[[Sequence[str]], Iterator[Chunk]]
    units: Mapping[str, str] = field(default_factory=dict)


def table_path(entry: CatalogueTable, *, cache: Path = CACHE / "tables") -> Path:
    """Path of the table of an entry: of an address its verified download, else the first file found.

    A path may be absolute, or relative to DATA_MIRROR (a folder or an address) or to the project. If the entry gives a
    SHA-256 digest, the file must have it.

    Raises
    ------
    SourceUnavailable
        If an address does not answer.
    BorderError
        If there is no such file, or its digest is another.
    """
    mirror = os.environ.get("DATA_MIRROR", "").rstrip("/")
    address = entry.path if _is_address(entry.path) else None
    if address is None:
        folders = [ROOT] if _is_address(mirror) or not mirror else [ROOT / mirror, ROOT]
        for place in (folder / entry.path for folder in folders):
            if place.is_file():
                return place if entry.sha256 is None else verified(place, entry.sha256)
        if not _is_address(mirror) or entry.sha256 is None or Path(entry.path).is_absolute():
            looked = " or ".join(dict.fromkeys(str(folder / entry.path) for folder in folders))
            raise BorderError(f"the catalogue {entry.path} is not at {looked}; correct `path`, or set DATA_MIRROR.")
        address = f"{mirror}/{entry.path}"
    copy = cache / entry.sha256[:16] / (Path(urlsplit(address).path).name or "table")
    return download(address, copy, digest=entry.sha256)


def _is_address(text: str) -> bool:
    return urlsplit(text).scheme in ("http", "https")


def check_start(path: Path, kind: str) -> None:
    """Raise `BorderError` unless a file exists, is not compressed, and begins as its format should."""
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
    found = next((name for name, magic in SIGNATURES.items() if start.startswith(magic)), None)
    if found != (kind if kind in SIGNATURES else None):
        raise BorderError(
            f"{path} is read as {kind}, but its first bytes are of {found or 'no known format'}; correct `format` or"
            " the file."
        )


def check_size(path: Path, rows: int, files: Iterable[Path] = ()) -> None:
    """Raise `BorderError` if a file, together with others that hold rows of it, is too small for its rows."""
    size = sum(each.stat().st_size for each in {path, *files})
    if rows > ROWS_A_BYTE * size:
        raise BorderError(
            f"{path} claims {rows} rows in {size} bytes, and no real galaxies can be packed so tightly; if they are"
            " real, write it again without compression."
        )


def check_columns(path: Path | str, wanted: Sequence[str], have: Sequence[str]) -> None:
    """Raise `BorderError` unless a table has each of the wanted columns once."""
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


def with_native_columns(table: OpenTable) -> OpenTable:
    """The table with chunks as `OpenTable` describes them, from those of a reader, which may be arrays of any kind.

    Values of a column NAME are missing if its column NAME.mask is true: astropy writes masks like this.
    """
    masks = {name: f"{name}.mask" for name in table.columns if f"{name}.mask" in table.columns}

    def chunks(wanted: Sequence[str]) -> Iterator[Chunk]:
        beside = [masks[name] for name in wanted if name in masks]
        check_columns(table.path, beside, table.columns)
        names = list(dict.fromkeys([*wanted, *beside]))
        for chunk in table.chunks(names):
            native = {name: _native(chunk[name], name, table.path) for name in names}
            yield {name: _masked(native, name, masks.get(name), table.path) for name in wanted}

    return replace(table, chunks=chunks)


def _masked(chunk: Chunk, name: str, mask: str | None, path: Path | str) -> np.ndarray:
    """A column of a chunk, with values missing where its mask is not 0."""
    if mask is None:
        return chunk[name]
    if chunk[mask].dtype.kind == "U":
        raise BorderError(f"column {mask} of {path} holds text; write the mask of {name} as true and false.")
    return _native(np.ma.masked_array(chunk[name], chunk[mask] != 0), name, path)


def _native(values: np.ndarray, name: str, path: Path | str) -> np.ndarray:
    """A column in the byte order of the machine, text as str; masked or missing values are NaN, or empty text."""
    if values.ndim != 1:
        raise BorderError(
            f"column {name} of {path} holds {int(np.prod(values.shape[1:]))} values a row"
            f" ({len(np.atleast_1d(values))} rows read); give a table with one number a row in each column."
        )
    masked = np.ma.getmaskarray(values)
    values = np.ma.getdata(values)
    if values.dtype.kind == "O":
        words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in values]
        values = np.array(["" if word is None else str(word) for word in words], dtype=str)
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


def astropy_units(lines: Iterable[str | bytes], path: Path) -> dict[str, str]:
    """Units by column, from the lines of YAML that astropy writes beside a table."""
    with reading(path, "a table of astropy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = get_header_from_yaml([_text(line) for line in lines])["datatype"]
        return {each["name"]: str(each["unit"]) for each in columns if each.get("unit")}


def unit_of(attributes: Mapping[str | bytes, object]) -> str:
    """Unit among the attributes of a column (`unit` or `units`, in any case of letters); empty without one."""
    found = {_text(key).lower(): value for key, value in attributes.items()}
    return _text(found.get("unit", found.get("units", "")))


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


@dataclass(eq=False)
class Thinned:
    """Columns of arrays joined; of more than 2 `most` every second, fourth, ... is kept. `add` changes the record.

    Parameters
    ----------
    height, most : int
    kept : (height, n)
    """

    height: int
    most: int
    kept: np.ndarray = field(init=False)
    step: int = 1

    def __post_init__(self) -> None:
        self.kept = np.empty((self.height, 0))

    def add(self, part: np.ndarray) -> None:
        """Add an array (height, m)."""
        self.kept = np.concatenate([self.kept, part[:, :: self.step]], axis=1)
        while self.kept.shape[1] > 2 * self.most:
            self.kept, self.step = self.kept[:, ::2], 2 * self.step


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors of a reader into one sentence that names the file; damaged files can raise anything."""
    try:
        yield
    except BorderError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BorderError(
            f"{path} cannot be read as {kind}, it is cut short or damaged ({type(error).__name__}: {reason}); make or"
            " fetch it again, or correct `format`."
        ) from error
