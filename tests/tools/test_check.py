"""The look at a catalogue: signs that lensing tells, a grid that fits, and an entry that works when it is pasted."""

import copy
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table, vstack
from pyarrow import parquet
from pydantic import TypeAdapter
from scipy.ndimage import gaussian_filter

from analysis.__main__ import _named, main
from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.flatsky.kernel import kaiser_squires_kernel
from analysis.params import CatalogueTable, TableColumns, checked_params
from analysis.rivals.baselines import smoothed_kaiser_squires
from analysis.sky import Grid, Observation
from analysis.sky.footprint import occupied_deg2
from analysis.survey.cuts import cut_columns
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.table_formats import open_table
from analysis.survey.tables import table_path
from analysis.survey.units_and_signs import needed_columns
from analysis.tools.check import sky_units, suggested_grid
from analysis.tools.ellipticity_signs import best_signs, sign_choices
from analysis.tools.guessed_columns import (
    SURVEYS,
    guessed_entry,
    has_usual_columns,
    known_survey,
    without_bad_guesses,
)

SIDE = 64
GRID = Grid(SIDE, 1.0, 10.0, -20.0)


def peaks(rng, height=0.3, count=50):
    """(side, side), a convergence of round peaks."""
    y, x = np.mgrid[:SIDE, :SIDE]
    kappa = np.zeros((SIDE, SIDE))
    for _ in range(count):
        u, v = rng.uniform(8, SIDE - 8, 2)
        kappa += height * np.exp(-0.5 * ((x - u) ** 2 + (y - v) ** 2) / 1.5**2)
    return kappa


def shear_of(kappa):
    """(2, side, side), by plain FFTs."""
    return np.array([np.fft.ifft2(p * np.fft.fft2(kappa)).real for p in kaiser_squires_kernel(SIDE, SIDE)])


def observations(gamma, rng, signs):
    """A noisy observation with signs of its components, and its mirror image."""
    noisy = (gamma + rng.normal(0, 0.08, gamma.shape)) * np.array(signs)[:, None, None]
    weight = np.full(gamma.shape, 0.08**-2)
    weight[:, 20:26, 30:40] = 0
    seen = weight > 0
    return [
        Observation(noisy * seen * np.array([1, sign])[:, None, None], weight, seen[0].astype(int), GRID)
        for sign in (1, -1)
    ]


@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1), (-1, 1)])
def test_peaks_tell_all_signs(signs):
    rng = np.random.default_rng(3)
    gamma = shear_of(peaks(rng))
    best, told = best_signs(sign_choices(*observations(gamma, rng, signs), rng=rng))
    assert (best.e1, best.e2) == signs
    assert best.e_over_b > 5
    assert best.skewness > 3
    assert "mass is upright" in told


def test_noise_tells_nothing():
    rng = np.random.default_rng(4)
    choices = sign_choices(*observations(np.zeros((2, SIDE, SIDE)), rng, (1, 1)), rng=rng)
    best, told = best_signs(choices)
    assert (best.e1, best.e2) == (1, 1)
    assert "the data cannot tell" in told
    assert max(abs(choice.e_over_b) for choice in choices) < 3


