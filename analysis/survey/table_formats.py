"""Tables as FITS, Parquet, CSV and ECSV, opened for reading in chunks of rows; `hdf5_table` opens HDF5.

Each function raises `BorderError` if the file is cut short or damaged, or has no such table.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits
from astropy.table import Table
from astropy.table.serialize import represent_mixins_as_columns
from astropy.utils.exceptions import AstropyWarning
from pyarrow import csv, parquet

from analysis.core.files import BorderError
from analysis.params import CatalogueTable
from analysis.sky import read_image
from analysis.sky.images import scaled
from analysis.survey.hdf5_table import open_hdf5
from analysis.survey.tables import (
    CHUNK_ROWS,
    Chunk,
    OpenTable,
    astropy_units,
    check_size,
    check_start,
    reading,
    unit_of,
    with_native_columns,
)
from analysis.survey.units_and_signs import needed_columns

CHUNK_BYTES = 2**26  # rows of a survey may have hundreds of columns, and FITS stores all of a row together
BLOCK_BYTES = 2**24  # of CSV
LARGEST_ECSV = 300 * 10**6  # bytes


def open_table(path: Path, entry: CatalogueTable, *, suits: Callable[[Sequence[str]], bool] | None = None) -> OpenTable:
    """The table of a file, open for reading.

    Parameters
    ----------
    entry : says the format, and the HDU of FITS or the key of HDF5
    suits : function of column names: whether a table of a FITS file with several can be the right one; None for a table
        that has every column of the entry

    Raises
    ------
    BorderError
        If the file is not of that format, damaged, compressed, or has no such HDU or key.
    """
    check_start(path, entry.kind)
    if entry.kind == "fits":
        table = open_fits(path, hdu=entry.hdu, suits=suits or set(needed_columns(entry)).issubset)
    elif entry.kind == "hdf5":
        table = open_hdf5(path, key=entry.key)
    else:
        table = {"parquet": open_parquet, "csv": open_csv, "ecsv": open_ecsv}[entry.kind](path)
    return with_native_columns(table)


def open_column_files(files: Mapping[str, Path], title: str) -> OpenTable:
    """A table whose columns are one-dimensional FITS images, by name; messages call the table `title`.

    Raises
    ------
    BorderError
        If a file is missing or damaged, or columns differ in length.
    """
    columns = {name: read_image(path)[0] for name, path in files.items()}
    first, *_ = columns
    for name, values in columns.items():
        if values.ndim != 1 or len(values) != len(columns[first]):
            raise BorderError(
                f"column {name} of {title} has shape {values.shape}, {first} has {columns[first].shape}; give columns"
                " of one length."
            )
    return with_native_columns(OpenTable(title, tuple(columns), len(columns[first]), lambda wanted: iter([columns])))


# FITS


def open_fits(path: Path, *, hdu: int | str | None, suits: Callable[[Sequence[str]], bool]) -> OpenTable:
    """The table of an HDU, by number or name; if `hdu` is None, the first whose columns suit.

    Rows are read as they lie on disk, scaled (TSCAL, TZERO) and masked (TNULL) here, so that no more than a chunk is in
    memory. What astropy only warns about (odd cards, bytes after the last HDU) is accepted.
    """
    with reading(path, "fits"), warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        with open(path, "rb") as handle, fits.open(handle, lazy_load_hdus=True, character_as_bytes=True) as file:
            found = _table_hdu(file, path, hdu, suits)
            header, offset = found.header, found.fileinfo()["datLoc"]
            formats = [each.dtype for each in found.columns.formats]
        rows, width, names = int(header["NAXIS2"]), int(header["NAXIS1"]), _names(header)
        units = {name: str(header.get(f"TUNIT{n}", "")).strip() for n, name in enumerate(names, start=1)}
        offsets = np.cumsum([0, *(each.itemsize for each in formats)])[:-1].tolist()
        numbers = [str(n) for n in range(1, len(formats) + 1)]  # two columns may have the same name
        row = np.dtype({"names": numbers, "formats": formats, "offsets": offsets, "itemsize": width})
    check_size(path, rows)
    if offset + rows * width > path.stat().st_size:
        whole = max(0, path.stat().st_size - offset) // max(width, 1)
        raise BorderError(
            f"{path} is cut short: {rows} rows in its header, {whole} rows in the file; fetch or make it again."
        )
    read = partial(_fits_chunks, path, header, row.newbyteorder(">"), offset, rows)
    return OpenTable(path, names, rows, read, {name: unit for name, unit in units.items() if unit})


def _table_hdu(
    file: fits.HDUList, path: Path, hdu: int | str | None, suits: Callable[[Sequence[str]], bool]
) -> fits.BinTableHDU:
    """The table asked for, odd cards of its header repaired."""
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
    if fitting[0].header.get("ZTABLE"):
        raise BorderError(f"{path} is a compressed FITS table (ZTABLE); unpack it first (funpack).")
    return fitting[0]


def _names(header: fits.Header) -> tuple[str, ...]:
    """Names of the columns of a table."""
    return tuple(str(header.get(f"TTYPE{n}", f"col{n}")).strip() for n in range(1, header["TFIELDS"] + 1))


def _fits_chunks(
    path: Path, header: fits.Header, row: np.dtype, offset: int, rows: int, wanted: Sequence[str]
) -> Iterator[Chunk]:
    """Chunks of the wanted columns; `row` is the type of a row on disk, its columns named by their numbers."""
    step = int(np.clip(CHUNK_BYTES // max(row.itemsize, 1), 1, CHUNK_ROWS))
    with reading(path, "fits"), open(path, "rb") as handle:
        numbers = {name: _names(header).index(name) + 1 for name in wanted}
        handle.seek(offset)
        for start in range(0, rows, step):
            block = np.fromfile(handle, row, min(step, rows - start))
            yield {name: _fits_values(block[str(n)], header, n) for name, n in numbers.items()}


def _fits_values(raw: np.ndarray, header: fits.Header, number: int) -> np.ndarray:
    """Values of a column, by its TNULL, TSCAL and TZERO; a boolean that is neither T nor F is missing."""
    if str(header[f"TFORM{number}"]).strip().lstrip("0123456789").startswith("L"):
        return np.ma.masked_array(raw == ord("T"), (raw != ord("T")) & (raw != ord("F")))
    scale, zero, null = (
        header.get(f"{key}{number}", start) for key, start in (("TSCAL", 1), ("TZERO", 0), ("TNULL", None))
    )
    missing = [] if null is None else [null]
    if raw.dtype.newbyteorder("=") == np.int64 and (scale, zero) == (1, 2**63):  # unsigned: float64 would round it
        whole = raw.astype(np.int64).view(np.uint64) ^ np.uint64(2**63)
        return np.ma.masked_array(whole, raw == null) if missing else whole
    return scaled(raw, scale=scale, zero=zero, missing=missing)


# Parquet


def open_parquet(path: Path) -> OpenTable:
    """The table of a Parquet file."""
    with reading(path, "parquet"), parquet.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        header = (schema.metadata or {}).get(b"table_meta_yaml", b"")
        units = astropy_units(header.splitlines(), path) if header else {}
        units |= {each.name: unit for each in schema if (unit := unit_of(each.metadata or {}))}
    check_size(path, rows)
    return OpenTable(path, tuple(schema.names), rows, partial(_parquet_chunks, path), units)


def _parquet_chunks(path: Path, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the wanted columns."""
    with reading(path, "parquet"), parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        for batch in file.iter_batches(CHUNK_ROWS, columns=list(wanted), use_threads=False):
            yield {name: _arrow_column(batch.column(name), name, path) for name in wanted}


