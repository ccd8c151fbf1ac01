"""What is committed agrees with itself: text with released numbers, released observations with the code.

A run changes none of these files, and these tests look at none of a run. They are no part of `make test`: who changes
code or releases results runs `make committed` before committing, and the gate runs it in a clone.
"""

import hashlib
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import yaml

from analysis.core.download import fetch
from analysis.core.paths import ROOT
from analysis.core.tables import load_table
from analysis.figures import redraw
from analysis.params import checked_params
from analysis.params.load import composed
from analysis.report.paper import PAPER, generated, measured
from analysis.report.readme import filled_pages
from analysis.sky import field_grid, load_observation
from analysis.survey.catalogue import observe
from analysis.tools.glimpse import RUN, TABLE

pytestmark = pytest.mark.committed
OBSERVATIONS = [
    *((path.parent.name, path) for path in sorted((ROOT / "data" / "released").glob("*/*.fits"))),
    *(("quick", path) for path in sorted((ROOT / "data" / "observation").glob("cosmos*.fits"))),
]


def test_numbers_of_readme_and_results_are_those_released():
    for name, text in filled_pages().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, "run `make readme`"


def test_numbers_and_tables_of_the_paper_are_those_released():
    for name, text in generated(measured()).items():
        assert (PAPER / name).read_text(encoding="utf-8") == text, "run `make paper`"


def test_the_last_pdf_was_of_this_text_and_these_figures_and_numbers():
    stage = yaml.safe_load((PAPER / "dvc.lock").read_text(encoding="utf-8"))["stages"]["paper"]
    files = [entry for entry in [*stage["deps"], *stage["outs"]] if entry["path"].startswith(("paper/", "figures/"))]
    assert {"paper/main.tex", "paper/main.pdf", "paper/numbers.tex"} <= {entry["path"] for entry in files}
    for entry in (entry for entry in files if entry["path"] != "paper/main.pdf"):  # which is not in Git
        digest = hashlib.md5((ROOT / entry["path"]).read_bytes()).hexdigest()
        assert digest == entry["md5"], f"{entry['path']} has changed: run `make paper`"


def test_the_map_that_stands_beside_a_public_one_is_of_the_released_samples():
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    released = {out["path"]: out["md5"] for out in stages[f"sample@{RUN}"]["outs"]}
    beside = load_table(TABLE).meta["samples_md5"]
    assert beside == released[f"data/samples/{RUN}.fits"], "run `make glimpse readme` after the release"


def test_every_released_figure_is_drawn_again_from_what_is_kept_of_it(tmp_path):
    folders = ["data/shown/figures", "data/shown/method"]
    subprocess.run([sys.executable, "-m", "dvc", "pull", "--quiet", *folders], cwd=ROOT, check=True)
    for path in (path for folder in folders for path in (ROOT / folder).iterdir()):
        released = ROOT / "figures" / f"{path.stem}.png"
        with PIL.Image.open(redraw(path, tmp_path)) as again, PIL.Image.open(released) as kept:
            assert again.size == kept.size
            changed = np.abs(np.subtract(again.convert("RGB"), kept.convert("RGB"), dtype=float))
        tiles = [tile for rows in np.array_split(changed, 16) for tile in np.array_split(rows, 16, axis=1)]
        assert max(tile.mean() for tile in tiles) < 1, f"{path.stem}: release it again, with the code that draws it"
    assert {path.stem for path in tmp_path.glob("*.png")} == {path.stem for path in (ROOT / "figures").glob("*.png")}


@pytest.mark.parametrize("field", ["cosmos", "cosmos_bright"])
def test_committed_observations_make_the_catalogue_skip(field):
    command = [sys.executable, "-m", "dvc", "status", "--json", f"catalogue@{field}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "{}"), "run `dvc repro catalogue` and commit"


@pytest.mark.skipif("DATA_MIRROR" not in os.environ, reason="NOT TESTED: needs the COSMOS catalogue in DATA_MIRROR")
@pytest.mark.parametrize(("profile", "path"), OBSERVATIONS, ids=lambda value: getattr(value, "stem", value))
def test_a_committed_observation_is_what_this_code_makes(profile, path):
    params = checked_params(composed(profile), profile)
    field, kept = params.fields[path.stem], load_observation(path)
    made = observe(field, field_grid(params.grid, field), fetch).observation
    assert made.grid == kept.grid
    np.testing.assert_array_equal(made.count, kept.count)
    for one, other in ((made.gamma, kept.gamma), (made.weight, kept.weight)):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7 * np.abs(other).max())
    assert np.std(kept.gamma) > 0
