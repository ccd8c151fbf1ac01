"""Tables of other surveys: whatever format, names, units, signs and calibration, the observation is the same."""

import hashlib
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.time import Time
from pyarrow import parquet

from analysis.core.files import BorderError
from analysis.params import CatalogueTable, SkyUnits, TableColumns
from analysis.sky import Grid, bin_catalogue
from analysis.survey.galaxies import OccupiedCells, shear_from_table
from analysis.survey.table_formats import open_table
from analysis.survey.tables import Thinned, table_path
from analysis.survey.units_and_signs import Galaxies, galaxies_of
from analysis.tools.guessed_columns import has_usual_columns

GRID = Grid(16, 4.0, 0.1, -40.0)
N = 900
NAMES = TableColumns("ALPHA", "DELTA", "G1", "G2", "W")
NUMBERS = ("ALPHA", "DELTA", "G1", "G2", "W")
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
    return shear_from_table(open_table(table_path(entry), entry), entry, GRID, **options)


def assert_same(one, other):
    np.testing.assert_allclose(one.gamma, other.gamma, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-6)
    np.testing.assert_array_equal(one.count, other.count)


@pytest.mark.parametrize("kind", SUFFIX)
def test_every_format_gives_the_same(table, kind, monkeypatch):
    for module in ("table_formats", "hdf5_table"):
        monkeypatch.setattr(f"analysis.survey.{module}.CHUNK_ROWS", 256)
    monkeypatch.setattr("analysis.survey.table_formats.BLOCK_BYTES", 2**14)
    entry = table(kind=kind)
    opened = open_table(table_path(entry), entry)
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
    assert table_path(replace(entry, sha256=digest)) == tmp_path / "cat.fits"
    with pytest.raises(BorderError, match="damaged or another file"):
        table_path(replace(entry, sha256="0" * 64))
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    with pytest.raises(BorderError, match=r"the catalogue absent.fits is not at .* or .*; correct `path`"):
        table_path(replace(entry, path="absent.fits"))
    address = f"https://127.0.0.1:9/{entry.path}"
    with pytest.raises(BorderError, match=r"does not answer .*; restore the network"):
        table_path(replace(entry, path=address, sha256=digest), cache=tmp_path / "cache")
    kept = tmp_path / "cache" / digest[:16] / "cat.fits"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "cat.fits", kept)
    assert table_path(replace(entry, path=address, sha256=digest), cache=tmp_path / "cache") == kept


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
    monkeypatch.setattr("analysis.survey.table_formats.BLOCK_BYTES", 2**14)
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
        taken = np.concatenate([each.ra_deg for each in galaxies_of(open_table(table_path(entry), entry), entry)])
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
        patch.setattr("analysis.survey.table_formats.BLOCK_BYTES", 2**12)
        opened = open_table(tmp_path / "a.csv", entry)
        assert opened.columns == ("ra", "dec", "e1", "e2", "w", "field")
        found = list(galaxies_of(opened, entry))
    assert len(found) > 3
    assert sum(len(each.e1) for each in found) == 200 + 100


def test_a_name_that_reads_like_arithmetic_must_be_quoted(table):
    data = PLAIN | {"mag": PLAIN["z_b"] + 20, "err": PLAIN["z_b"], "mag-err": PLAIN["W"]}
    with pytest.raises(BorderError, match=r"'mag-err' of .*cat\.parquet, or arithmetic with several; write backticks"):
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
    monkeypatch.setattr("analysis.survey.galaxies.MOST_CELLS", 5000)
    rng = np.random.default_rng(6)
    ra_deg, dec_deg = (
        np.repeat(values, repeats) for values in (rng.uniform(0, 360, 40_000), rng.uniform(-90, 90, 40_000))
    )
    ones, cells = np.ones(len(ra_deg)), OccupiedCells()
    for part in np.array_split(rng.permutation(len(ra_deg)), 7):
        few = ones[part]
        cells.add(Galaxies(ra_deg[part], dec_deg[part], few, few, few, few, few, len(part)), few > 0)
    assert 2000 < len(cells.numbers) <= 5000
    assert cells.repeated() == float(repeats > 1)


def test_a_sample_of_many_rows_is_spread_over_all_of_them():
    sample = Thinned(2, 10)
    for part in np.array_split(np.arange(2000.0).reshape(2, 1000), 7, axis=1):
        sample.add(part)
    assert 10 <= sample.kept.shape[1] <= 20
    np.testing.assert_array_equal(sample.kept[1], sample.kept[0] + 1000)
    assert np.diff(sample.kept[0], prepend=0, append=1000).max() < 200


