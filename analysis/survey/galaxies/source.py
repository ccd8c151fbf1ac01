"""Where the table of a field lies, and the table opened, whatever its format."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from analysis.core.download import CACHE, download, verified
from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params import CatalogueTable
from analysis.survey.galaxies.fits_table import open_fits
from analysis.survey.galaxies.hdf5_table import open_hdf5
from analysis.survey.galaxies.opened import Opened, check_plain, with_masks
from analysis.survey.galaxies.parquet_table import open_parquet
from analysis.survey.galaxies.rows import needed_columns
from analysis.survey.galaxies.text_table import open_csv, open_ecsv


def located(table: CatalogueTable, *, cache: Path = CACHE / "tables") -> Path:
    """Path of a table: of an address its verified download, else the first of what `path` may mean.

    An absolute path, one below DATA_MIRROR (a folder or an address), or one below the project. Where the params give a
    SHA-256, the file must have it.

    Raises
    ------
    SourceUnavailable
        If an address does not answer.
    BorderError
        If the file is nowhere, or another than the digest says.
    """
    mirror = os.environ.get("DATA_MIRROR", "").rstrip("/")
    remote = _is_address(mirror) and table.sha256 is not None and not Path(table.path).is_absolute()
    places = (
        [ROOT / table.path] if _is_address(mirror) or not mirror else [ROOT / mirror / table.path, ROOT / table.path]
    )
    if not _is_address(table.path):
        for place in places:
            if place.is_file():
                return place if table.sha256 is None else verified(place, table.sha256)
        if not remote:
            looked = " or ".join(str(place) for place in dict.fromkeys(places))
            raise BorderError(f"the catalogue {table.path} is not at {looked}; correct `path`, or set DATA_MIRROR.")
    address = table.path if _is_address(table.path) else f"{mirror}/{table.path}"
    copy = cache / table.sha256[:16] / (Path(urlsplit(address).path).name or "table")
    return download(address, copy, digest=table.sha256)


def open_table(path: Path, table: CatalogueTable, *, suits: Callable[[Sequence[str]], bool] | None = None) -> Opened:
    """A table open for reading, by its format.

    Parameters
    ----------
    path : Path
    table : CatalogueTable
    suits : function of column names, or None
        Whether a table with these columns can be meant, where a file has several; None for all that `table` names.

    Raises
    ------
    BorderError
        If the file is not one of that format, damaged, compressed, or has no such HDU or key.
    """
    check_plain(path, table.kind)
    if table.kind == "fits":
        wanted = set(needed_columns(table))
        opened = open_fits(path, hdu=table.hdu, suits=suits or wanted.issubset)
    elif table.kind == "hdf5":
        opened = open_hdf5(path, key=table.key)
    else:
        opened = {"parquet": open_parquet, "csv": open_csv, "ecsv": open_ecsv}[table.kind](path)
    return with_masks(opened)


def _is_address(text: str) -> bool:
    return urlsplit(text).scheme in ("http", "https")
