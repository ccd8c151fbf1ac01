"""Tables of other surveys: whatever format, names, units, signs and calibration, the observation is the same."""

import hashlib
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from pyarrow import parquet

from analysis.files import BorderError
from analysis.galaxies import Cells, Galaxies, galaxies_of, located, observed, open_table
from analysis.params import CatalogueTable, SkyUnits, TableColumns
from analysis.sky import Grid, bin_catalogue

GRID = Grid(16, 4.0, 0.1, -40.0)
N = 900
NAMES = TableColumns("ALPHA", "DELTA", "G1", "G2", "W")
SUFFIX = {"fits": ".fits", "parquet": ".parquet", "csv": ".csv", "ecsv": ".ecsv", "hdf5": ".hdf5"}


def galaxies():
    rng = np.random.default_rng(0)
    return {
        "ALPHA": (0.1 + rng.uniform(-0.7, 0.7, N)) % 360,
        "DELTA": -40 + rng.uniform(-0.5, 0.5, N),
        "G1": rng.normal(0, 0.3, N).clip(-1.5, 1.5),
        "G2": rng.normal(0, 0.3, N).clip(-1.5, 1.5),
        "W": rng.uniform(0.1, 2, N),
        "z_b": rng.uniform(0, 1.5, N),
        "fitclass": rng.integers(0, 3, N),
        "tract": np.where(rng.uniform(size=N) < 0.5, "north", "south"),
    }


PLAIN = galaxies()


def reference(rows=slice(None), **changed):
    names = ("ALPHA", "DELTA", "G1", "G2", "W")
    return bin_catalogue(*(({**PLAIN, **changed})[name][rows] for name in names), grid=GRID)


def write(path, columns, kind):
    """A table in one of the formats, in several row groups or chunks where it has them."""
    if kind == "parquet":
        parquet.write_table(pa.table(columns), path, row_group_size=200)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[f"shapes/{name}"] = values.astype("S5") if values.dtype.kind == "U" else values
    else:
        Table(columns).write(
            path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits"}[kind], overwrite=True
        )
    return path


@pytest.fixture
def table(tmp_path):
    """Write a table and give the entry that describes it."""

    def make(data=PLAIN, kind="fits", **entry):
        path = write(tmp_path / f"cat{SUFFIX[kind]}", data, kind)
        return CatalogueTable(**({"path": str(path), "columns": NAMES} | entry))

    return make


def binned(entry, **options):
    return observed(open_table(located(entry), entry), entry, GRID, **options)


def assert_same(one, other):
    np.testing.assert_allclose(one.gamma, other.gamma, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-6)
    np.testing.assert_array_equal(one.count, other.count)


@pytest.mark.parametrize("kind", SUFFIX)
def test_every_format_gives_the_same(table, kind, monkeypatch):
    for module in ("fits_table", "parquet_table", "hdf5_table"):
        monkeypatch.setattr(f"analysis.galaxies.{module}.CHUNK_ROWS", 256)
    monkeypatch.setattr("analysis.galaxies.text_table.BLOCK_BYTES", 2**14)
    entry = table(kind=kind)
    opened = open_table(located(entry), entry)
    assert (len(list(galaxies_of(opened, entry))) > 1) == (kind != "ecsv")
    assert opened.rows == (None if kind == "csv" else N)
    assert_same(binned(entry)[0], reference())
    cut = table(kind=kind, cuts="z_b > 0.5 & fitclass != 1 & tract == 'north'")
    kept = (PLAIN["z_b"] > 0.5) & (PLAIN["fitclass"] != 1) & (PLAIN["tract"] == "north")
    observation, metrics = binned(cut)
    assert_same(observation, reference(kept))
    assert metrics["rows"] == kept.sum()