def test_a_symmetric_field_does_not_say_whether_it_is_upright():
    rng = np.random.default_rng(5)
    kappa = peaks(rng)
    kappa -= np.roll(kappa, SIDE // 2, axis=1)
    best, told = best_signs(sign_choices(*observations(shear_of(kappa), rng, (-1, 1)), rng=rng))
    assert best.e1 * best.e2 == -1
    assert "whether mass is upright the data cannot tell" in told


@pytest.mark.parametrize("center", [(10.0, -20.0), (0.0, 0.0), (100.0, 89.9)])
def test_the_area_that_galaxies_cover(center):
    rng = np.random.default_rng(6)
    grid = Grid(60, 2.0, *center)  # 2 deg a side
    places = grid.wcs.wcs_pix2world(*rng.uniform(-0.5, 59.5, (2, 100_000)), 0)
    assert occupied_deg2(*places) == pytest.approx(4, rel=0.12)


def test_the_grid_has_20_galaxies_a_pixel_and_spans_the_field():
    rng = np.random.default_rng(7)
    places = np.array(Grid(60, 2.0, 359.9, 40.0).wcs.wcs_pix2world(*rng.uniform(-0.5, 59.5, (2, 50_000)), 0))
    grid = suggested_grid(places, (359.9, 40.0), 10.0)
    assert grid.pixel_arcmin == pytest.approx(np.sqrt(2), abs=0.01)
    assert grid.pixels % 32 == 0
    assert 120 + 24 * grid.pixel_arcmin <= grid.pixels * grid.pixel_arcmin + 1 <= 120 + 60 * grid.pixel_arcmin
    wide = suggested_grid(places, (359.9, 40.0), 1000.0)
    assert wide.pixels <= 640
    assert wide.pixels * wide.pixel_arcmin > 120
    assert wide.pixel_arcmin > np.sqrt(20 / 1000)


def test_the_entry_that_is_suggested_works_when_it_is_pasted(tmp_path, capsys, monkeypatch):
    """A catalogue in radians, of other names, with one sign changed, a hole, and no weights."""
    rng = np.random.default_rng(8)
    gamma = shear_of(peaks(rng))
    x, y = rng.uniform(-0.5, SIDE - 0.5, (2, 80_000))
    outside = np.hypot(x - 40, y - 20) > 5
    x, y = x[outside], y[outside]
    ra_deg, dec_deg = GRID.wcs.wcs_pix2world(x, y, 0)
    e1, e2 = gamma[:, np.rint(y).astype(int), np.rint(x).astype(int)] + rng.normal(0, 0.25, (2, len(x)))
    path = tmp_path / "Other Survey.v2.fits"
    columns = {"RAJ2000": np.deg2rad(ra_deg), "DEJ2000": np.deg2rad(dec_deg), "g1": e1, "g2": -e2, "z": 0 * e1 + 0.7}
    Table(columns).write(path)
    assert main(["check", str(path), "--cuts", "z > 0.5"]) == 0
    told = capsys.readouterr().out
    for part in (
        f"{len(x)} rows (fits), {len(x)} kept",
        "ra = RAJ2000, dec = DEJ2000, e1 = g1, e2 = g2",
        "rad and rad, which give a density that surveys have",
        "sigma_e 0.25",
        "one of e1, e2 has the wrong sign",
        "holes        1 unobserved",
        "dvc exp run -S sample.network=data/score -S grid.pixels=",
    ):
        assert part in told
    entry = yaml.safe_load(told.split("Its entry:\n\n")[1].split("\nNot found")[0])
    content = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    content["fields"] |= entry
    field = checked_params(content, "params.yaml").fields["other_survey_v2"]
    assert (field.catalogue.flip_e1, field.catalogue.flip_e2) == (False, True)
    opened = open_table(table_path(field.catalogue), field.catalogue)
    assert center_of_table(opened, field.catalogue) == pytest.approx((10, -20), abs=0.05)
    seen, _ = shear_from_table(opened, field.catalogue, GRID)
    residual = (seen.gamma - gamma)[:, seen.mask] * np.sqrt(seen.weight[:, seen.mask])
    assert np.mean(residual**2) == pytest.approx(1, abs=0.15)
    monkeypatch.setattr("analysis.tools.check.ROOT", tmp_path)
    assert main(["check", str(path), "--cuts", "z > 0.5"]) == 0
    assert "path: Other Survey.v2.fits\n" in capsys.readouterr().out, "a file of the project moves with it"


SMALL = {"hours": False, "density": 4.0, "side_deg": (0.5, 0.5)}


def strip(hours, *, density=20.0, center=(150.0, -20.0), side_deg=(1.5, 1.5)):
    """Positions of a field, RA in hours or degrees, without a unit."""
    rng = np.random.default_rng(3)
    n = int(density * 3600 * side_deg[0] * side_deg[1])
    dec = center[1] + rng.uniform(-0.5, 0.5, n) * side_deg[1]
    ra = (center[0] + rng.uniform(-0.5, 0.5, n) * side_deg[0] / np.cos(np.deg2rad(dec))) % 360
    e1, e2 = rng.normal(0, 0.3, (2, n))
    return Table({"ra": ra / 15 if hours else ra, "dec": dec, "e1": e1, "e2": e2})


@pytest.mark.parametrize(
    ("positions", "unit"),
    [
        ({"hours": True}, "hourangle"),
        ({"hours": True, "density": 5.0}, "hourangle"),  # in degrees no denser than surveys are
        ({"hours": True, "density": 5.0, "center": (0.1, 10.0)}, "hourangle"),  # on both sides of RA 0
        ({"hours": False, "center": (10.0, 10.0)}, None),
        ({"hours": False, "center": (12.0, 0.0), "density": 2.0, "side_deg": (12.0, 1.0)}, None),
    ],
)
def test_right_ascensions_in_hours_are_told_by_the_shape_of_the_field(positions, unit, tmp_path):
    strip(**positions).write(tmp_path / "a.fits")
    asked = CatalogueTable(str(tmp_path / "a.fits"), TableColumns("", "", "", ""))
    table, told = guessed_entry(open_table(tmp_path / "a.fits", asked), asked, {})
    assert table.units.ra == unit
    assert "--units" in told
    given = replace(asked, units=sky_units({"ra": "deg"}))
    table, told = guessed_entry(open_table(tmp_path / "a.fits", given), given, {})
    assert (table.units.ra, told) == ("deg", "as given")


def test_sheared_versions_are_told_by_check(tmp_path, capsys):
    one = strip(**SMALL)
    five = vstack([one] * 5)
    five["e1"] += np.repeat(0.01 * np.arange(5), len(one))
    five.write(tmp_path / "a.fits")
    assert main(["check", str(tmp_path / "a.fits")]) == 1
    assert "the same galaxies several times" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "a.fits"), "--allow-duplicates"]) == 0
    assert "repeated     100 % of galaxies" in capsys.readouterr().out
    one.write(tmp_path / "b.fits")
    assert main(["check", str(tmp_path / "b.fits")]) == 0
    assert "repeated" not in capsys.readouterr().out


