"""Released results: kept with the digest of what made them, and a warning once that has changed."""

import shutil

import numpy as np
import pytest
import yaml
from astropy.table import Table

from analysis.core.files import BorderError, sha256, write_json
from analysis.core.paths import ROOT
from analysis.core.provenance import code_hash
from analysis.core.tables import save_table
from analysis.judge.results import (
    released_calibration,
    released_clusters,
    released_networks,
    released_validation,
    results_shown,
)
from analysis.params import load_params
from analysis.params.load import composed
from analysis.tools.release import SHOWN, mark, release, show


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy of what a digest is made of, with a released run; each test works on a copy of its own."""
    tmp_path = tmp_path_factory.mktemp("project")
    for name in ("analysis", "notebooks", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "executed")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    results = tmp_path / "data"
    for kind in ("own", "sky"):
        save_table(Table({"band_0": np.arange(3)}), results / "calibration" / "ranks" / f"{kind}.ecsv")
    settings = composed("reference", root=tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (results / "score").mkdir()
    (results / "score" / "network.weights.h5").write_bytes(b"weights")
    finish(tmp_path, 3)
    keep(tmp_path)
    return tmp_path


@pytest.fixture
def project(made, tmp_path):
    return shutil.copytree(made, tmp_path / "project")


def finish(project, mocks, *stages):
    """What the last two stages write, the first alone if only it is named."""
    params = load_params(project / "params.yaml")
    calibration = {"n_mocks": mocks, "code": code_hash("calibrate", params, project)}
    (project / "data" / "validation" / "results").mkdir(parents=True, exist_ok=True)
    for name in ("results/accuracy", "rivals"):
        (project / "data" / "validation" / f"{name}.ecsv").write_text("table")
    write_json(project / "data" / "calibration" / "metrics.json", calibration)
    if stages != ("calibrate",):
        gathered = {"calibration": calibration, "code": code_hash("validate", params, project), "prior": {"n": 256}}
        write_json(project / "data" / "validation" / "metrics.json", gathered)


def keep(project):
    release(project / "params.yaml", project / "data", project / "released", project)


def found(project, profile="reference"):
    return released_calibration(profile, project / "released", project)


def test_what_was_released_is_found_without_a_warning(project):
    assert found(project)["warning"] == ""
    assert found(project)["metrics"]["n_mocks"] == 3
    assert list(found(project)["tables"]["sky"]["band_0"]) == [0, 1, 2]
    assert released_validation("reference", project / "released", project)["metrics"]["prior"] == {"n": 256}
    assert found(project, "quick") == {}
    assert (project / "released" / "reference" / "score" / "network.weights.h5").read_bytes() == b"weights"
    assert (project / "released" / "reference" / "validation" / "results" / "accuracy.ecsv").read_text() == "table"


def test_a_network_is_released_without_a_calibration_where_that_is_asked_for(project):
    (project / "data" / "calibration" / "ranks" / "sky.ecsv").unlink()
    (project / "data" / "score" / "network.weights.h5").write_bytes(b"other weights")
    release(project / "params.yaml", project / "data", project / "released", project, network_only=True)
    assert (project / "released" / "reference" / "score" / "network.weights.h5").read_bytes() == b"other weights"
    assert found(project) == {}, "the calibration of another network"
    assert released_validation("reference", project / "released", project) == {}


def test_the_validation_of_another_run_is_left_out_and_that_of_the_same_network_stays(project):
    finish(project, 4, "calibrate")
    path = project / "conf" / "profile" / "reference.yaml"
    path.write_text(path.read_text().replace("chains: 16", "chains: 8"))
    (project / "params.yaml").write_text(yaml.safe_dump(composed("reference", root=project)), encoding="utf-8")
    keep(project)
    assert found(project)["metrics"]["n_mocks"] == 4
    kept = released_validation("reference", project / "released", project)
    assert kept["metrics"]["prior"] == {"n": 256}
    assert "changed since" in kept["warning"]
    (project / "data" / "score" / "network.weights.h5").write_bytes(b"other weights")
    keep(project)
    assert released_validation("reference", project / "released", project) == {}


def test_what_training_cost_is_kept_with_the_network_that_it_made_and_no_other(project):
    weights = project / "data" / "score" / "network.weights.h5"
    record = {"seconds": 1500.0, "network": sha256(weights)}
    write_json(project / "data" / "training.json", record)
    keep(project)
    assert released_networks(project / "released", project)["reference"] == record
    weights.write_bytes(b"other weights")
    keep(project)
    grid = composed("reference", root=project)["grid"]
    assert released_networks(project / "released", project)["reference"] == grid


def test_without_a_calibration_nothing_is_released(project):
    (project / "data" / "calibration" / "metrics.json").unlink()
    with pytest.raises(BorderError, match="calibration is missing, and data/clusters too; run `dvc repro calibrate`"):
        keep(project)
    assert found(project)["warning"] == ""


def test_what_other_code_or_parameters_made_is_not_released(project):
    path = project / "analysis" / "posterior" / "likelihood.py"
    path.write_text(path.read_text().replace("SHARE = 0.9", "SHARE = 0.8"))
    with pytest.raises(BorderError, match=r"calibration was made by other code or parameters, .*; run `dvc repro cal"):
        keep(project)
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("own: 400", "own: 240"))
    with pytest.raises(BorderError, match="departs from the profile reference in calibrate"):
        keep(project)


def test_what_was_sampled_again_and_agrees_is_of_this_code(project):
    path = project / "analysis" / "posterior" / "likelihood.py"
    path.write_text(path.read_text() + "\n# a remark\n")
    assert "changed since" in found(project)["warning"]
    mark("reference", ["calibration"], project / "released", project)
    assert found(project)["warning"] == ""
    assert "changed since" in released_validation("reference", project / "released", project)["warning"]


def test_other_code_of_the_training_leaves_the_calibration_of_a_network_what_it_is(project):
    path = project / "analysis" / "prior" / "training.py"
    path.write_text(path.read_text() + "\n# a remark\n")
    assert found(project)["warning"] == ""


def test_a_run_may_end_with_its_clusters_and_keeps_what_was_released_of_its_network_before(project):
    clusters = project / "data" / "clusters"
    (clusters / "results").mkdir(parents=True)
    for name in ("injection", "cosmos_clusters"):
        (clusters / "results" / f"{name}.ecsv").write_text("table")
    params = load_params(project / "params.yaml")
    shutil.rmtree(project / "data" / "calibration")
    write_json(clusters / "metrics.json", {"injection": {"snr": [3.8], "code": "of other code"}})
    with pytest.raises(BorderError, match="calibration is missing, and data/clusters too"):
        keep(project)
    assert released_clusters("reference", project / "released", project) == {}
    write_json(clusters / "metrics.json", {"injection": {"snr": [3.8], "code": code_hash("clusters", params, project)}})
    keep(project)
    kept = released_clusters("reference", project / "released", project)
    assert (kept["metrics"]["injection"]["snr"], kept["warning"]) == ([3.8], "")
    assert found(project)["metrics"]["n_mocks"] == 3
    path = project / "analysis" / "judge" / "injection.py"
    path.write_text(path.read_text() + "\n# a remark\n")
    assert "changed since" in released_clusters("reference", project / "released", project)["warning"]
    assert found(project)["warning"] == ""


def test_other_files_of_a_profile_stay(project):
    other = project / "released" / "reference" / "cosmos.fits"
    other.write_bytes(b"shear")
    keep(project)
    assert other.read_bytes() == b"shear"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("analysis/posterior/likelihood.py", "SHARE = 0.9", "SHARE = 0.8"),
        ("conf/profile/reference.yaml", "own: 400", "own: 240"),
        ("conf/config.yaml", "renoise: 0.03", "renoise: 0.02"),
    ],
)
def test_a_change_of_code_or_parameters_is_told(project, name, before, after):
    path = project / name
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert "changed since the profile reference was released" in found(project)["warning"]


def test_what_no_stage_of_the_release_reads_is_no_change(project):
    for name, before in (("analysis/report/readme.py", "import re"), ("conf/config.yaml", "colormap: inferno")):
        path = project / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, before + "_"))
    assert found(project)["warning"] == ""


def test_a_change_of_what_judges_is_no_change_of_the_calibration(project):
    path = project / "analysis" / "judge" / "validation.py"
    path.write_text(path.read_text().replace("HIGH_PEAK = 0.06", "HIGH_PEAK = 0.07"))
    assert found(project)["warning"] == ""
    assert "changed since" in released_validation("reference", project / "released", project)["warning"]


def test_what_git_shows_of_a_run_is_copied_whole_and_of_the_default_profile_alone(project):
    with pytest.raises(BorderError, match="the run in this tree is of the profile reference; run `dvc repro` with"):
        show(project)
    (project / "params.yaml").write_text(yaml.safe_dump(composed("quick", root=project)), encoding="utf-8")
    with pytest.raises(BorderError, match="the run in this tree is without figures/run"):
        show(project)
    for source in SHOWN:
        path = project / source if "." in source else project / source / "a.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    (project / "figures" / "run" / "way.gif").write_text("a film")
    copies = show(project)
    assert {(project / name).read_text() for name in copies} >= set(SHOWN)
    assert "figures/a.json" in copies
    assert "data/released/quick/validation/metrics.json" in copies
    assert not (project / "figures" / "way.gif").exists()
    assert results_shown(project) == project / "data"
    (project / "data" / "validation" / "metrics.json").unlink()
    assert results_shown(project) == project / "data" / "released" / "quick"
