"""params.yaml: valid values are read unchanged, invalid ones give one sentence that names the key."""

import copy
from dataclasses import FrozenInstanceError, asdict
from functools import reduce

import numpy as np
import pytest
import yaml

from analysis.core.paths import ROOT
from analysis.params import ParamsError, load_params, stage_rng
from analysis.params.types import is_name, name_like

COMMITTED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
GRIDDED = {"shear": "s.fits", "mask": "m.fits", "truth": "t.fits", "sigma": 0.15}
TABLE = {"path": "a.fits", "columns": {"ra": "a", "dec": "b", "e1": "c", "e2": "d"}}
MISSING = object()


@pytest.fixture
def changed(tmp_path):
    """Path of the committed parameters with one key set, or taken out."""

    def write(key, value):
        content = copy.deepcopy(COMMITTED)
        *above, last = key.split(".")
        section = reduce(dict.__getitem__, above, content)
        section[last] = value
        if value is MISSING:
            del section[last]
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def test_values_are_those_of_the_file():
    params = load_params()
    assert params.grid.pixels == COMMITTED["grid"]["pixels"]
    assert asdict(params.theory) == COMMITTED["theory"]
    assert list(params.sample.fields) == list(COMMITTED["sample"]["fields"])
    assert list(asdict(params)) == list(COMMITTED)


def test_whole_number_is_taken_where_a_real_one_is_meant(changed):
    assert load_params(changed("grid.pixel_arcmin", 1)).grid.pixel_arcmin == 1.0


def test_a_table_is_taken_and_may_leave_its_centre_open(changed):
    path = changed("fields.cosmos", {"title": "t", "center_deg": None, "catalogue": {**TABLE, "cuts": "z > 1 & ~bad"}})
    assert load_params(path).fields["cosmos"].catalogue.kind == "fits"
    given = {"title": "t", "center_deg": None, "catalogue": TABLE, "sources": COMMITTED["theory"]["sources"]}
    assert load_params(changed("fields.cosmos", given)).fields["cosmos"].sources.redshift == 1.0


def test_records_are_frozen():
    with pytest.raises(FrozenInstanceError):
        load_params().grid.pixels = 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grid.pixel", 160),  # unknown
        ("color", "blue"),
        ("train.epoch", 3),
        ("sample.fields.cosmos.chain", 3),
        ("grid.pixels", MISSING),
        ("seed", MISSING),
        ("train.learning_rate", MISSING),
        ("fields.cosmos.catalogue.e2", MISSING),
        ("grid.pixels", "160"),  # mistyped
        ("grid.pixels", 160.5),
        ("grid.pixels", True),
        ("grid", 160),
        ("seed", "now"),
        ("fields.cosmos.center_deg", 150.1),
        ("train.spectral_norm", "no"),
        ("catalogue.fields", "cosmos"),
        ("grid.pixels", 8),  # out of range
        ("grid.pixel_arcmin", 0.0),
        ("grid.pixel_arcmin", float("nan")),
        ("grid.projection", "SIN"),
        ("theory.h", -0.7),
        ("theory.ell_max", 10),
        ("simulations.nbody.boxes.train", 0),
        ("simulations.source", "universe"),
        ("train.ema_momentum", 1.0),
        ("train.normalisation", "layer"),
        ("sample.preset", "nuts"),
        ("sample.hmc.leapfrog_steps", 7),
        ("sample.gibbs.spacing", 0.0),
        ("sample.fields.cosmos.prior", "flat"),
        ("sample.fields.cosmos.chains", 1),
        ("baselines.smoothing_arcmin", []),
        ("baselines.realisations", 1),
        ("rivals.sparse.thresholds", []),
        ("rivals.sparse.turns", [0]),
        ("rivals.deepmass.steps", 401),
        ("compute.processes", -1),
        ("catalogue.fields", ["cosmos", "goods"]),  # rules between keys
        ("mocks.field", "goods"),
        ("simulations.map_pixels", 32),
        ("sample.hmc.sigma_end", 1.5),
        ("sample.gibbs.renoise", 1.5),
        ("sample.sigma_final", 0.02),
        ("sample.sigma_final", 1e-5),
        ("sample.hmc.diffused_levels", 25),
        ("train.sigma_min", 1.6),
        ("train.sigma_max", 0.2),
        ("train.margin", 40),
        ("train.crop_pixels", 320),
        ("train.crop_pixels", 84),
        ("train.network.widths", [8]),
        ("grid.pixels", 164),
        ("rivals.deepmass.network.widths", [8, 8, 8, 8, 8, 8, 8]),
        ("simulations.nbody.mesh", 64),
        ("simulations.join_ell", [1500.0, 500.0]),
        ("mocks.test", 1),
        ("simulations.mock_pixels", 128),
        ("simulations.maps.train", 201),
        ("simulations.source", "massivenus"),
        ("simulations.nbody.descent.amplitude", 0.0),
        ("theory.sources.redshift", None),
        ("theory.sources.file", "nz.txt"),
        ("nulls.rings_arcmin", [2.0, 1.0]),
        ("nulls.positions", {"goods": "places.csv"}),
        ("method.runs", ["goods"]),
        ("clusters.controls", {"cosmos": "goods"}),
        ("fields.cosmos.catalogue", None),
        ("fields.cosmos.catalogue", {"path": "a.fits"}),
        ("fields.cosmos.catalogue", {**TABLE, "path": "a.dat"}),
        ("fields.cosmos.catalogue", {**TABLE, "cuts": "open('x')"}),
        ("fields.cosmos.catalogue", {**TABLE, "path": "https://survey.org/a.fits"}),
        ("fields.cosmos.catalogue", {**TABLE, "response": 0.0}),
        ("fields.cosmos.catalogue", {**TABLE, "units": {"dec": "hourangle"}}),
        ("fields.cosmos.center_deg", None),
        ("fields.cosmos.sources", {"redshift": 0.7}),
        ("fields.cosmos.gridded", GRIDDED),
    ],
)
def test_fault_is_one_sentence_that_names_the_key(changed, key, value):
    told(changed(key, value), key)


