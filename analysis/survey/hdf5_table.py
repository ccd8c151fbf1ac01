"""Tables in HDF5: a compound dataset, or a group with one dataset a column, opened for reading in chunks of rows.

For rows that were never written, or whose file is gone, HDF5 gives fill values without an error; such tables are
refused.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mode

import h5py
import numpy as np

from analysis.core.files import BorderError
from analysis.sky.images import scaled
from analysis.survey.tables import (
    CHUNK_ROWS,
    Chunk,
    OpenTable,
    astropy_units,
    check_size,
    reading,
    unit_of,
)

ASTROPY = "__table_column_meta__"  # dataset that astropy writes beside a table

Table = h5py.Dataset | h5py.Group


def open_hdf5(path: Path, *, key: str | None) -> OpenTable:
    """The table at `key`; if that is None, the only table of the file.

    A group may hold columns of several lengths; columns that are read together must have the same. Raises `BorderError`
    if the file is damaged, or there is no such table.
    """
    with reading(path, "hdf5"), h5py.File(path, "r") as file:
        table = _table(file, path, key)
        columns = _columns(table) if isinstance(table, h5py.Group) else dict.fromkeys(table.dtype.names)
        datasets = {name: column for name, column in columns.items() if column is not None}
        header = table.parent.get(f"{table.name}.{ASTROPY}", table.attrs.get(ASTROPY))
        units = {} if header is None else astropy_units(header[:], path)
        units |= {name: unit for name, column in datasets.items() if (unit := unit_of(column.attrs))}
        rows = mode([len(column) for column in datasets.values()] or [len(table)])
        return OpenTable(path, tuple(columns), rows, partial(_chunks, path, table.name), units)


def _table(file: h5py.File, path: Path, key: str | None) -> Table:
    """The table asked for, or the only one of the file.

    Tables are compound datasets, and groups of one-dimensional datasets; if there are none, groups of broken links.
    """
    found, broken = [], []

    def visit(name: str, item: Table) -> None:
        if isinstance(item, h5py.Group) and (columns := _columns(item)):
            (found if any(column is not None for column in columns.values()) else broken).append(item.name)
        if isinstance(item, h5py.Dataset) and item.dtype.names and item.ndim == 1:
            found.append(item.name)

    visit("/", file)
    file.visititems(visit)
    tables = found or broken
    if key is None and len(tables) == 1:
        return file[tables[0]]
    if key is not None and "/" + key.strip("/") in tables:
        return file[key]
    asked = f"no table {key!r}" if key else "several tables" if tables else "no table"
    raise BorderError(f"{path} has {asked} (tables: {', '.join(tables[:8]) or 'none'}); set `key`.")


def _columns(group: h5py.Group) -> dict[str, h5py.Dataset | None]:
    """The one-dimensional datasets of a group by name; None for a broken link."""
    items = {name: group.get(name) for name in group if ASTROPY not in name}
    return {
        name: item
        for name, item in items.items()
        if item is None or (isinstance(item, h5py.Dataset) and item.ndim == 1 and not item.dtype.names)
    }


def _chunks(path: Path, key: str, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the wanted columns."""
    with reading(path, "hdf5"), h5py.File(path, "r") as file:
        table = file[key]
        columns = {} if isinstance(table, h5py.Dataset) else {name: _column(table, name, path) for name in wanted}
        datasets = columns or {key: table}
        rows = _length(datasets, key, path)
        for name, dataset in datasets.items():
            _check_rows(dataset, name, path)
        for start in range(0, rows, CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, rows))
            block = {name: _unpacked(column, part) for name, column in columns.items()}
            yield block or table.fields(list(wanted))[part]