def _arrow_column(values: pa.Array, name: str, path: Path) -> np.ndarray:
    """A column of Arrow as NumPy array, masked if it has integers and missing values."""
    is_type = pa.types
    if is_type.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_type.is_decimal(values.type):
        values = values.cast(pa.float64())
    if is_type.is_null(values.type):
        return np.full(len(values), np.nan)
    if is_type.is_boolean(values.type) and values.null_count:
        values = values.cast(pa.int8())
    if is_type.is_integer(values.type) and values.null_count:  # to_numpy would give float64
        missing = values.is_null().to_numpy(zero_copy_only=False)
        return np.ma.array(values.fill_null(0).to_numpy(), mask=missing)
    if not any(test(values.type) for test in (is_type.is_primitive, is_type.is_string, is_type.is_large_string)):
        raise BorderError(f"column {name} of {path} is of type {values.type}, not numbers or text; convert it.")
    return values.to_numpy(zero_copy_only=False)


# text


def open_csv(path: Path) -> OpenTable:
    """A CSV table with column names in its first line; empty fields, `NA` and `nan` are missing, blanks are ignored."""
    with reading(path, "csv"), csv.open_csv(path, read_options=_blocks()) as reader:
        schema, first = reader.schema, next(iter(reader), None)
        names = tuple(name.strip() for name in schema.names)
        written = dict(zip(names, schema, strict=True))
        whole = {name for i, name in enumerate(names) if _is_whole(schema[i].type, first and first.column(i))}
    return OpenTable(path, names, None, partial(_csv_chunks, path, written, whole))


