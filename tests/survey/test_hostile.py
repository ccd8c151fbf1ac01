"""Bad catalogues and bad parameters: each ends in one sentence that says where and what to do, none in a traceback."""

import copy
import gzip
import re

import h5py
import numpy as np
import pyarrow as pa
import pytest
import yaml
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from pydantic import ValidationError

from analysis.__main__ import main
from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params import CatalogueTable, ParamsError, TableColumns, checked_params, load_params
from analysis.sky import Grid
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.table_formats import open_table
from analysis.survey.tables import table_path

N = 60
GRID = Grid(16, 2.0, 30.0, 10.0)
NAMES = TableColumns("ra", "dec", "e1", "e2", "w")
KINDS = {"fits": ".fits", "parquet": ".parquet", "csv": ".csv", "ecsv": ".ecsv", "hdf5": ".h5"}
PLENTY = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def good():
    rng = np.random.default_rng(0)
    places = 30 + rng.uniform(-0.2, 0.2, N), 10 + rng.uniform(-0.2, 0.2, N)
    values = *places, *rng.normal(0, 0.3, (2, N)).clip(-1, 1), rng.uniform(0.5, 2, N), np.arange(N) % 3
    return dict(zip(("ra", "dec", "e1", "e2", "w", "flag"), values, strict=True))


def written(path, columns, kind):
    """The path of a table, in one of the formats."""
    if kind == "parquet":
        parquet.write_table(pa.table({name: np.asarray(values) for name, values in columns.items()}), path)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[name] = np.asarray(values, "S9") if np.asarray(values).dtype.kind in "UO" else values
    else:
        writer = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits"}[kind]
        Table(columns).write(path, format=writer, overwrite=True)
    return path


def run(path, **entry):
    """All that a stage does with a table."""
    table = CatalogueTable(**({"path": str(path), "columns": NAMES} | entry))
    opened = open_table(table_path(table), table)
    center_of_table(opened, table)
    return shear_from_table(opened, table, GRID)


def told_by(work, error=BorderError):
    """What a user is told by `work`, on one line; None where it did what it should."""
    try:
        work()
    except error as told:
        return f"{told}" if "\n" not in str(told) else pytest.fail(f"several lines: {told}")
    return None


def sentence(path, **entry):
    """What a user is told of a table; it must be refused."""
    with pytest.raises(BorderError) as caught:
        run(path, **entry)
    told = str(caught.value)
    assert "\n" not in told
    assert str(path) in told
    assert len(told) < 500 + 2 * len(str(path))
    return told


def changed(name, values, rows=slice(None)):
    """The good columns with values of one replaced."""
    columns = good()
    columns[name] = np.array(columns[name], np.asarray(values).dtype if rows == slice(None) else float)
    columns[name][rows] = values
    return columns


def test_the_good_table_is_good(tmp_path):
    for kind, suffix in KINDS.items():
        observation, metrics = run(written(tmp_path / f"a{suffix}", good(), kind))
        assert metrics["rows"] == observation.count.sum() == N