def test_units_that_nobody_knows_are_refused(capsys):
    assert main(["check", "a.fits", "--units", "ra=hours"]) == 1
    assert "--units has ra=hours; it takes ra in deg, rad" in capsys.readouterr().err
    assert main(["check", "a.fits", "--units", "dec=hourangle"]) == 1
    assert "--units has dec=hourangle" in capsys.readouterr().err
    assert main(["check", "a.fits", "--units", "ra"]) == 1
    assert "--units is 'ra'; write it as in ra=hourangle,dec=deg." in capsys.readouterr().err


def test_a_reader_who_has_seen_enough_gets_no_traceback(tmp_path):
    strip(hours=False).write(tmp_path / "a.fits")
    command = [sys.executable, "-m", "analysis", "check", str(tmp_path / "a.fits")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in told
    assert "BrokenPipe" not in told


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["ra=A,dec=D"], {"ra": "A", "dec": "D"}),
        (["ra = A B , dec= D.e-f,"], {"ra": "A B", "dec": "D.e-f"}),
        (["ra=('a', 'ra'),dec=('a', 'dec')"], {"ra": "('a', 'ra')", "dec": "('a', 'dec')"}),
        (["ra=a,b", "dec=x=y"], {"ra": "a,b", "dec": "x=y"}),
        (['ra="a,dec=""b""",e1=" c",dec=d'], {"ra": 'a,dec="b"', "e1": " c", "dec": "d"}),
        (["ra=A", "ra=B"], {"ra": "B"}),
        ([], {}),
    ],
)
def test_an_option_can_give_any_name(texts, found):
    assert _named("--columns", texts, "ra=A") == found


@pytest.mark.parametrize("text", ["ra", "ra=", "=A", "ra=,dec=D", ",ra=A", "ra A"])
def test_an_option_that_gives_none_is_told(text):
    with pytest.raises(BorderError, match=r"--columns is .*; write it as in ra=A"):
        _named("--columns", [text], "ra=A")


