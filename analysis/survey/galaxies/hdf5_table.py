"""Tables in HDF5: a compound dataset, or a group with a dataset a column; slices of rows at a time.

HDF5 gives fill values, and no error, for rows that were never written or whose file is gone: such tables are refused.
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
from analysis.survey.galaxies.opened import CHUNK_ROWS, Chunk, Opened, astropy_units, check_size, plain, told, unit_of

ASTROPY = "__table_column_meta__"  # what astropy writes beside a table
BAD = (OSError, ValueError, TypeError, KeyError, RuntimeError, EOFError, AttributeError, MemoryError, ArithmeticError)


def open_hdf5(path: Path, *, key: str | None) -> Opened:
    """The table below `key`; where that is None the file must have but one.

    A group may hold columns of several lengths; those that are read together must have one.

    Raises
    ------
    BorderError
        If the file is damaged, or there is no such table.
    """
    with told(path, "hdf5", BAD), h5py.File(path, "r") as file:
        table = _found(file, path, key)
        names = _columns(table)
        units = _units(table, names, path)
        lengths = [len(column) for column in _led(table, names).values()] or [len(table)]
        name = table.name
    return Opened(path, tuple(names), mode(lengths), partial(_chunks, path, name), units)


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
    """Names of all compound datasets, and of groups with datasets of one dimension; else of groups of lost links."""
    found, lost = [], []

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.names and item.ndim == 1:
            found.append(item.name)
        if isinstance(item, h5py.Group) and _columns(item):
            (found if _led(item, _columns(item)) else lost).append(item.name)

    visit("/", file)
    file.visititems(visit)
    return found or lost


def _columns(table: h5py.Dataset | h5py.Group) -> list[str]:
    """Names of the columns of a table; a link that leads nowhere may be one."""
    if isinstance(table, h5py.Dataset):
        return list(table.dtype.names)
    items = ((name, table.get(name)) for name in table if ASTROPY not in name)
    return [
        name
        for name, item in items
        if item is None or (isinstance(item, h5py.Dataset) and item.ndim == 1 and not item.dtype.names)
    ]


def _units(table: h5py.Dataset | h5py.Group, names: Sequence[str], path: Path) -> dict[str, str]:
    """Units that astropy states beside a table, and those in the attributes of its columns."""
    beside = table.parent.get(f"{table.name}.{ASTROPY}")
    header = beside if beside is not None else table.attrs.get(ASTROPY)
    units = {} if header is None else astropy_units(header[:], path)
    return units | {name: unit for name, column in _led(table, names).items() if (unit := unit_of(column.attrs))}


def _led(table: h5py.Dataset | h5py.Group, names: Sequence[str]) -> dict[str, h5py.Dataset]:
    """Datasets of the columns of a group, but for links that lead nowhere; none of a compound dataset."""
    items = {name: table.get(name) for name in names} if isinstance(table, h5py.Group) else {}
    return {name: item for name, item in items.items() if item is not None}


def _chunks(path: Path, key: str, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of the columns asked for."""
    with told(path, "hdf5", BAD), h5py.File(path, "r") as file:
        table = file[key]
        columns = {} if isinstance(table, h5py.Dataset) else {name: _column(table, name, path) for name in wanted}
        rows = _length(columns or {key: table}, key, path)
        for name, dataset in (columns or {key: table}).items():
            _checked_files(dataset, name, path)
        for start in range(0, rows, CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, rows))
            block = {name: _meant(column, part) for name, column in columns.items()} or table.fields(list(wanted))[part]
            yield {name: plain(block[name], name, path) for name in wanted}


