"""Guesses for a table that no entry describes: columns from their usual names, units from the density of galaxies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from astropy import units

from analysis.core.files import BorderError
from analysis.params import CatalogueTable, SkyUnits, TableColumns
from analysis.sky.footprint import occupied_deg2
from analysis.survey.cuts import check_names, cut_columns, rows_kept
from analysis.survey.galaxies import is_bias, is_response
from analysis.survey.tables import OpenTable, Thinned, check_columns

USUAL = {
    "ra": "ra alpha_j2000 raj2000 ra_j2000 ra_deg radeg right_ascension alphawin_j2000 i_ra coord_ra ra_gal x_world"
    " alpha",
    "dec": "dec delta_j2000 dej2000 decj2000 dec_j2000 dec_deg decdeg decl declination deltawin_j2000 i_dec coord_dec"
    " dec_gal y_world delta",
    "e1": "e1 e_1 g1 g_1 gamma1 gamma_1 shear1 shear_1 e1_corr e1_iso e1_cal mcal_g_1 mcal_g1 g1_metacal autocal_e1"
    " bias_corrected_e1 i_hsmshaperegauss_e1 ishape_hsm_regauss_e1 eps1 epsilon1",
    "e2": "e2 e_2 g2 g_2 gamma2 gamma_2 shear2 shear_2 e2_corr e2_iso e2_cal mcal_g_2 mcal_g2 g2_metacal autocal_e2"
    " bias_corrected_e2 i_hsmshaperegauss_e2 ishape_hsm_regauss_e2 eps2 epsilon2",
    "weight": "weight weights w wt w_iso shape_weight shear_weight lensing_weight lensfit_weight mcal_w recal_weight"
    " i_hsmshaperegauss_derived_weight ishape_hsm_regauss_derived_shape_weight nhweight_int wht",
    "response": "r11 r_11 mcal_r11 mcal_r_11 rg11",
    "multiplicative_bias": "m m_corr mbias m_bias shear_bias_m i_hsmshaperegauss_derived_shear_bias_m"
    " ishape_hsm_regauss_derived_shear_bias_m",
}
REQUIRED = ("ra", "dec", "e1", "e2")
CREDIBLE: Mapping[str, Callable[[np.ndarray], bool]] = {  # whether finite values can have the role
    "weight": lambda values: np.mean(values >= 0) > 0.5,  # negative values may mark bad rows
    "response": lambda values: is_response(values.mean()),
    "multiplicative_bias": lambda values: is_bias(values.mean()),
}
UNITS = (("deg", "deg"), ("rad", "rad"), ("hourangle", "deg"), ("arcmin", "arcmin"), ("arcsec", "arcsec"))
DENSITIES = (0.05, 200.0)  # galaxies an arcmin^2 of real surveys
SHAPELIER = 4.0  # RA is in hours if the field is so many times closer to a square than with RA in degrees
SAMPLED = 50_000


@dataclass(frozen=True)
class Survey:
    """A shear catalogue that its columns give away: names by role, and how it is calibrated and cut."""

    name: str
    columns: Mapping[str, str]
    response: float | list[str] | None = None
    multiplicative_bias: str | None = None
    cuts: str | None = None

    def shown_by(self, names: Sequence[str]) -> bool:
        """Whether a table with these columns has all that the survey's has."""
        response = self.response if isinstance(self.response, list) else []
        bias = [self.multiplicative_bias] if self.multiplicative_bias else []
        return {*self.columns.values(), *response, *bias, *cut_columns(self.cuts)} <= set(names)


_ENTRIES = yaml.safe_load(Path(__file__).with_name("surveys.yaml").read_text(encoding="utf-8"))
SURVEYS = [Survey(name, **entry) for name, entry in _ENTRIES.items()]


def known_survey(names: Sequence[str]) -> Survey | None:
    """The survey whose columns a table has; None if it is of none that is known."""
    return next((survey for survey in SURVEYS if survey.shown_by(names)), None)


