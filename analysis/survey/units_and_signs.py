"""Rows of a table as galaxies: units, signs and ranges checked; RA and Dec in degrees, e1 and e2 in (west, north)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy import units

from analysis.core.files import BorderError
from analysis.params import CatalogueTable
from analysis.survey.cuts import check_names, cut_columns, rows_kept
from analysis.survey.tables import Chunk, OpenTable, check_columns

LARGEST_E = 2.0  # of a component: no shear estimate of a galaxy is larger
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-30, 1e30  # if not 0; the squares of others would overflow
ALIASES = {
    **dict.fromkeys(("degree", "degrees", "degs", "deg.", "dd", "angle[deg]"), "deg"),
    **dict.fromkeys(("[deg]", "(deg)", "decimal degrees", "degrees_north", "degrees_east"), "deg"),
    **dict.fromkeys(("radian", "radians", "rads"), "rad"),
    **dict.fromkeys(("arcseconds", "arcsecond", "arcsecs", "asec", "as"), "arcsec"),
    **dict.fromkeys(("arcminutes", "arcminute", "arcmins", "amin"), "arcmin"),
    **dict.fromkeys(("hour", "hours", "h", "hr", "hrs", "hourangle"), "hourangle"),
}
UNITS_REMEDY = (
    "give `units` of the catalogue in params.yaml, or --units of check, for both ra and dec (deg, rad, arcsec, arcmin,"
    " or hourangle for ra)"
)


@dataclass(frozen=True, eq=False)
class Galaxies:
    """Some galaxies of a table, not yet calibrated.

    Parameters
    ----------
    ra_deg, dec_deg : (n,), deg
    e1, e2 : (n,), dimensionless, in the frame (west, north), not yet divided by response and bias
    weight : (n,), dimensionless
    response : (2, n), dimensionless; 1 if the table has no column for it
    bias : (n,), dimensionless, m of (1 + m); 0 if the table has no column for it
    read : number of rows of the file that were read for these galaxies
    """

    ra_deg: np.ndarray
    dec_deg: np.ndarray
    e1: np.ndarray
    e2: np.ndarray
    weight: np.ndarray
    response: np.ndarray
    bias: np.ndarray
    read: int


def needed_columns(entry: CatalogueTable) -> list[str]:
    """Names of all columns that an entry uses."""
    columns = entry.columns
    response = entry.response if isinstance(entry.response, list) else [entry.response]
    names = [columns.ra, columns.dec, columns.e1, columns.e2, columns.weight, *cut_columns(entry.cuts)]
    return list(dict.fromkeys(name for name in (*names, *response, entry.multiplicative_bias) if isinstance(name, str)))


def galaxies_of(table: OpenTable, entry: CatalogueTable, *, rows: int | None = None) -> Iterator[Galaxies]:
    """The galaxies of a table that pass its cuts, chunk by chunk.

    Parameters
    ----------
    rows : how many rows from the top are read, before cuts; None for all

    Raises
    ------
    BorderError
        If a column is missing or holds text, or a value that is kept is not finite or out of range; the sentence names
        file, column, row and remedy. Also at the end, if no galaxy is left.
    """
    wanted = needed_columns(entry)
    check_names(entry.cuts, table.columns, str(table.path))
    check_columns(table.path, wanted, table.columns)
    factors = _degrees_per_unit(table, entry)
    done = left = 0
    for chunk in table.chunks(wanted):
        count = len(chunk[wanted[0]])
        if rows is not None and done + count > rows:
            count = rows - done
            chunk = {name: values[:count] for name, values in chunk.items()}
        kept = np.ones(count, bool) if entry.cuts is None else rows_kept(entry.cuts, chunk, str(table.path))
        found = _galaxies(_Rows(table, chunk, np.flatnonzero(kept), done), entry, factors, count)
        done += count
        left += len(found.e1)
        yield found
        if rows is not None and done == rows:
            break
    if rows is not None and done < rows:
        raise BorderError(f"{table.path} has {done} rows, the field asks for {rows}; lower its `rows` in params.yaml.")
    if not left:
        why = f", and the cuts {entry.cuts[:60]!r} leave none; loosen them" if done else "; give a table with galaxies"
        raise BorderError(f"{table.path} has {done} rows{why}.")


def _degrees_per_unit(table: OpenTable, entry: CatalogueTable) -> list[float]:
    """Degrees per unit of RA and of Dec: units of the entry, else of the file, else degrees for both."""
    names, given = (entry.columns.ra, entry.columns.dec), (entry.units.ra, entry.units.dec)
    ra, dec = (unit or table.units.get(name, "").strip() for name, unit in zip(names, given, strict=True))
    factors = [_degrees(table, name, unit) for name, unit in zip(names, (ra, dec), strict=True)]
    usual = ra and round(factors[0], 9) in (1, 15)  # with RA in degrees or hours, Dec is in degrees
    if bool(ra) != bool(dec) and not usual:
        known, silent = names if ra else reversed(names)
        raise BorderError(
            f"column {known} of {table.path} is in {ra or dec}, and column {silent} has no unit; {UNITS_REMEDY}."
        )
    return factors


def _degrees(table: OpenTable, name: str, unit: str) -> float:
    """Degrees in a unit, which may be in capitals or a plural; 1 if it is empty."""
    lower = unit.lower()
    for text in (ALIASES.get(lower, unit or "deg"), lower):
        try:
            return float(units.Unit(text, parse_strict="raise").to(units.deg))
        except (ValueError, TypeError, units.UnitsError):
            continue
    raise BorderError(f"column {name} of {table.path} states the unit {unit!r}, which is no angle; {UNITS_REMEDY}.")


def _galaxies(rows: "_Rows", entry: CatalogueTable, factors: list[float], count: int) -> Galaxies:
    """The galaxies of the kept rows of a chunk of `count` rows."""
    columns, rule = entry.columns, "give `units` of the catalogue, or cut such rows"
    limits = ((-360.001, 720.001), (-90.000001, 90.000001))
    ra_deg, dec_deg = (
        factor * rows.numbers(name, low / factor, high / factor, rule)
        for name, factor, (low, high) in zip((columns.ra, columns.dec), factors, limits, strict=True)
    )
    rule = f"a component of an ellipticity lies within -{LARGEST_E:g} to {LARGEST_E:g}; cut such rows"
    e1, e2 = (
        (-1.0 if flip else 1.0) * rows.numbers(name, -LARGEST_E, LARGEST_E, rule)
        for name, flip in ((columns.e1, entry.flip_e1), (columns.e2, entry.flip_e2))
    )
    rule = f"a weight is 0, or from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}; cut such rows"
    weight = rows.numbers(columns.weight, 0, LARGEST_WEIGHT, rule, smallest=SMALLEST_WEIGHT)
    response = entry.response if isinstance(entry.response, list) else [entry.response] * 2
    response = [rows.numbers(name, -1e3, 1e3, "correct the response") for name in response]
    bias = entry.multiplicative_bias
    m = rows.numbers(bias, -1e3, 1e3, "correct the bias", absent=0.0)
    return Galaxies(ra_deg, np.clip(dec_deg, -90, 90), e1, e2, weight, np.stack(response), m, count)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The kept rows of a chunk: their positions in the chunk, and the number of rows of the file before the chunk."""

    table: OpenTable
    chunk: Chunk
    kept: np.ndarray
    before: int

    def numbers(
        self, name: object, low: float, high: float, rule: str, *, smallest: float = 0.0, absent: float = 1.0
    ) -> np.ndarray:
        """A column as float64, if all its values are numbers from `low` to `high`, and not below `smallest` except 0.

        Without a name of a column (a number or None) `absent` in every row.
        """
        if not isinstance(name, str):
            return np.full(len(self.kept), absent)
        values = self.chunk[name]
        if values.dtype.kind not in "buifO":
            raise BorderError(
                f"column {name} of {self.table.path} holds text ({''.join(values[:1])[:30]!r} in row {self.before},"
                f" {len(values)} rows read); write it as numbers, angles in decimal degrees."
            )
        taken = values[self.kept]
        numbers = taken.astype(np.float64)  # also of integers as objects, see `tables.native_column`
        bad = ~((numbers >= low) & (numbers <= high)) | ((numbers != 0) & (np.abs(numbers) < smallest))
        if not bad.any():
            return numbers
        value, row = taken[np.argmax(bad)], self.before + self.kept[np.argmax(bad)]
        if not np.isfinite(value):
            rule = f"cut rows that are not finite or masked, with `cuts` such as `{name} > {low:.3g}`"
        elif taken.dtype.kind == "f" and _is_swapped(taken, low, high):
            rule = (
                "read in the other byte order every value would be right: the file was written wrongly, swap its bytes"
            )
        more = f" (and in {bad.sum() - 1} more of {len(bad)} rows read there)" if bad.sum() > 1 else ""
        raise BorderError(f"column {name} of {self.table.path} is {value} in row {row}{more}: {rule}.")


def _is_swapped(values: np.ndarray, low: float, high: float) -> bool:
    """Whether all values would be in range if the bytes of each had the other order."""
    other = values.byteswap()
    with np.errstate(invalid="ignore"):
        return bool(np.all((other >= low) & (other <= high) & ((other == 0) | (np.abs(other) > 1e-30))))