def told(path, key):
    """The sentence about `key` that a file is refused with."""
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert key.rpartition(".")[-1] in sentence or key.rpartition(".")[0] in sentence.split()[1]
    assert len(sentence) < 300 + len(str(path))
    return sentence


@pytest.mark.parametrize("text", ["grid: [", "", "- 1\n", "grid: {pixels: 160"])
def test_file_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=r"params\.yaml") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ParamsError, match=r"absent\.yaml"):
        load_params(tmp_path / "absent.yaml")


def test_generators_differ_between_stages_and_agree_with_themselves():
    draws = [stage_rng(2020, *names).normal(size=4) for names in (("mocks",), ("mocks", "test"), ("sample", "cosmos"))]
    assert len({tuple(draw) for draw in draws}) == 3
    assert not np.array_equal(draws[0], stage_rng(2021, "mocks").normal(size=4))
    np.testing.assert_array_equal(draws[0], stage_rng(2020, "mocks").normal(size=4))


@pytest.mark.parametrize(
    ("names", "raw", "normal", "uniform", "integer"),
    [
        (("mocks", "test", "0"), 7325298755797623710, -0.30886296846812406, 0.39710524125705726, 269),
        (("sample", "cosmos"), 1810903380201852486, 0.8954331940220369, 0.09816926894880951, 607),
        ((), 8638749399453870742, 1.2602066112249388, 0.46830754332228663, 39),
    ],
)
def test_random_numbers_of_a_seed_and_names_stay_the_same(names, raw, normal, uniform, integer):
    """Stages do not list this function among their dependencies: a change of it must be noticed here."""
    assert stage_rng(2020, *names).bit_generator.random_raw() == raw
    assert stage_rng(2020, *names).standard_normal() == normal
    assert stage_rng(2020, *names).uniform() == uniform
    assert stage_rng(2020, *names).integers(1000) == integer


NAMES = [
    "A370.1",
    "my field",
    "a/b",
    "a:b",
    "3C273",
    "-x",
    "_x",
    "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
    "a=b",
    "x" * 65,
]


@pytest.mark.parametrize("name", [*NAMES, "", "a\nb", "..", "${x}", "null", "Yes", True, None, 2020])
@pytest.mark.parametrize("section", ["fields", "sample.fields"])
def test_a_name_that_the_pipeline_would_take_apart_is_told(changed, section, name):
    entry = COMMITTED["fields"]["cosmos"] if section == "fields" else COMMITTED["sample"]["fields"]["cosmos"]
    entries = reduce(dict.__getitem__, section.split("."), COMMITTED) | {name: entry}
    sentence = told(changed(section, entries), section)
    assert f"{section} has an entry named " in sentence
    assert "use only letters from a to z, digits, _ and -" in sentence


@pytest.mark.parametrize("section", ["fields", "sample.fields"])
def test_names_are_told_apart_by_more_than_case(changed, section):
    entries = reduce(dict.__getitem__, section.split("."), COMMITTED)
    sentence = told(changed(section, entries | {"Abell": entries["cosmos"], "aBELL": entries["cosmos"]}), section)
    assert "'Abell' and 'aBELL' differ only by case" in sentence
    load_params(changed(section, entries | {"Abell-370_b": entries["cosmos"]}))


@pytest.mark.parametrize("text", [*NAMES, "", "on", "_", "2020"])
def test_a_name_is_made_of_any_text(text):
    assert is_name(name_like(text))
    assert name_like("Other Survey.v2") == "other_survey_v2"


@pytest.mark.parametrize(
    ("given", "read"),
    [("My survey\n", "My survey"), ("two\n lines\t", "two lines"), ("\N{GREEK SMALL LETTER ZETA} < 1", None)],
)
def test_a_title_is_one_line(changed, given, read):
    assert load_params(changed("fields.cosmos.title", given)).fields["cosmos"].title == (read or given)


@pytest.mark.parametrize("title", ["x" * 201, "bell \a", "$10 and $20", "a\0b"])
def test_a_title_that_figures_and_cards_cannot_hold_is_told(changed, title):
    assert "printable characters" in told(changed("fields.cosmos.title", title), "fields.cosmos.title")


def test_home_folders_are_expanded_or_refused(changed, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    field = {"title": "t", "center_deg": None, "catalogue": {**TABLE, "path": "~/a~b.fits"}}
    assert load_params(changed("fields.cosmos", field)).fields["cosmos"].catalogue.path == "/home/someone/a~b.fits"
    assert load_params(changed("fields.cosmos.clusters", "~/x.txt")).fields["cosmos"].clusters == "/home/someone/x.txt"
    for key in ("fields.cosmos.catalogue.e1", "theory.sources.file"):
        assert "the home folder of an unknown user" in told(changed(key, "~nobody-of-that-name/e1.fits"), key)
    for key in ("sample.network", "train.input", "sample.fields.cosmos.observation"):  # DVC would look for a folder ~
        assert "a ~ is not expanded in a path that DVC tracks" in told(changed(key, "~/x"), key)
