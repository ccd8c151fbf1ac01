"""The user guide: generated parts are current, its pages point to existing things, its example works as told."""

import json
import re
import runpy

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from analysis.__main__ import app
from analysis.core.paths import ROOT
from analysis.core.provenance import pipeline_stages
from analysis.params import CatalogueTable, TableColumns, sky
from analysis.params.inference import GibbsParams, HmcParams
from analysis.params.universe import FilesParams, MassivenusParams
from analysis.sky import Grid
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.table_formats import open_table
from analysis.tools.ellipticity_signs import best_signs, sign_choices
from analysis.tools.guide import (
    ARCHITECTURE,
    GUIDE,
    PARAMETERS,
    architecture_page,
    diagram,
    kind,
    parameters_page,
    wing_imports,
)

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
ROWS = re.findall(r"^\| `([^`]+)` \|.*\| (.*) \|$", PARAMETERS.read_text(encoding="utf-8"), re.MULTILINE)
KNOWN = [key for key, _ in ROWS]


def test_every_parameter_is_described_in_a_line():
    assert [key for key, meaning in ROWS if not meaning] == []


@pytest.mark.parametrize(("path", "made"), [(PARAMETERS, parameters_page), (ARCHITECTURE, architecture_page)])
def test_generated_parts_are_up_to_date(path, made):
    assert path.read_text(encoding="utf-8") == made(), "run `make guide`"


def test_reference_has_every_key_of_the_committed_file():
    def walk(values, above=""):
        for key, value in values.items():
            dotted = f"{above}.{key}".lstrip(".")
            yield dotted
            if isinstance(value, dict):
                yield from walk(value, dotted)

    sections = {name for name, value in PARAMS.items() if isinstance(value, dict)}
    names = {"fields", "sample.fields", "clusters.controls", "nulls.positions"}  # of entries that users name
    for key in set(walk(PARAMS)) - sections:
        assert is_key(key) or key.rpartition(".")[0] in names, key
    text = PARAMETERS.read_text(encoding="utf-8")
    assert "| `simulations.nbody.boxes.train` | integer ≥ 1 | `8` |" in text
    assert "| `sample.fields.<name>.prior` | `network`, `gaussian` | `network` if left out |" in text


def is_key(word):
    """Whether words joined by dots are a parameter, with any name in the place of `<name>`."""
    return any(re.fullmatch(re.escape(key).replace("<name>", r"[\w<>]+"), word) for key in KNOWN)


@pytest.mark.parametrize(
    ("record", "key", "words"),
    [
        (GibbsParams, "cycles", "integer ≥ 2"),
        (HmcParams, "step", "number > 0"),
        (HmcParams, "leapfrog_steps", "integer ≥ 2, a multiple of 2"),
        (FilesParams, "dataset", "text or null"),
        (MassivenusParams, "sha256", "text, of the form `^[0-9a-f]{64}$`"),
        (TableColumns, "weight", "text or null"),
        (CatalogueTable, "columns", "section"),
    ],
)
def test_allowed_values_are_told_with_their_range(record, key, words):
    assert kind(TypeAdapter(record).json_schema()["properties"][key]) == words


def test_diagram_leaves_out_arrows_that_follow_from_others():
    told = diagram({"top": {"middle", "low"}, "middle": {"low"}, "low": set()})
    assert re.findall(r"(\w+) --> (\w+)", told) == [("top", "middle"), ("middle", "low")]


def test_imports_of_wings_are_those_of_their_modules():
    imports = wing_imports()
    assert imports["core"] == set()
    assert imports["params"] == {"core"}
    assert "sky" in imports["survey"]
    assert "survey" not in imports["sky"]
    assert not any("tools" in below for below in imports.values())


# pages

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(GUIDE.glob("*.md")))
CODE = re.compile(r"```.*?```|``.*?``|(?m:^(?: {4}|\t)[^\n]*$)", re.DOTALL)
FILE = re.compile(r"(?:analysis|notebooks|conf|tests|paper/guide)/[\w./-]+\.\w+|(?:dvc|params)\.yaml")
TARGETS = (ROOT / "Makefile").read_text(encoding="utf-8").partition(".PHONY:")[2].partition("\n\n")[0].split()
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands}


