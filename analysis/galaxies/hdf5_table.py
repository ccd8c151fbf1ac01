"""Tables in HDF5: a compound dataset, or a group with a dataset a column; slices of rows at a time."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from analysis.files import BorderError
from analysis.galaxies.opened import CHUNK_ROWS, Chunk, Opened, check_size, plain, told

ASTROPY = ".__table_column_meta__"  # what astropy writes beside a table
BAD = (OSError, ValueError, TypeError, KeyError, RuntimeError, EOFError, AttributeError, MemoryError, ArithmeticError)


def open_hdf5(path: Path, *, key: str | None) -> Opened:
    """The table below `key`; where that is None the file must have but one.

    Raises
    ------
    BorderError
        If the file is damaged, there is no such table, or its columns differ in length.
    """
    with told(path, "hdf5", BAD), h5py.File(path, "r") as file:
        table = _found(file, path, key)
        columns = _columns(table)
        lengths = {len(table) if isinstance(table, h5py.Dataset) else len(table[name]) for name in columns}
        units = {} if isinstance(table, h5py.Dataset) else {name: _unit(table[name]) for name in columns}
        name = table.name
    if len(lengths) > 1:
        raise BorderError(
            f"{path} has columns of {min(lengths)} to {max(lengths)} rows below {name!r}; set `key` to a group whose"
            " columns have one length."
        )
    rows = lengths.pop() if lengths else 0
    check_size(path, rows)
    return Opened(path, tuple(columns), rows, partial(_chunks, path, name, rows), {n: u for n, u in units.items() if u})


def _found(file: h5py.File, path: Path, key: str | None) -> h5py.Dataset | h5py.Group:
    """The table asked for, or the only one."""
    tables = _tables(file)
    if key is None and len(tables) == 1:
        return file[tables[0]]
    if key is not None and "/" + key.strip("/") in tables:
        return file[key]
    have = ", ".join(tables[:8]) or "none"
    asked = "no table" if key is None else f"no table {key!r}"
    raise BorderError(f"{path} has {asked if tables == [] or key else 'several tables'} (tables: {have}); set `key`.")


def _tables(file: h5py.File) -> list[str]:
    """Names of all compound datasets, and of groups with datasets of one dimension."""
    found = []

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.names and item.ndim == 1:
            found.append(item.name)
        if isinstance(item, h5py.Group) and _columns(item):
            found.append(item.name)

    visit("/", file)
    file.visititems(visit)
    return found


def _columns(table: h5py.Dataset | h5py.Group) -> list[str]:
    """Names of the columns of a table."""
    if isinstance(table, h5py.Dataset):
        return list(table.dtype.names)
    items = ((name, table.get(name)) for name in table if ASTROPY not in name)  # None for a link that leads nowhere
    return [name for name, item in items if isinstance(item, h5py.Dataset) and item.ndim == 1 and not item.dtype.names]


def _unit(dataset: h5py.Dataset) -> str:
    """Unit in the attributes of a dataset, empty where there is none."""
    unit = dataset.attrs.get("unit", dataset.attrs.get("units", dataset.attrs.get("UNIT", "")))
    return unit.decode("ascii", "replace") if isinstance(unit, bytes) else str(unit)


def _chunks(path: Path, key: str, rows: int, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the columns asked for."""
    with told(path, "hdf5", BAD), h5py.File(path, "r") as file:
        table = file[key]
        for start in range(0, rows, CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, rows))
            block = table.fields(list(wanted))[part] if isinstance(table, h5py.Dataset) else None
            yield {
                name: plain(np.asarray(table[name][part] if block is None else block[name]), name, path)
                for name in wanted
            }
