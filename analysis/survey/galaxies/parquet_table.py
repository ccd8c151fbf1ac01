"""Tables in Parquet, a batch of rows at a time."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from analysis.survey.galaxies.opened import CHUNK_ROWS, Chunk, Opened, astropy_units, check_size, plain, told, unit_of

BAD = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, ArithmeticError)


def open_parquet(path: Path) -> Opened:
    """The table of a Parquet file.

    Raises
    ------
    BorderError
        If it is cut short or damaged.
    """
    with told(path, "parquet", BAD), parquet.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        names = tuple(schema.names)
        header = (schema.metadata or {}).get(b"table_meta_yaml", b"")
        units = astropy_units(header.splitlines(), path) if header else {}
        units |= {each.name: unit for each in schema if (unit := unit_of(each.metadata or {}))}
    check_size(path, rows)
    return Opened(path, names, rows, partial(_chunks, path), units)


def _chunks(path: Path, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the columns asked for."""
    with told(path, "parquet", BAD), parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        for batch in file.iter_batches(CHUNK_ROWS, columns=list(wanted), use_threads=False):
            yield {name: column(batch.column(name), name, path) for name in wanted}


def column(values: pa.Array, name: str, path: Path) -> np.ndarray:
    """A column of Arrow as NumPy knows it; missing values are NaN, or empty text."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_null(values.type):
        return np.full(len(values), np.nan)
    if pa.types.is_boolean(values.type) and values.null_count:
        values = values.cast(pa.int8())
    if pa.types.is_integer(values.type) and values.null_count:  # which would be float64 else
        gaps = values.is_null().to_numpy(zero_copy_only=False)
        return plain(np.ma.array(values.fill_null(0).to_numpy(), mask=gaps), name, path)
    if not (
        pa.types.is_primitive(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string(values.type)
    ):
        return plain(np.zeros(len(values), "V1"), f"{name} ({values.type})", path)
    return plain(values.to_numpy(zero_copy_only=False), name, path)