def dead_ends(page):
    """Things that a page points to and that do not exist: links, functions, files, commands, targets, parameters."""
    text = page.read_text(encoding="utf-8")
    prose, blocks = CODE.sub("", text), "\n".join(CODE.findall(text))
    words = re.findall(r"`([^`\n]+)`", prose)
    spoken = " ".join(words)
    for name, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose):
        yield from dead_link(page, name, target)
    yield from (f"the file {name}" for name in FILE.findall(spoken) if not (made(name) or (ROOT / name).is_file()))
    commands = re.findall(r"python -m analysis ([a-z]\w*)", text)
    yield from (f"the command {name}" for name in commands if name not in COMMANDS)
    targets = re.findall(r"\bmake ([a-z][\w-]*)", f"{spoken}\n{blocks}")
    yield from (f"make {name}" for name in targets if name not in TARGETS)
    for word in words:
        if re.fullmatch(r"[a-z]\w*(\.(\w+|<name>))+", word) and word.partition(".")[0] in PARAMS and not is_key(word):
            yield f"the parameter {word}"


def made(name):
    """Whether the reader of the tutorial makes this file."""
    return name == "conf/field/mycat.yaml"


def dead_link(page, name, target):
    """A link that leads nowhere, or to a file of code that does not define its name; no network is asked."""
    address, _, anchor = target.partition("#")
    if "://" in address:
        if not address.startswith("https://"):
            yield f"the address {target}, which is not https"
        return
    path = (page.parent / address).resolve() if address else page
    if not path.exists() and path not in OUTPUTS:
        yield f"the link {target}"
    elif anchor and anchor not in anchors(path):
        yield f"the heading {target}"
    elif path.suffix == ".py" and not re.search(rf"^(def|class) {name.strip('`')}\b", path.read_text(), re.MULTILINE):
        yield f"{name} in {target}"


def anchors(page):
    """Anchors of a page's headings, as hosts of Markdown make them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LISTED = [out for stage in pipeline_stages().values() for out in stage.get("do", stage).get("outs", [])]
OUTPUTS = {ROOT / name for out in LISTED for name in ([out] if isinstance(out, str) else out)}  # of a run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_point_to_existing_things(page):
    assert list(dead_ends(page)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nowhere.md)", "the link nowhere.md"),
        ("![a](no.png)", "the link no.png"),
        ("# One\n\n[a](#two)", "the heading #two"),
        ("[a](http://host/page)", "the address http://host/page, which is not https"),
        (f"[`nothing`]({ROOT}/analysis/core/files.py)", f"`nothing` in {ROOT}/analysis/core/files.py"),
        ("`analysis/nothing.py`", "the file analysis/nothing.py"),
        ("`python -m analysis nothing`", "the command nothing"),
        ("    make nothing", "make nothing"),
        ("`train.epoch`", "the parameter train.epoch"),
        ("`sample.fields.mine.chain`", "the parameter sample.fields.mine.chain"),
    ],
)
def test_a_dead_end_is_named(text, fault, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(dead_ends(page)) == [fault]


def test_existing_things_pass(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One thing, and (another)\n\n[a](#one-thing-and-another) [b](https://host/page) `train.epochs` `make test`"
        f" `sample.fields.mine.chains` `analysis/core/files.py` `dvc.yaml` [`atomic`]({ROOT}/analysis/core/files.py)"
        "\n\n    [no](link in code)\n"
    )
    assert list(dead_ends(page)) == []


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
        text = (GUIDE / name).read_text(encoding="utf-8")
        for block in re.findall(r"(?:^(?:    .*|)\n)+", text, re.MULTILINE):
            if "catalogue:" in block and "@package" not in block:  # that of a whole field is tested with `init`
                yield pytest.param(yaml.safe_load(block), id=f"{name}-{block.split()[2]}")


@pytest.mark.skipif(not hasattr(sky, "CatalogueTable"), reason="catalogues are not tables yet")
@pytest.mark.parametrize("entry", list(entries()))
def test_entries_of_the_guide_are_valid(entry):
    for catalogue in [part["catalogue"] for part in [entry, *entry.values()] if "catalogue" in part]:
        field = {"title": "a field", "center_deg": None, "catalogue": catalogue}
        assert TypeAdapter(sky.FieldParams).validate_json(json.dumps(field)).catalogue.kind


def test_each_public_file_has_its_origin_and_licence():
    names = [line.split()[0] for line in (ROOT / "analysis/core/registry.txt").read_text().splitlines()[1:]]
    page = (GUIDE / "data.md").read_text(encoding="utf-8")
    assert names
    assert [name for name in names if name.rpartition("/")[2] not in page] == []
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| `")]
    assert all(all(cell.strip() for cell in row[1:-1]) for row in rows)