def test_a_table_written_by_astropy_as_hdf5_and_one_of_several(tmp_path):
    Table(PLAIN).write(tmp_path / "a.hdf5", path="deep/table", serialize_meta=True)
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["other/x"] = np.zeros(3)
    entry = CatalogueTable(str(tmp_path / "a.hdf5"), NAMES, key="deep/table")
    assert_same(binned(entry)[0], reference())
    with pytest.raises(BorderError, match=r"several tables \(tables: .*/deep/table.*set `key`"):
        binned(replace(entry, key=None))
    with pytest.raises(BorderError, match=r"no table 'deep' "):
        binned(replace(entry, key="deep"))


@pytest.mark.parametrize(
    ("unit", "name"), [(u.rad, "rad"), (u.arcsec, "arcsec"), (u.arcmin, "arcmin"), (u.hourangle, "hourangle")]
)
def test_units_of_the_file_or_of_the_entry(table, unit, name):
    ra, dec = (PLAIN["ALPHA"] * u.deg).to(unit), (PLAIN["DELTA"] * u.deg).to(unit if name != "hourangle" else u.deg)
    stated = table({**PLAIN, "ALPHA": ra, "DELTA": dec}, kind="ecsv")
    assert_same(binned(stated)[0], reference())
    units = SkyUnits(name, name if name != "hourangle" else None)
    silent = table({**PLAIN, "ALPHA": ra.value, "DELTA": dec.value}, units=units)
    assert_same(binned(silent)[0], reference())
    if name != "hourangle":  # some galaxies so near RA 0 stay on the grid
        with pytest.raises(BorderError, match=r"`units`"):
            binned(replace(silent, units=SkyUnits()))


def test_the_unit_of_a_fits_file_and_one_that_is_none(table):
    assert_same(binned(table({**PLAIN, "ALPHA": PLAIN["ALPHA"] * u.deg}))[0], reference())


def test_an_unknown_unit_is_told(tmp_path):
    columns = fits.ColDefs([fits.Column(name, "D", unit="furlong", array=PLAIN[name]) for name in list(PLAIN)[:5]])
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    entry = CatalogueTable(str(tmp_path / "a.fits"), NAMES)
    with pytest.raises(BorderError, match=r"column ALPHA .*states the unit 'furlong', which is no angle; give `units`"):
        binned(entry)
    assert_same(binned(replace(entry, units=SkyUnits("deg", "deg")))[0], reference())


@pytest.mark.parametrize("flips", [(True, False), (False, True), (True, True)])
def test_signs(table, flips):
    one, two = (-1 if flip else 1 for flip in flips)
    entry = table({**PLAIN, "G1": one * PLAIN["G1"], "G2": two * PLAIN["G2"]}, flip_e1=flips[0], flip_e2=flips[1])
    assert_same(binned(entry)[0], reference())


def test_no_weight_is_weight_one(table):
    entry = table(columns=replace(NAMES, weight=None))
    assert_same(binned(entry)[0], reference(W=np.ones(N)))


def test_response_and_bias_are_averaged_with_the_weights(table):
    rng = np.random.default_rng(1)
    more = {"R11": rng.normal(0.7, 0.3, N), "R22": rng.normal(0.6, 0.3, N), "m": rng.normal(-0.05, 0.02, N)}
    weight = PLAIN["W"]
    mean = {name: np.average(values, weights=weight) for name, values in more.items()}
    columns = {**PLAIN, **more}
    cases = {
        (0.7, None): (0.7, 0.7),
        ("R11", None): (mean["R11"], mean["R11"]),
        (("R11", "R22"), None): (mean["R11"], mean["R22"]),
        (None, -0.1): (0.9, 0.9),
        (("R11", "R22"), "m"): (mean["R11"] * (1 + mean["m"]), mean["R22"] * (1 + mean["m"])),
    }
    for (response, bias), (first, second) in cases.items():
        response = list(response) if isinstance(response, tuple) else response
        observation, metrics = binned(table(columns, kind="hdf5", response=response, multiplicative_bias=bias))
        expected = reference(G1=PLAIN["G1"] / first, G2=PLAIN["G2"] / second)
        assert_same(observation, expected)
        square = weight**2
        assert metrics["sigma_e2"] == pytest.approx(np.sqrt(np.average(PLAIN["G2"] ** 2, weights=square)) / second)
    with pytest.raises(BorderError, match=r"mean response .* nothing can be divided"):
        binned(table({**columns, "R11": more["R11"] - mean["R11"]}, kind="hdf5", response="R11"))


