"""Lists of clusters and of other places on the sky, their positions on a grid, and how maps and samples show clusters.

Positions x (along columns) and y (along rows) are 0-based, as `Grid.pixel_positions` gives them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io.registry import IORegistryError
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.core.tables import save_table
from analysis.flatsky.peaks import aperture_mass, aperture_noise, presence
from analysis.params import ClustersParams, FiguresParams
from analysis.sky import Grid, Observation, pixels_at

COLUMNS = {
    "id": (0, int, None, "number in the list"),
    "ra_deg": (1, float, u.deg, "right ascension (J2000)"),
    "dec_deg": (2, float, u.deg, "declination (J2000)"),
    "z": (6, float, None, "redshift"),
    "m500": (7, float, 1e13 * u.solMass, "mass within r500"),
    "r500_arcmin": (3, float, u.arcmin, "radius of 500 times the critical density"),
}
WIDTH = 14  # columns of the X-ray list, including errors and quality flag
PLACE_COLUMNS = {"ra_deg": ("ra_deg", "ra"), "dec_deg": ("dec_deg", "dec")}  # accepted names, in any case of letters


def empty_clusters() -> Table:
    """A table with the columns of `read_xray` and no rows, for fields without a list of clusters."""
    return _table(np.empty((0, WIDTH)))


def read_xray(path: Path | str) -> Table:
    """X-ray clusters, from a text file in the layout of Finoguenov et al. 2007, table 1.

    Returns
    -------
    Table
        `id`, `ra_deg`, `dec_deg` (deg), `z`, `m500` (1e13 solar masses), `r500_arcmin` (arcmin).

    Raises
    ------
    BorderError
        If a line is not 14 numbers, or has no position on the sky.
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
            raise BorderError(
                f"{path}, line {number}: {error}; give numbers only, or begin the line with #."
            ) from error
        if len(words) != WIDTH or not np.isfinite(rows[-1]).all() or abs(rows[-1][2]) > 90:
            raise BorderError(
                f"{path}, line {number} is not {WIDTH} finite numbers with a Dec in -90 to 90; correct the line."
            )
    return _table(np.reshape(rows, (-1, WIDTH)))


def save_clusters(path: Path | str, clusters: Table, *, cards: Mapping[str, object] | None = None) -> None:
    """Write clusters as ECSV, units and descriptions included; `cards` go into its header."""
    clusters = clusters.copy()
    clusters.meta.update(cards or {})
    save_table(clusters, path)


def load_clusters(path: Path | str) -> Table:
    """Read clusters as written by `save_clusters`.

    Raises
    ------
    BorderError
        If the file is missing, damaged, or lacks a column.
    """
    clusters = _read(
        path, {"format": "ascii.ecsv"}, absent="run the stage that writes it (dvc repro)", kind="ECSV",
        remedy="delete it and make it again",
    )  # fmt: skip
    missing = [name for name in COLUMNS if name not in clusters.colnames]
    if missing:
        raise BorderError(
            f"{path} has no column {missing[0]!r} (columns: {', '.join(clusters.colnames)}); make it again."
        )
    return clusters


def read_places(path: str | Path) -> Table:
    """Places on the sky, from an ECSV or CSV file with columns `ra` and `dec` (or `ra_deg`, `dec_deg`).

    Columns are in degrees, unless ECSV states another unit of angle.

    Returns
    -------
    Table
        `ra_deg`, `dec_deg` (deg)

    Raises
    ------
    BorderError
        If the file is missing, is not such a table, lacks a column, or a row has no position on the sky.
    """
    form = {"format": "ascii.ecsv"} if Path(path).suffix == ".ecsv" else {"format": "ascii.csv", "comment": "#"}
    absent = "give nulls.positions a list that does, or take it out"
    table = _read(path, form, absent=absent, kind="a table of numbers", remedy="give ECSV or CSV")
    columns, found = {name.lower(): table[name] for name in table.colnames}, Table()
    for name, known in PLACE_COLUMNS.items():
        column = next((columns[each] for each in known if each in columns), None)
        if column is None:
            have = ", ".join(table.colnames)
            raise BorderError(f"{path} has no column {' or '.join(known)} (columns: {have}); name them ra and dec.")
        try:
            values = np.ma.filled(np.ma.asarray(column, float), np.nan)
            found[name] = u.Quantity(values, column.unit or u.deg).to_value(u.deg)
        except (ValueError, TypeError) as error:
            raise BorderError(f"{path} cannot be read ({error}); give {known[1]} as numbers, in degrees.") from error
    bad = ~(np.isfinite(found["ra_deg"]) & (np.abs(found["dec_deg"]) <= 90))
    if len(found) == 0 or bad.any():
        what = f"no place in row {np.flatnonzero(bad)[0]}" if bad.any() else "no rows"
        raise BorderError(f"{path} has {what} (of {len(found)}); give finite RA and Dec in degrees.")
    return found