def _is_whole(kind: pa.DataType, first: pa.Array | None) -> bool:
    """Whether a column begins with integers or gaps; Arrow takes integers that do not fit into 64 bits for float64."""
    if pa.types.is_floating(kind) and first is not None:
        return bool(pc.all(pc.equal(first, pc.round(first))).as_py())
    return pa.types.is_integer(kind) or pa.types.is_null(kind)


def _csv_chunks(path: Path, written: Mapping[str, pa.Field], whole: Set[str], wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the wanted columns.

    Parameters
    ----------
    written : columns of the file, by name without blanks
    whole : names of columns that begin with integers; they are read as text, since other numbers may follow
    """
    kinds = {written[name].name: pa.string() if name in whole else written[name].type for name in wanted}
    options = csv.ConvertOptions(include_columns=[*kinds], column_types=kinds)
    with reading(path, "csv"), csv.open_csv(path, read_options=_blocks(), convert_options=options) as reader:
        for batch in reader:
            read = {name: batch.column(written[name].name) for name in wanted}
            read = {name: pc.utf8_trim_whitespace(v) if pa.types.is_string(v.type) else v for name, v in read.items()}
            read = {name: _numbers(values) if name in whole else values for name, values in read.items()}
            yield {name: _arrow_column(values, name, path) for name, values in read.items()}


def _numbers(text: pa.Array) -> pa.Array:
    """Text as 64-bit integers if all of it is, else as float64; missing values are null."""
    missing = pc.is_in(text, pa.array(csv.ConvertOptions().null_values))
    text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
    for whole in (pa.int64(), pa.uint64()):
        with suppress(pa.ArrowInvalid):
            return text.cast(whole)
    return text.cast(pa.float64())


def _blocks() -> csv.ReadOptions:
    return csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)


def open_ecsv(path: Path) -> OpenTable:
    """An ECSV table, read whole; a column of sky positions `c` becomes the two columns `c.ra` and `c.dec`."""
    if path.stat().st_size > LARGEST_ECSV:
        raise BorderError(
            f"{path} has {path.stat().st_size} bytes, and ECSV is read whole; write tables of more than"
            f" {LARGEST_ECSV} bytes as FITS or Parquet."
        )
    with reading(path, "ecsv"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = represent_mixins_as_columns(Table.read(path, format="ascii.ecsv"))
        units = {name: str(getattr(table[name], "unit", None) or "") for name in table.colnames}
        columns = {name: np.ma.asarray(table[name]) for name in table.colnames}
    return OpenTable(path, tuple(columns), len(table), lambda wanted: iter([columns]), units)
