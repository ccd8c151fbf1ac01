"""Rows of a table as galaxies: positions in degrees, ellipticities in the frame of `analysis.sky`, all checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from astropy import units

from analysis.core.files import BorderError
from analysis.params import CatalogueTable
from analysis.survey.galaxies.cuts import check_names, kept, named
from analysis.survey.galaxies.opened import Chunk, Opened, check_columns

LARGEST_E = 2.0  # of a component: a shear estimate of one galaxy is no larger
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-30, 1e30  # but for 0; squares of others are none that a computer holds
ALIASES = {
    **dict.fromkeys(("degree", "degrees", "degs", "deg.", "dd", "angle[deg]"), "deg"),
    **dict.fromkeys(("[deg]", "(deg)", "decimal degrees", "degrees_north", "degrees_east"), "deg"),
    **dict.fromkeys(("radian", "radians", "rads"), "rad"),
    **dict.fromkeys(("arcseconds", "arcsecond", "arcsecs", "asec", "as"), "arcsec"),
    **dict.fromkeys(("arcminutes", "arcminute", "arcmins", "amin"), "arcmin"),
    **dict.fromkeys(("hour", "hours", "h", "hr", "hrs", "hourangle"), "hourangle"),
}
REMEDY = (
    "give `units` of the catalogue in params.yaml, or --units of check, for both ra and dec (deg, rad, arcsec, arcmin,"
    " or hourangle for ra)"
)


@dataclass(frozen=True, eq=False)
class Galaxies:
    """Some galaxies of a table, before its calibration.

    Parameters
    ----------
    ra_deg, dec_deg : (n,), deg
    e1, e2 : (n,), dimensionless
        In the frame (west, north), not yet divided by response and bias.
    weight : (n,), dimensionless
    response : (2, n), dimensionless
        1 where the table has no column of it.
    bias : (n,), dimensionless
        m of (1 + m); 0 where the table has no column of it.
    read : int
        Rows of the file that were looked at for these.
    """

    ra_deg: np.ndarray
    dec_deg: np.ndarray
    e1: np.ndarray
    e2: np.ndarray
    weight: np.ndarray
    response: np.ndarray
    bias: np.ndarray
    read: int


def needed_columns(table: CatalogueTable) -> list[str]:
    """Every column that an entry names."""
    columns = table.columns
    wanted = [columns.ra, columns.dec, columns.e1, columns.e2, columns.weight, *named(table.cuts)]
    response = table.response if isinstance(table.response, list) else [table.response]
    wanted += [name for name in (*response, table.multiplicative_bias) if isinstance(name, str)]
    return list(dict.fromkeys(name for name in wanted if name is not None))


def galaxies_of(opened: Opened, table: CatalogueTable, *, rows: int | None = None) -> Iterator[Galaxies]:
    """Galaxies of a table that pass its cuts, chunk by chunk.

    Parameters
    ----------
    opened : Opened
    table : CatalogueTable
    rows : int or None
        How many rows from the top are taken, before cuts; None for all.

    Raises
    ------
    BorderError
        If a column is missing, is text, or a value that is kept is not finite or out of range; the sentence names
        file, column, row and remedy. So does one at the end where no row is left.
    """
    wanted = needed_columns(table)
    check_names(table.cuts, opened.columns, str(opened.path))
    check_columns(opened.path, wanted, opened.columns)
    factors = _factors(opened, table)
    done = left = 0
    for chunk in opened.chunks(wanted):
        count = len(chunk[wanted[0]])
        if rows is not None and done + count > rows:
            count = rows - done
            chunk = {name: values[:count] for name, values in chunk.items()}
        good = np.ones(count, bool) if table.cuts is None else kept(table.cuts, chunk, str(opened.path))
        found = _galaxies(chunk, np.flatnonzero(good), table, factors, partial(_Fault, opened, done))
        done += count
        left += len(found.e1)
        yield found
        if rows is not None and done == rows:
            break
    if rows is not None and done < rows:
        raise BorderError(f"{opened.path} has {done} rows, the field asks for {rows}; lower its `rows` in params.yaml.")
    if not left:
        told = f", and the cuts {table.cuts[:60]!r} leave none; loosen them" if done else "; give a table with galaxies"
        raise BorderError(f"{opened.path} has {done} rows{told}.")


def _factors(opened: Opened, table: CatalogueTable) -> list[float]:
    """Degrees in the units of RA and Dec: the entry's, the file's, or degrees where neither column has one."""
    names = table.columns.ra, table.columns.dec
    given = table.units.ra, table.units.dec
    ra, dec = (unit or opened.units.get(name, "").strip() for name, unit in zip(names, given, strict=True))
    factors = [_degrees(opened, name, unit) for name, unit in zip(names, (ra, dec), strict=True)]
    usual = ra and round(factors[0], 9) in (1, 15)  # beside degrees or hours, declinations are in degrees
    if bool(ra) != bool(dec) and not usual:
        known, silent = names if ra else reversed(names)
        raise BorderError(
            f"column {known} of {opened.path} is in {ra or dec}, and column {silent} has no unit; {REMEDY}."
        )
    return factors


def _degrees(opened: Opened, name: str, unit: str) -> float:
    """Degrees in a unit, which may be in capitals or a plural; 1 where it is empty."""
    lower = unit.lower()
    for text in (ALIASES.get(lower, unit or "deg"), lower):
        try:
            return float(units.Unit(text, parse_strict="raise").to(units.deg))
        except (ValueError, TypeError, units.UnitsError):
            continue
    raise BorderError(f"column {name} of {opened.path} states the unit {unit!r}, which is no angle; {REMEDY}.")


@dataclass(frozen=True, eq=False)
class _Fault:
    """What a bad value is told with: the file, and the rows before this chunk."""

    opened: Opened
    before: int
    column: str
    good: np.ndarray

    def error(self, bad: np.ndarray, value: object, rule: str) -> BorderError:
        row = self.before + self.good[np.argmax(bad)]
        more = f" (and in {bad.sum() - 1} more of {len(bad)} rows read there)" if bad.sum() > 1 else ""
        return BorderError(f"column {self.column} of {self.opened.path} is {value} in row {row}{more}: {rule}.")


def _galaxies(chunk: Chunk, good: np.ndarray, table: CatalogueTable, factors: list[float], fault: partial) -> Galaxies:
    """Galaxies of the rows `good` of a chunk."""
    columns = table.columns

    def numbers(name: str | None, low: float, high: float, rule: str) -> np.ndarray:
        if name is None:
            return np.ones(len(good))
        return _checked(chunk[name], good, low, high, rule, fault(name, good))

    ra_deg, dec_deg = (
        factor * numbers(name, low / factor, high / factor, "give `units` of the catalogue, or cut such rows")
        for name, factor, low, high in zip(
            (columns.ra, columns.dec), factors, (-360.001, -90.000001), (720.001, 90.000001), strict=True
        )
    )
    rule = f"a component of an ellipticity lies within -{LARGEST_E:g} to {LARGEST_E:g}; cut such rows"
    e1, e2 = (numbers(name, -LARGEST_E, LARGEST_E, rule) for name in (columns.e1, columns.e2))
    rule = f"a weight is 0, or from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}; cut such rows"
    weight = numbers(columns.weight, 0, LARGEST_WEIGHT, rule)
    tiny = (weight > 0) & (weight < SMALLEST_WEIGHT)
    if tiny.any():
        raise fault(columns.weight, good).error(tiny, weight[np.argmax(tiny)], rule)
    response = table.response if isinstance(table.response, list) else [table.response] * 2
    read = [numbers(r if isinstance(r, str) else None, -1e3, 1e3, "correct the response") for r in response]
    bias = table.multiplicative_bias
    m = numbers(bias, -1e3, 1e3, "correct the bias") if isinstance(bias, str) else np.zeros(len(good))
    signs = -1.0 if table.flip_e1 else 1.0, -1.0 if table.flip_e2 else 1.0
    dec_deg = np.clip(dec_deg, -90, 90)
    count = len(next(iter(chunk.values())))
    return Galaxies(ra_deg, dec_deg, signs[0] * e1, signs[1] * e2, weight, np.stack(read), m, count)


def _checked(values: np.ndarray, good: np.ndarray, low: float, high: float, rule: str, fault: _Fault) -> np.ndarray:
    """The rows `good` of a column as float64, if all are numbers within a range."""
    if values.dtype.kind not in "buifO":
        raise BorderError(
            f"column {fault.column} of {fault.opened.path} holds text ({''.join(values[:1])[:30]!r} in row"
            f" {fault.before}, {len(values)} rows read); write it as numbers, angles in decimal degrees."
        )
    taken = values[good]
    numbers = taken.astype(np.float64)  # also of whole numbers as objects, see `opened.plain`
    bad = ~((numbers >= low) & (numbers <= high))
    if not bad.any():
        return numbers
    value = taken[np.argmax(bad)]
    if not np.isfinite(value):
        rule = f"cut rows that are not finite or masked, with `cuts` such as `{fault.column} > {low:.3g}`"
    elif taken.dtype.kind == "f" and _is_swapped(taken, low, high):
        rule = "read in the other byte order every value would be right, so that the file was written wrongly; swap it"
    raise fault.error(bad, value, rule)


def _is_swapped(values: np.ndarray, low: float, high: float) -> bool:
    """Whether all values would be in range, had the bytes of each the other order."""
    other = values.byteswap()
    with np.errstate(invalid="ignore"):
        return bool(np.all((other >= low) & (other <= high) & ((other == 0) | (np.abs(other) > 1e-30))))
