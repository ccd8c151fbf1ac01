"""Galaxies of a table added up in bounded memory: where they lie, and what is observed of them on a grid."""

from dataclasses import dataclass, field

import numpy as np

from analysis.core.files import BorderError
from analysis.params import CatalogueTable
from analysis.sky.center import cell_numbers, robust_center
from analysis.sky.grid import Grid
from analysis.sky.observation import Observation
from analysis.sky.sums import Sums
from analysis.survey.galaxies.opened import Opened
from analysis.survey.galaxies.rows import Galaxies, galaxies_of

DENSEST = 1000.0  # galaxies an arcmin^2: more than any telescope sees
FAINTEST = 1e-6  # rms of an ellipticity
FEWEST = 10  # galaxies on the grid that may be called a field
RESPONSES = (0.05, 5.0)  # that a mean response lies between
LARGEST_BIAS = 0.5  # that a mean multiplicative bias of galaxies is below, of either sign
SAMPLED = 200_000  # galaxies, at the least, of which the middle is taken
SAME_ARCSEC = 0.3  # side of the cells that hold one galaxy: surveys tell no two apart that are nearer
MOST_REPEATED = 0.05  # of galaxies that share a cell: by chance, a few in a hundred where 1000 lie in an arcmin^2
MOST_CELLS = 1_000_000  # that are kept
DIFFERENT = (
    "set `allow_duplicates: true` of the catalogue (`--allow-duplicates` of `check`) if they are different galaxies"
)
HASH = np.uint64(0x9E3779B97F4A7C15)  # of 2^64 / golden ratio (Knuth's multiplicative hash)


@dataclass(eq=False)
class Cells:
    """Small cells of the sky by number, each as often as it holds a galaxy; it changes, by `add`.

    Of many cells those with the smallest numbers are kept, which is a fair sample, since numbers are mixed.
    """

    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    largest: int = 2**64 - 1

    def add(self, galaxies: Galaxies, chosen: np.ndarray) -> None:
        """Add the galaxies `chosen` (n, bool) whose weight is positive."""
        chosen = chosen & (galaxies.weight > 0)
        cells = cell_numbers(galaxies.ra_deg[chosen], galaxies.dec_deg[chosen], SAME_ARCSEC / 3600)
        mixed = cells.view(np.uint64) * HASH
        self.numbers = np.concatenate([self.numbers, mixed[mixed <= np.uint64(self.largest)]])
        while len(self.numbers) > MOST_CELLS and self.largest:
            self.largest //= 2
            self.numbers = self.numbers[self.numbers <= np.uint64(self.largest)]

    def repeated(self) -> float:
        """Share of galaxies that are not alone in their cell."""
        counts = np.unique(self.numbers, return_counts=True)[1]
        return float(counts[counts > 1].sum() / max(counts.sum(), 1))


def center_of(opened: Opened, table: CatalogueTable, *, rows: int | None = None) -> tuple[float, float]:
    """RA and Dec (deg) amid the galaxies of a table, to a microdegree.

    Raises
    ------
    BorderError
        If they are all over the sky, or the table is bad (`rows.galaxies_of`).
    """
    places = np.empty((2, 0))
    step = 1
    for galaxies in galaxies_of(opened, table, rows=rows):
        places = np.concatenate([places, np.stack([galaxies.ra_deg, galaxies.dec_deg])[:, ::step]], axis=1)
        while places.shape[1] > 2 * SAMPLED:
            places, step = places[:, ::2], 2 * step
    center = robust_center(*places)
    if center is None:
        raise BorderError(
            f"the galaxies of {opened.path} are spread over most of the sky and have no middle; give `center_deg` of"
            " the field, or check `units`."
        )
    return round(center[0], 6), round(center[1], 6)


def observed(
    opened: Opened, table: CatalogueTable, grid: Grid, *, title: str = "", rows: int | None = None
) -> tuple[Observation, dict[str, float]]:
    """What a table shows on a grid, and numbers that describe its galaxies.

    gamma = sum(w e) / sum(w) / (<R> (1 + <m>)), with response and bias averaged over all galaxies with their weights.

    Returns
    -------
    Observation, dict
        Metrics as `catalogue.catalogue_metrics` has them, of calibrated ellipticities.

    Raises
    ------
    BorderError
        If the table is bad (`rows.galaxies_of`), no weight is positive, rows stand twice, galaxies do several times,
        the calibration is no divisor, or the galaxies cannot be those of the grid.
    """
    sums, seen, means, cells = Sums(grid), [], np.zeros(3), Cells()
    for galaxies in galaxies_of(opened, table, rows=rows):
        inside = sums.add(galaxies.ra_deg, galaxies.dec_deg, galaxies.e1, galaxies.e2, galaxies.weight)
        means += [np.sum(galaxies.weight * values) for values in (*galaxies.response, galaxies.bias)]
        if not table.allow_duplicates:
            seen.append(_hashes(galaxies)[inside])
            cells.add(galaxies, inside)
    _check_totals(opened, table, sums)
    if seen:
        _check_twice(opened, np.concatenate(seen))
        _check_repeated(opened, sums, cells.repeated())
    _check_place(opened, sums, grid)
    calibration = _calibration(opened, table, means / sums.totals[0])
    sigma_e = sums.sigma_e() / np.abs(calibration)
    weight, square = sums.totals[:2]
    metrics = {
        "rows": sums.rows,
        "sigma_e1": float(sigma_e[0]),
        "sigma_e2": float(sigma_e[1]),
        "n_eff": float(weight**2 / square),
    }
    return sums.observation(calibration, title), metrics


