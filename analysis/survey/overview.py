"""What a table of galaxies holds before anything is run on it: numbers, holes, signs, and a grid that suits it."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_fill_holes, label

from analysis.params import CatalogueTable
from analysis.sky import Grid, Observation, Sums
from analysis.sky.center import cell_numbers, occupied_deg2
from analysis.survey.galaxies import Cells, Opened, center_of, galaxies_of, observed
from analysis.survey.signs import Signs, compared_signs, verdict

GALAXIES_A_PIXEL = 20.0  # so that the mean of a pixel is near to Gaussian, and few pixels are empty by chance
MARGIN = 12  # pixels around a field that nothing is observed in
MULTIPLE = 32  # of pixels, which networks halve up to five times
MOST_PIXELS = 640  # a side: the largest map whose sampling was timed
WIDEST_DEG = 10.0  # of a flat map
SAMPLED = 400_000
SHIFTED = 4.0  # standard errors of the mean shear that are worth a word


@dataclass(frozen=True, eq=False)
class Survey:
    """What a table holds.

    Parameters
    ----------
    read, kept : int
        Rows of the file, and those that pass the cuts.
    center_deg : RA and Dec of the middle of the grid
    area_deg2, density_arcmin2 : float
        Of all kept galaxies.
    smallest, largest, mean, error, sigma_e : (2,)
        Of e1 and e2, calibrated; the mean with its standard error.
    repeated : float
        Share of galaxies that lie where another does.
    wide : bool
        Whether the field is too wide for one flat map, so that the rest is of its densest patch.
    grid : Grid
        Suggested.
    on_grid : int
        Galaxies there.
    holes : int, float
        Number, and the share of the field, of unobserved places within it.
    signs : list of Signs
    verdict : Signs, str
    """

    read: int
    kept: int
    center_deg: tuple[float, float]
    area_deg2: float
    density_arcmin2: float
    smallest: np.ndarray
    largest: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    sigma_e: np.ndarray
    repeated: float
    wide: bool
    grid: Grid
    on_grid: int
    holes: tuple[int, float]
    signs: list[Signs]
    verdict: tuple[Signs, str]


def surveyed(opened: Opened, table: CatalogueTable, *, rng: np.random.Generator) -> Survey:
    """What a table holds; it is read four times, in bounded memory.

    Raises
    ------
    BorderError
        If the table is bad (`galaxies.observed`).
    """
    center = center_of(opened, table)
    read, places, step, lowest, highest = 0, np.empty((2, 0)), 1, np.full(2, np.inf), np.full(2, -np.inf)
    sums = Sums(Grid(16, 1.0, *center))
    means, cells = np.zeros(2), Cells()
    for galaxies in galaxies_of(opened, table):
        read += galaxies.read
        cells.add(galaxies, np.ones(len(galaxies.e1), bool))
        e = np.stack([galaxies.e1, galaxies.e2])
        if e.size:
            lowest, highest = np.minimum(lowest, e.min(axis=1)), np.maximum(highest, e.max(axis=1))
        means += e @ galaxies.weight
        sums.add(galaxies.ra_deg, galaxies.dec_deg, galaxies.e1, galaxies.e2, galaxies.weight)
        places = np.concatenate([places, np.stack([galaxies.ra_deg, galaxies.dec_deg])[:, ::step]], axis=1)
        while places.shape[1] > 2 * SAMPLED:
            places, step = places[:, ::2], 2 * step
    area = occupied_deg2(*places)
    density = sums.rows / (area * 3600)
    wide = _side_deg(places, center) > WIDEST_DEG
    if wide:
        center = _densest(places)
    grid = suggested_grid(places, center, density)
    observation, metrics = observed(opened, table, grid)
    mirrored, _ = observed(opened, replace(table, flip_e2=not table.flip_e2, allow_duplicates=True), grid)
    scale = np.array([metrics["sigma_e1"], metrics["sigma_e2"]]) / sums.sigma_e()
    signs = compared_signs(observation, mirrored, rng=rng)
    weight, square = sums.totals[:2]
    return Survey(
        read, sums.rows, center, area, density, lowest * scale, highest * scale, means / weight * scale,
        sums.sigma_e() * scale * np.sqrt(square) / weight, sums.sigma_e() * scale, cells.repeated(), wide, grid,
        int(observation.count.sum()), _holes(observation), signs, verdict(signs),
    )  # fmt: skip


def suggested_grid(places: np.ndarray, center: tuple[float, float], density: float) -> Grid:
    """A grid around the middle: pixels of 20 galaxies, as many as the field needs with its margin.

    pixel^2 x density = 20, rounded up to 0.01 arcmin; as many pixels as span the field (but for 0.5 % of the galaxies)
    and 12 more at every side, rounded up to a multiple of 32, from 64 to 640: beyond, pixels are larger.

    Parameters
    ----------
    places : (2, n), deg
    center : RA and Dec, deg
    density : galaxies an arcmin^2
    """
    pixel_arcmin = max(np.ceil(100 * np.sqrt(GALAXIES_A_PIXEL / density)) / 100, 0.01)
    span_arcmin = 60 * min(_side_deg(places, center), WIDEST_DEG)
    pixel_arcmin = max(pixel_arcmin, np.ceil(100 * span_arcmin / (MOST_PIXELS - 2 * MARGIN)) / 100)
    pixels = int(np.ceil((span_arcmin / pixel_arcmin + 2 * MARGIN) / MULTIPLE)) * MULTIPLE
    return Grid(int(np.clip(pixels, 2 * MULTIPLE, MOST_PIXELS)), round(float(pixel_arcmin), 2), *center)


def _side_deg(places: np.ndarray, center: tuple[float, float]) -> float:
    """Side of the square on the tangent plane that holds all but a few galaxies, deg; infinite beyond a hemisphere."""
    x, y = Grid(2, 60.0, *center).pixel_positions(*places)
    far = np.nan_to_num(np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)), nan=np.inf)
    return 2 * float(np.quantile(far, 0.995, method="higher"))


def _densest(places: np.ndarray) -> tuple[float, float]:
    """RA and Dec of the middle of the galaxies in the fullest cell of a few degrees."""
    cell = cell_numbers(*places, WIDEST_DEG / 2)
    values, counts = np.unique(cell, return_counts=True)
    inside = places[:, cell == values[np.argmax(counts)]]
    return round(float((inside[0] % 360).mean()), 3), round(float(inside[1].mean()), 3)


def _holes(observation: Observation) -> tuple[int, float]:
    """Number of unobserved places that are enclosed by the field, and the share of it that they take."""
    filled = binary_fill_holes(observation.mask)
    holes = filled & ~observation.mask
    return int(label(holes)[1]), float(holes.sum() / filled.sum())
