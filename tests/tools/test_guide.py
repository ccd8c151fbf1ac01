"""The user guide: its reference is what the code says, its pages point to what is there, its example is as it tells."""

import json
import re
import runpy

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from analysis.core.paths import ROOT
from analysis.params import CatalogueTable, Params, TableColumns, sky
from analysis.params.inference import GibbsParams, HmcParams
from analysis.params.universe import FilesParams, MassivenusParams
from analysis.sky import Grid
from analysis.survey.ellipticity_signs import best_signs, sign_choices
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.table_formats import open_table
from analysis.tools import guide
from analysis.tools.guide import PAGES, PARAMETERS, dead_ends, fields_of, keys, kind, parameters_page

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def described(record):
    """Fields of a record and of all below it that nothing is said of."""
    for name, field in fields_of(record).items():
        if not field.description:
            yield f"{record.__name__}.{name}"
        for inner in guide._records(field.annotation):
            yield from described(inner)


def test_every_parameter_is_described_in_a_line():
    assert sorted(set(described(Params))) == []


def test_reference_is_up_to_date():
    assert PARAMETERS.read_text(encoding="utf-8") == parameters_page(), "run `python -m analysis guide`"


def test_reference_has_every_key_of_the_committed_file():
    text = PARAMETERS.read_text(encoding="utf-8")

    def walk(values, above=""):
        for key, value in values.items():
            dotted = f"{above}.{key}".lstrip(".")
            yield dotted
            if isinstance(value, dict):
                yield from walk(value, dotted)

    known = [re.compile(re.escape(key).replace("<name>", r"\w+")) for key in keys()]
    entries = {"fields", "sample.fields", "clusters.controls"}
    for key in walk(PARAMS):
        if key.rpartition(".")[0] not in entries:
            assert any(pattern.fullmatch(key) for pattern in known), key
    assert "| `simulations.nbody.boxes.train` | integer ≥ 1 | `4` |" in text
    assert "| `sample.fields.<name>.prior` | `network`, `gaussian` | `network` if left out |" in text


@pytest.mark.parametrize(
    ("record", "key", "words"),
    [
        (GibbsParams, "cycles", "integer ≥ 2"),
        (HmcParams, "acceptance", "number > 0, < 1"),
        (HmcParams, "leapfrog_steps", "integer ≥ 2, a multiple of 2"),
        (FilesParams, "dataset", "text or null"),
        (MassivenusParams, "sha256", "text, of the form `^[0-9a-f]{64}$`"),
    ],
)
def test_what_may_stand_at_a_key_is_told_with_its_range(record, key, words):
    field = fields_of(record)[key]
    assert kind(field.annotation, field.metadata) == words


# pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_point_to_what_is_there(page):
    assert dead_ends(page) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nowhere.md)", "the link nowhere.md"),
        ("![a](no.png)", "the link no.png"),
        ("# One\n\n[a](#two)", "the heading #two"),
        ("[a](http://host/page)", "the address http://host/page, which is not https"),
        ("`analysis/nothing.py`", "the file analysis/nothing.py"),
        ("`python -m analysis nothing`", "the command nothing"),
        ("    make nothing", "make nothing"),
        ("`train.epoch`", "the parameter train.epoch"),
        ("`sample.fields.mine.chain`", "the parameter sample.fields.mine.chain"),
    ],
)
def test_what_is_not_there_is_named(text, fault, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert dead_ends(page) == [f"page.md names {fault}"]


def test_what_is_there_passes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One thing, and (another)\n\n[a](#one-thing-and-another) [b](https://host/page) `train.epochs` `make test`"
        " `sample.fields.mine.chains` `analysis/core/files.py` `dvc.yaml`\n\n    [no](link in code)\n"
    )
    assert dead_ends(page) == []


# the example of the tutorial


@pytest.fixture(scope="module")
def example():
    module = runpy.run_path(str(ROOT / "paper" / "guide" / "example_catalogue.py"))
    return module, module["catalogue"](np.random.default_rng(1))


def test_example_tells_that_its_second_component_wants_flipping(example, tmp_path):
    _, table = example
    path = tmp_path / "mycat.fits"
    table.write(path)
    seen = []
    for flip in (False, True):
        columns = TableColumns(ra="ALPHA", dec="DELTA", e1="eps_a", e2="eps_b", weight="w")
        entry = CatalogueTable(path=str(path), columns=columns, cuts="star == 0", flip_e2=flip)
        opened = open_table(path, entry)
        seen.append(shear_from_table(opened, entry, Grid(96, 1.0, *center_of_table(opened, entry)))[0])
    best, told = best_signs(sign_choices(*seen, rng=np.random.default_rng(2)))
    assert (best.e1, best.e2) == (1, -1)
    assert "mass is upright" in told


def test_example_crosses_the_zero_of_right_ascension_in_radians(example):
    _, table = example
    assert table["ALPHA"].unit == "rad"
    assert table["ALPHA"].min() < 0.001
    assert table["ALPHA"].max() > 6.28
    assert set(table.colnames) == {"ALPHA", "DELTA", "eps_a", "eps_b", "w", "star"}


def entries():
    """Blocks of the guide that describe a catalogue, with the page they are on."""
    for name in ("tutorial.md", "surveys.md"):
        text = (guide.GUIDE / name).read_text(encoding="utf-8")
        for block in re.findall(r"(?:^(?:    .*|)\n)+", text, re.MULTILINE):
            if "catalogue:" in block:
                yield pytest.param(yaml.safe_load(block), id=f"{name}-{block.split()[2]}")


@pytest.mark.skipif(not hasattr(sky, "CatalogueTable"), reason="catalogues are not tables yet")
@pytest.mark.parametrize("entry", list(entries()))
def test_entries_of_the_guide_are_valid(entry):
    for catalogue in [part["catalogue"] for part in [entry, *entry.values()] if "catalogue" in part]:
        field = {"title": "a field", "center_deg": None, "catalogue": catalogue}
        assert TypeAdapter(sky.FieldParams).validate_json(json.dumps(field)).catalogue.kind