ALPHA = "\N{GREEK SMALL LETTER ALPHA}"


@pytest.mark.parametrize("names", [("a,b=c", "d e", 'f"g', " h", ALPHA), ("('s', 1)", "`x`", "e1-e2", "null", "1")])
def test_names_of_any_kind_are_given_cut_and_pasted(names, tmp_path, monkeypatch):
    """Into a terminal that knows ASCII alone."""
    table = strip(**SMALL)
    columns = {name: table[old].data for name, old in zip(names, ("ra", "dec", "e1", "e2", "e1"), strict=True)}
    parquet.write_table(pa.table(columns), tmp_path / f"2 {ALPHA}.parquet")
    quoted = [name.replace('"', '""') for name in names]
    options = [
        f'--columns={role}="{name}"' for role, name in zip(("ra", "dec", "e1", "e2", "weight"), quoted, strict=True)
    ]
    cut = " & ".join(f"`{name.replace('`', '``')}` > -0.1" for name in (names[2], names[4]))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    columns[names[4]] = np.abs(columns[names[4]])
    parquet.write_table(pa.table(columns), tmp_path / f"2 {ALPHA}.parquet")
    assert main(["check", str(tmp_path / f"2 {ALPHA}.parquet"), *options, "--cuts", cut]) == 0
    said = out.buffer.getvalue().decode("ascii")
    assert f"{len(table)} rows (parquet), {(columns[names[2]] > -0.1).sum()} kept" in said
    entry = yaml.safe_load(said.split("Its entry:\n\n")[1].split("\nNot found")[0])
    content = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    content["fields"] |= entry
    field = checked_params(content, "params.yaml").fields["field_2"]
    assert needed_columns(field.catalogue) == list(names)


def test_what_is_refused_is_told_in_any_terminal(tmp_path, monkeypatch):
    strip(**SMALL).write(tmp_path / "a.fits")
    err = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stderr", err)
    assert main(["check", str(tmp_path / "a.fits"), f"--columns=ra={ALPHA}\udcff"]) == 1
    err.flush()
    assert err.buffer.getvalue().decode("latin-1").startswith(r"column '\u03b1\udcff' is not in")


def test_a_name_with_a_blank_is_guessed_or_meant(tmp_path, capsys):
    table = strip(**SMALL)
    parquet.write_table(pa.table({f" {name}": table[name].data for name in table.colnames}), tmp_path / "a.parquet")
    assert main(["check", str(tmp_path / "a.parquet")]) == 0
    assert "ra =  ra, dec =  dec" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "a.parquet"), "--columns=ra=ra"]) == 1
    assert "did you mean ' ra'?" in capsys.readouterr().err


def guessed(tmp_path, given=None, **columns):
    """The entry that is guessed for a field with more columns, and what was left out of it."""
    table = strip(hours=False, density=1.0)
    for name, values in columns.items():
        table[name] = np.broadcast_to(values, len(table))
    table.write(tmp_path / "a.fits", overwrite=True)
    asked = CatalogueTable(str(tmp_path / "a.fits"), TableColumns("", "", "", ""))
    opened = open_table(tmp_path / "a.fits", asked, suits=lambda names: True)
    entry, _ = guessed_entry(opened, asked, given or {})
    return opened, *without_bad_guesses(opened, entry, given or {})


@pytest.mark.parametrize(
    ("columns", "role"),
    [
        ({"m": 1.02}, "multiplicative_bias"),  # 1 + m
        ({"m": 13.5}, "multiplicative_bias"),  # a logarithm of a mass
        ({"m": "F814W"}, "multiplicative_bias"),
        ({"R11": 9.5}, "response"),  # a radius
        ({"R11": 0.7, "R22": 0.0}, "response"),
        ({"w": -0.9}, "weight"),  # of dark energy
        ({"W": np.nan}, "weight"),
    ],
)
def test_a_guess_that_its_values_contradict_is_left_out(tmp_path, columns, role):
    opened, entry, left_out = guessed(tmp_path, **columns)
    assert (entry.columns.weight, entry.response, entry.multiplicative_bias) == (None, None, None)
    assert len(left_out) == 1
    assert re.search(rf"^\w+, whose values .* are no {role}; --columns {role}=NAME names another$", left_out[0])
    center_of_table(opened, entry)