def clusters_on_grid(clusters: Table, grid: Grid, mask: np.ndarray, *, redshift_max: float = np.inf) -> Table:
    """The clusters that lie in observed pixels and below a redshift, with their positions on the grid.

    Parameters
    ----------
    clusters : with `ra_deg`, `dec_deg` (deg) and `z`
    mask : (ny, nx), True where observed

    Returns
    -------
    Table
        With the columns `x`, `y` (pixels, 0-based) added.
    """
    ra_deg, dec_deg = (np.asarray(clusters[name], float) for name in ("ra_deg", "dec_deg"))
    row, column, inside = grid.pixel_indices(ra_deg, dec_deg)
    kept = inside & mask[row, column] & (np.asarray(clusters["z"]) < redshift_max)
    placed = clusters[kept]
    placed["x"], placed["y"] = grid.pixel_positions(ra_deg[kept], dec_deg[kept])
    return placed


def massive_clusters(placed: Table, settings: FiguresParams) -> Table:
    """The clusters that figures mark: below a redshift and above a mass M500."""
    near = np.asarray(placed["z"]) < settings.cluster_redshift_max
    return placed[near & (np.asarray(placed["m500"]) > settings.cluster_mass_min)]


def random_places(
    mask: np.ndarray, rng: np.random.Generator, shape: int | tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y of pixels of `mask`, drawn at random with replacement."""
    y, x = np.nonzero(mask)
    drawn = rng.integers(len(x), size=shape)
    return x[drawn].astype(float), y[drawn].astype(float)


def stack_snr(
    kappa: np.ndarray, x: np.ndarray, y: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, n_random: int = 1000
) -> float:
    """Signal to noise of the mean convergence at the clusters.

    (mean at the clusters - mean at random places) / standard deviation of the mean at sets of as many random places.

    Parameters
    ----------
    kappa : (ny, nx), dimensionless
    x, y : (n,), pixels, clusters in the mask (`clusters_on_grid`)
    mask : (ny, nx), True where observed; random places are drawn there
    n_random : number of sets of random places

    Raises
    ------
    ValueError
        If there are no clusters.
    """
    if len(x) == 0:
        raise ValueError("stack_snr needs at least one cluster; choose a field or a redshift limit that has some")
    stacks = _at(kappa, *random_places(mask, rng, (n_random, len(x)))).mean(axis=-1)
    return float((_at(kappa, x, y).mean() - stacks.mean()) / stacks.std(ddof=1))


def showcase(
    samples: np.ndarray, placed: Table, observation: Observation, settings: ClustersParams, *, rng: np.random.Generator
) -> dict:
    """The most massive cluster of a field (without clusters, the highest peak of the mean), and how samples show it.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    placed : clusters with `x`, `y`, `z` and `m500`; may be empty
    observation : of the field
    settings : radius and threshold of a peak that counts as the cluster, and the aperture

    Returns
    -------
    dict
        `x`, `y` (pixels), `name`, `threshold`, `present` (share of samples with a peak there), `chance` (the same at
        random places of the mask) and `mass` (n,), the aperture mass of each sample there.
    """
    mask, threshold, pixel_arcmin = observation.mask, settings.threshold, observation.grid.pixel_arcmin
    radius = settings.radius_arcmin / pixel_arcmin
    if len(placed):
        chosen = placed[int(np.argmax(placed["m500"]))]
        x, y, name = float(chosen["x"]), float(chosen["y"]), f"the X-ray cluster at z = {chosen['z']:.2f}"
    else:
        y, x = np.unravel_index(np.argmax(np.where(mask, samples.mean(axis=0), -np.inf)), mask.shape)
        name = "the highest peak of the mean"
    places = random_places(mask, rng, settings.random_places)
    present, chance = (presence(samples, *at, radius=radius, threshold=threshold).mean() for at in (([x], [y]), places))
    mass = aperture_mass(samples, x, y, settings.aperture_arcmin / pixel_arcmin)
    place = {"x": float(x), "y": float(y), "name": name, "threshold": threshold}
    return place | {"present": present, "chance": chance, "mass": mass}


def cluster_evidence(
    placed: Table,
    samples: np.ndarray,
    observation: Observation,
    kaiser_squires: np.ndarray,
    settings: ClustersParams,
    *,
    control: np.ndarray | None = None,
    rng: np.random.Generator,
) -> Table:
    """How samples show each cluster of a list, compared with random places and with B-modes.

    Parameters
    ----------
    placed : clusters in observed pixels, with positions `x`, `y` and `r500_arcmin`
    samples : (n, ny, nx), dimensionless
    observation : of the field
    kaiser_squires : (ny, nx), its map without smoothing
    settings : threshold of a peak, smallest radius, aperture, number of random places
    control : (m, ny, nx), samples of the same field with its shears turned by 45 degrees, or None

    Returns
    -------
    Table
        The columns of `placed` and, for each cluster, `probability`, the share of samples with a peak above the
        threshold within r500 (or within the smallest radius, if that is larger), and `probability_err`, its binomial
        error; `chance`, the mean of the same at random places; `p_value`, the share of random places where it is as
        high; `bmode`, the same as `probability` in the control, NaN without a control; `mass` and `mass_std` of the
        aperture mass over the samples; `snr`, aperture mass of the Kaiser-Squires map over the noise of the shear.
    """
    pixel_arcmin, n = observation.grid.pixel_arcmin, len(samples)
    x, y = (np.asarray(placed[name], float) for name in ("x", "y"))
    radius = np.maximum(np.asarray(placed["r500_arcmin"], float), settings.radius_arcmin) / pixel_arcmin
    aperture = settings.aperture_arcmin / pixel_arcmin
    found, at = Table(placed, copy=True), {"threshold": settings.threshold}
    shown = presence(samples, x, y, radius=radius, **at)
    places = random_places(observation.mask, rng, settings.random_places)
    by_radius = {r: presence(samples, *places, radius=r, **at) for r in np.unique(radius)}
    chance = np.array([by_radius[r] for r in radius]).reshape(len(placed), settings.random_places)
    masses = np.array([aperture_mass(samples, *place, aperture) for place in zip(x, y, strict=True)]).reshape(-1, n)
    signal = [
        aperture_mass(kaiser_squires, *place, aperture) / aperture_noise(observation.weight, *place, aperture)
        for place in zip(x, y, strict=True)
    ]
    found["probability"], found["probability_err"] = shown, np.sqrt(shown * (1 - shown) / n)
    found["chance"], found["p_value"] = chance.mean(axis=1), np.mean(chance >= shown[:, None], axis=1)
    found["bmode"] = presence(control, x, y, radius=radius, **at) if control is not None else np.full(len(x), np.nan)
    found["mass"], found["mass_std"] = masses.mean(axis=1), masses.std(axis=1, ddof=1)
    found["snr"] = np.array(signal, float)
    return found


def _read(path: str | Path, form: Mapping[str, str], *, absent: str, kind: str, remedy: str) -> Table:
    """A text table, or a `BorderError` that ends in the remedy `absent` (no such file) or `remedy` (unreadable)."""
    try:
        return Table.read(Path(path).read_text(encoding="utf-8").splitlines(), guess=False, **form)
    except FileNotFoundError as error:
        raise BorderError(f"{path} does not exist; {absent}.") from error
    except (ValueError, TypeError, IndexError, IORegistryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BorderError(f"{path} cannot be read as {kind} ({reason}); {remedy}.") from error


def _table(rows: np.ndarray) -> Table:
    """The columns of the X-ray list that are kept, as a table."""
    clusters = Table()
    for name, (column, kind, unit, description) in COLUMNS.items():
        clusters[name] = rows[:, column].astype(kind)
        clusters[name].unit = unit
        clusters[name].description = description
    return clusters


def _at(kappa: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of the pixels that hold the places."""
    row, column = pixels_at(x, y)
    return kappa[row.astype(int), column.astype(int)]
