"""Tables written as text: CSV block by block, ECSV whole (it is small, or should be another format)."""

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.table import Table
from astropy.table.serialize import represent_mixins_as_columns
from pyarrow import csv

from analysis.files import BorderError
from analysis.galaxies.opened import Chunk, Opened, plain, told
from analysis.galaxies.parquet_table import BAD, column

BLOCK_BYTES = 2**24
LARGEST_ECSV = 300 * 10**6  # bytes


def open_csv(path: Path) -> Opened:
    """A CSV table with a line of column names; empty fields, `NA` and `nan` are missing.

    Raises
    ------
    BorderError
        If it is no such table.
    """
    with told(path, "csv", BAD), csv.open_csv(path, read_options=_blocks()) as reader:
        schema = reader.schema
        names = tuple(schema.names)
    return Opened(path, names, None, partial(_csv_chunks, path, schema))


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


def _csv_chunks(path: Path, schema: pa.Schema, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the columns asked for."""
    numbers = {  # the first block's whole numbers, or its gaps, may be followed by others
        name: pa.float64() if pa.types.is_integer(schema.field(name).type) or pa.types.is_null(schema.field(name).type)
        else schema.field(name).type
        for name in wanted
    }  # fmt: skip
    options = csv.ConvertOptions(include_columns=list(wanted), column_types=numbers)
    with told(path, "csv", BAD), csv.open_csv(path, read_options=_blocks(), convert_options=options) as reader:
        for batch in reader:
            yield {name: column(batch.column(name), name, path) for name in wanted}


def _blocks() -> csv.ReadOptions:
    return csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)


def _ecsv_chunk(path: Path, table: Table, wanted: Sequence[str]) -> Iterator[Chunk]:
    """The table as one chunk."""
    with told(path, "ecsv", (Exception,)):
        chunk = {name: plain(np.ma.asarray(table[name]), name, path) for name in wanted}
    yield chunk