def _check_totals(opened: Opened, table: CatalogueTable, sums: Sums) -> None:
    """Raise where no galaxy counts, or a component is 0 in all."""
    if not sums.totals[0] > 0:
        raise BorderError(
            f"column {table.columns.weight} of {opened.path} is 0 in all of {sums.rows} rows that are kept; correct the"
            " weights, or name another column or none."
        )
    for name, sigma_e in zip((table.columns.e1, table.columns.e2), sums.sigma_e(), strict=True):
        if not sigma_e > FAINTEST:
            raise BorderError(
                f"column {name} of {opened.path} is 0 (or less than {FAINTEST:g}) in all of {sums.rows} rows that are"
                " kept; give measured ellipticities."
            )


def _check_twice(opened: Opened, hashes: np.ndarray) -> None:
    """Raise where galaxies on the grid stand twice."""
    hashes.sort()
    twice = int(np.count_nonzero(hashes[1:] == hashes[:-1]))
    if twice:
        raise BorderError(
            f"{opened.path} has {twice} of {len(hashes)} rows on the grid twice, the same in position, ellipticity and"
            f" weight; remove them, or {DIFFERENT}."
        )


def _check_repeated(opened: Opened, sums: Sums, share: float) -> None:
    """Raise where many galaxies stand several times, with different shapes."""
    if share > MOST_REPEATED:
        raise BorderError(
            f"{opened.path} has the same galaxies several times ({sums.rows} rows are kept): {100 * share:.0f} % of"
            f" those on the grid lie within {SAME_ARCSEC:g} arcsec of another, as sheared versions or repeated"
            f" detections do; keep one of each with `cuts`, as in mdet_step == 'noshear', or {DIFFERENT}."
        )


def _check_place(opened: Opened, sums: Sums, grid: Grid) -> None:
    """Raise where too few galaxies lie on the grid, or more than can."""
    count, total = sums.pixels[:2]
    remedy = "correct `center_deg` of the field (null takes the middle of the galaxies), or `units` of the catalogue"
    if count[total > 0].sum() < FEWEST:
        raise BorderError(
            f"{int(count.sum())} of {sums.rows} rows of {opened.path} lie on the grid around RA {grid.ra_deg:g}, Dec"
            f" {grid.dec_deg:g} deg, too few for a map; {remedy}."
        )
    density = count.sum() / ((count > 0).sum() * grid.pixel_arcmin**2)
    if density > DENSEST:
        raise BorderError(
            f"{opened.path} has {density:.3g} galaxies an arcmin^2 ({sums.rows} rows), more than {DENSEST:g} are none"
            f" that a telescope sees; {remedy}."
        )


def is_response(mean: np.ndarray | float) -> bool:
    """Whether the mean of a column, or of each of two, can be that of a response."""
    return bool(np.all((np.asarray(mean) > RESPONSES[0]) & (np.asarray(mean) < RESPONSES[1])))


def is_bias(mean: float) -> bool:
    """Whether the mean of a column can be that of a multiplicative bias m, of 1 + m."""
    return bool(abs(mean) < LARGEST_BIAS)


def _calibration(opened: Opened, table: CatalogueTable, means: np.ndarray) -> np.ndarray:
    """(2,), what the components of the ellipticity are divided by."""
    response, bias = means[[0, 0]] if isinstance(table.response, str) else means[:2], means[2]
    credible = is_response(response) and is_bias(bias)
    if isinstance(table.response, float):
        response = np.full(2, table.response)
    if isinstance(table.multiplicative_bias, float):
        bias = table.multiplicative_bias
    calibration = response * (1 + bias)
    if not credible or not (np.abs(calibration) > 0.01).all():
        names = f"response {table.response!r}, multiplicative bias {table.multiplicative_bias!r}"
        raise BorderError(
            f"the mean response of {opened.path} is {response[0]:.3g} and {response[1]:.3g}, its mean bias {bias:.3g}"
            f" ({names}), by which nothing can be divided; correct or remove `response` and `multiplicative_bias`."
        )
    return calibration


def _hashes(galaxies: Galaxies) -> np.ndarray:
    """(n,), uint64 by which the same galaxies are known."""
    mixed = np.zeros(len(galaxies.e1), np.uint64)
    for values in (galaxies.ra_deg, galaxies.dec_deg, galaxies.e1, galaxies.e2, galaxies.weight):
        mixed = (mixed ^ (values + 0.0).view(np.uint64)) * HASH
        mixed ^= mixed >> np.uint64(32)
    return mixed