def test_few_cells_are_of_the_whole_field(monkeypatch):
    """Galaxies stand twice in the north alone."""
    monkeypatch.setattr("analysis.survey.galaxies.MOST_CELLS", 5000)
    dec_deg = np.random.default_rng(7).uniform(-60, 60, 40_000)
    dec_deg = np.concatenate([dec_deg, dec_deg[dec_deg > 0]])
    ones, cells = np.ones(len(dec_deg)), OccupiedCells()
    cells.add(Galaxies(ones, dec_deg, ones, ones, ones, ones, ones, len(dec_deg)), ones > 0)
    assert cells.repeated() == pytest.approx(2 / 3, abs=0.05)


# what a file states beside its values

FAILED = np.arange(N) % 7 == 3


def assert_missing(entry, column, cuts, **changed):
    """Values that a file calls missing are told, and a cut on their column drops them."""
    with pytest.raises(BorderError, match=rf"column {column} of .* is nan in row 3 .*: cut rows"):
        binned(entry)
    assert_same(binned(replace(entry, cuts=cuts))[0], reference(~FAILED, **changed))


@pytest.mark.parametrize("kind", SUFFIX)
@pytest.mark.parametrize("mask", [FAILED, FAILED.astype(np.uint8)])
def test_a_mask_beside_a_column_is_its_mask(table, kind, mask):
    data = {**PLAIN, "G2": np.where(FAILED, 0.7, PLAIN["G2"]), "G2.mask": mask}
    assert_missing(table(data, kind=kind), "G2", "G2 > -2")
    data = {**PLAIN, "fitclass.mask": mask}
    assert_same(binned(table(data, kind=kind, cuts="fitclass >= 0"))[0], reference(~FAILED))


def test_a_mask_of_words_is_told(table):
    with pytest.raises(BorderError, match=r"column W.mask of .* holds text; write the mask of W as true"):
        binned(table({**PLAIN, "W.mask": np.where(FAILED, "masked", "good")}))


def test_nulls_of_arrow_are_missing(table):
    assert_missing(table({**PLAIN, "W": pa.array(PLAIN["W"], mask=FAILED)}, kind="parquet"), "W", "W > 0")


def test_nulls_of_fits_are_missing_in_numbers_and_truths(tmp_path):
    columns = [fits.Column(name, "D", array=PLAIN[name]) for name in ("ALPHA", "DELTA", "G2", "W")]
    columns.append(fits.Column("G1", "E", array=np.where(FAILED, -0.9, PLAIN["G1"])))
    columns.append(fits.Column("byte", "B", null=300, array=np.full(N, 44, np.uint8)))  # 300 - 256, and not missing
    columns.append(fits.Column("ok", "L", array=~FAILED))
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["TNULL5"] = -0.9
    hdu.writeto(tmp_path / "a.fits")
    entry = CatalogueTable(str(tmp_path / "a.fits"), NAMES, cuts="byte == 44")
    single = PLAIN["G1"].astype(np.float32)
    assert_missing(entry, "G1", "G1 > -2 & byte == 44", G1=single)
    raw = bytearray((tmp_path / "a.fits").read_bytes())
    with fits.open(tmp_path / "a.fits") as file:
        at, width = file[1].fileinfo()["datLoc"], file[1].header["NAXIS1"]
    raw[at + width - 1] = 0  # the truth of the first row is neither T nor F
    (tmp_path / "a.fits").write_bytes(raw)
    first = np.arange(N) == 0
    for cuts, kept in (("ok >= 0", ~FAILED & ~first), ("ok < 1", np.zeros(N, bool))):
        entry = replace(entry, cuts=f"G1 > -2 & {cuts}")
        if kept.any():
            assert_same(binned(entry)[0], reference(kept, G1=single))
        else:
            with pytest.raises(BorderError, match=r"cuts .* leave none"):
                binned(entry)


@pytest.mark.parametrize("missing", ["_FillValue", "missing_value"])
def test_packed_columns_of_hdf5_are_unpacked(table, tmp_path, missing):
    entry = table(PLAIN, kind="hdf5")
    packed = np.where(FAILED, -9999, np.round((PLAIN["G1"] + 0.5) / 1e-4)).astype(np.int16)
    with h5py.File(tmp_path / "cat.hdf5", "a") as file:
        del file["shapes/G1"]
        file["shapes/G1"] = packed
        attributes = {missing: np.int16(-9999), "scale_factor": np.array([1e-4]), "add_offset": -0.5}
        file["shapes/G1"].attrs.update(attributes)
    assert_missing(entry, "G1", "G1 > -3", G1=packed * 1e-4 - 0.5)