def test_a_guess_that_its_values_confirm_stays(tmp_path):
    codes = np.where(
        np.arange(len(strip(hours=False, density=1.0))) % 5 == 0, -99, 2.0
    )  # of a weight, in rows to be cut
    _, entry, left_out = guessed(tmp_path, m=-0.1, R11=0.7, R22=0.65, weight=codes)
    assert (entry.columns.weight, entry.response, entry.multiplicative_bias) == ("weight", ["R11", "R22"], "m")
    assert left_out == []


@pytest.mark.parametrize(("role", "value"), [("multiplicative_bias", 24.0), ("response", 12.0), ("response", -0.7)])
def test_nonsense_that_the_user_names_is_refused(tmp_path, role, value):
    opened, entry, left_out = guessed(tmp_path, {role: "mag"}, mag=value)
    assert (getattr(entry, role), left_out) == ("mag", [])
    told = r"mean response of .*'mag'.* nothing can be divided; correct or remove `response`"
    with pytest.raises(BorderError, match=told):
        shear_from_table(opened, entry, Grid(32, 2.0, 150.0, -20.0))


def test_what_is_left_out_is_said(tmp_path, capsys):
    table = strip(hours=False, density=2.0)
    table["m"] = 24.5
    table["ra"].unit = "deg"
    table.write(tmp_path / "a.fits")
    assert main(["check", str(tmp_path / "a.fits")]) == 0
    told = capsys.readouterr().out
    assert "\nleft out     m, whose values (24.5, 24.5, ...) are no multiplicative_bias" in told
    assert "multiplicative_bias: m" not in told
    assert "\nunits        as the file states for RA; degrees for Dec\n" in told


@pytest.mark.parametrize("survey", SURVEYS, ids=lambda survey: survey.name)
def test_a_survey_is_known_by_its_columns_and_filled_in(survey, tmp_path, capsys):
    bare, table = strip(hours=False, density=2.0), Table()
    weight, n = np.full(len(bare), 1.5), len(bare)
    for role, name in survey.columns.items():
        table[name] = weight if role == "weight" else bare[role]
    for name in survey.response if isinstance(survey.response, list) else ():
        table[name] = np.full(n, 0.7)
    if survey.multiplicative_bias:
        table[survey.multiplicative_bias] = np.full(n, -0.1)
    for name in {*cut_columns(survey.cuts)} - {*table.colnames}:
        table[name] = np.arange(n) % 2
    table["m"] = np.full(n, 0.02)  # of whatever else
    table.write(tmp_path / "a.fits")
    assert main(["check", str(tmp_path / "a.fits")]) == 0
    told = capsys.readouterr().out
    assert f"\nsurvey       {survey.name}, by its columns; see paper/guide/surveys.md" in told
    catalogue = yaml.safe_load(told.split("Its entry:\n\n")[1].split("\nNot found")[0])["a"]["catalogue"]
    assert catalogue["columns"] == survey.columns
    assert catalogue.get("multiplicative_bias") == survey.multiplicative_bias or "m"
    assert [catalogue.get(name) for name in ("response", "cuts")] == [survey.response, survey.cuts]
    named = TableColumns(*("ra", "dec"), *(survey.columns[role] for role in ("e2", "e1")))
    asked = CatalogueTable(str(tmp_path / "a.fits"), named, cuts="m > 0")
    opened = open_table(tmp_path / "a.fits", asked)
    own, _ = guessed_entry(opened, asked, {"e1": named.e1, "e2": named.e2})
    assert own.response != 1.68 or not survey.response, "that of other ellipticities"
    kept, _ = guessed_entry(opened, asked, {})
    assert kept.cuts == (f"({survey.cuts}) & (m > 0)" if survey.cuts else "m > 0")
    table.remove_column(survey.columns["e1"])
    assert known_survey(table.colnames) is None