@pytest.mark.parametrize("kind", ["fits", "csv"])
def test_rows_from_the_top(table, kind):
    assert_same(binned(table(kind=kind), rows=300)[0], reference(slice(300)))
    with pytest.raises(BorderError, match=rf"has {N} rows, the field asks for {N + 1}; lower"):
        binned(replace(table(kind="hdf5")), rows=N + 1)


def test_scaled_integers_and_null_are_read_as_meant(tmp_path):
    whole = np.round(PLAIN["G1"] / 1e-4).astype(np.int16)
    columns = [fits.Column("G1", "I", array=whole)]
    columns += [fits.Column(name, "D", array=PLAIN[name]) for name in ("ALPHA", "DELTA", "G2")]
    columns.append(fits.Column("W", "J", bzero=2**31, array=np.arange(N, dtype=np.uint32) + 2**31))
    columns.append(fits.Column("f", "J", null=-99, array=np.where(np.arange(N) < 5, -99, 1)))
    columns.append(fits.Column("ok", "L", array=np.arange(N) % 2 == 0))
    columns.append(fits.Column("wide", "3E", array=np.zeros((N, 3))))
    columns.append(fits.Column("bits", "11X", array=np.zeros((N, 11), bool)))
    table = fits.BinTableHDU.from_columns(columns)
    table.header["TSCAL1"] = 1e-4
    table.writeto(tmp_path / "a.fits")
    entry = CatalogueTable(str(tmp_path / "a.fits"), NAMES, cuts="f == 1 & ok")
    kept = (np.arange(N) >= 5) & (np.arange(N) % 2 == 0)
    observation, _ = binned(entry)
    assert_same(observation, reference(kept, G1=whole * 1e-4, W=np.arange(N) + 2.0**31))
    with pytest.raises(BorderError, match=r"column wide .* holds 3 values a row"):
        binned(replace(entry, columns=replace(NAMES, e1="wide")))


def test_a_digest_guards_the_file_and_a_missing_one_is_told(table, tmp_path, monkeypatch):
    entry = table()
    digest = hashlib.sha256((tmp_path / "cat.fits").read_bytes()).hexdigest()
    assert located(replace(entry, sha256=digest)) == tmp_path / "cat.fits"
    with pytest.raises(BorderError, match="damaged or another file"):
        located(replace(entry, sha256="0" * 64))
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    with pytest.raises(BorderError, match=r"the catalogue absent.fits is not at .* or .*; correct `path`"):
        located(replace(entry, path="absent.fits"))
    address = f"https://127.0.0.1:9/{entry.path}"
    with pytest.raises(BorderError, match=r"does not answer .*; restore the network"):
        located(replace(entry, path=address, sha256=digest), cache=tmp_path / "cache")
    kept = tmp_path / "cache" / digest[:16] / "cat.fits"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "cat.fits", kept)
    assert located(replace(entry, path=address, sha256=digest), cache=tmp_path / "cache") == kept


def test_rows_that_stand_twice_are_told_or_allowed(table):
    twice = {name: np.concatenate([values, values[:7]]) for name, values in PLAIN.items()}
    entry = table(twice, kind="parquet")
    with pytest.raises(BorderError, match=r"has [1-7] of \d+ rows on the grid twice, .*set `allow_duplicates: true`"):
        binned(entry)
    assert binned(replace(entry, allow_duplicates=True))[1]["rows"] == N + 7


BIG, STEP = 2**53 + 1, np.arange(N) % 130  # a number that float64 rounds; redshifts in steps of 0.01
IDS = np.where(np.arange(N) == 7, 2**64 - 1, BIG - np.arange(N, dtype=np.uint64) % 2)
GAPS = STEP < 10


