"""All stages on the profile `tiny`, as `dvc` runs them: outputs, file contract, kills, commands that build on them."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from faults import family
from pipeline import cloned, shell

from analysis.core.paths import ROOT
from analysis.core.provenance import code_hash, pipeline_stages
from analysis.params import load_params
from analysis.params.load import composed

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = pipeline_stages()
APART = {"benchmark"}  # stages that a plain `dvc repro` leaves alone
pytestmark = pytest.mark.long


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


def test_every_output_is_there(tiny):
    lock = yaml.safe_load((tiny / "dvc.lock").read_text())["stages"]
    outputs = [entry["path"] for stage in lock.values() for entry in stage["outs"]]
    assert {stage.partition("@")[0] for stage in lock} == set(STAGES) - APART
    assert [path for path in outputs if not (tiny / path).exists()] == []
    assert [path for path in outputs if (tiny / path).is_file() and (tiny / path).stat().st_size == 0] == []
    executed = {path.stem for path in (tiny / "notebooks" / "run").iterdir()}
    unlisted = {f"catalogue_{field}" for field in PARAMS["catalogue"]["fields"]}  # Git keeps all else of this stage
    assert {f"notebooks/run/{name}.ipynb" for name in executed - unlisted} <= set(outputs)


def test_git_sees_no_result_of_a_run(tiny):
    """But for the observations, which are of another grid in this profile."""
    changed = {line[3:] for line in shell("git status --short", tiny).stdout.splitlines()}
    assert changed <= {"dvc.lock", "params.yaml", *(name for name in changed if name.startswith("data/observation/"))}
    assert "dvc.lock" in changed


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


LEARNING = """
import sys
from analysis.__main__ import main
from analysis.tools import trainings
trainings.BOXES, trainings.FACTORS = (2,), (4.0,)
sys.exit(main(["learning", "--seeds", "1"]))
"""


def test_a_learning_curve_goes_on_where_it_was_cut(tiny):
    """The command, with one more number of boxes, of weights and of steps each."""
    command = ["python", "-c", LEARNING]
    done = shell(command, tiny)
    assert done.returncode == 0, done.stderr[-3000:]
    path, work = tiny / "data" / "released" / "learning.ecsv", tiny / ".work" / "trainings"
    table, kept = Table.read(path), sorted(work.glob("*.json"))
    assert list(table["axis"]) == ["as it is", "boxes", "weights", "steps"]
    assert list(table["steps"]) == [8, 8, 8, 32]
    assert table["parameters"][0] < table["parameters"][2]
    assert len({tuple(row) for row in table["error_0.02", "error_0.04"]}) == 4  # no two trained alike
    kept[0].unlink()
    before = {file: file.stat().st_mtime_ns for file in kept[1:]}
    done = shell(command, tiny)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {file: file.stat().st_mtime_ns for file in kept[1:]} == before
    again = Table.read(path)
    for name in ("error_0.02", "error_0.08"):
        np.testing.assert_allclose(again[name], table[name], rtol=1e-4)
    assert shell("git checkout -q data/released/learning.ecsv", tiny).returncode == 0


@pytest.fixture
def as_before(tiny):
    """Take back what a test of an own field does."""
    kept = {path: path.read_text() for path in (tiny / "params.yaml", tiny / "dvc.lock")}
    yield
    for path, text in kept.items():
        path.write_text(text)
    back = shell("dvc checkout --quiet dvc.yaml", tiny)
    assert back.returncode == 0, back.stderr
    shutil.rmtree(tiny / "data" / "kept")
    for made in ("conf/field/mycat.yaml", "mycat.fits", "figures/run/run_mycat*", "data/observation/mycat*"):
        for path in tiny.glob(made):
            path.unlink()


@pytest.mark.usefixtures("as_before")
def test_a_catalogue_goes_from_file_to_maps_in_one_command(tiny):
    """With a network that is kept, so that none is trained; a second time there is nothing to do."""
    shutil.copytree(tiny / "data" / "score", tiny / "data" / "kept")
    assert shell("python paper/guide/example_catalogue.py mycat.fits", tiny).returncode == 0
    command = "python -m analysis map mycat.fits"
    for again in (False, True):
        done = shell(command + " --network data/kept --columns e1=eps_a,e2=eps_b" * (not again), tiny)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "Running stage 'train'" not in done.stdout
        assert ("Running stage 'sample@mycat'" in done.stdout) != again
        assert ("mycat.yaml is used as it is" in done.stdout) == again
        for run in ("mycat", "mycat_bmode"):
            assert f"figures/run/run_{run}.png" in done.stdout
            mean = fits.getdata(tiny / "data" / "samples" / f"{run}.fits", "MEAN")
            assert mean.shape == (64, 64), "the field is larger than the network's grid"
            assert np.isfinite(mean).all()
            assert mean.std() > 0
    assert composed("tiny", ["field=mycat"], tiny) == yaml.safe_load((tiny / "params.yaml").read_text())


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
    for path in (tiny / "figures" / "run").iterdir():
        start = {".pdf": b"%PDF-", ".png": b"\x89PNG", ".gif": b"GIF89a"}[path.suffix]
        assert path.read_bytes().startswith(start)
        assert path.stat().st_size > 5000


def killed_after(seconds, command, folder, begun):
    """Start a command and kill it, with all that it started, a while after a file appears; False if it was faster."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = psutil.Popen(command.split(), cwd=folder, env={**os.environ, "PATH": path}, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(folder.glob(begun)):
        time.sleep(0.02)
    assert process.poll() in (None, 0), "the command failed before it was killed"
    time.sleep(seconds)
    members, alive = family(process), process.poll() is None
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(members, timeout=30)
    return alive


def test_sampling_killed_at_random_moments_ends_with_the_same_bits(tiny):
    path, command = tiny / "data" / "samples" / "cosmos.fits", "python -m analysis run sample name=cosmos"
    undisturbed = path.read_bytes()
    path.unlink()
    kills = [
        killed_after(seconds, command, tiny, ".work/sample@cosmos/*/under_way_0.npz")
        for seconds in (0.0, *np.random.default_rng(11).uniform(0, 0.3, size=2))
    ]
    assert any(kills), "the stage was over before it was killed"
    done = shell(command, tiny)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == undisturbed
    assert list((tiny / ".work" / "sample@cosmos").iterdir()) == []
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] in ([], [".gitignore"])
