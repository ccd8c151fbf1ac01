"""The pipeline: names agree, stages say what they depend on, notebooks are thin, and all of it runs on `tiny`."""

import ast
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from functools import reduce
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pipeline import shell, write_notebook
from test_archive import serving

from analysis.maps import load_maps
from analysis.params import ROOT, load_params
from analysis.power import gaussian_field, wavenumbers
from analysis.provenance import cards, code_hash, import_closure, pipeline_stages, stage_keys, work_folder
from analysis.sky import field_grid, load_observation
from analysis.tree import project_files

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = pipeline_stages()
APART = {"benchmark"}  # stages that a plain `dvc repro` leaves alone
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
SHARED = {"profile", "seed", "grid", "fields", "compute"}
PROFILES = ["tiny", "quick", "reference", "paper", "paper_cpu", "paper_gpu"]
CODE_CELLS, CODE_LINES = 8, 60


def definition(stage):
    """A stage's commands and lists, whether it stands alone or for each item of a matrix."""
    return STAGES[stage].get("do", STAGES[stage])


def composed(profile):
    """Parameters of a profile, composed from conf/."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return OmegaConf.to_container(compose("config", overrides=[f"profile={profile}"]), resolve=True)


# names and dependencies


def test_sections_are_stages_are_notebooks():
    assert set(PARAMS) - SHARED == set(STAGES) == set(NOTEBOOKS)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_runs_its_notebook(stage):
    command = definition(stage)["cmd"]
    assert command.startswith(f"python -m analysis run {stage}")
    assert f"notebooks/{stage}.ipynb" in definition(stage)["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_code_of_a_stage_is_its_import_closure(stage):
    listed = [path for path in definition(stage)["deps"] if path.startswith("analysis/")]
    assert listed == import_closure(ROOT / "notebooks" / f"{stage}.ipynb")


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


RELEASED = sorted((ROOT / "data" / "released").glob("*/*.fits"))


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_released_observation_is_of_its_profiles_grid_and_this_code(path, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(composed(path.parent.name)), encoding="utf-8")
    loaded = load_params(params)
    expected = field_grid(loaded.grid, loaded.fields[path.stem])
    assert load_observation(path).grid == expected
    stale = f"{path} was made by other code or parameters; make it again with the profile {path.parent.name}"
    assert fits.getheader(path)["CODEHASH"] == code_hash(f"catalogue@{path.stem}", loaded), stale


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


# all stages


def cloned(folder):
    """Clone the repository as it lies here, changes included, and nothing that git ignores."""
    for path in project_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for command in (
        "git init --quiet",
        "git config user.name tests",
        "git config user.email tests@localhost",
        "git add --all",
        "git commit --quiet --message=clone",
    ):
        done = shell(command, folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Make a clone that the tests of this module share."""
    return cloned(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def tiny(clone):
    """The clone after every stage ran on the profile `tiny`."""
    mirror = os.environ.get("DATA_MIRROR", "")
    environment = {"DATA_MIRROR": str(ROOT / mirror)} if mirror and "://" not in mirror else {}
    done = shell("dvc exp run -S profile=tiny", clone, **environment)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return clone


def test_committed_observations_make_the_catalogue_skip(clone):
    done = shell("dvc status --json catalogue", clone)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def test_every_output_is_there(tiny):
    lock = yaml.safe_load((tiny / "dvc.lock").read_text())["stages"]
    outputs = [entry["path"] for stage in lock.values() for entry in stage["outs"]]
    assert {stage.partition("@")[0] for stage in lock} == set(STAGES) - APART
    assert [path for path in outputs if not (tiny / path).exists()] == []
    assert [path for path in outputs if (tiny / path).is_file() and (tiny / path).stat().st_size == 0] == []
    executed = {path.stem for path in (tiny / "notebooks" / "executed").iterdir()} - APART
    assert {f"notebooks/executed/{name}.ipynb" for name in executed} <= set(outputs)


def test_nothing_is_left_to_run(tiny):
    done = shell("dvc repro", tiny)
    assert done.returncode == 0, done.stderr
    assert "Data and pipelines are up to date." in done.stdout + done.stderr
    assert "Running stage" not in done.stdout


def test_a_changed_figure_colour_reruns_the_stages_of_pictures_alone(tiny):
    path = tiny / "params.yaml"
    before = path.read_text()
    path.write_text(before.replace("colormap: inferno", "colormap: viridis"))
    assert path.read_text() != before
    done = shell("dvc status --json dvc.yaml", tiny)
    path.write_text(before)
    assert list(json.loads(done.stdout)) == ["method", "figures"]


def test_metrics_are_shown(tiny):
    shown = json.loads(shell("dvc metrics show --json", tiny).stdout)[""]["data"]
    gathered = shown["data/validation/metrics.json"]["data"]
    assert {"accuracy", "spectrum", "prior", "sampler", "cosmos"} <= set(gathered)


def image(hdus, name, shape):
    """Data of an image HDU that keeps the file contract."""
    hdu = hdus[name]
    assert hdu.header["BITPIX"] == -32
    assert hdu.data.shape == shape
    assert np.isfinite(hdu.data).all()
    assert "BUNIT" in hdu.header
    wcs = WCS(hdu.header).celestial
    centre = wcs.pixel_to_world_values((shape[-1] - 1) / 2, (shape[-2] - 1) / 2)
    np.testing.assert_allclose(centre, PARAMS["fields"]["cosmos"]["center_deg"], atol=1e-4)
    scale = np.abs(wcs.wcs.cdelt * np.diag(wcs.wcs.get_pc())) * 60
    np.testing.assert_allclose(scale, composed("tiny")["grid"]["pixel_arcmin"])
    return hdu.data


def header_cards(tiny, hdus, stage):
    """Check the cards that say how a file was made."""
    header = hdus["PRIMARY"].header
    assert header["PROFILE"] == "tiny"
    assert header["SEED"] == PARAMS["seed"]
    assert header["SOURCE"]
    assert header["CODEHASH"] == code_hash(stage, load_params(tiny / "params.yaml"), tiny)


@pytest.mark.parametrize("field", PARAMS["catalogue"]["fields"])
def test_observation_keeps_the_file_contract(tiny, field):
    with fits.open(tiny / "data" / "observation" / f"{field}.fits") as hdus:
        header_cards(tiny, hdus, f"catalogue@{field}")
        weight = image(hdus, "WEIGHT", (2, 32, 32))
        shear = image(hdus, "SHEAR", (2, 32, 32))
        count = hdus["COUNT"].data
    assert weight.min() == 0 < weight.max()
    assert count.shape == (32, 32)
    np.testing.assert_array_equal(weight[0] > 0, count > 0)
    assert 0.001 < shear[weight > 0].std() < 0.2


def test_mocks_keep_the_file_contract(tiny):
    paths = sorted((tiny / "data" / "mocks").glob("*.fits"))
    assert [path.stem for path in paths] == ["test_00", "test_01", "validation_00", "validation_01"]
    truths = []
    for path in paths:
        with fits.open(path) as hdus:
            header_cards(tiny, hdus, "mocks")
            truths.append(image(hdus, "TRUTH", (32, 32)))
            image(hdus, "SHEAR", (2, 32, 32))
            image(hdus, "WEIGHT", (2, 32, 32))
            assert hdus["COUNT"].data.shape == (32, 32)
    assert len({truth.tobytes() for truth in truths}) == len(truths)
    assert 1e-4 < np.std(truths) < 0.1


@pytest.mark.parametrize("name", PARAMS["sample"]["fields"])
def test_samples_keep_the_file_contract(tiny, name):
    with fits.open(tiny / "data" / "samples" / f"{name}.fits") as hdus:
        header_cards(tiny, hdus, f"sample@{name}")
        samples = image(hdus, "SAMPLES", (2, 32, 32))
        mean = image(hdus, "MEAN", (32, 32))
        std = image(hdus, "STD", (32, 32))
        assert len(hdus["CHAIN"].data) >= 2
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=1e-6)
    assert (std > 0).mean() > 0.99
    assert not np.array_equal(samples[0], samples[1])