def columns_by_role(names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Names of columns by role: the given ones, those of a known survey, and others with usual names.

    Positions may be those of one astropy.coordinates.SkyCoord, whose columns are `NAME.ra` and `NAME.dec`.
    """
    lower = {name.strip().lower(): name for name in reversed(names)}
    found = {
        role: next((lower[name] for name in usual.split() if name in lower), None) for role, usual in USUAL.items()
    }
    for role in ("ra", "dec"):
        parts = [name for name in names if name.lower().endswith(f".{role}")]
        if found[role] is None and len(parts) == 1:
            found[role] = parts[0]
    if survey := known_survey(names):
        bias = {"multiplicative_bias": survey.multiplicative_bias} if survey.multiplicative_bias else {}
        found |= {**survey.columns, **bias}
    return {role: name for role, name in (found | dict(given)).items() if name is not None}


def _survey_of_shapes(names: Sequence[str], found: Mapping[str, str]) -> Survey | None:
    """The known survey of a table, if the ellipticities that are used are the survey's."""
    survey = known_survey(names)
    return survey if survey and all(found.get(role) == survey.columns[role] for role in ("e1", "e2")) else None


def has_usual_columns(names: Sequence[str], given: Mapping[str, str]) -> bool:
    """Whether a table with these columns has positions and ellipticities, and every given column."""
    found = columns_by_role(names, given)
    return set(REQUIRED) <= set(found) and set(found.values()) <= set(names)


def guessed_entry(table: OpenTable, asked: CatalogueTable, given: Mapping[str, str]) -> tuple[CatalogueTable, str]:
    """The entry of a table with its columns and units, and a sentence on where the units come from.

    Parameters
    ----------
    asked : path, format, HDU or key, units and cuts
    given : names of columns by role

    Raises
    ------
    BorderError
        If a role is unknown, or a position or ellipticity has no column.
    """
    unknown = [role for role in given if role not in USUAL]
    if unknown:
        raise BorderError(f"--columns has no {unknown[0]!r}; it takes {', '.join(USUAL)}.")
    found = columns_by_role(table.columns, given)
    missing = [role for role in REQUIRED if role not in found]
    if missing:
        have = ", ".join(table.columns[:30]) + (", ..." if len(table.columns) > 30 else "")
        raise BorderError(
            f"{table.path} has no column that is surely {' or '.join(missing)} (columns: {have}); name them, as in"
            f" --columns {','.join(f'{role}=NAME' for role in missing)}."
        )
    survey = _survey_of_shapes(table.columns, found)
    response = found.get("response")
    second = (response or "").replace("11", "22")
    if second != response and second in table.columns:
        response = [response, second]
    cuts = [cut for cut in (survey.cuts if survey else None, asked.cuts) if cut]
    entry = replace(
        asked,
        columns=TableColumns(*(found.get(role) for role in (*REQUIRED, "weight"))),
        response=response if response or not survey else survey.response,
        multiplicative_bias=found.get("multiplicative_bias"),
        cuts=" & ".join(f"({cut})" for cut in cuts) if len(cuts) > 1 else next(iter(cuts), None),
    )
    stated = [table.units.get(name) for name in (entry.columns.ra, entry.columns.dec)]
    if entry.units != SkyUnits():
        return entry, "as given"
    if any(stated):
        return entry, "as the file states" if all(stated) else "as the file states for RA; degrees for Dec"
    return _with_units(table, entry)


def without_bad_guesses(
    table: OpenTable, entry: CatalogueTable, given: Mapping[str, str]
) -> tuple[CatalogueTable, list[str]]:
    """The entry without guessed columns whose values cannot be a weight, response or bias, and a sentence on each.

    Parameters
    ----------
    given : names of columns by role, which are kept
    """
    used = {
        "weight": entry.columns.weight,
        "response": entry.response,
        "multiplicative_bias": entry.multiplicative_bias,
    }
    columns = {role: name for role, name in used.items() if name and not isinstance(name, float)}
    guessed = {role: np.ravel(name).tolist() for role, name in columns.items() if role not in given}
    names = [name for columns in guessed.values() for name in columns]
    sample = zip(names, _sample(table, names, entry.cuts)[1], strict=True) if names else ()
    finite = {name: values[np.isfinite(values)] for name, values in sample}
    left_out = []
    for role, columns in guessed.items():
        bad = [name for name in columns if not (finite[name].size and CREDIBLE[role](finite[name]))]
        if bad:
            values = ", ".join(f"{value:.3g}" for value in finite[bad[0]][:2]) or "text"
            left_out.append(
                f"{bad[0]}, whose values ({values}, ...) are no {role}; --columns {role}=NAME names another"
            )
            none = {"columns": replace(entry.columns, weight=None)} if role == "weight" else {role: None}
            entry = replace(entry, **none)
    return entry, left_out


def _with_units(table: OpenTable, entry: CatalogueTable) -> tuple[CatalogueTable, str]:
    """The entry with the first units that give its galaxies a density of real surveys.

    If these are degrees, RA may still be in hours: then in degrees the field is a narrow strip, or in two pieces at
    RA = 0.
    """
    number, (ra, dec) = _sample(table, [entry.columns.ra, entry.columns.dec], entry.cuts)
    able = {}  # positions in deg, by units
    for pair in UNITS:
        places = [values * units.Unit(unit).to(units.deg) for values, unit in zip((ra, dec), pair, strict=True)]
        if not (np.abs(places[1]) <= 90.000001).all() or not (np.abs(places[0] - 180) <= 540).all():
            continue
        density = number / (occupied_deg2(*places) * 3600) if number else 0
        if DENSITIES[0] <= density <= DENSITIES[1]:
            able[pair] = places
    if not able:
        return (
            entry,
            "the file states none; degrees are taken, but no unit gives a density of real surveys: give --units",
        )
    best, hours = next(iter(able)), ("hourangle", "deg")
    reason = "which give a density that surveys have; use --units for others"
    ambiguous = best == ("deg", "deg") and hours in able and ra.min() >= 0 and ra.max() < 24
    if ambiguous and _squareness(*able[hours]) > SHAPELIER * _squareness(*able[best]):
        best, reason = hours, "since in degrees the field would be a narrow strip; use --units for others"
    if best == ("deg", "deg"):
        return entry, f"the file states none; degrees, {reason}"
    return replace(entry, units=SkyUnits(*best)), f"the file states none; {best[0]} and {best[1]}, {reason}"


def _squareness(ra_deg: np.ndarray, dec_deg: np.ndarray) -> float:
    """How close a field is to a filled square: its area over that of the smallest square around it."""
    sorted_ra = np.sort(ra_deg % 360)
    widest_gap = np.diff(sorted_ra, append=sorted_ra[0] + 360).max()
    width = (360 - widest_gap) * np.cos(np.deg2rad(dec_deg.mean()))
    side = max(width, np.ptp(dec_deg))
    return occupied_deg2(ra_deg, dec_deg) / side**2 if side > 0 else 0.0


def _sample(table: OpenTable, names: Sequence[str], cuts: str | None) -> tuple[int, np.ndarray]:
    """How many galaxies pass the cuts, and columns of a sample of them, (names, n), as in the file; text is NaN."""
    wanted = list(dict.fromkeys([*names, *cut_columns(cuts)]))
    check_names(cuts, table.columns, str(table.path))
    check_columns(table.path, wanted, table.columns)
    number, sample = 0, Thinned(len(names), SAMPLED)
    for chunk in table.chunks(wanted):
        columns = [
            chunk[name] if chunk[name].dtype.kind in "biuf" else np.full(len(chunk[name]), np.nan) for name in names
        ]
        found = np.stack([column.astype(np.float64) for column in columns])
        if cuts is not None:
            found = found[:, rows_kept(cuts, chunk, str(table.path))]
        number += found.shape[1]
        sample.add(found)
    return number, sample.kept