def test_surveys_are_those_of_the_guide():
    """Its entries have the columns, and the response where it has columns."""
    text = (ROOT / "paper" / "guide" / "surveys.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"(?:^(?:    .*|)\n)+", text, re.MULTILINE) if ":" in block]
    told = [block["catalogue"] for block in blocks]
    assert [each["columns"] for each in told] == [survey.columns for survey in SURVEYS]
    assert [each.get("response") for each in told] == [survey.response for survey in SURVEYS]


@pytest.mark.parametrize(
    ("names", "given", "good"),
    [
        (("c.ra", "c.dec", "e1", "e2"), {}, True),
        (("coord.RA", "coord.DEC", "g1", "g2"), {}, True),
        (("c.ra", "c.dec", "d.ra", "d.dec", "e1", "e2"), {}, False),  # of which position?
        (("c.ra", "c.dec", "d.ra", "d.dec", "e1", "e2"), {"ra": "d.ra", "dec": "d.dec"}, True),
        (("ra", "dec", "e1", "e2"), {"weight": "lost"}, False),
        (("ra", "dec", "a", "b"), {"e1": "a"}, False),
    ],
)
def test_which_tables_suit(names, given, good):
    assert has_usual_columns(names, given) == good


def test_the_table_that_suits_is_taken(tmp_path, capsys):
    table = strip(hours=False, density=2.0)
    table.rename_columns(["e1", "e2"], ["a", "b"])
    places = fits.BinTableHDU(table["ra", "dec"], name="PLACES")
    fits.HDUList([fits.PrimaryHDU(), places, fits.BinTableHDU(table, name="SHAPES")]).writeto(tmp_path / "a.fits")
    assert main(["check", str(tmp_path / "a.fits"), "--columns", "e1=a,e2=b"]) == 0
    assert "e1 = a, e2 = b" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "a.fits")]) == 1
    told = capsys.readouterr().err
    assert "none has all columns (HDUs: 0 PRIMARY, 1 PLACES, 2 SHAPES); set `hdu` of the catalogue, or --hdu" in told
    assert main(["check", str(tmp_path / "a.fits"), "--hdu", "SHAPES"]) == 1
    assert "no column that is surely e1 or e2 (columns: ra, dec, a, b)" in capsys.readouterr().err


MICE = Path(os.environ.get("DATA_MIRROR", "")) / "suites" / "mice_catalogue.fits"


@pytest.mark.skipif(not MICE.is_file(), reason="NOT TESTED: needs suites/mice_catalogue.fits in DATA_MIRROR, a folder")
def test_a_simulation_of_others_is_mapped_onto_its_own_convergence(capsys):
    """Shear of MICE, in a frame that `check` has to find; Kaiser-Squires then has to give the convergence beside it."""
    assert main(["check", str(MICE)]) == 0
    told = capsys.readouterr().out
    entry = yaml.safe_load(told.split("Its entry:\n\n")[1].split("\nNot found")[0])["mice_catalogue"]
    asked = TypeAdapter(CatalogueTable).validate_json(json.dumps(entry["catalogue"]))
    assert (asked.flip_e1, asked.flip_e2) == (True, False)
    opened, galaxies = open_table(MICE, asked), Table.read(MICE)
    grid = Grid(96, 0.88, *center_of_table(opened, asked))
    seen, _ = shear_from_table(opened, asked, grid)
    row, column, _ = grid.pixel_indices(np.asarray(galaxies["ra"]), np.asarray(galaxies["dec"]))
    number, total = np.zeros((2, *grid.shape))
    np.add.at(number, (row, column), 1)
    np.add.at(total, (row, column), np.asarray(galaxies["kappa"]))
    truth = gaussian_filter(total / np.maximum(number, 1), 1 / grid.pixel_arcmin)
    found = smoothed_kaiser_squires(seen.gamma, 1.0, grid.pixel_arcmin)
    inner = np.s_[22:74, 22:74]
    assert np.corrcoef(found[inner].ravel(), truth[inner].ravel())[0, 1] > 0.9