def identified(kind):
    """The galaxies with numbers of 64 bits and redshifts in single precision, some of them masked."""
    single = (STEP / 100).astype("f8" if kind == "csv" else "f4")  # text says what it says
    signed = np.where(np.arange(N) % 2, -BIG, BIG)
    masked = {"gaps": np.ma.array(signed, mask=GAPS), "zgaps": np.ma.array(single, mask=GAPS)}
    if kind == "parquet":
        masked = {name: pa.array(values.data, mask=GAPS) for name, values in masked.items()}
    return PLAIN | {"id": IDS, "z": single} | ({} if kind == "hdf5" else masked)


@pytest.mark.parametrize("kind", SUFFIX)
def test_a_cut_meets_identifiers_and_single_precision_as_the_file_has_them(kind, table, monkeypatch):
    monkeypatch.setattr("analysis.galaxies.text_table.BLOCK_BYTES", 2**14)
    cuts = {
        f"id == {BIG} | {BIG} == id": (np.arange(N) % 2 == 0),
        f"id >= {2**64 - 1}": np.arange(N) == 7,
        "z <= 0.29": STEP <= 29,
        "0.13 < z <= 0.58 | z == 0.7": ((STEP > 13) & (STEP <= 58)) | (STEP == 70),
    }
    if kind != "hdf5":
        cuts |= {
            f"gaps < -{BIG - 1} | {BIG} == gaps": ~GAPS,
            f"gaps != {BIG}": GAPS | (np.arange(N) % 2 == 1),
            "zgaps < 0.29": ~GAPS & (STEP < 29),
        }
    for text, right in cuts.items():
        entry = table(identified(kind), kind, cuts=text)
        taken = np.concatenate([each.ra_deg for each in galaxies_of(open_table(located(entry), entry), entry)])
        np.testing.assert_allclose(taken, PLAIN["ALPHA"][right], err_msg=text)


@pytest.mark.parametrize(
    ("kind", "length"), [("hdf5", "fixed"), ("hdf5", "variable"), ("parquet", ""), ("csv", ""), ("ecsv", "")]
)
def test_text_is_compared_in_its_own_letters(kind, length, tmp_path):
    name = "S\N{LATIN SMALL LETTER U WITH DIAERESIS}d"
    where = np.where(np.arange(N) < 50, name, "North")
    path = write(tmp_path / f"a{SUFFIX[kind]}", PLAIN if kind == "hdf5" else PLAIN | {"field": where}, kind)
    if kind == "hdf5":
        with h5py.File(path, "r+") as file:
            encoded = np.char.encode(where, "utf-8")
            file["shapes/field"] = encoded if length == "fixed" else encoded.astype(h5py.string_dtype())
    entry = CatalogueTable(str(path), NAMES, cuts=f"field == '{name}'")
    assert sum(len(each.e1) for each in galaxies_of(open_table(path, entry), entry)) == 50


