"""`python -m analysis check mycat.fits`: what a catalogue holds, and the entry that uses it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import yaml
from scipy.ndimage import binary_fill_holes, label

from analysis.core.files import BorderError, expanded
from analysis.core.paths import ROOT
from analysis.params import SUFFIXES, CatalogueTable, SkyUnits, TableColumns
from analysis.params.types import name_like, parsed
from analysis.sky import Grid, Observation, training_command
from analysis.sky.footprint import cell_numbers, occupied_deg2
from analysis.survey.galaxies import (
    MOST_REPEATED,
    SAME_ARCSEC,
    OccupiedCells,
    center_of_places,
    sums_and_calibration,
)
from analysis.survey.table_formats import open_table
from analysis.survey.tables import OpenTable, Thinned
from analysis.survey.units_and_signs import galaxies_of
from analysis.tools.ellipticity_signs import SignChoice, best_signs, sign_choices
from analysis.tools.guessed_columns import guessed_entry, has_usual_columns, known_survey, without_bad_guesses

SEED = 2020  # for the random turns that the signs are judged by
GALAXIES_A_PIXEL = 20.0  # the mean of a pixel is nearly Gaussian, and few pixels are empty by chance
MARGIN = 12  # unobserved pixels around the field
MULTIPLE = 32  # number of pixels: networks halve it up to five times
MOST_PIXELS = 640  # a side: the largest map whose sampling was timed
WIDEST_DEG = 10.0  # of a flat map
SAMPLED = 400_000
SHIFTED = 4.0  # standard errors from which a mean shear is reported


@dataclass(frozen=True, eq=False)
class TableSummary:
    """What a table holds.

    Parameters
    ----------
    read, kept : rows of the file, and those that pass the cuts
    center_deg : RA and Dec of the suggested grid
    area_deg2, density_arcmin2 : of all kept galaxies
    lowest, highest, mean, error, sigma_e : (2,), of e1 and e2, calibrated; `error` is the standard error of the mean
    repeated : share of galaxies that lie where another does
    side_deg : side of the square that holds the field, or of its densest part if it is too wide for one flat map
    wide : whether it is; the grid is then that of its densest part
    observation : on the suggested grid
    signs : the four choices of signs; the best, and a sentence about it
    """

    read: int
    kept: int
    center_deg: tuple[float, float]
    area_deg2: float
    density_arcmin2: float
    lowest: np.ndarray
    highest: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    sigma_e: np.ndarray
    repeated: float
    side_deg: float
    wide: bool
    observation: Observation
    signs: tuple[list[SignChoice], SignChoice, str]


@dataclass(frozen=True)
class Asked:
    """What is said about a file beside its path.

    Parameters
    ----------
    columns : names of columns by role; the others are guessed
    units : of `ra` and `dec`; without them those of the file, or guessed ones
    cuts, hdu, key : as in `params.yaml`
    twice : `allow_duplicates` of `params.yaml`
    """

    columns: Mapping[str, str]
    units: Mapping[str, str]
    cuts: str | None = None
    hdu: str | None = None
    key: str | None = None
    twice: bool = False


def main(path: str, asked: Asked) -> None:
    """Print what a table holds, its entry, and the commands that follow.

    Raises
    ------
    BorderError
        If the table cannot be used (`looked_at`).
    """
    print(_advice(path, *looked_at(path, asked)))


def looked_at(path: str, asked: Asked) -> tuple[dict, TableSummary]:
    """Print what a table holds.

    Parameters
    ----------
    path : a file; a relative path counts from the working folder

    Returns
    -------
    the entry of its field below `fields`, whose title may be its name, and the summary

    Raises
    ------
    BorderError
        If the table cannot be used; the sentence names file, column, rows and remedy.
    """
    if asked.cuts is not None:
        try:
            parsed(asked.cuts)
        except ValueError as error:
            raise BorderError(f"--cuts {asked.cuts[:60]!r}: {error}.") from None
    place, endings = normal_path(path), [suffix for group in SUFFIXES.values() for suffix in group]
    if place.suffix.lower() not in endings:
        raise BorderError(f"{place} has a suffix of no known format; rename it to end in one of {' '.join(endings)}.")
    hdu = int(asked.hdu) if asked.hdu is not None and asked.hdu.isdecimal() else asked.hdu
    options = {"hdu": hdu, "key": asked.key, "cuts": asked.cuts, "allow_duplicates": asked.twice}
    unknown = CatalogueTable(str(place), TableColumns("", "", "", ""), **options, units=sky_units(asked.units))
    table = open_table(place, unknown, suits=partial(has_usual_columns, given=asked.columns))
    entry, units_from = guessed_entry(table, unknown, asked.columns)
    entry, left_out = without_bad_guesses(table, entry, asked.columns)
    summary = summarised(table, entry, rng=np.random.default_rng(SEED))
    print("\n".join([*_described(table, entry, units_from, left_out, summary), ""]))
    return _field_entry(entry, summary), summary


def normal_path(path: str) -> Path:
    """A path that a user gave, absolute and without `..`; symbolic links stay."""
    return Path(os.path.normpath(Path(expanded(path)).absolute()))


def sky_units(given: Mapping[str, str]) -> SkyUnits:
    """Units of positions, as `--units` names them."""
    able = {each.name: get_args(get_args(each.type)[0]) for each in fields(SkyUnits)}
    for name, unit in given.items():
        if unit not in able.get(name, ()):
            takes = " and ".join(f"{name} in {', '.join(choices)}" for name, choices in able.items())
            raise BorderError(f"--units has {name}={unit}; it takes {takes}, as in ra=hourangle,dec=deg.")
    return SkyUnits(**given)


def summarised(table: OpenTable, entry: CatalogueTable, *, rng: np.random.Generator) -> TableSummary:
    """What a table holds; it is read twice, in bounded memory.

    Raises
    ------
    BorderError
        If the table is bad (`galaxies.shear_from_table`).
    """
    read = kept = 0
    places, cells = Thinned(2, SAMPLED), OccupiedCells()
    total, lowest, highest = np.zeros(2), np.full(2, np.inf), np.full(2, -np.inf)
    for galaxies in galaxies_of(table, entry):
        read, kept = read + galaxies.read, kept + len(galaxies.e1)
        places.add(np.stack([galaxies.ra_deg, galaxies.dec_deg]))
        cells.add(galaxies, np.ones(len(galaxies.e1), bool))
        e = np.stack([galaxies.e1, galaxies.e2])
        total += e @ galaxies.weight
        lowest = np.minimum(lowest, e.min(axis=1, initial=np.inf))
        highest = np.maximum(highest, e.max(axis=1, initial=-np.inf))
    center = center_of_places(places.kept, table.path)
    area = occupied_deg2(*places.kept)
    density = kept / (area * 3600)
    side_deg = _side_deg(places.kept, center)
    wide = side_deg > WIDEST_DEG
    if wide:
        center = _densest(places.kept)
    sums, calibration = sums_and_calibration(table, entry, suggested_grid(places.kept, center, density))
    observation, mirrored = (sums.observation(calibration * np.array([1, sign])) for sign in (1, -1))
    choices = sign_choices(observation, mirrored, rng=rng)
    size, (weight, square) = np.abs(calibration), sums.totals[:2]
    mean, sigma_e = total / weight / size, sums.sigma_e() / size
    return TableSummary(
        read, kept, center, area, density, lowest / size, highest / size, mean, sigma_e * np.sqrt(square) / weight,
        sigma_e, cells.repeated(), min(side_deg, WIDEST_DEG), wide, observation, (choices, *best_signs(choices)),
    )  # fmt: skip


def suggested_grid(places: np.ndarray, center: tuple[float, float], density: float) -> Grid:
    """A grid around the middle of a field, with pixels of about 20 galaxies.

    pixel^2 x density = 20, rounded up to 0.01 arcmin. The pixels span all but 0.5 % of the galaxies, with 12 more on
    each side; their number is a multiple of 32 from 64 to 640. Fields that need more pixels get larger ones.

    Parameters
    ----------
    places : (2, n), RA and Dec, deg
    center : RA and Dec, deg
    density : galaxies an arcmin^2
    """
    pixel_arcmin = max(np.ceil(100 * np.sqrt(GALAXIES_A_PIXEL / density)) / 100, 0.01)
    span_arcmin = 60 * min(_side_deg(places, center), WIDEST_DEG)
    pixel_arcmin = max(pixel_arcmin, np.ceil(100 * span_arcmin / (MOST_PIXELS - 2 * MARGIN)) / 100)
    pixels = int(np.ceil((span_arcmin / pixel_arcmin + 2 * MARGIN) / MULTIPLE)) * MULTIPLE
    return Grid(int(np.clip(pixels, 2 * MULTIPLE, MOST_PIXELS)), round(float(pixel_arcmin), 2), *center)


def _side_deg(places: np.ndarray, center: tuple[float, float]) -> float:
    """Side of the square on the tangent plane that holds 99.5 % of galaxies, deg; infinite beyond a hemisphere."""
    x, y = Grid(2, 60.0, *center).pixel_positions(*places)
    far = np.nan_to_num(np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)), nan=np.inf)
    return 2 * float(np.quantile(far, 0.995, method="higher"))


def _densest(places: np.ndarray) -> tuple[float, float]:
    """RA and Dec of the middle of the galaxies in the fullest cell of half the width of a flat map."""
    cell = cell_numbers(*places, WIDEST_DEG / 2)
    values, counts = np.unique(cell, return_counts=True)
    inside = places[:, cell == values[np.argmax(counts)]]
    return round(float((inside[0] % 360).mean()), 3), round(float(inside[1].mean()), 3)


def _described(
    table: OpenTable, entry: CatalogueTable, units_from: str, left_out: Sequence[str], summary: TableSummary
) -> list[str]:
    """Lines that say what a table holds."""
    names = asdict(entry.columns) | {"response": entry.response, "multiplicative bias": entry.multiplicative_bias}
    ra_deg, dec_deg = summary.center_deg
    surveys = [survey] if (survey := known_survey(table.columns)) else []
    lines = [
        f"{table.path}: {summary.read} rows ({entry.kind}), {summary.kept} kept",
        *(f"survey       {each.name}, by its columns; see paper/guide/surveys.md" for each in surveys),
        "columns      " + ", ".join(f"{role} = {name}" for role, name in names.items() if name is not None),
        *(f"left out     {each}" for each in left_out),
        f"units        {units_from}",
        f"field        around RA {ra_deg:.4f}, Dec {dec_deg:.4f} deg; about {summary.area_deg2:.3g} deg^2",
        f"density      {summary.density_arcmin2:.3g} galaxies an arcmin^2",
    ]
    for a, name in enumerate((entry.columns.e1, entry.columns.e2)):
        off = summary.mean[a] / summary.error[a]
        word = "; not zero: look for an additive bias" if abs(off) > SHIFTED else ""
        lines.append(
            f"{name:<12} {summary.lowest[a]:.3g} to {summary.highest[a]:.3g}, sigma_e {summary.sigma_e[a]:.3f}, mean"
            f" {summary.mean[a]:+.5f} +- {summary.error[a]:.5f} ({off:+.1f} sigma){word}"
        )
    if summary.repeated > MOST_REPEATED:
        lines.append(
            f"repeated     {100 * summary.repeated:.0f} % of galaxies lie within {SAME_ARCSEC:g} arcsec of another;"
            " each sheared version of a galaxy counts as a galaxy"
        )
    if summary.wide:
        lines.append("wide         too wide for one flat map; the lines below are for its densest part")
    grid, mask = summary.observation.grid, summary.observation.mask
    filled = binary_fill_holes(mask)
    holes = filled & ~mask
    choices, _, sentence = summary.signs
    lines += [
        f"grid         {grid.pixels} pixels of {grid.pixel_arcmin:g} arcmin suggested:"
        f" {summary.density_arcmin2 * grid.pixel_arcmin**2:.3g} galaxies a pixel (the rule: {GALAXIES_A_PIXEL:g} or"
        f" more), {MARGIN} pixels of margin; {int(summary.observation.count.sum())} galaxies on it",
        f"holes        {label(holes)[1]} unobserved places within the field, {100 * holes.sum() / filled.sum():.1f} %"
        " of it",
        "signs        e1  e2   E over B [sigma]   skewness [sigma]",
        *(f"             {s.e1:+d}  {s.e2:+d}   {s.e_over_b:+8.1f}          {s.skewness:+8.1f}" for s in choices),
        f"             {sentence}",
    ]
    return lines


def _field_entry(entry: CatalogueTable, summary: TableSummary) -> dict:
    """The entry below `fields` of a table, with the signs that the data ask for."""
    _, best, _ = summary.signs
    path = Path(entry.path)
    inside = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path  # a relative path moves with the project
    catalogue = {"path": str(inside), "columns": _given(entry.columns), "units": _given(entry.units)}
    catalogue |= {key: True for key, sign in (("flip_e1", best.e1), ("flip_e2", best.e2)) if sign < 0}
    catalogue |= {key: getattr(entry, key) for key in ("response", "multiplicative_bias", "cuts", "hdu", "key")}
    catalogue["allow_duplicates"] = entry.allow_duplicates or None
    catalogue = {key: value for key, value in catalogue.items() if value not in (None, {})}
    center = list(summary.center_deg) if summary.wide else None
    return {"title": name_like(path.stem), "center_deg": center, "catalogue": catalogue}


def _advice(path: str, entry: dict, summary: TableSummary) -> str:
    """The entry, and the commands that follow."""
    name, grid = entry["title"], summary.observation.grid
    return (
        "Its entry:\n\n"
        + "".join(f"  {line}\n" for line in as_yaml({name: entry}).splitlines())
        + f"\nNot found here, and yours to add: a response or bias without a column, and the title of the field.\n\n"
        f"  python -m analysis init {shlex.quote(path)}    writes it to conf/field/{name}.yaml, to be changed there\n"
        f"  python -m analysis map {shlex.quote(path)}     writes it if it is missing, then makes the maps\n\n"
        "with the options of this command and the released network. On the suggested grid, with a new network that is"
        " trained first, after `init`:\n\n"
        f"  {training_command(grid.pixels, grid.pixel_arcmin, name, f'field={name}')}\n"
    )


def as_yaml(content: dict) -> str:
    """YAML with short mappings and lists on a line."""
    return yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None)


def _given(record: TableColumns | SkyUnits) -> dict[str, str]:
    """The values of a record that are not None."""
    return {key: value for key, value in asdict(record).items() if value is not None}