@pytest.mark.parametrize("name", PARAMS["sample"]["fields"])
def test_baselines_keep_the_file_contract(tiny, name):
    with fits.open(tiny / "data" / "baselines" / f"{name}.fits") as hdus:
        header_cards(tiny, hdus, f"baselines@{name}")
        images = [hdu for hdu in hdus[1:] if hdu.is_image]
        assert images
        for hdu in images:
            assert image(hdus, hdu.name, hdu.data.shape).shape[-2:] == (32, 32)


def test_figures_are_whole(tiny):
    for path in (tiny / "figures").iterdir():
        start = {".pdf": b"%PDF-", ".png": b"\x89PNG", ".gif": b"GIF89a"}[path.suffix]
        assert path.read_bytes().startswith(start)
        assert path.stat().st_size > 5000


def killed_after(seconds, command, folder, begun):
    """Start a command and kill it, with all that it started, a while after a file appears; False if it was faster."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = psutil.Popen(command.split(), cwd=folder, env={**os.environ, "PATH": path}, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(folder.glob(begun)):
        time.sleep(0.02)
    time.sleep(seconds)
    family = [*process.children(recursive=True), process]
    alive = process.poll() is None
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)
    return alive


def test_sampling_killed_at_random_moments_ends_with_the_same_bits(tiny):
    path, command = tiny / "data" / "samples" / "cosmos.fits", "python -m analysis run sample name=cosmos"
    undisturbed = path.read_bytes()
    path.unlink()
    kills = [
        killed_after(seconds, command, tiny, ".work/sample@cosmos/*/under_way_0.npz")
        for seconds in np.random.default_rng(11).uniform(0, 0.3, size=2)
    ]
    assert any(kills), "the stage was over before it was killed"
    done = shell(command, tiny)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == undisturbed
    assert list((tiny / ".work" / "sample@cosmos").iterdir()) == []
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] in ([], [".gitignore"])


# other simulations


def suite_archive(maps):
    """Make a small archive of MassiveNuS's layout: skewed maps of its own size and pixel scale."""
    ell = np.maximum(wavenumbers((512, 512), 3.5 * 60 / 512), 100)
    gaussian = gaussian_field((ell / 1000) ** -1.2, maps, rng=np.random.default_rng(1))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for number, field in enumerate(gaussian / gaussian.std()):
            kappa = (0.02 * (np.exp(0.5 * field) - np.exp(0.125))).astype(np.float32)
            image = io.BytesIO()
            fits.PrimaryHDU(kappa).writeto(image)
            member = tarfile.TarInfo(f"Maps10/WLconv_z1.00_{number + 1:04d}r.fits")
            member.size = image.tell()
            image.seek(0)
            archive.addfile(member, image)
    return packed.getvalue()