@pytest.mark.parametrize("kind", ["hdf5", "parquet", "ecsv"])
def test_units_that_astropy_keeps_in_its_own_header(tmp_path, kind):
    hours = (PLAIN["ALPHA"] / 15) * u.hourangle
    positions = {"ALPHA": hours, "DELTA": (PLAIN["DELTA"] * 60) * u.arcmin}
    path = tmp_path / f"a{SUFFIX[kind]}"
    QTable({**PLAIN, **positions}).write(path, **({"path": "cat", "serialize_meta": True} if kind == "hdf5" else {}))
    assert_same(binned(CatalogueTable(str(path), NAMES))[0], reference())


@pytest.mark.parametrize(("key", "unit"), [("unit", "RADIANS"), ("Units", b"Rad"), ("UNIT", "radian")])
def test_units_among_the_attributes_of_a_column(table, tmp_path, key, unit):
    radians = {**PLAIN, "ALPHA": np.deg2rad(PLAIN["ALPHA"]), "DELTA": np.deg2rad(PLAIN["DELTA"])}
    hdf5 = table(radians, kind="hdf5")
    with h5py.File(tmp_path / "cat.hdf5", "a") as file:
        for name in ("ALPHA", "DELTA"):
            file[f"shapes/{name}"].attrs[key] = unit
    assert_same(binned(hdf5)[0], reference())
    fields = [pa.field(n, pa.float64(), metadata={key: unit} if n in ("ALPHA", "DELTA") else None) for n in NUMBERS]
    parquet.write_table(pa.table([radians[n] for n in NUMBERS], pa.schema(fields)), tmp_path / "a.parquet")
    assert_same(binned(CatalogueTable(str(tmp_path / "a.parquet"), NAMES))[0], reference())


@pytest.mark.parametrize("unit", ["DEG", "Degrees", "degrees_east", "(deg)", "deg"])
def test_the_same_unit_in_other_words(table, tmp_path, unit):
    entry = table(PLAIN)
    for name in (1, 2):
        fits.setval(tmp_path / "cat.fits", f"TUNIT{name}", value=unit, ext=1)
    assert_same(binned(entry)[0], reference())


@pytest.mark.parametrize(("number", "unit"), [(1, "rad"), (2, "rad"), (2, "deg"), (1, "arcmin")])
def test_a_unit_of_one_position_alone_is_asked_for(table, tmp_path, number, unit):
    entry = table(PLAIN)
    fits.setval(tmp_path / "cat.fits", f"TUNIT{number}", value=unit, ext=1)
    known, silent = ("ALPHA", "DELTA") if number == 1 else ("DELTA", "ALPHA")
    told = rf"column {known} of .* is in {unit}, and column {silent} has no unit; give `units` .* or --units of check"
    with pytest.raises(BorderError, match=told):
        binned(entry)
    assert_same(binned(replace(entry, units=SkyUnits("deg", "deg")))[0], reference())


# rows that HDF5 would make up


def test_a_virtual_table_is_read_where_it_is_whole_and_else_told(tmp_path):
    half = N // 2
    for number, rows in enumerate((slice(half), slice(half, N))):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            for name in NUMBERS:
                file.create_dataset(name, data=PLAIN[name][rows], chunks=(100,), maxshape=(None,))

    def virtual(pieces):
        with h5py.File(tmp_path / "all.h5", "w") as file:
            for name in NUMBERS:
                layout = h5py.VirtualLayout((N,), "f8")
                for number in pieces:
                    part = slice(half * number, half * (number + 1))
                    layout[part] = h5py.VirtualSource(f"part{number}.h5", name, (half,))[:half]
                file.create_virtual_dataset(name, layout)
        return CatalogueTable(str(tmp_path / "all.h5"), NAMES)

    assert_same(binned(virtual([0, 1]))[0], reference())
    with pytest.raises(BorderError, match=rf"column ALPHA .* virtual dataset of {N} rows whose pieces cover {half}"):
        binned(virtual([1]))
    entry = virtual([0, 1])
    with h5py.File(tmp_path / "part1.h5", "a") as file:
        file["G2"].resize((half - 1,))
    with pytest.raises(BorderError, match=r"column G2 .* is virtual, and part1.h5 has no G2 of its rows"):
        binned(entry)
    with h5py.File(tmp_path / "part1.h5", "a") as file:
        file["G2"].resize((half + 100,))
    with pytest.raises(BorderError, match=r"column G2 \(its piece part1.h5\) .* was never written in 1 of 6 chunks"):
        binned(entry)


