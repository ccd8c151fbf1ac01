"""Fields of the sky: from their source (a table of galaxies, or images of shear) to an observation on the grid.

If no source answers, the observations that were released with the code take its place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.download import SourceUnavailable
from analysis.core.files import BorderError, read_json, write_metrics
from analysis.params import CatalogueTable, FieldParams, TableColumns
from analysis.sky import Grid, Observation, load_observation, load_truth, save_observation
from analysis.survey.clusters import empty_clusters, load_clusters, read_xray, save_clusters
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.gridded import load_gridded
from analysis.survey.table_formats import open_column_files, open_table
from analysis.survey.tables import OpenTable, table_path

DEFINITIONS = {
    "rows": "galaxies taken from the catalogue",
    "n_pixels": "observed pixels: at least one galaxy of positive weight",
    "area_deg2": "observed pixels times the area of a pixel",
    "density_arcmin2": "galaxies on the grid over the observed area",
    "sigma_e1": "shape noise of e1: sqrt(sum(w^2 e^2) / sum(w^2)) over the field's galaxies",
    "sigma_e2": "shape noise of e2, likewise",
    "n_eff": "effective number of galaxies: sum(w)^2 / sum(w^2)",
    "chi2_per_pixel": "mean of weight * gamma^2 over observed pixels and both components; 1 for noise alone",
}


@dataclass(frozen=True, eq=False)
class Field:
    """A field on the grid.

    Parameters
    ----------
    observation : its shear
    clusters : X-ray clusters (`clusters.read_xray`); no rows if the field has no list
    metrics : numbers that describe the field, with the keys of `DEFINITIONS`
    truth : (ny, nx), true convergence of a mock, or None
    source : where the data come from
    """

    observation: Observation
    clusters: Table
    metrics: dict[str, float]
    truth: np.ndarray | None
    source: str


def centered(field: FieldParams) -> FieldParams:
    """The field with its centre; if its entry gives none, the middle of its galaxies.

    Raises
    ------
    BorderError
        If its table is bad, or has no middle.
    """
    if field.center_deg is not None:
        return field
    table = open_table(table_path(field.catalogue), field.catalogue)
    return replace(field, center_deg=list(center_of_table(table, field.catalogue, rows=field.rows)))


def observe(field: FieldParams, grid: Grid, fetch: Callable[[str], Path]) -> Field:
    """Read a field from its source, and put it on the grid.

    Parameters
    ----------
    fetch : function of a name, path of a verified file (`download.fetch`)

    Raises
    ------
    BorderError
        If a file is missing or bad; `SourceUnavailable` if no source answers.
    """
    clusters = read_xray(fetch(field.clusters)) if field.clusters else empty_clusters()
    if field.gridded:
        (observation, truth), metrics = load_gridded(field, fetch, grid), {}
    else:
        truth = None
        table, entry = open_catalogue(field, fetch)
        try:
            observation, metrics = shear_from_table(table, entry, grid, title=field.title, rows=field.rows)
        except BorderError as error:
            if entry is field.catalogue:
                raise
            raise BorderError(
                f"{error} (To set `cuts`, `units` or others, write the columns into one table.)"
            ) from error
    return Field(observation, clusters, metrics | observation_metrics(observation), truth, field.title)


def open_catalogue(field: FieldParams, fetch: Callable[[str], Path]) -> tuple[OpenTable, CatalogueTable]:
    """The catalogue of a field as an open table, and the entry that describes it.

    A catalogue of one FITS file a column becomes a table whose columns have the names of the files.

    Raises
    ------
    BorderError
        If a file is missing or bad; `SourceUnavailable` if no source answers.
    """
    entry = field.catalogue
    if isinstance(entry, CatalogueTable):
        return open_table(table_path(entry), entry), entry
    files = (entry.ra, entry.dec, entry.e1, entry.e2, entry.weight)
    table = open_column_files({file: fetch(file) for file in files}, field.title)
    return table, CatalogueTable(entry.ra, TableColumns(*files), format="fits")


def observe_or_released(
    name: str, field: FieldParams, grid: Grid, *, fetch: Callable[[str], Path], released: Path
) -> Field:
    """A field on the grid, from its source or, if no source answers, as released on the same grid.

    Parameters
    ----------
    name : of the field in `params.yaml`
    fetch : function of a name, path of a verified file (`download.fetch`)
    released : folder of profiles, each a folder with files of `save_field`

    Raises
    ------
    BorderError
        If there is neither; the message names the remedies.
    """
    try:
        return observe(field, grid, fetch)
    except SourceUnavailable as error:
        for path in sorted(released.glob(f"*/{name}.fits")):
            found = load_field(path.parent, name, field)
            if found.observation.grid == grid:
                return found
        size = f"{grid.pixels}x{grid.pixels} pixels of {grid.pixel_arcmin} arcmin ({grid.projection})"
        raise BorderError(f"{name} on {size} is not among the released observations, and {error}") from error


def save_field(folder: Path, name: str, field: Field, *, cards: Mapping[str, object]) -> None:
    """Write `<name>.fits`, `<name>_clusters.ecsv` and `<name>_metrics.json` into a folder.

    Parameters
    ----------
    name : of the field in `params.yaml`
    cards : PROFILE, SOURCE, SEED and CODEHASH, for the FITS file
    """
    definition = {key: DEFINITIONS[key] for key in field.metrics}
    save_observation(folder / f"{name}.fits", field.observation, cards=cards, truth=field.truth)
    save_clusters(folder / f"{name}_clusters.ecsv", field.clusters)
    write_metrics(folder / f"{name}_metrics.json", {**field.metrics, "definition": definition})


def load_field(folder: Path, name: str, field: FieldParams) -> Field:
    """Read a field as written by `save_field`.

    Raises
    ------
    BorderError
        If a file is missing or damaged.
    """
    path = folder / f"{name}.fits"
    metrics = {key: value for key, value in read_json(folder / f"{name}_metrics.json").items() if key in DEFINITIONS}
    clusters = load_clusters(folder / f"{name}_clusters.ecsv")
    truth = load_truth(path) if field.gridded and field.gridded.truth else None
    return Field(load_observation(path), clusters, metrics, truth, f"{field.title}, as released in {folder.name}")


def observation_metrics(observation: Observation) -> dict[str, float]:
    """Numbers that describe an observed field: pixels, area, density, and chi^2 of the shear relative to zero."""
    seen = observation.mask
    area_arcmin2 = seen.sum() * observation.grid.pixel_arcmin**2
    square = (observation.weight * observation.gamma**2)[:, seen]
    return {
        "n_pixels": int(seen.sum()),
        "area_deg2": float(area_arcmin2 / 3600),
        "density_arcmin2": float(observation.count.sum() / area_arcmin2),
        "chi2_per_pixel": float(square.mean()),
    }
