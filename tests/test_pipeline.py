"""The pipeline: names agree, stages say what they depend on, notebooks are thin, and digests follow them."""

import ast
import json
import re
import shutil
from functools import reduce

import nbformat
import pytest
import yaml
from astropy.io import fits
from pipeline import wings, write_notebook

from analysis.core.paths import ROOT
from analysis.core.provenance import cards, code_hash, import_closure, pipeline_stages, stage_keys, work_folder
from analysis.params import load_params
from analysis.params.load import composed

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = pipeline_stages()
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
SHARED = {"profile", "seed", "grid", "fields", "compute"}
PROFILES = ["tiny", "quick", "reference", "paper"]
CODE_CELLS, CODE_LINES = 15, 90


def definition(stage):
    """A stage's commands and lists, whether it stands alone or for each item of a matrix."""
    return STAGES[stage].get("do", STAGES[stage])


# names and dependencies


def test_sections_are_stages_are_notebooks():
    assert set(PARAMS) - SHARED == set(STAGES) == set(NOTEBOOKS)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_runs_its_notebook(stage):
    command = definition(stage)["cmd"]
    assert command.startswith(f"python -m analysis run {stage}")
    assert f"notebooks/{stage}.ipynb" in definition(stage)["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_wings_that_its_notebook_uses(stage):
    listed = [path for path in definition(stage)["deps"] if path.startswith("analysis/")]
    used = import_closure(ROOT / "notebooks" / f"{stage}.ipynb")
    downloads = {"analysis/core/registry.txt"} if stage == "catalogue" else set()  # other plumbing makes no number
    assert set(listed) == wings(used) | downloads
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("stage", STAGES)
def test_keys_of_a_stage_exist_and_cover_its_section(stage):
    items = STAGES[stage].get("foreach") or STAGES[stage].get("matrix")
    chosen = PARAMS["catalogue"]["fields"] if stage == "catalogue" else PARAMS["sample"]["fields"]
    names = [f"{stage}@{item}" for item in chosen] if items else [stage]
    for name in names:
        for key in stage_keys(name):
            reduce(dict.__getitem__, key.split("."), PARAMS)
    keys = stage_keys(stage)
    if stage != "catalogue":  # its section is the matrix itself
        assert stage in keys or {f"{stage}.{key}" for key in PARAMS[stage]} <= set(keys)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_samples_depends_on_the_settings_of_every_sampler(stage):
    keys, sample = set(stage_keys(stage)), PARAMS["sample"]
    settings = {f"sample.{name}" for name in sample if name != "fields" and isinstance(sample[name], dict)}
    assert {"sample.gibbs", "sample.hmc"} <= settings
    assert not keys & settings or settings <= keys


@pytest.mark.parametrize("stage", STAGES)
def test_notebook_reads_only_sections_its_stage_depends_on(stage):
    code = "\n".join(code_cells(stage))
    used = set(re.findall(r"\bparams\.(\w+)", code)) - {"compute"}
    assert used <= {key.partition(".")[0] for key in stage_keys(stage)}


# notebooks


def code_cells(stage):
    notebook = nbformat.read(NOTEBOOKS[stage], as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("stage", STAGES)
def test_notebook_is_stripped(stage):
    notebook = nbformat.read(NOTEBOOKS[stage], as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert set(cell.metadata) <= {"tags"}


@pytest.mark.parametrize("stage", STAGES)
def test_notebook_is_thin(stage):
    cells = code_cells(stage)
    assert len(cells) <= CODE_CELLS
    assert sum(len(cell.splitlines()) for cell in cells) <= CODE_LINES
    tree = ast.parse("\n".join(cells))
    thick = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.For | ast.While
    assert [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, thick)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_each_cell_of_a_notebook_is_announced(stage):
    kinds = [cell.cell_type for cell in nbformat.read(NOTEBOOKS[stage], as_version=4).cells]
    assert [kinds[i - 1] for i, kind in enumerate(kinds) if kind == "code"] == ["markdown"] * kinds.count("code")


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_cell_takes_only_which(stage):
    notebook = nbformat.read(NOTEBOOKS[stage], as_version=4)
    tagged = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    passed = re.findall(r"(\w+)=", definition(stage)["cmd"])
    assert len(tagged) == bool(passed)
    assignments = [node for source in tagged for node in ast.parse(source).body]
    assert [node.targets[0].id for node in assignments] == passed
    assert all(isinstance(node.value.value, str) for node in assignments)


# profiles


def test_quick_is_the_committed_file():
    assert composed("quick") == PARAMS


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_is_valid(profile, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(composed(profile)), encoding="utf-8")
    assert load_params(path).profile == profile


def test_every_profile_is_tested():
    assert {path.stem for path in (ROOT / "conf" / "profile").glob("*.yaml")} == set(PROFILES)


# provenance


@pytest.fixture
def toy(tmp_path):
    """Make a project of one notebook, of which `main` matters and `other` does not."""
    files = {
        "__init__.py": "",
        "main.py": "def late():\n    from .deep import part\n\nTABLE = 'table.txt'\n",
        "deep/__init__.py": "",
        "deep/part.py": "import analysis.plain as plain, numpy\n",
        "plain.py": "",
        "other.py": "from analysis import main\n",
        "table.txt": "1 2 3",
    }
    for name, text in files.items():
        path = tmp_path / "analysis" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in ("notebooks", "data"):
        (tmp_path / folder).mkdir()
    write_notebook(tmp_path, "theory", ["%matplotlib inline\nfrom analysis import main"])
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def test_closure_follows_imports_within_functions_packages_and_data(toy):
    names = ["__init__.py", "deep/__init__.py", "deep/part.py", "main.py", "plain.py", "table.txt"]
    assert import_closure(toy / "notebooks" / "theory.ipynb", toy) == [f"analysis/{name}" for name in names]


def test_digest_follows_code_notebook_and_own_parameters_only(toy, tmp_path_factory):
    def digest(file=None, key=None):
        content = json.loads(json.dumps(PARAMS))
        if key:
            section, name = key.split(".")
            content[section][name] *= 2
        if file:
            (toy / file).write_text((toy / file).read_text() + "\n# changed")
        path = tmp_path_factory.mktemp("params") / "params.yaml"
        path.write_text(yaml.safe_dump(content))
        return code_hash("theory", load_params(path), toy)

    first = digest()
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert digest(file="analysis/other.py", key="train.epochs") == first
    assert digest(key="theory.n_s") != first
    assert digest(file="analysis/plain.py") != first
    changed = digest()
    write_notebook(toy, "theory", ["from analysis import main\nmain.late()"])
    assert digest() != changed


def test_what_a_stage_keeps_of_a_run_belongs_to_its_data(toy):
    params = load_params()
    write_notebook(toy, "train", ["from analysis import plain"])
    maps = toy / params.train.input / "train.npy"
    maps.parent.mkdir(parents=True)
    maps.write_bytes(b"maps")
    first = work_folder("train", params, toy)
    assert first.parent == toy / ".work" / "train"
    assert work_folder("train", params, toy) == first
    maps.write_bytes(b"other maps")
    second = work_folder("train", params, toy)
    (toy / "data" / "theory").mkdir()
    (toy / "data" / "theory" / "c_ell.ecsv").write_text("other")
    assert len({first, second, work_folder("train", params, toy)}) == 3


def test_keys_of_an_item_are_its_own():
    assert "sample.fields.cosmos" in stage_keys("sample@cosmos")
    assert "sample.fields" in stage_keys("sample")
    assert stage_keys("catalogue@cosmos") == ["grid", "fields.cosmos"]


def test_cards_fit_a_fits_header():
    content = cards("catalogue@cosmos", load_params(), "COSMOS, all galaxies")
    assert list(content) == ["PROFILE", "SOURCE", "SEED", "CODEHASH"]
    fits.Header(content.items()).tostring()
