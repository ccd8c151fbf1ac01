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
from analysis.tools.own_field import fetched, field_settings, init, known, map_field, settings_of

NETWORK = "data/released/reference/score"
NAMED = Asked({"e1": "eps_a", "e2": "eps_b"}, {}, cuts="star == 0")


@pytest.fixture
def project(tmp_path):
    """Make a project of settings and a network, without weights."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
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


@pytest.fixture
def field(project, mycat):
    """Make the settings of that field."""
    assert init(str(mycat), NAMED, name=None, network=NETWORK, root=project) == "mycat"
    return project / "conf" / "field" / "mycat.yaml"


def test_the_settings_of_a_field_stand_alone(project, mycat, capsys):
    assert init(str(mycat), NAMED, name=None, network=NETWORK, root=project) == "mycat"
    told, field = capsys.readouterr().out, project / "conf" / "field" / "mycat.yaml"
    assert "".join(f"  {line}\n" for line in field.read_text().splitlines()) in told
    for profile in ("quick", "tiny", "reference", "paper"):
        content = composed(profile, ["field=mycat"], project)
        assert "cosmos" not in yaml.safe_dump(content)
        assert content["grid"] == {"pixels": 160, "pixel_arcmin": 0.82, "projection": "TAN"}
        checked_params(content, profile)
    entry = checked_params(composed("quick", ["field=mycat"], project), "quick").fields["mycat"]
    assert (entry.catalogue.flip_e1, entry.catalogue.flip_e2, entry.catalogue.cuts) == (False, True, "star == 0")
    assert yaml.safe_load(shown_in_tutorial()) == told_entry(field, mycat)
    assert composed("quick", root=project) == composed("quick")
    assert known(str(mycat), None, project) == known(f"{project}/conf/../mycat.fits", None, project) == "mycat"
    field.rename(field.with_name("other.yaml"))
    assert known(str(mycat), None, project) == "mycat"
    field.with_name("other.yaml").unlink()
    assert known(str(mycat), None, project) is None


def test_names_that_are_taken_are_told(project, mycat, field):
    for name in ("mycat", "cosmos", "cosmos_bright", "mock", "cosmos_many", "cosmos_tiny"):
        with pytest.raises(BorderError, match=rf"conf/field has {name} already; delete its file .* another --name"):
            init(str(mycat), NAMED, name=name, network=NETWORK, root=project)
    for path in (project / "other" / "mycat.fits", project / "cosmos.fits"):
        with pytest.raises(
            BorderError, match=rf"a field {path.stem} of another catalogue than .*; choose another --name"
        ):
            known(str(path), None, project)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("pixels: 160", "pixels: 161", "grid.pixels is 161, which a network"),
        ("grid: {", "grid: {{", "cannot be read as YAML"),
        ("# @package _global_", "defaults: [nothing]", "does not fit into the parameters"),
    ],
)
def test_settings_that_were_spoilt_are_told_in_a_sentence(project, mycat, field, before, after, told):
    text = field.read_text()
    field.write_text(text.replace(before, after))
    assert field.read_text() != text
    with pytest.raises(BorderError, match=told):
        settings_of(known(str(mycat), None, project), project)


def test_settings_that_are_not_valid_leave_no_file(project, mycat, monkeypatch):
    monkeypatch.setattr("analysis.tools.own_field.CHAINS", 1)
    with pytest.raises(BorderError, match=r"mycat\.yaml: sample\.fields\.mycat\.chains is 1"):
        init(str(mycat), NAMED, name=None, network=NETWORK, root=project)
    assert not (project / "conf" / "field" / "mycat.yaml").exists()


@pytest.fixture
def commands(monkeypatch):
    """Only list what is asked of DVC, and what is drawn."""
    asked = []
    monkeypatch.setattr("analysis.tools.own_field._dvc", lambda *arguments, root, said: asked.append(arguments))
    monkeypatch.setattr("analysis.report.draw.main", lambda name, keep: asked.append(("draw", name)))
    return asked


def test_map_uses_the_settings_that_are_there_and_refuses_what_it_would_lose(project, mycat, field, commands):
    with pytest.raises(BorderError, match="options are for a new field"):
        map_field(str(mycat), NAMED, name=None, network=None, root=project)
    params = project / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("redshift: 1.0", "redshift: 0.8"))
    with pytest.raises(BorderError, match=r"params\.yaml was edited \(in theory\)"):
        map_field(str(mycat), Asked({}, {}), name=None, network=None, root=project)
    assert commands == []
    params.write_text(text)
    for _ in range(2):  # the second time, params.yaml is that of the field
        map_field(str(mycat), Asked({}, {}), name=None, network=None, root=project)
        assert yaml.safe_load(params.read_text()) == settings_of("mycat", project)
    steps = [("repro", "nulls@mycat", "sample@mycat", "sample@mycat_bmode"), ("draw", "mycat"), ("draw", "mycat_bmode")]
    assert commands == 2 * steps


def test_a_network_that_is_not_there_is_pulled(project, commands):
    fetched("data/released/paper/score", project)
    (project / "data" / "released" / "paper").mkdir(parents=True)
    (project / "data" / "released" / "paper" / "score.dvc").touch()
    fetched("data/released/paper/score", project)
    fetched(NETWORK, project)
    assert commands == [("pull", "data/released/paper/score"), ("pull", "data/released/paper/score.dvc")]


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
    assert "the field's name is '../a'; give --name with a to z" in capsys.readouterr().err
