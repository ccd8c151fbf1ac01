"""Fields of the sky: from a galaxy catalogue, or shear that is on the grid already, to an observation.

A field is taken from its source; where none answers, from the observations released with the code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.download import SourceUnavailable
from analysis.core.files import BorderError, read_json, write_metrics
from analysis.params import CatalogueTable, FieldParams
from analysis.sky import (
    Grid,
    Observation,
    bin_catalogue,
    load_observation,
    load_truth,
    read_image,
    save_observation,
    shape_noise,
)
from analysis.survey.clusters import empty_clusters, load_clusters, read_xray, save_clusters
from analysis.survey.galaxies import center_of, located, observed, open_table
from analysis.survey.gridded import load_gridded

COLUMNS = ("ra", "dec", "e1", "e2", "weight")
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
    """All that is known of a field.

    Parameters
    ----------
    observation : Observation
    clusters : Table
        X-ray clusters (`clusters.read_xray`); no rows where the field has no list.
    metrics : dict
        Numbers that describe the field, each of `DEFINITIONS`.
    truth : (ny, nx) or None
        True convergence of a mock.
    source : str
        Where it comes from.
    """

    observation: Observation
    clusters: Table
    metrics: dict[str, float]
    truth: np.ndarray | None
    source: str


def centered(field: FieldParams) -> FieldParams:
    """The field with its centre: amid its galaxies, where the entry leaves it open.

    Raises
    ------
    BorderError
        If its table is bad, or has no middle.
    """
    if field.center_deg is not None:
        return field
    opened = open_table(located(field.catalogue), field.catalogue)
    return replace(field, center_deg=list(center_of(opened, field.catalogue, rows=field.rows)))


def observe(field: FieldParams, grid: Grid, fetch: Callable[[str], Path]) -> Field:
    """A field on the grid, from its source.

    Parameters
    ----------
    field : FieldParams
    grid : Grid
    fetch : function of a name
        Path of a verified file (`download.fetch`).

    Raises
    ------
    BorderError
        If a file is missing or bad; `SourceUnavailable` where no source answers.
    """
    clusters = read_xray(fetch(field.clusters)) if field.clusters else empty_clusters()
    if field.gridded:
        observation, truth = load_gridded(field, fetch, grid)
        return Field(observation, clusters, observation_metrics(observation), truth, field.title)
    if isinstance(field.catalogue, CatalogueTable):
        opened = open_table(located(field.catalogue), field.catalogue)
        observation, metrics = observed(opened, field.catalogue, grid, title=field.title, rows=field.rows)
        return Field(observation, clusters, metrics | observation_metrics(observation), None, field.title)
    columns = load_catalogue(field, fetch)
    observation = bin_catalogue(**columns, grid=grid, title=field.title)
    metrics = catalogue_metrics(columns) | observation_metrics(observation)
    return Field(observation, clusters, metrics, None, field.title)


def observe_or_released(
    name: str, field: FieldParams, grid: Grid, *, fetch: Callable[[str], Path], released: Path
) -> Field:
    """A field on the grid, from its source or, where none answers, as released on the same grid.

    Parameters
    ----------
    name : str
        Name of the field in `params.yaml`.
    field : FieldParams
    grid : Grid
    fetch : function of a name
        Path of a verified file (`download.fetch`).
    released : Path
        Folder with one folder a profile, each with files as written by `save_field`.

    Raises
    ------
    BorderError
        If neither is to be had; the message names the ways out.
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
    folder : Path
    name : str
        Name of the field in `params.yaml`.
    field : Field
    cards : mapping
        PROFILE, SOURCE, SEED and CODEHASH of the FITS file.
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


def load_catalogue(field: FieldParams, fetch: Callable[[str], Path]) -> dict[str, np.ndarray]:
    """Columns of a field's catalogue, checked.

    Parameters
    ----------
    field : FieldParams
        Its `catalogue` names a file a column, its `rows` how many rows from the top are taken.
    fetch : function of a name
        Path of a verified file (`download.fetch`).

    Returns
    -------
    dict
        `ra_deg`, `dec_deg` (deg), `e1`, `e2`, `weight` (dimensionless), float64, (n_gal,): what `bin_catalogue` takes.

    Raises
    ------
    BorderError
        If a column is missing, unreadable, of another length, not finite, or out of range.
    """
    files = {column: getattr(field.catalogue, column) for column in COLUMNS}
    read = {column: read_image(fetch(file))[0].astype(np.float64) for column, file in files.items()}
    rows = len(read["ra"]) if field.rows is None else field.rows
    for column, values in read.items():
        _check_column(values, read["ra"].shape, rows, f"column {column} ({files[column]})")
    if (read["weight"][:rows] < 0).any() or not read["weight"][:rows].any():
        raise BorderError(f"column weight ({files['weight']}) must be at least 0 and not all 0; correct its values.")
    for column in ("e1", "e2"):
        if not read[column][:rows].any():
            raise BorderError(f"column {column} ({files[column]}) is 0 in every row; give measured ellipticities.")
    if (np.abs(read["dec"][:rows]) > 90).any():
        raise BorderError(f"column dec ({files['dec']}) leaves -90 to 90 deg; give declinations in degrees.")
    names = {"ra": "ra_deg", "dec": "dec_deg"}
    return {names.get(column, column): values[:rows] for column, values in read.items()}


def _check_column(values: np.ndarray, shape: tuple[int, ...], rows: int, what: str) -> None:
    """Raise where a column is not one number for each galaxy."""
    if values.ndim != 1 or values.shape != shape:
        raise BorderError(f"{what} has shape {values.shape}, ra has {shape}; give columns of one length.")
    if len(values) < rows:
        raise BorderError(f"{what} has {len(values)} rows, the field asks for {rows}; lower its `rows` in params.yaml.")
    bad = np.flatnonzero(~np.isfinite(values[:rows]))
    if bad.size:
        raise BorderError(
            f"{what} is {values[bad[0]]} in row {bad[0]} (and {bad.size - 1} more); remove rows that are not finite."
        )


def observation_metrics(observation: Observation) -> dict[str, float]:
    """Numbers that describe an observed field: pixels, area, density, chi^2 of zero shear."""
    seen = observation.mask
    area_arcmin2 = seen.sum() * observation.grid.pixel_arcmin**2
    square = (observation.weight * observation.gamma**2)[:, seen]
    return {
        "n_pixels": int(seen.sum()),
        "area_deg2": float(area_arcmin2 / 3600),
        "density_arcmin2": float(observation.count.sum() / area_arcmin2),
        "chi2_per_pixel": float(square.mean()),
    }


def catalogue_metrics(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers that describe a catalogue: rows, shape noise, effective number of galaxies."""
    weight = columns["weight"]
    sigma_e1, sigma_e2 = shape_noise(columns["e1"], columns["e2"], weight)
    return {
        "rows": len(weight),
        "sigma_e1": float(sigma_e1),
        "sigma_e2": float(sigma_e2),
        "n_eff": float(weight.sum() ** 2 / (weight**2).sum()),
    }
