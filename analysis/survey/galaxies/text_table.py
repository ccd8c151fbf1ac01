"""Tables written as text: CSV block by block, ECSV whole (it is small, or should be another format)."""

import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table
from astropy.table.serialize import represent_mixins_as_columns
from pyarrow import csv

from analysis.core.files import BorderError
from analysis.survey.galaxies.opened import Chunk, Opened, plain, told
from analysis.survey.galaxies.parquet_table import BAD, column

BLOCK_BYTES = 2**24
LARGEST_ECSV = 300 * 10**6  # bytes


def open_csv(path: Path) -> Opened:
    """A CSV table with a line of column names; empty fields, `NA` and `nan` are missing, blanks beside commas nothing.

    Raises
    ------
    BorderError
        If it is no such table.
    """
    with told(path, "csv", BAD), csv.open_csv(path, read_options=_blocks()) as reader:
        schema, first = reader.schema, next(iter(reader), None)
        names = tuple(name.strip() for name in schema.names)
        written = dict(zip(names, schema, strict=True))
        exact = {name for i, name in enumerate(names) if _is_whole(schema[i].type, first and first.column(i))}
    return Opened(path, names, None, partial(_csv_chunks, path, written, exact))


def open_ecsv(path: Path) -> Opened:
    """An ECSV table; a column of sky positions `c` becomes the two columns `c.ra` and `c.dec`.

    Raises
    ------
    BorderError
        If it is damaged, or so large that it should be FITS or Parquet.
    """
    if path.stat().st_size > LARGEST_ECSV:
        raise BorderError(
            f"{path} has {path.stat().st_size} bytes, and ECSV is read whole; write tables of more than"
            f" {LARGEST_ECSV} bytes as FITS or Parquet."
        )
    with told(path, "ecsv", (Exception,)), warnings.catch_warnings():  # a reader of YAML and types: it raises anything
        warnings.simplefilter("ignore")
        table = represent_mixins_as_columns(Table.read(path, format="ascii.ecsv"))
        units = {name: str(getattr(table[name], "unit", None) or "") for name in table.colnames}
    return Opened(path, tuple(table.colnames), len(table), partial(_ecsv_chunk, path, table), units)


def _is_whole(kind: pa.DataType, first: pa.Array | None) -> bool:
    """Whether a column begins with whole numbers or gaps; those beyond 64 bits with sign are taken for float64."""
    if pa.types.is_floating(kind) and first is not None:
        return bool(pc.all(pc.equal(first, pc.round(first))).as_py())
    return pa.types.is_integer(kind) or pa.types.is_null(kind)


def _csv_chunks(path: Path, written: Mapping[str, pa.Field], exact: Set[str], wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the columns asked for.

    Parameters
    ----------
    written : columns of the file by name without blanks
    exact : names of those that begin with whole numbers: other numbers may follow, so that they are read as text
    """
    kinds = {written[name].name: pa.string() if name in exact else written[name].type for name in wanted}
    options = csv.ConvertOptions(include_columns=[*kinds], column_types=kinds)
    with told(path, "csv", BAD), csv.open_csv(path, read_options=_blocks(), convert_options=options) as reader:
        for batch in reader:
            read = {name: _trimmed(batch.column(written[name].name)) for name in wanted}
            yield {name: column(_numbers(read[name]) if name in exact else read[name], name, path) for name in wanted}


def _trimmed(values: pa.Array) -> pa.Array:
    """Text without blanks at its ends; anything else as it is."""
    return pc.utf8_trim_whitespace(values) if pa.types.is_string(values.type) else values


def _numbers(text: pa.Array) -> pa.Array:
    """Text as 64-bit whole numbers where all of it is, else as float64; what is missing is null."""
    missing = pc.is_in(text, pa.array(csv.ConvertOptions().null_values))
    text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
    for whole in (pa.int64(), pa.uint64()):
        with suppress(pa.ArrowInvalid):
            return text.cast(whole)
    return text.cast(pa.float64())


def _blocks() -> csv.ReadOptions:
    return csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)


def _ecsv_chunk(path: Path, table: Table, wanted: Sequence[str]) -> Iterator[Chunk]:
    """The table as one chunk."""
    with told(path, "ecsv", (Exception,)):
        chunk = {name: plain(np.ma.asarray(table[name]), name, path) for name in wanted}
    yield chunk
