"""README: its numbers are those of the committed metrics, and its words name what exists."""

import json
import re
import subprocess

import pytest
import yaml

from analysis.files import BorderError
from analysis.params import ROOT
from analysis.readme import filled
from analysis.release import released_calibration


def committed(path):
    """A file as the last commit has it: what a reader of the repository sees, whatever ran here since."""
    return subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_numbers_are_those_of_the_committed_metrics():
    files = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD", "data/timings/"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    times = {path.removeprefix("data/timings/").removesuffix(".json"): json.loads(committed(path)) for path in files}
    metrics = json.loads(committed("data/validation/metrics.json"))
    readme = committed("README.md")
    made = filled(readme, committed("dvc.yaml"), metrics, times, released_calibration("reference"))
    assert made == readme, "run `make readme` and commit README.md"


def test_a_lost_marker_is_told():
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("<!-- begin accuracy -->", "")
    with pytest.raises(BorderError, match="accuracy, calibration, checks, simulations, stages"):
        filled(text, "stages: {}", {}, {}, {})


def test_files_that_readme_names_exist_or_are_made():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    outputs = json.dumps(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link).exists() or link in outputs, link