def test_whole_numbers_of_text_may_have_others_after_them_and_blanks_beside_commas(tmp_path):
    """Blocks of whole numbers, of decimals and of gaps; names and values behind a blank, as in `ra, dec`."""
    rows = [
        f"{10 + i % 9 / 10}, {i % 7 / 10}, 0.1, -0.2, {i if i < 300 else i / 2 if i < 600 else ''}, a\n"
        for i in range(N)
    ]
    (tmp_path / "a.csv").write_text(" ra, dec , e1, e2, w, field\n" + "".join(rows), encoding="utf-8")
    entry = CatalogueTable(
        str(tmp_path / "a.csv"), TableColumns("ra", "dec", "e1", "e2"), cuts="w < 200 & field == 'a'"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.galaxies.text_table.BLOCK_BYTES", 2**12)
        opened = open_table(tmp_path / "a.csv", entry)
        assert opened.columns == ("ra", "dec", "e1", "e2", "w", "field")
        found = list(galaxies_of(opened, entry))
    assert len(found) > 3
    assert sum(len(each.e1) for each in found) == 200 + 100


def test_a_name_that_reads_like_arithmetic_must_be_quoted(table):
    data = PLAIN | {"mag": PLAIN["z_b"] + 20, "err": PLAIN["z_b"], "mag-err": PLAIN["W"]}
    with pytest.raises(BorderError, match=r"'mag-err' of .*cat\.parquet, or reckon with several; write backticks"):
        binned(table(data, "parquet", cuts="mag-err < 1"))
    assert binned(table(data, "parquet", cuts="`mag-err` < 1"))[1]["rows"] == (PLAIN["W"] < 1).sum()
    assert binned(table(data, "parquet", cuts="mag - err < 21"))[1]["rows"] == N


def versions(offset_arcsec, *, share=1.0, number=2):
    """The galaxies, and a share of them again with other shapes, so far away."""
    again = int(share * N)
    rng = np.random.default_rng(5)
    parts = [PLAIN | {"version": np.zeros(N, int)}]
    for version in range(1, number):
        angle = rng.uniform(0, 2 * np.pi, again)
        part = {name: values[:again].copy() for name, values in PLAIN.items()}
        part["DELTA"] += offset_arcsec * np.sin(angle) / 3600
        part["ALPHA"] += offset_arcsec * np.cos(angle) / 3600 / np.cos(np.deg2rad(40))
        part["G1"] += 0.01 * version
        parts.append(part | {"version": np.full(again, version)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize(
    ("offset_arcsec", "share", "number"), [(0.0, 1.0, 2), (0.0, 0.2, 2), (0.05, 1.0, 5), (0.2, 1.0, 2), (0.02, 0.1, 3)]
)
def test_galaxies_that_stand_several_times_with_other_shapes_are_told_or_allowed(table, offset_arcsec, share, number):
    entry = table(versions(offset_arcsec, share=share, number=number))
    with pytest.raises(
        BorderError, match=r"the same galaxies several times .* % of those .*set `allow_duplicates: true`"
    ):
        binned(entry)
    assert binned(replace(entry, allow_duplicates=True))[1]["rows"] > N
    assert binned(replace(entry, cuts="version == 0"))[1]["rows"] == N


@pytest.mark.parametrize(("offset_arcsec", "share"), [(0.0, 0.02), (0.6, 1.0)])
def test_blends_and_neighbours_are_different_galaxies(table, offset_arcsec, share):
    binned(table(versions(offset_arcsec, share=share)))
    weightless = versions(0.0)
    weightless["W"] = np.where(weightless["version"] == 1, 0.0, weightless["W"])
    binned(table(weightless))


@pytest.mark.parametrize("repeats", [1, 4])
def test_cells_of_many_galaxies_are_a_fair_sample_of_few(repeats, monkeypatch):
    monkeypatch.setattr("analysis.galaxies.totals.MOST_CELLS", 5000)
    rng = np.random.default_rng(6)
    ra_deg, dec_deg = (
        np.repeat(values, repeats) for values in (rng.uniform(0, 360, 40_000), rng.uniform(-90, 90, 40_000))
    )
    ones, cells = np.ones(len(ra_deg)), Cells()
    for part in np.array_split(rng.permutation(len(ra_deg)), 7):
        few = ones[part]
        cells.add(Galaxies(ra_deg[part], dec_deg[part], few, few, few, few, few, len(part)), few > 0)
    assert 2000 < len(cells.numbers) <= 5000
    assert cells.repeated() == float(repeats > 1)


def test_few_cells_are_of_the_whole_field(monkeypatch):
    """Galaxies stand twice in the north alone."""
    monkeypatch.setattr("analysis.galaxies.totals.MOST_CELLS", 5000)
    dec_deg = np.random.default_rng(7).uniform(-60, 60, 40_000)
    dec_deg = np.concatenate([dec_deg, dec_deg[dec_deg > 0]])
    ones, cells = np.ones(len(dec_deg)), Cells()
    cells.add(Galaxies(ones, dec_deg, ones, ones, ones, ones, ones, len(dec_deg)), ones > 0)
    assert cells.repeated() == pytest.approx(2 / 3, abs=0.05)