@pytest.mark.parametrize("kind", ["fits", "parquet", "csv", "hdf5"])
@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            changed("e1", np.nan, 7),
            r"column e1 of .* is nan in row 7: cut rows that are not finite or masked, with `cuts`",
        ),
        (changed("e2", np.inf, [3, 9]), r"column e2 of .* is inf in row 3 \(and in 1 more of 60 rows"),
        (changed("w", -np.inf, 0), r"column w of .* is -inf in row 0"),
        (changed("w", np.nan, 0), r"column w of .* is nan in row 0"),
        (changed("w", -1.0, 5), r"column w of .* is -1\.0 in row 5: a weight is 0, or from"),
        (changed("w", np.zeros(N)), r"column w of .* is 0 in all of 60 rows .* correct the weights"),
        (changed("e2", np.zeros(N)), r"column e2 of .* is 0 .*in all of 60 rows .* give measured"),
        (changed("e1", 2.5, 4), r"column e1 of .* is 2\.5 in row 4: a component of an ellipticity .*; cut such rows"),
        (changed("dec", 95.0, 4), r"column dec of .* is 95\.0 in row 4: give `units`"),
        (changed("ra", np.nan), r"column ra of .* is nan in row 0 \(and in 59 more of 60 rows"),
        (changed("dec", np.array(["+10:00:01"] * N)), r"column dec of .* holds text \('\+10:00:01' in row 0, 60 rows"),
        ({k: v[:0] for k, v in good().items()}, r"(0 rows|empty|no rows|Empty|holds text|no table)"),
        ({k: v[:1] for k, v in good().items()}, r"1 of 1 rows of .* lie on the grid .*, too few"),
        (
            {k: np.repeat(v, 2) for k, v in good().items()},
            r"has 60 of 120 rows on the grid twice, .*; remove them, or set",
        ),
        ({k: v for k, v in good().items() if k != "e2"}, r"column 'e2' is not in .* \(columns: ra, dec, e1, w, flag\)"),
        ({k.upper(): v for k, v in good().items()}, r"did you mean 'RA'\?"),
        (good() | {"ra": np.deg2rad(good()["ra"]), "dec": np.deg2rad(good()["dec"])}, r"0 of 60 rows .* `center_deg`"),
        (good() | {"ra": 3600 * good()["ra"], "dec": 3600 * good()["dec"]}, r"is \d+\.?\d* in row 0.*: give `units`"),
        (good() | {"ra": good()["ra"] / 15}, r"0 of 60 rows of .* `units`"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path, kind, columns, told):
    if kind == "hdf5":  # which lists its columns by name
        told = told.replace("ra, dec, e1, w, flag", "dec, e1, flag, ra, w")
    assert re.search(told, sentence(written(tmp_path / f"a{KINDS[kind]}", columns, kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_short_at_any_place(tmp_path, kind):
    path = written(tmp_path / f"a{KINDS[kind]}", good(), kind)
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 200, 9).astype(int):
        path.write_bytes(whole[:size])
        told = told_by(lambda: run(path))
        assert kind in ("csv", "ecsv") if told is None else str(path) in told  # nobody can miss whole lines of text


def test_masked_values_are_told_and_may_be_cut(tmp_path):
    columns = good()
    for name, values in columns.items():
        columns[name] = MaskedColumn(values, mask=np.arange(N) % 20 == 5 if name == "e1" else False)
    for kind in ("fits", "ecsv"):
        path = written(tmp_path / f"a{KINDS[kind]}", columns, kind)
        assert "column e1" in sentence(path)
        assert run(path, cuts="e1 > -2")[1]["rows"] == N - 3


def test_bytes_in_the_wrong_order_are_told_as_such(tmp_path):
    path = written(tmp_path / "a.fits", good(), "fits")
    with fits.open(path) as file:
        start = file[1].fileinfo()["datLoc"]
    raw = bytearray(path.read_bytes())
    width = 6 * 8
    rows = np.frombuffer(raw[start : start + N * width], ">f8").byteswap()
    raw[start : start + N * width] = rows.tobytes()
    path.write_bytes(raw)
    assert "the other byte order" in sentence(path)


def test_other_formats_than_the_suffix_says_and_bombs(tmp_path):
    table = written(tmp_path / "a.fits", good(), "fits").read_bytes()
    for suffix, content, told in (
        (".csv", table, "its first bytes are of fits"),
        (".parquet", table, "its first bytes are of fits"),
        (".fits", b"ra,dec\n1,2\n", "its first bytes are of no known format"),
        (".h5", b"\x00" * 4000, "its first bytes are of no known format"),
        (".fits", gzip.compress(b"\x00" * 10**7), "is compressed (gzip); unpack it first"),
        (".csv", b"PK\x03\x04" + b"0" * 50, "is compressed (zip)"),
        (".fits", b"", "is empty (0 bytes, 0 rows)"),
        (".csv", b"\n", ""),
        (".csv", b"\xff\xfe\x00r\x00a", ""),
        (".csv", b"ra,dec,e1,e2,w\n1,2,3\n", "cannot be read as csv"),
        (".csv", b"ra,ra,dec,e1,e2,w\n1,1,2,.1,.1,1\n", "has two columns 'ra'"),
    ):
        path = tmp_path / f"b{suffix}"
        path.write_bytes(content)
        assert told in sentence(path)
    assert "is not at" in sentence(tmp_path, format="csv")


def test_a_bomb_of_few_bytes_and_many_rows_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in good():
            file.create_dataset(name, (10**9,), chunks=(10**6,), compression="gzip", fillvalue=0.1)
    assert "claims 1000000000 rows" in sentence(tmp_path / "a.h5")
    header = fits.BinTableHDU.from_columns([fits.Column("ra", "D", array=np.zeros(2))])
    header.writeto(tmp_path / "a.fits")
    raw = (
        (tmp_path / "a.fits").read_bytes().replace(b"NAXIS2  =                    2", b"NAXIS2  =           9999999999")
    )
    (tmp_path / "a.fits").write_bytes(raw)
    assert re.search("claims 9999999999 rows|cannot be read|cut short", sentence(tmp_path / "a.fits"))


def test_the_command_ends_in_one_sentence_and_not_zero(tmp_path, capsys):
    path = written(tmp_path / "a.csv", good() | {"e1": np.full(N, 9.0)}, "csv")
    for arguments in (
        [str(path)],
        [str(path), "--columns", "ra=RA"],
        [str(path), "--columns", "colour=e1"],
        [str(path), "--columns", "ra"],
        [str(path), "--cuts", "f(ra)"],
        [str(tmp_path / "absent.fits")],
        [str(tmp_path / "a.txt")],
    ):
        assert main(["check", *arguments]) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]


# generated

VALUES = st.one_of(
    st.floats(width=64),
    st.floats(-3, 400),
    st.just(0.0),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([np.nan, np.inf, -999.0, 1e-300, 90.0, 360.0]),
)
TEXT = st.text(max_size=12)
CUTS = st.one_of(
    st.none(),
    st.sampled_from(
        ["w > 1", "flag == 0 & e1 < 1", "flag", "ra", "e1 == e1", "w > 'a'", "no > 1", "w > 1e400", "-w < w"]
    ),
    TEXT,
)


def mutated(columns, changes):
    """Columns with some values replaced, of any type."""
    for name, row, value in changes:
        values = np.asarray(columns[name]).astype(float)
        if len(values):
            values[row % len(values)] = value
        columns[name] = values
    return columns


@PLENTY
@given(
    kind=st.sampled_from(sorted(KINDS)),
    rows=st.integers(0, N),
    changes=st.lists(st.tuples(st.sampled_from(sorted(good())), st.integers(0, N), VALUES), max_size=4),
    text=st.one_of(st.none(), st.tuples(st.sampled_from(sorted(good())), TEXT)),
    dropped=st.one_of(st.none(), st.sampled_from(sorted(good()))),
    cuts=CUTS,
    response=st.one_of(st.none(), st.sampled_from(["w", "flag", "absent", ["w", "e1"]]), st.floats(0.1, 2)),
    bias=st.one_of(st.none(), st.sampled_from(["e1", "w"])),
)
@example("fits", N, [], None, None, None, None, None)
def test_any_catalogue_is_taken_or_told(tmp_path_factory, kind, rows, changes, text, dropped, cuts, response, bias):
    columns = mutated({name: values[:rows] for name, values in good().items()}, changes)
    if text is not None:
        plain = "".join(letter for letter in text[1] if 32 <= ord(letter) < 127) or "a"
        columns[text[0]] = np.array([plain] * rows, dtype="U12")
    columns.pop(dropped, None)
    path = written(tmp_path_factory.getbasetemp() / f"any{KINDS[kind]}", columns, kind)
    entry = {"cuts": cuts, "response": response, "multiplicative_bias": bias}
    try:
        CatalogueTable(str(path), NAMES, **entry)
    except ValidationError:  # which `checked_params` turns into a sentence
        return
    found = []
    told = told_by(lambda: found.append(run(path, **entry)))
    if told is not None:
        assert str(path) in told
        return
    ((observation, metrics),) = found
    assert np.isfinite(observation.gamma).all()
    assert np.isfinite(observation.weight).all()
    assert all(np.isfinite(value) for value in metrics.values())


@PLENTY
@given(
    kind=st.sampled_from(sorted(KINDS)),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_any_damage_of_a_file_is_taken_or_told(tmp_path_factory, kind, places, end):
    path = written(tmp_path_factory.getbasetemp() / f"hurt{KINDS[kind]}", good(), kind)
    raw = bytearray(path.read_bytes())
    for where, byte in places:
        raw[int(where * len(raw))] = byte
    path.write_bytes(raw[: int(end * len(raw))])
    told = told_by(lambda: run(path))
    assert told is None or str(path) in told


COMMITTED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
TABLE = {"path": "a.fits", "columns": {"ra": "a", "dec": "b", "e1": "c", "e2": "d"}, "units": {"ra": "deg"}}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.dates(), st.binary(max_size=4), st.just([]),
    st.just({}), st.lists(st.integers(-3, 3), max_size=3), st.dictionaries(TEXT, st.integers(), max_size=2),
)  # fmt: skip


def paths(node, above=()):
    """Every place of a tree of mappings and lists."""
    yield above
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from paths(value, (*above, key))


def content():
    """The committed parameters with a table among the fields."""
    return copy.deepcopy(COMMITTED) | {
        "fields": {
            **copy.deepcopy(COMMITTED["fields"]),
            "my": {"title": "t", "center_deg": None, "catalogue": copy.deepcopy(TABLE)},
        }
    }


PLACES = sorted((path for path in paths(content()) if path), key=str)
FIELD = [path for path in PLACES if path[0] == "fields"]


@PLENTY
@given(
    place=st.one_of(st.sampled_from(PLACES), st.sampled_from(FIELD)),
    value=LEAVES,
    action=st.sampled_from(["set", "drop", "add"]),
    key=st.one_of(TEXT, st.sampled_from(["cuts", "response", "hdu", "sha256", "format", "sources", "gridded", "rows"])),
)
def test_any_parameters_are_taken_or_told(place, value, action, key):
    tree = content()
    node = tree
    for step in place[:-1]:
        node = node[step]
    if action == "drop":
        del node[place[-1]]
    elif action == "add" and isinstance(node[place[-1]], dict):
        node[place[-1]][key] = value
    else:
        node[place[-1]] = value
    told = told_by(lambda: checked_params(tree, "params.yaml"), ParamsError)
    assert told is None or told.startswith("params.yaml")


@settings(PLENTY, max_examples=60)
@given(raw=st.one_of(st.binary(max_size=60), TEXT.map(lambda text: text.encode()), st.just(b"a: &a [*a]\n")))
def test_any_bytes_as_parameters_are_told(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    path.write_bytes(raw)
    with pytest.raises(ParamsError, match=r"params\.yaml") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
