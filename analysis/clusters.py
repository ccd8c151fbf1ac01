"""Clusters of galaxies: the X-ray list, their places on a grid, and how maps and samples show them.

Maps are looked at in the pixel that holds a place, or in a disc around it; positions x (along columns) and y (along
rows) are 0-based, as `Grid.pixel_positions` gives them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io.registry import IORegistryError
from astropy.table import Table
from scipy.ndimage import maximum_filter

from analysis.files import BorderError, atomic
from analysis.params import FiguresParams
from analysis.sky import Grid, Observation

COLUMNS = {
    "id": (0, int, None, "number in the list"),
    "ra_deg": (1, float, u.deg, "right ascension (J2000)"),
    "dec_deg": (2, float, u.deg, "declination (J2000)"),
    "z": (6, float, None, "redshift"),
    "m500": (7, float, 1e13 * u.solMass, "mass within r500"),
    "r500_arcmin": (3, float, u.arcmin, "radius of 500 times the critical density"),
}
WIDTH = 14  # columns of the X-ray list, errors and quality flag included


def empty_clusters() -> Table:
    """The table of a field that has no list of clusters: the columns of `read_xray`, no rows."""
    return _table(np.empty((0, WIDTH)))


def read_xray(path: Path | str) -> Table:
    """The X-ray clusters of a list in the layout of Finoguenov et al. 2007, table 1.

    Returns
    -------
    Table
        `id`, `ra_deg`, `dec_deg` (deg), `z`, `m500` (1e13 solar masses), `r500_arcmin` (arcmin).

    Raises
    ------
    BorderError
        If a line is not made of the list's numbers, or holds no place on the sky.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise BorderError(f"{path}, line {number}: {error}; give numbers alone, after # comments.") from error
        if len(words) != WIDTH or not np.isfinite(rows[-1]).all() or abs(rows[-1][2]) > 90:
            raise BorderError(
                f"{path}, line {number} is not {WIDTH} finite numbers with a Dec in -90 to 90; correct the line."
            )
    return _table(np.reshape(rows, (-1, WIDTH)))


def save_clusters(path: Path | str, clusters: Table, *, cards: Mapping[str, object] | None = None) -> None:
    """Write clusters as ECSV, units and descriptions included; `cards` go into its header."""
    clusters = clusters.copy()
    clusters.meta.update(cards or {})
    with atomic(path) as temporary:
        clusters.write(temporary, format="ascii.ecsv")


