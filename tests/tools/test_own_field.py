"""A field of one's own: its settings are valid, stand alone, go with their file, and belong to one catalogue."""

import re
import runpy
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from analysis.__main__ import main
from analysis.core.files import BorderError, write_json
from analysis.core.paths import ROOT
from analysis.flatsky.power import save_power
from analysis.params import checked_params
from analysis.params.load import composed
from analysis.tools.check import Asked
from analysis.tools.own_field import field_settings, init, known

NETWORK = "data/released/reference/score"
NAMED = Asked({"e1": "eps_a", "e2": "eps_b"}, {}, cuts="star == 0")


@pytest.fixture
def project(tmp_path):
    """Make a project of settings and a network, without weights."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    write_json(tmp_path / NETWORK / "network.json", {"pixel_arcmin": 0.82})
    save_power(np.ones((160, 160)), tmp_path / NETWORK / "power.npy")
    return tmp_path


@pytest.fixture
def mycat(project, monkeypatch):
    """Make the catalogue of the guide."""
    path = project / "mycat.fits"
    monkeypatch.setattr("sys.argv", ["", str(path)])
    runpy.run_path(str(ROOT / "paper" / "guide" / "example_catalogue.py"), run_name="__main__")
    return path


def shown_in_tutorial():
    """The file that the tutorial shows."""
    text = (ROOT / "paper" / "guide" / "tutorial.md").read_text(encoding="utf-8")
    return next(block for block in re.findall(r"(?:^(?:    .*|)\n)+", text, re.MULTILINE) if "@package" in block)


def told_entry(file, path):
    """The content of a field's file, as it is where the catalogue lies in the project."""
    return yaml.safe_load(file.read_text().replace(str(path), path.name))


def test_the_settings_of_a_field_stand_alone_and_go_with_their_file(project, mycat, capsys):
    assert init(str(mycat), NAMED, network=NETWORK, root=project) == "mycat"
    told, file = capsys.readouterr().out, project / "conf" / "field" / "mycat.yaml"
    assert "".join(f"  {line}\n" for line in file.read_text().splitlines()) in told
    for profile in ("quick", "tiny", "reference", "paper"):
        content = composed(profile, ["field=mycat"], project)
        assert "cosmos" not in yaml.safe_dump(content).replace("projection", "")
        if profile in ("quick", "reference"):  # the network has their pixels
            checked_params(content, profile)
    field = checked_params(composed("quick", ["field=mycat"], project), "quick").fields["mycat"]
    assert (field.catalogue.flip_e1, field.catalogue.flip_e2, field.catalogue.cuts) == (False, True, "star == 0")
    assert known(str(mycat), None, project) == "mycat"
    assert yaml.safe_load(shown_in_tutorial()) == told_entry(file, mycat)
    with pytest.raises(BorderError, match=r"field/mycat\.yaml is there already; delete it .* or .* --name"):
        init(str(mycat), NAMED, network=NETWORK, root=project)
    with pytest.raises(BorderError, match=r"mycat\.yaml is not of .*other/mycat\.fits, but of .*mycat\.fits"):
        known(str(project / "other" / "mycat.fits"), None, project)
    with pytest.raises(BorderError, match=r"cosmos\.yaml is not of .*cosmos\.fits, but of None"):
        known(str(project / "cosmos.fits"), None, project)
    file.unlink()
    assert known(str(mycat), None, project) is None
    assert composed("quick", root=project) == composed("quick")


@pytest.mark.parametrize(("side_deg", "pixels", "tiles"), [(0.5, 160, None), (1.9, 192, None), (10.0, 768, 448)])
def test_the_grid_has_the_pixels_of_the_network_and_holds_the_field(project, side_deg, pixels, tiles):
    columns = dict.fromkeys(("ra", "dec", "e1", "e2"), "x")
    entry = {"title": "a", "center_deg": None, "catalogue": {"path": "a.csv", "columns": columns}}
    content = field_settings("a", entry, SimpleNamespace(side_deg=side_deg), NETWORK, project)
    assert content["grid"] == {"pixels": pixels, "pixel_arcmin": 0.82}
    assert (pixels - 24) * 0.82 >= 60 * side_deg
    assert content["sample"].get("tile_pixels") == tiles
    (project / "conf" / "field" / "a.yaml").write_text(f"# @package _global_\n{yaml.safe_dump(content)}")
    assert checked_params(composed("quick", ["field=a"], project), "a").grid.pixels == pixels


def test_what_is_no_name_is_told(capsys):
    assert main(["init", "a.fits", "--name", "../a"]) == 1
    assert "--name is '../a'; a name has letters from a to z" in capsys.readouterr().err