def _column(table: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """A column of a group, unless its link is broken."""
    column = table.get(name)
    if column is None:
        link = table.get(name, getlink=True)
        where = f"{link.path} in {getattr(link, 'filename', path)}"
        raise BorderError(f"column {name} of {path} is a link to {where}, which is not there; put it back.")
    return column


def _length(columns: dict[str, h5py.Dataset], key: str, path: Path) -> int:
    """Rows of columns, if all have the same number."""
    lengths = {name: len(column) for name, column in columns.items()}
    least, most = min(lengths, key=lengths.get), max(lengths, key=lengths.get)
    if lengths[least] < lengths[most]:
        raise BorderError(
            f"columns {least} and {most} of {path} have {lengths[least]} and {lengths[most]} rows below {key!r}; name"
            " columns of one length, or set `key` to their group."
        )
    return lengths[most]


def _unpacked(column: h5py.Dataset, part: slice) -> np.ndarray:
    """Rows of a column, by its attributes `_FillValue`, `missing_value`, `scale_factor` and `add_offset`."""
    scale, zero = (np.ravel(column.attrs.get(*each))[0] for each in (("scale_factor", 1.0), ("add_offset", 0.0)))
    return scaled(np.asarray(column[part]), scale=scale, zero=zero, missing=_missing(column))


def _missing(column: h5py.Dataset) -> list[float]:
    """Values that stand for missing ones, by the attributes of a column."""
    found = [np.ravel(column.attrs.get(key, [])).tolist() for key in ("_FillValue", "missing_value")]
    return [*found[0], *found[1]]


def _check_rows(dataset: h5py.Dataset, name: str, path: Path) -> set[Path]:
    """The files that hold the rows of a dataset; raises if one is missing or too small, or rows were never written."""
    home = Path(dataset.file.filename)
    files = {
        home,
        *(_pieces(dataset, home, name, path) if dataset.is_virtual else _external(dataset, home, name, path)),
    }
    check_size(path, len(dataset), files)
    if not dataset.is_virtual and not dataset.external:
        _check_written(dataset, name, path)
    return files


def _external(dataset: h5py.Dataset, home: Path, name: str, path: Path) -> set[Path]:
    """The external files that hold the rows of a dataset."""
    prefix = Path(os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", str(home.parent)))
    files, left = set(), dataset.nbytes
    for other, offset, size in dataset.external or ():
        file, used = prefix / other, min(size, left)
        left -= used
        files.add(file)
        if not file.is_file() or file.stat().st_size < offset + used:
            raise BorderError(
                f"column {name} of {path} lies in the external file {file}, which is missing or cut short; put it back,"
                " or set HDF5_EXTFILE_PREFIX to its folder."
            )
    return files


def _check_written(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Raise if rows were never written, unless their fill value stands for missing ones."""
    fill = dataset.fillvalue
    fill_is_missing = dataset.dtype.kind in "iuf" and (fill in _missing(dataset) or np.isnan(fill))
    if dataset.chunks:
        written, whole = dataset.id.get_num_chunks(), int(np.prod(-(-np.array(dataset.shape) // dataset.chunks)))
    else:
        written, whole = int(dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED), 1
    if written < whole and dataset.size and not fill_is_missing:
        raise BorderError(
            f"column {name} of {path} was never written in {whole - written} of {whole} chunks, for which HDF5 gives"
            f" {fill}; write them, or a table without these rows."
        )


def _pieces(dataset: h5py.Dataset, home: Path, name: str, path: Path) -> set[Path]:
    """The files that hold the pieces of a virtual dataset, if all are there and cover it."""
    files, covered = set(), 0
    for piece in dataset.virtual_sources():
        if "%" in piece.file_name + piece.dset_name or _grows(piece.vspace):
            raise BorderError(
                f"column {name} of {path} is a virtual dataset over a series of pieces without end"
                f" ({piece.file_name}), whose gaps HDF5 does not tell; copy its rows into a plain dataset."
            )
        covered += piece.vspace.get_select_npoints()
        files |= _piece(piece, home, name, path)
    if covered < dataset.size:
        raise BorderError(
            f"column {name} of {path} is a virtual dataset of {dataset.size} rows whose pieces cover {covered}; HDF5"
            " gives fill values for the others: map them, or shorten it."
        )
    return files


def _grows(rows: h5py.h5s.SpaceID) -> bool:
    """Whether a selection of rows grows with its source."""
    regular = rows.get_select_type() == h5py.h5s.SEL_HYPERSLABS and rows.is_regular_hyperslab()
    return regular and h5py.h5s.UNLIMITED in rows.get_regular_hyperslab()[2]


def _piece(piece: tuple, home: Path, name: str, path: Path) -> set[Path]:
    """The files that hold one piece of a virtual dataset, if it is there and long enough."""
    prefix = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(home.parent))
    folders = [*([Path(prefix)] if prefix else []), home.parent, Path()]
    places = [home] if piece.file_name == "." else [folder / piece.file_name for folder in folders]
    for place in [each for each in places if each.is_file()][:1]:
        with h5py.File(place, "r") as file:
            source = file.get(piece.dset_name)
            hyperslab = piece.src_space.get_select_type() == h5py.h5s.SEL_HYPERSLABS
            need = piece.src_space.get_select_bounds()[1][0] + 1 if hyperslab else piece.vspace.get_select_npoints()
            if isinstance(source, h5py.Dataset) and len(source) >= need:
                return _check_rows(source, f"{name} (its piece {piece.file_name})", path)
    raise BorderError(
        f"column {name} of {path} is virtual, and {piece.file_name} has no {piece.dset_name} of its rows or is missing:"
        f" HDF5 gives fill values for them; put it back beside {home}."
    )
