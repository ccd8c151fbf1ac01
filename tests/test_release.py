"""Released results: kept with the digest of what made them, and a warning once that has changed."""

import shutil

import numpy as np
import pytest
from astropy.table import Table

from analysis.files import write_json
from analysis.params import ROOT
from analysis.power import save_table
from analysis.release import release_digest, released_calibration


@pytest.fixture
def project(tmp_path):
    """A copy of what a digest is made of, with a released calibration."""
    for name in ("analysis", "notebooks", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "executed")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    results = tmp_path / "released" / "reference" / "calibration"
    for kind in ("own", "sky"):
        save_table(Table({"band_0": np.arange(3)}), results / f"ranks_{kind}.ecsv")
    write_json(results / "metrics.json", {"n_mocks": 3})
    write_json(results.parent / "release.json", {"digest": release_digest("reference", tmp_path)})
    return tmp_path


def found(project, profile="reference"):
    return released_calibration(profile, project / "released", project)


def test_what_was_released_is_found_without_a_warning(project):
    assert found(project)["warning"] == ""
    assert found(project)["metrics"] == {"n_mocks": 3}
    assert list(found(project)["tables"]["sky"]["band_0"]) == [0, 1, 2]
    assert found(project, "quick") == {}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("analysis/sampler/gibbs.py", "SHARE = 0.9", "SHARE = 0.8"),
        ("conf/profile/reference.yaml", "own: 400", "own: 40"),
        ("conf/config.yaml", "renoise: 0.03", "renoise: 0.02"),
    ],
)
def test_a_change_of_code_or_parameters_is_told(project, name, before, after):
    path = project / name
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert "changed since the profile reference was released" in found(project)["warning"]


def test_what_no_stage_of_the_release_reads_is_no_change(project):
    for name, before in (("analysis/readme.py", "import re"), ("conf/config.yaml", "colormap: inferno")):
        path = project / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, before + "_"))
    assert found(project)["warning"] == ""
