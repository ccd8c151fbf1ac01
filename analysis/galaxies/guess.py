"""What a table of unknown make probably means: its columns by their usual names, its units by where galaxies can be."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from astropy import units

from analysis.files import BorderError
from analysis.galaxies.cuts import kept, named
from analysis.galaxies.opened import Opened, check_columns
from analysis.params import CatalogueTable, SkyUnits, TableColumns
from analysis.sky.center import occupied_deg2

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
UNITS = (("deg", "deg"), ("rad", "rad"), ("hourangle", "deg"), ("arcmin", "arcmin"), ("arcsec", "arcsec"))
DENSITIES = (0.05, 500.0)  # galaxies an arcmin^2 that a survey may have
SAMPLED = 50_000


def guessed_columns(opened: Opened, given: Mapping[str, str]) -> dict[str, str]:
    """Columns of a table by role: those given, the others by their usual names.

    Raises
    ------
    BorderError
        If a role is unknown, or a position or ellipticity has no column.
    """
    unknown = [role for role in given if role not in USUAL]
    if unknown:
        raise BorderError(f"--columns has no {unknown[0]!r}; it takes {', '.join(USUAL)}.")
    lower = {name.lower(): name for name in reversed(opened.columns)}
    found = {
        role: next((lower[name] for name in names.split() if name in lower), None) for role, names in USUAL.items()
    }
    found = {role: name for role, name in (found | dict(given)).items() if name is not None}
    missing = [role for role in REQUIRED if role not in found]
    if missing:
        have = ", ".join(opened.columns[:30]) + (", ..." if len(opened.columns) > 30 else "")
        raise BorderError(
            f"{opened.path} has no column that is surely {' or '.join(missing)} (columns: {have}); name them, as in"
            f" --columns {','.join(f'{role}=NAME' for role in missing)}."
        )
    return found


def guessed_table(opened: Opened, table: CatalogueTable, given: Mapping[str, str]) -> tuple[CatalogueTable, str]:
    """The entry of a table with columns and units, and a sentence on where the units come from.

    Parameters
    ----------
    table : CatalogueTable
        Its path, format, HDU or key, and cuts.
    given : names of columns by role
    """
    found = guessed_columns(opened, given)
    second = found.get("response", "").replace("11", "22")
    response = [found["response"], second] if second in opened.columns and second else found.get("response")
    entry = replace(
        table,
        columns=TableColumns(*(found.get(role) for role in (*REQUIRED, "weight"))),
        response=response,
        multiplicative_bias=found.get("multiplicative_bias"),
    )
    if any(opened.units.get(name) for name in (entry.columns.ra, entry.columns.dec)) or entry.units != SkyUnits():
        return entry, "as the file states" if entry.units == SkyUnits() else "as given"
    return _with_units(opened, entry)


def _with_units(opened: Opened, entry: CatalogueTable) -> tuple[CatalogueTable, str]:
    """The entry with the first units in which its galaxies are no denser or sparser than surveys are."""
    number, (ra, dec) = _raw_places(opened, entry)
    for first, second in UNITS:
        places = ra * units.Unit(first).to(units.deg), dec * units.Unit(second).to(units.deg)
        if not (np.abs(places[1]) <= 90.000001).all() or not (np.abs(places[0] - 180) <= 540).all():
            continue
        density = number / (occupied_deg2(*places) * 3600) if number else 0
        if DENSITIES[0] <= density <= DENSITIES[1]:
            if (first, second) == ("deg", "deg"):
                return entry, "the file states none; degrees, which give a density that surveys have"
            found = replace(entry, units=SkyUnits(first, second))
            return found, f"the file states none; {first} and {second}, the first that give a density that surveys have"
    return entry, "the file states none; degrees are taken, but no unit gives a density that surveys have: check them"


def _raw_places(opened: Opened, entry: CatalogueTable) -> tuple[int, np.ndarray]:
    """How many galaxies pass the cuts, and RA and Dec of some of them as the file has them, (2, n)."""
    pair = [entry.columns.ra, entry.columns.dec]
    check_columns(opened.path, [*pair, *named(entry.cuts)], opened.columns)
    number, step, places = 0, 1, np.empty((2, 0))
    for chunk in opened.chunks(list(dict.fromkeys([*pair, *named(entry.cuts)]))):
        if any(chunk[name].dtype.kind not in "biuf" for name in pair):
            return 0, places
        found = np.stack([chunk[name].astype(np.float64) for name in pair])
        if entry.cuts is not None:
            found = found[:, kept(entry.cuts, chunk, str(opened.path))]
        number += found.shape[1]
        places = np.concatenate([places, found[:, ::step]], axis=1)
        while places.shape[1] > 2 * SAMPLED:
            places, step = places[:, ::2], 2 * step
    return number, places
