"""A release is confirmed by sampling again what was kept with it, and by nothing less."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.judge.calibration import STATISTICS
from analysis.judge.results import RELEASED
from analysis.params import checked_params
from analysis.params.load import composed
from analysis.tools.recheck import SMALL, recheck_calibration, recheck_clusters, recheck_validation, report

PROFILE = "reference"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A copy of the release, with what DVC keeps of it."""
    names = [f"data/released/{PROFILE}/{part}.dvc" for part in ("score", "mocks")]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "pull", *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path_factory.mktemp("released") / PROFILE
    shutil.copytree(RELEASED / PROFILE, folder)
    return folder


@pytest.fixture(scope="module")
def params():
    return checked_params(composed(PROFILE), PROFILE)


@pytest.mark.long
def test_the_released_calibration_is_what_this_code_makes(released, params):
    found = recheck_calibration(released, params, SMALL[:1])
    assert len(found) == 3 * len(STATISTICS)
    assert [row for row in found if not row[-1]] == []
    assert np.std([row[1] for row in found]) > 0


@pytest.mark.long
def test_the_released_halos_are_what_this_code_makes(released, params):
    found = recheck_clusters(released, params, masses=1)
    assert len(found) == 5
    assert [row for row in found if not row[-1]] == []


def test_numbers_that_are_not_those_released_are_named():
    found = [("own 0, band_0 mean", 1.0, 1.0, True), ("own 0, band_1 mean", 1.0, 1.5, False)]
    assert report([*found, ("sky 0, band_0 mean", 1.0, 1.0, True)]) == [
        "own 0: 1 of 2 numbers agree",
        "own 0, band_1 mean was 1 and is 1.5",
        "sky 0: 1 of 1 numbers agree",
    ]


def test_without_a_table_by_mock_a_validation_is_not_confirmed(released, params):
    (released / "validation" / "results" / "accuracy.ecsv").unlink(missing_ok=True)
    assert recheck_validation(released, params) == []


def test_a_mock_that_is_missing_or_damaged_is_told_in_a_sentence(released, params, tmp_path):
    shutil.copytree(released, tmp_path / PROFILE)
    mock = tmp_path / PROFILE / "mocks" / "own_0000.npz"
    for damage in (lambda: mock.write_bytes(b"cut short"), mock.unlink):
        damage()
        with pytest.raises(BorderError, match=r"own_0000\.npz cannot be read .*mocks\.dvc` brings it"):
            recheck_calibration(tmp_path / PROFILE, params, SMALL[:1])