def test_a_virtual_table_of_one_piece_and_one_without_end(table, tmp_path):
    table(PLAIN, kind="hdf5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in NUMBERS:
            layout = h5py.VirtualLayout((N,), "f8")
            layout[:] = h5py.VirtualSource("cat.hdf5", f"shapes/{name}", (N,))
            file.create_virtual_dataset(name, layout)
    entry = CatalogueTable(str(tmp_path / "a.h5"), NAMES)
    assert_same(binned(entry)[0], reference())
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["W"]
        layout = h5py.VirtualLayout((N,), "f8", maxshape=(None,))
        layout[: h5py.UNLIMITED] = h5py.VirtualSource("cat.hdf5", "shapes/W", (N,), maxshape=(None,))[: h5py.UNLIMITED]
        file.create_virtual_dataset("W", layout)
    with pytest.raises(BorderError, match=r"column W .* pieces without end .* copy its rows into a plain dataset"):
        binned(entry)


@pytest.mark.parametrize("chunks", [None, (100,)])
def test_rows_that_were_never_written_are_told(table, tmp_path, chunks):
    entry = table(PLAIN, kind="hdf5")
    with h5py.File(tmp_path / "cat.hdf5", "a") as file:
        del file["shapes/W"], file["shapes/G1"]
        file["shapes"].create_dataset("W", (N,), "f8", chunks=chunks, fillvalue=1)
        file["shapes"].create_dataset("G1", (N,), "f8", chunks=(100,), fillvalue=np.nan)[200:] = PLAIN["G1"][200:]
        if chunks:
            file["shapes/W"][: N - 200] = PLAIN["W"][: N - 200]
    with pytest.raises(BorderError, match=r"column W .* never written in (2 of 9|1 of 1) chunks.* gives 1.0; write"):
        binned(entry)
    with h5py.File(tmp_path / "cat.hdf5", "a") as file:
        file["shapes/W"][:] = PLAIN["W"]
    assert_same(binned(replace(entry, cuts="G1 > -2"))[0], reference(slice(200, N)))  # NaN is missing


def test_files_that_a_column_of_hdf5_lies_in_are_told_where_they_are_gone(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = table(PLAIN, kind="hdf5")
    with h5py.File("cat.hdf5", "a") as file:
        for name in ("G1", "G2", "W"):
            del file[f"shapes/{name}"]
        file["shapes"].create_dataset("W", (N,), "f8", external=[("raw.bin", 8, 8 * N)])
        file["shapes/W"][:] = PLAIN["W"]
        file["shapes/G1"], file["shapes/G2"] = h5py.ExternalLink("more.h5", "G1"), h5py.ExternalLink("more.h5", "G2")
    with h5py.File("more.h5", "w") as file:
        file["G1"], file["G2"] = PLAIN["G1"], PLAIN["G2"]
    assert_same(binned(entry)[0], reference())
    raw = (tmp_path / "raw.bin").read_bytes()
    (tmp_path / "raw.bin").write_bytes(raw[:-8])
    with pytest.raises(BorderError, match=r"column W .* external file raw.bin, which is missing or cut short"):
        binned(entry)
    (tmp_path / "more.h5").unlink()
    with pytest.raises(BorderError, match=r"column G1 .* is a link to G1 in more.h5, which is not there"):
        binned(entry)
    assert_same(binned(replace(entry, columns=TableColumns("ALPHA", "DELTA", "z_b", "z_b")))[0], reference(
        G1=PLAIN["z_b"], G2=PLAIN["z_b"], W=np.ones(N)
    ))  # fmt: skip


# oddities that no column needs


def test_a_table_of_links_alone_is_told_by_the_file_that_is_gone(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in NUMBERS:
            file[f"shapes/{name}"] = h5py.ExternalLink("gone.h5", f"/{name}")
    with pytest.raises(
        BorderError, match=r"column ALPHA .* is a link to /ALPHA in gone.h5, which is not there; put it"
    ):
        binned(CatalogueTable(str(tmp_path / "a.h5"), NAMES))


def test_a_header_of_astropy_that_is_none_is_told(tmp_path):
    made = pa.table({name: PLAIN[name] for name in NUMBERS}).replace_schema_metadata({"table_meta_yaml": "datatype: 3"})
    parquet.write_table(made, tmp_path / "a.parquet")
    with pytest.raises(BorderError, match=r"cannot be read as a table of astropy"):
        binned(CatalogueTable(str(tmp_path / "a.parquet"), NAMES))


def test_columns_that_nobody_needs_may_be_odd(table, tmp_path):
    entry = table(PLAIN, kind="hdf5")
    with h5py.File(tmp_path / "cat.hdf5", "a") as file:
        file["shapes/edges"] = np.arange(40.0)
        file["shapes/nowhere"] = h5py.SoftLink("/gone")
        file["shapes/empty"] = np.zeros(0)
    assert_same(binned(entry)[0], reference())
    with pytest.raises(BorderError, match=rf"columns edges and ALPHA of .* have 40 and {N} rows below"):
        binned(replace(entry, cuts="edges > 0"))
    columns = [fits.Column(name, "D", array=PLAIN[name]) for name in NUMBERS]
    twice = fits.BinTableHDU.from_columns([*columns, *(fits.Column(f"x{i}", "D", array=PLAIN["W"]) for i in (1, 2))])
    twice.writeto(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TTYPE7", value="x1", ext=1)
    entry = CatalogueTable(str(tmp_path / "a.fits"), NAMES)
    assert_same(binned(entry)[0], reference())
    with pytest.raises(BorderError, match=r"has two columns 'x1'; rename one"):
        binned(replace(entry, cuts="x1 > 0"))


@pytest.mark.parametrize(
    ("old", "new", "tail"),
    [
        (b"TUNIT1  = 'deg     '", b"TUNIT1  = deg       ", b""),  # a text without quotes
        (b"TTYPE2  = 'DELTA   '", b"TTYPE2  = 'DELTA   ' / \xe4", b""),
        (b"TFIELDS ", b"TFIELDS ", b"some notes of the observer" * 300),
        (b"TFIELDS ", b"TFIELDS ", b"\0"),
    ],
)
def test_what_astropy_warns_of_is_no_damage(table, tmp_path, old, new, tail):
    path = tmp_path / "cat.fits"
    entry = table({**PLAIN, "ALPHA": PLAIN["ALPHA"] * u.deg})
    raw = path.read_bytes()
    at = raw.index(old)
    path.write_bytes(raw[:at] + new + raw[at + len(new) :] + tail)
    assert_same(binned(entry)[0], reference())


def test_a_warning_while_ecsv_is_read_is_no_damage(table, tmp_path):
    entry = table({**PLAIN, "seen": Time(np.full(N, "2019-01-01"))}, kind="ecsv")
    path = tmp_path / "cat.ecsv"
    path.write_text(path.read_text().replace("2019-", "9019-"))  # "dubious year"
    assert_same(binned(entry)[0], reference())


# several tables, and columns of astropy's own objects


def test_the_table_that_has_the_columns_is_taken(tmp_path):
    head = fits.BinTableHDU.from_columns([fits.Column("note", "4A", array=np.array(["x"]))], name="NOTES")
    other = fits.BinTableHDU(Table({"ALPHA": PLAIN["ALPHA"], "DELTA": PLAIN["DELTA"]}), name="PLACES")
    whole = fits.BinTableHDU(Table(PLAIN), name="SHAPES")
    fits.HDUList([fits.PrimaryHDU(np.zeros((3, 3))), head, other, whole]).writeto(tmp_path / "a.fits")
    entry = CatalogueTable(str(tmp_path / "a.fits"), NAMES)
    assert_same(binned(entry)[0], reference())
    told = r"3 binary tables, of which none has all columns \(HDUs: 0 PRIMARY, 1 NOTES, 2 PLACES, 3 SHAPES\); set `hdu`"
    with pytest.raises(BorderError, match=told):
        binned(replace(entry, cuts="z_c > 0"))
    with pytest.raises(BorderError, match=r"column 'G1' is not in .* \(columns: ALPHA, DELTA\)"):
        binned(replace(entry, hdu="PLACES"))


@pytest.mark.parametrize("kind", ["fits", "parquet", "ecsv", "hdf5"])
def test_positions_may_be_one_column_of_sky_coordinates(tmp_path, kind):
    place = SkyCoord((PLAIN["ALPHA"] / 15) * u.hourangle, PLAIN["DELTA"] * u.deg)
    path = tmp_path / f"a{SUFFIX[kind]}"
    made = QTable({"c": place, **{name: PLAIN[name] for name in ("G1", "G2", "W")}})
    made.write(path, **({"path": "cat", "serialize_meta": True} if kind == "hdf5" else {}))
    entry = CatalogueTable(str(path), replace(NAMES, ra="c.ra", dec="c.dec"))
    assert_same(binned(entry)[0], reference())
    assert has_usual_columns(open_table(path, entry).columns, {"weight": "W"})
