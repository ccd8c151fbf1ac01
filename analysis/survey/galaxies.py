"""The galaxies of a table, chunk by chunk: their middle, their calibrated mean shear on a grid, repeated galaxies."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analysis.core.files import BorderError
from analysis.params import CatalogueTable
from analysis.sky import Grid, Observation, PixelSums, robust_center
from analysis.sky.footprint import cell_numbers
from analysis.survey.tables import OpenTable, Thinned
from analysis.survey.units_and_signs import Galaxies, galaxies_of

DENSEST = 1000.0  # galaxies an arcmin^2, more than any telescope sees
FAINTEST = 1e-6  # rms of an ellipticity
FEWEST = 10  # galaxies that a grid must hold
RESPONSES = (0.05, 5.0)  # limits of a mean response
LARGEST_BIAS = 0.5  # limit of the size of a mean multiplicative bias
SAMPLED = 200_000  # at least so many galaxies, if there are, give the middle
SAME_ARCSEC = 0.3  # side of the cells that hold one galaxy: surveys cannot separate closer ones
MOST_REPEATED = 0.05  # share of galaxies in shared cells; chance gives a few percent at 1000 galaxies an arcmin^2
MOST_CELLS = 1_000_000  # kept in memory
IF_DIFFERENT = (
    "set `allow_duplicates: true` of the catalogue (`--allow-duplicates` of `check`) if they are different galaxies"
)
HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (multiplicative hash of Knuth)


@dataclass(eq=False)
class OccupiedCells:
    """Numbers of small cells of the sky, once for each galaxy; `add` changes the record.

    Numbers are hashed, and of too many those with the smallest hashes are kept: a fair sample of the cells.
    """

    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    largest: int = 2**64 - 1

    def add(self, galaxies: Galaxies, chosen: np.ndarray) -> None:
        """Add those of the galaxies `chosen` (n, bool) that have a positive weight."""
        chosen = chosen & (galaxies.weight > 0)
        cells = cell_numbers(galaxies.ra_deg[chosen], galaxies.dec_deg[chosen], SAME_ARCSEC / 3600)
        hashes = cells.view(np.uint64) * HASH
        self.numbers = np.concatenate([self.numbers, hashes[hashes <= np.uint64(self.largest)]])
        while len(self.numbers) > MOST_CELLS and self.largest:
            self.largest //= 2
            self.numbers = self.numbers[self.numbers <= np.uint64(self.largest)]

    def repeated(self) -> float:
        """Share of galaxies that have another in their cell."""
        counts = np.unique(self.numbers, return_counts=True)[1]
        return float(counts[counts > 1].sum() / max(counts.sum(), 1))


def center_of_table(table: OpenTable, entry: CatalogueTable, *, rows: int | None = None) -> tuple[float, float]:
    """RA and Dec (deg) of the middle of the galaxies of a table, to a microdegree.

    Raises
    ------
    BorderError
        If they lie all over the sky, or the table is bad (`units_and_signs.galaxies_of`).
    """
    places = Thinned(2, SAMPLED)
    for galaxies in galaxies_of(table, entry, rows=rows):
        places.add(np.stack([galaxies.ra_deg, galaxies.dec_deg]))
    return center_of_places(places.kept, table.path)


def center_of_places(places: np.ndarray, path: Path | str) -> tuple[float, float]:
    """As `center_of_table`, from positions (2, n) of galaxies of the table `path`."""
    center = robust_center(*places)
    if center is None:
        raise BorderError(
            f"the galaxies of {path} are spread over most of the sky and have no middle; give `center_deg` of the"
            " field, or check `units`."
        )
    return round(center[0], 6), round(center[1], 6)


def shear_from_table(
    table: OpenTable, entry: CatalogueTable, grid: Grid, *, title: str = "", rows: int | None = None
) -> tuple[Observation, dict[str, float]]:
    """The shear that the galaxies of a table show on a grid, and numbers that describe them.

    gamma = sum(w e) / sum(w) / (<R> (1 + <m>)), with response R and bias m averaged over all galaxies, weighted by w.

    Returns
    -------
    Observation, dict
        `rows`, `sigma_e1`, `sigma_e2` and `n_eff`, as in `catalogue.DEFINITIONS`, of calibrated ellipticities.

    Raises
    ------
    BorderError
        If the table is bad (`units_and_signs.galaxies_of`), no weight is positive, rows or galaxies are repeated, the
        calibration cannot divide, or too few or too many galaxies lie on the grid.
    """
    sums, calibration = sums_and_calibration(table, entry, grid, rows=rows)
    sigma_e1, sigma_e2 = (float(value) for value in sums.sigma_e() / np.abs(calibration))
    weight, square = sums.totals[:2]
    metrics = {"rows": sums.rows, "sigma_e1": sigma_e1, "sigma_e2": sigma_e2, "n_eff": float(weight**2 / square)}
    return sums.observation(calibration, title), metrics


def sums_and_calibration(
    table: OpenTable, entry: CatalogueTable, grid: Grid, *, rows: int | None = None
) -> tuple[PixelSums, np.ndarray]:
    """Sums over the galaxies of each pixel, and (2,), what e1 and e2 are divided by; raises as `shear_from_table`."""
    sums, hashes, means, cells = PixelSums(grid), [], np.zeros(3), OccupiedCells()
    for galaxies in galaxies_of(table, entry, rows=rows):
        inside = sums.add(galaxies.ra_deg, galaxies.dec_deg, galaxies.e1, galaxies.e2, galaxies.weight)
        means += [np.sum(galaxies.weight * values) for values in (*galaxies.response, galaxies.bias)]
        if not entry.allow_duplicates:
            hashes.append(_hashes(galaxies)[inside])
            cells.add(galaxies, inside)
    _check_totals(table, entry, sums)
    if hashes:
        _check_repeated(table, np.concatenate(hashes), sums.rows, cells.repeated())
    _check_density(table, sums, grid)
    return sums, _calibration(table, entry, means / sums.totals[0])


def _check_totals(table: OpenTable, entry: CatalogueTable, sums: PixelSums) -> None:
    """Raise if all weights are 0, or one component is 0 in all rows."""
    if not sums.totals[0] > 0:
        raise BorderError(
            f"column {entry.columns.weight} of {table.path} is 0 in all of {sums.rows} rows that are kept; correct the"
            " weights, or name another column or none."
        )
    for name, sigma_e in zip((entry.columns.e1, entry.columns.e2), sums.sigma_e(), strict=True):
        if not sigma_e > FAINTEST:
            raise BorderError(
                f"column {name} of {table.path} is 0 (or less than {FAINTEST:g}) in all of {sums.rows} rows that are"
                " kept; give measured ellipticities."
            )


def _check_repeated(table: OpenTable, hashes: np.ndarray, rows: int, share: float) -> None:
    """Raise if rows on the grid are repeated, or many galaxies are, with different shapes."""
    hashes.sort()
    twice = int(np.count_nonzero(hashes[1:] == hashes[:-1]))
    if twice:
        raise BorderError(
            f"{table.path} has {twice} of {len(hashes)} rows on the grid twice, the same in position, ellipticity and"
            f" weight; remove them, or {IF_DIFFERENT}."
        )
    if share > MOST_REPEATED:
        raise BorderError(
            f"{table.path} has the same galaxies several times ({rows} rows are kept): {100 * share:.0f} % of"
            f" those on the grid lie within {SAME_ARCSEC:g} arcsec of another, as sheared versions or repeated"
            f" detections do; keep one of each with `cuts`, as in mdet_step == 'noshear', or {IF_DIFFERENT}."
        )


def _check_density(table: OpenTable, sums: PixelSums, grid: Grid) -> None:
    """Raise if too few galaxies lie on the grid, or too many in its pixels."""
    count, total = sums.pixels[:2]
    remedy = "correct `center_deg` of the field (null takes the middle of the galaxies), or `units` of the catalogue"
    if count[total > 0].sum() < FEWEST:
        raise BorderError(
            f"{int(count.sum())} of {sums.rows} rows of {table.path} lie on the grid around RA {grid.ra_deg:g}, Dec"
            f" {grid.dec_deg:g} deg, too few for a map; {remedy}."
        )
    density = count.sum() / ((count > 0).sum() * grid.pixel_arcmin**2)
    if density > DENSEST:
        raise BorderError(
            f"{table.path} has {density:.3g} galaxies an arcmin^2 ({sums.rows} rows), and no telescope sees more than"
            f" {DENSEST:g}; {remedy}."
        )


def is_response(mean: np.ndarray | float) -> bool:
    """Whether the mean of a column, or of each of two, can be that of a response."""
    return bool(np.all((np.asarray(mean) > RESPONSES[0]) & (np.asarray(mean) < RESPONSES[1])))


def is_bias(mean: float) -> bool:
    """Whether the mean of a column can be that of a multiplicative bias m, of 1 + m."""
    return bool(abs(mean) < LARGEST_BIAS)


def _calibration(table: OpenTable, entry: CatalogueTable, means: np.ndarray) -> np.ndarray:
    """(2,), R (1 + m): what e1 and e2 are divided by; `means` are those of both responses and of the bias."""
    response, bias = means[[0, 0]] if isinstance(entry.response, str) else means[:2], means[2]
    credible = is_response(response) and is_bias(bias)
    if isinstance(entry.response, float):
        response = np.full(2, entry.response)
    if isinstance(entry.multiplicative_bias, float):
        bias = entry.multiplicative_bias
    calibration = response * (1 + bias)
    if not credible or not (np.abs(calibration) > 0.01).all():
        names = f"response {entry.response!r}, multiplicative bias {entry.multiplicative_bias!r}"
        raise BorderError(
            f"the mean response of {table.path} is {response[0]:.3g} and {response[1]:.3g}, its mean bias {bias:.3g}"
            f" ({names}), by which nothing can be divided; correct or remove `response` and `multiplicative_bias`."
        )
    return calibration


def _hashes(galaxies: Galaxies) -> np.ndarray:
    """(n,), uint64, equal for rows with the same position, ellipticity and weight."""
    mixed = np.zeros(len(galaxies.e1), np.uint64)
    for values in (galaxies.ra_deg, galaxies.dec_deg, galaxies.e1, galaxies.e2, galaxies.weight):
        mixed = (mixed ^ (values + 0.0).view(np.uint64)) * HASH
        mixed ^= mixed >> np.uint64(32)
    return mixed