def load_clusters(path: Path | str) -> Table:
    """Read clusters as written by `save_clusters`.

    Raises
    ------
    BorderError
        If the file is missing, damaged, or lacks a column.
    """
    try:
        clusters = Table.read(path, format="ascii.ecsv")
    except FileNotFoundError as error:
        raise BorderError(f"{path} does not exist; run the stage that writes it (dvc repro).") from error
    except (ValueError, TypeError, IORegistryError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(f"{path} cannot be read as ECSV ({reason}); delete it and make it again.") from error
    missing = [name for name in COLUMNS if name not in clusters.colnames]
    if missing:
        raise BorderError(
            f"{path} has no column {missing[0]!r} (columns: {', '.join(clusters.colnames)}); make it again."
        )
    return clusters


def clusters_on_grid(clusters: Table, grid: Grid, mask: np.ndarray, *, redshift_max: float = np.inf) -> Table:
    """The clusters that lie in observed pixels and below a redshift, with their positions on the grid.

    Parameters
    ----------
    clusters : Table
        With `ra_deg`, `dec_deg` (deg) and `z`.
    grid : Grid
    mask : (ny, nx)
        True where observed.
    redshift_max : float
        Clusters at or beyond it are left out.

    Returns
    -------
    Table
        Columns `x`, `y` (pixels, 0-based) added.
    """
    ra_deg, dec_deg = (np.asarray(clusters[name], float) for name in ("ra_deg", "dec_deg"))
    row, column, inside = grid.pixel_indices(ra_deg, dec_deg)
    kept = inside & mask[row, column] & (np.asarray(clusters["z"]) < redshift_max)
    placed = clusters[kept]
    placed["x"], placed["y"] = grid.pixel_positions(ra_deg[kept], dec_deg[kept])
    return placed


def massive_clusters(placed: Table, settings: FiguresParams) -> Table:
    """The clusters below a redshift and above a mass M500, those that figures mark."""
    near = np.asarray(placed["z"]) < settings.cluster_redshift_max
    return placed[near & (np.asarray(placed["m500"]) > settings.cluster_mass_min)]


def random_places(
    mask: np.ndarray, rng: np.random.Generator, shape: int | tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y of pixels drawn at random (with return) among those of `mask`."""
    y, x = np.nonzero(mask)
    drawn = rng.integers(len(x), size=shape)
    return x[drawn].astype(float), y[drawn].astype(float)


def stack_snr(
    kappa: np.ndarray, x: np.ndarray, y: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, n_random: int = 1000
) -> float:
    """Signal to noise of the mean convergence at the clusters.

    (mean at the clusters - mean at random places) / scatter of the mean of as many random places.

    Parameters
    ----------
    kappa : (ny, nx), dimensionless
    x, y : (n,), pixels
        In-mask clusters (`clusters_on_grid`).
    mask : (ny, nx)
        True where observed; random places are drawn there.
    rng : Generator
    n_random : int
        Number of random stacks.

    Raises
    ------
    ValueError
        If there are no clusters.
    """
    if len(x) == 0:
        raise ValueError("stack_snr needs at least one cluster; choose a field or a redshift limit that has some")
    stacks = _at(kappa, *random_places(mask, rng, (n_random, len(x)))).mean(axis=-1)
    return float((_at(kappa, x, y).mean() - stacks.mean()) / stacks.std(ddof=1))


def aperture_mass(kappa: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Aperture mass around a place: convergence under a compensated filter.

    M = sum kappa U,  U(t) = 9 / (pi R^2) (1 - t^2) (1/3 - t^2),  t = r/R < 1, made to sum to zero exactly.

    Parameters
    ----------
    kappa : (..., ny, nx), dimensionless
    x, y : float, pixels
    radius : float, pixels
        Outer radius R of the filter. Near an edge the filter is cut and compensated in what remains.

    Returns
    -------
    (...), dimensionless
        A disc of convergence 1 and radius a R gives 3 a^2 (1 - a^2)^2.

    Source: Schneider et al. 1998, MNRAS 296, 873, eq. 3.12 with l = 1.
    """
    rows, columns, distance = _disc(kappa.shape[-2:], x, y, radius)
    t_squared = (distance / radius) ** 2
    filter_ = 9 / (np.pi * radius**2) * (1 - t_squared) * (1 / 3 - t_squared)
    return kappa[..., rows, columns] @ (filter_ - filter_.mean())


def peak_height(samples: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Height of the highest peak within `radius` pixels of a place; -inf without a peak.

    A peak is a pixel that none of its eight neighbours exceeds.

    Parameters
    ----------
    samples : (..., ny, nx), dimensionless
    x, y, radius : float, pixels

    Returns
    -------
    (...), dimensionless
    """
    rows, columns, _ = _disc(samples.shape[-2:], x, y, radius + np.sqrt(2))
    window = samples[..., rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    highest = maximum_filter(window, size=3, axes=(-2, -1), mode="constant", cval=-np.inf)
    rows_near, columns_near, _ = _disc(samples.shape[-2:], x, y, radius)
    near = (..., rows_near - rows.min(), columns_near - columns.min())
    return np.where(window[near] == highest[near], window[near], -np.inf).max(axis=-1)


def presence(samples: np.ndarray, x: np.ndarray, y: np.ndarray, *, radius: float, threshold: float) -> np.ndarray:
    """Fraction of samples that show a cluster at each place: a peak above `threshold` within `radius`.

    The same at `random_places` is the rate at which chance does so.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    x, y : (n_places,), pixels
    radius : float, pixels
    threshold : float, dimensionless

    Returns
    -------
    (n_places,), 0 to 1
    """
    heights = [peak_height(samples, *place, radius) for place in zip(x, y, strict=True)]
    return np.array([np.mean(height > threshold) for height in heights])


def showcase(
    samples: np.ndarray, placed: Table, observation: Observation, settings: FiguresParams, *, rng: np.random.Generator
) -> dict:
    """The most massive cluster of a field, and how often samples show it; without clusters, the mean's highest peak.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    placed : clusters with `x`, `y`, `z` and `m500`, perhaps none
    observation : of the field
    settings : radius and threshold of a peak that shows a cluster

    Returns
    -------
    dict
        `x`, `y` (pixels), `name`, `threshold`, `present` (share of samples with a peak there) and `chance` (the same
        at 200 random places of the mask).
    """
    mask, threshold = observation.mask, settings.peak_threshold
    radius = settings.peak_radius_arcmin / observation.grid.pixel_arcmin
    if len(placed):
        chosen = placed[int(np.argmax(placed["m500"]))]
        x, y, name = float(chosen["x"]), float(chosen["y"]), f"the X-ray cluster at z = {chosen['z']:.2f}"
    else:
        y, x = np.unravel_index(np.argmax(np.where(mask, samples.mean(axis=0), -np.inf)), mask.shape)
        name = "the highest peak of the mean"
    places = random_places(mask, rng, 200)
    present, chance = (presence(samples, *at, radius=radius, threshold=threshold).mean() for at in (([x], [y]), places))
    return {"x": float(x), "y": float(y), "name": name, "threshold": threshold, "present": present, "chance": chance}


def _table(rows: np.ndarray) -> Table:
    """Table of the columns that are kept of the X-ray list."""
    clusters = Table()
    for name, (column, kind, unit, description) in COLUMNS.items():
        clusters[name] = rows[:, column].astype(kind)
        clusters[name].unit = unit
        clusters[name].description = description
    return clusters


def _at(kappa: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of the pixels that hold the places."""
    return kappa[np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)]


def _disc(shape: tuple[int, int], x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and distances of the pixels whose centres lie within `radius` of a place (at least its own)."""
    rows, columns = np.indices(shape)
    distance = np.hypot(columns - x, rows - y)
    return (*(near := np.nonzero(distance <= max(radius, np.sqrt(0.5)))), distance[near])