def _column(table: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """A column of a group, if it leads somewhere."""
    column = table.get(name)
    if column is None:
        link = table.get(name, getlink=True)
        where = f"{link.path} in {getattr(link, 'filename', path)}"
        raise BorderError(f"column {name} of {path} is a link to {where}, which is not there; put it back.")
    return column


def _length(columns: dict[str, h5py.Dataset], key: str, path: Path) -> int:
    """Rows of columns, if all have as many."""
    lengths = {name: len(column) for name, column in columns.items()}
    least, most = min(lengths, key=lengths.get), max(lengths, key=lengths.get)
    if lengths[least] < lengths[most]:
        raise BorderError(
            f"columns {least} and {most} of {path} have {lengths[least]} and {lengths[most]} rows below {key!r}; name"
            " columns of one length, or set `key` to their group."
        )
    return lengths[most]


def _meant(column: h5py.Dataset, part: slice) -> np.ndarray:
    """Rows of a column by its attributes `_FillValue`, `missing_value`, `scale_factor` and `add_offset`."""
    attributes = column.attrs
    scale, zero = (np.ravel(attributes.get(*each))[0] for each in (("scale_factor", 1.0), ("add_offset", 0.0)))
    return scaled(np.asarray(column[part]), scale=scale, zero=zero, missing=_missing(column))


def _missing(column: h5py.Dataset) -> list[object]:
    """Values that the attributes of a column call missing."""
    attributes = column.attrs
    return [value for key in ("_FillValue", "missing_value") for value in np.ravel(attributes.get(key, [])).tolist()]


def _checked_files(dataset: h5py.Dataset, name: str, path: Path) -> set[Path]:
    """Files that hold the rows of a dataset, if all of these are there, and can be so many."""
    if dataset.is_virtual:
        files = _files_of_pieces(dataset, name, path)
        check_size(path, len(dataset), files)
        return files
    home = Path(dataset.file.filename)
    prefix = Path(os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", str(home.parent)))
    external, left = set(), dataset.nbytes
    for other, offset, size in dataset.external or ():
        external.add(prefix / other)
        used, left = min(size, left), left - min(size, left)
        if not (prefix / other).is_file() or (prefix / other).stat().st_size < offset + used:
            raise BorderError(
                f"column {name} of {path} lies in the external file {prefix / other}, which is missing or cut short;"
                " put it back, or set HDF5_EXTFILE_PREFIX to its folder."
            )
    files = {home, *external}
    check_size(path, len(dataset), files)
    if not external:
        _check_written(dataset, name, path)
    return files


def _check_written(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Raise where rows were never written, unless they are read as missing."""
    fill = dataset.fillvalue
    told_missing = dataset.dtype.kind in "iuf" and (fill in _missing(dataset) or np.isnan(fill))
    if dataset.chunks:
        written, whole = dataset.id.get_num_chunks(), int(np.prod(-(-np.array(dataset.shape) // dataset.chunks)))
    else:
        written, whole = int(dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED), 1
    if written < whole and dataset.size and not told_missing:
        raise BorderError(
            f"column {name} of {path} was never written in {whole - written} of {whole} chunks, for which HDF5 gives"
            f" {fill}; write them, or a table without these rows."
        )


def _files_of_pieces(dataset: h5py.Dataset, name: str, path: Path) -> set[Path]:
    """Files that hold the pieces of a virtual dataset, if all are there and cover it."""
    home = Path(dataset.file.filename)
    files, covered = {home}, 0
    for piece in dataset.virtual_sources():
        if "%" in piece.file_name + piece.dset_name or _is_endless(piece.vspace):
            raise BorderError(
                f"column {name} of {path} is a virtual dataset over a series of pieces without end"
                f" ({piece.file_name}), whose gaps HDF5 does not tell; copy its rows into a plain dataset."
            )
        covered += piece.vspace.get_select_npoints()
        files |= _files_of_piece(piece, home, f"{name} (its piece {piece.file_name})", path)
    if covered < dataset.size:
        raise BorderError(
            f"column {name} of {path} is a virtual dataset of {dataset.size} rows whose pieces cover {covered}; HDF5"
            " gives fill values for the others: map them, or shorten it."
        )
    return files


def _is_endless(rows: h5py.h5s.SpaceID) -> bool:
    """Whether a selection of rows grows with its source."""
    regular = rows.get_select_type() == h5py.h5s.SEL_HYPERSLABS and rows.is_regular_hyperslab()
    return regular and h5py.h5s.UNLIMITED in rows.get_regular_hyperslab()[2]


def _files_of_piece(piece: tuple, home: Path, name: str, path: Path) -> set[Path]:
    """Files that hold one piece of a virtual dataset, if it is there and as long as it should be."""
    prefix = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(home.parent))
    places = [home] if piece.file_name == "." else [
        folder / piece.file_name for folder in ([Path(prefix)] if prefix else []) + [home.parent, Path()]
    ]  # fmt: skip
    place = next((each for each in places if each.is_file()), None)
    if place is not None:
        with h5py.File(place, "r") as file:
            source = file.get(piece.dset_name)
            hyperslab = piece.src_space.get_select_type() == h5py.h5s.SEL_HYPERSLABS
            need = piece.src_space.get_select_bounds()[1][0] + 1 if hyperslab else piece.vspace.get_select_npoints()
            if isinstance(source, h5py.Dataset) and len(source) >= need:
                return _checked_files(source, name, path)
    raise BorderError(
        f"column {name} of {path} is virtual, and {piece.file_name} has no {piece.dset_name} of its rows or is missing:"
        f" HDF5 gives fill values for them; put it back beside {home}."
    )
