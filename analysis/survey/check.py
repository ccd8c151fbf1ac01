"""`python -m analysis check mycat.fits`: what a catalogue holds, and the entry of `conf/config.yaml` that uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import yaml

from analysis.core.files import BorderError, expanded
from analysis.core.paths import ROOT
from analysis.params import SUFFIXES, CatalogueTable, SkyUnits, TableColumns
from analysis.params.types import name_like, parsed
from analysis.survey.commands import training_command
from analysis.survey.galaxies import Opened, open_table
from analysis.survey.galaxies.guess import credible, guessed_table, suits
from analysis.survey.galaxies.totals import MOST_REPEATED, SAME_ARCSEC
from analysis.survey.overview import GALAXIES_A_PIXEL, MARGIN, SHIFTED, Survey, surveyed

SEED = 2020  # of the random turns that signs are judged by
KEPT = "data/released/reference/score"  # a network that needs no training
UNKNOWN = TableColumns("", "", "", "")


def main(
    path: str,
    *,
    columns: Mapping[str, str],
    units: Mapping[str, str],
    cuts: str | None,
    hdu: str | None,
    key: str | None,
    twice: bool,
) -> None:
    """Print what a table holds.

    Parameters
    ----------
    path : str
        A file; a relative path counts from the working folder.
    columns : mapping
        Names of columns by role; the others are guessed.
    units : mapping
        Of `ra` and `dec`; where none is given they are the file's, or guessed.
    cuts, hdu, key : as in `params.yaml`
    twice : bool
        `allow_duplicates` of `params.yaml`.

    Raises
    ------
    BorderError
        If the table cannot be used; the sentence names file, column, rows and remedy.
    """
    if cuts is not None:
        try:
            parsed(cuts)
        except ValueError as error:
            raise BorderError(f"--cuts {cuts[:60]!r}: {error}.") from None
    place = Path(expanded(path)).absolute()
    number = int(hdu) if hdu is not None and hdu.isdecimal() else hdu
    known = place.suffix.lower() in {suffix for group in SUFFIXES.values() for suffix in group}
    if not known:
        endings = " ".join(suffix for group in SUFFIXES.values() for suffix in group)
        raise BorderError(f"{place} has a suffix that tells no format; name it by one of {endings}.")
    rows = {"hdu": number, "key": key, "cuts": cuts, "allow_duplicates": twice}
    asked = CatalogueTable(str(place), UNKNOWN, units=sky_units(units), **rows)
    opened = open_table(place, asked, suits=partial(suits, given=columns))
    table, said = guessed_table(opened, asked, columns)
    table, left_out = credible(opened, table, columns)
    survey = surveyed(opened, table, rng=np.random.default_rng(SEED))
    print("\n".join(described(opened, table, said, survey, left_out)))


def sky_units(given: Mapping[str, str]) -> SkyUnits:
    """Units of positions as `--units` names them."""
    able = {each.name: get_args(get_args(each.type)[0]) for each in fields(SkyUnits)}
    for name, unit in given.items():
        if unit not in able.get(name, ()):
            takes = " and ".join(f"{name} in {', '.join(choices)}" for name, choices in able.items())
            raise BorderError(f"--units has {name}={unit}; it takes {takes}, as in ra=hourangle,dec=deg.")
    return SkyUnits(**given)


def described(
    opened: Opened, table: CatalogueTable, units: str, survey: Survey, left_out: Sequence[str] = ()
) -> list[str]:
    """Lines that say what a table holds, and what to do with it."""
    names = {role: name for role, name in asdict(table.columns).items() if name is not None}
    extra = {"response": table.response, "multiplicative bias": table.multiplicative_bias}
    names |= {role: name for role, name in extra.items() if name is not None}
    ra_deg, dec_deg = survey.center_deg
    lines = [
        f"{opened.path}: {survey.read} rows ({table.kind}), {survey.kept} kept",
        "columns      " + ", ".join(f"{role} = {name}" for role, name in names.items()),
        *(f"left out     {each}" for each in left_out),
        f"units        {units}",
        f"field        around RA {ra_deg:.4f}, Dec {dec_deg:.4f} deg; about {survey.area_deg2:.3g} deg^2",
        f"density      {survey.density_arcmin2:.3g} galaxies an arcmin^2",
    ]
    for a, name in enumerate((table.columns.e1, table.columns.e2)):
        off = survey.mean[a] / survey.error[a]
        word = "; not zero: look for an additive bias" if abs(off) > SHIFTED else ""
        lines.append(
            f"{name:<12} {survey.smallest[a]:.3g} to {survey.largest[a]:.3g}, sigma_e {survey.sigma_e[a]:.3f}, mean"
            f" {survey.mean[a]:+.5f} +- {survey.error[a]:.5f} ({off:+.1f} sigma){word}"
        )
    if survey.repeated > MOST_REPEATED:
        lines.append(
            f"repeated     {100 * survey.repeated:.0f} % of galaxies lie within {SAME_ARCSEC:g} arcsec of another;"
            " sheared versions of one galaxy count as so many"
        )
    return lines + _on_the_grid(survey) + ["", _entry(table, survey)]


def _on_the_grid(survey: Survey) -> list[str]:
    """Lines on the suggested grid and what is seen there."""
    grid = survey.grid
    number, share = survey.holes
    lines = []
    if survey.wide:
        lines.append("wide         too wide for one flat map; what follows is of its densest part")
    mean = survey.density_arcmin2 * grid.pixel_arcmin**2
    lines += [
        f"grid         {grid.pixels} pixels of {grid.pixel_arcmin:g} arcmin suggested: {mean:.3g} galaxies a pixel (the"
        f" rule: {GALAXIES_A_PIXEL:g} or more), {MARGIN} pixels of margin; {survey.on_grid} galaxies on it",
        f"holes        {number} unobserved places within the field, {100 * share:.1f} % of it",
        "signs        e1  e2   E over B [sigma]   skewness [sigma]",
        *(f"             {s.e1:+d}  {s.e2:+d}   {s.e_over_b:+8.1f}          {s.skewness:+8.1f}" for s in survey.signs),
        f"             {survey.verdict[1]}",
    ]
    return lines


def _entry(table: CatalogueTable, survey: Survey) -> str:
    """What to paste below `fields` in `conf/config.yaml`, and how to go on."""
    best = survey.verdict[0]
    path = Path(table.path)
    inside = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path  # wherever the project lies
    catalogue = {"path": str(inside), "columns": {k: v for k, v in asdict(table.columns).items() if v is not None}}
    if table.units != SkyUnits():
        catalogue["units"] = {key: unit for key, unit in asdict(table.units).items() if unit is not None}
    catalogue |= {key: True for key, sign in (("flip_e1", best.e1), ("flip_e2", best.e2)) if sign < 0}
    for key in ("response", "multiplicative_bias", "cuts", "hdu", "key"):
        if getattr(table, key) is not None:
            catalogue[key] = getattr(table, key)
    if table.allow_duplicates:
        catalogue["allow_duplicates"] = True
    name = name_like(path.stem)
    center = list(survey.center_deg) if survey.wide else None
    field = {name: {"title": name, "center_deg": center, "catalogue": catalogue}}
    text = yaml.safe_dump(field, sort_keys=False, width=100, default_flow_style=None)
    grid = survey.grid
    return (
        "To use it, below `fields` in conf/config.yaml:\n\n"
        + "".join(f"  {line}\n" for line in text.splitlines())
        + f"\nadd {name} to catalogue.fields and, below sample.fields,\n\n"
        f"  {name}: {{observation: data/observation/{name}.fits, chains: 12}}\n\n"
        "Not found here, and yours to add: a response or bias that no column has, and what the field is called.\n"
        "All fields share one grid. With a network that is kept, on the grid of params.yaml,\n\n"
        f"  dvc pull {KEPT}.dvc\n  dvc exp run -S sample.network={KEPT} sample@{name}\n\n"
        "and for the suggested grid, with a network of it, which is trained first,\n\n"
        f"  {training_command(grid.pixels, grid.pixel_arcmin, name)}"
    )