def test_a_published_suite_from_download_to_trained_network(tmp_path):
    """Maps come from a server that breaks off once; nothing of an N-body box is made."""
    content, folder = suite_archive(12), cloned(tmp_path)
    with serving(content=content, drops=[len(content) // 2]) as server:
        choices = {
            "profile": "tiny",
            "simulations": "massivenus",
            "simulations.massivenus.address": server.address.replace("maps.tgz", "MassiveNu_fid_z1.tgz"),
            "simulations.massivenus.bytes": len(content),
            "simulations.massivenus.sha256": f'"{hashlib.sha256(content).hexdigest()}"',
        }
        arguments = " ".join(f"-S {key}={value}" for key, value in choices.items())
        done = shell(f"dvc exp run {arguments} train", folder, NO_PROXY="127.0.0.1")
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        assert len(server.asked) == 2
        assert server.asked[1].startswith("bytes=")
    metrics = json.loads((folder / "data" / "simulations" / "metrics.json").read_text())
    assert metrics["source"] == "massivenus"
    about = json.loads((folder / "data" / "simulations" / "maps.json").read_text())
    assert about["splits_share_boxes"] is True
    train = load_maps(folder / "data" / "simulations", "train").kappa
    assert train.shape == (4, 44, 44)
    assert json.loads((folder / "data" / "score" / "metrics.json").read_text())["parameters"] > 0
    assert not list((folder / ".work").glob("simulations/*/box_*"))
