"""Making maps: separate boxes, a killed run that continues, and maps of a suite."""

import dataclasses
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import yaml

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.core.progress import within
from analysis.core.tables import load_table, save_table
from analysis.flatsky.maps import SPLITS
from analysis.params import SourcesParams, load_params
from analysis.params.load import composed
from analysis.simulations.boxes import _make_planes, box_split, nbody_maps, suite_maps
from analysis.simulations.suites import Suite
from analysis.simulations.theory import matter_tables

PROFILES = ["tiny", "quick", "reference", "paper"]


def profile(name, folder):
    """Parameters of a profile, composed from conf/, and the file that holds them."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(composed(name)), encoding="utf-8")
    return load_params(path), path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    params, path = profile("tiny", folder)
    matter = matter_tables(params.theory)
    save_table(matter, folder / "matter.ecsv")
    return params, path, load_table(folder / "matter.ecsv"), folder


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    params, _, matter, _ = tiny
    work = tmp_path_factory.mktemp("work")
    return nbody_maps(matter, params.theory, params.simulations, params.grid, seed=1, work=work, compute=params.compute)


@pytest.mark.parametrize("name", PROFILES)
def test_no_box_serves_two_splits(name, tmp_path):
    params, _ = profile(name, tmp_path)
    split = box_split(params.simulations)
    boxes = [box for numbers in split.values() for box in numbers]
    assert len(boxes) == len(set(boxes)) == sum(getattr(params.simulations.nbody.boxes, s) for s in SPLITS)


def test_more_boxes_of_one_split_leave_the_others(tmp_path):
    params, _ = profile("quick", tmp_path)
    before = params.simulations
    boxes = dataclasses.replace(before.nbody.boxes, train=40, validation=10)
    after = dataclasses.replace(before, nbody=dataclasses.replace(before.nbody, boxes=boxes))
    assert box_split(after)["test"] == box_split(before)["test"]


@pytest.mark.parametrize(("name", "boxes"), [("quick", 12), ("reference", 32), ("paper", 32)])
def test_profiles_have_independent_boxes(name, boxes, tmp_path):
    params, _ = profile(name, tmp_path)
    numbers = params.simulations.nbody.boxes
    assert numbers.train + numbers.validation + numbers.test >= boxes
    if name != "quick":
        assert min(numbers.train, numbers.test) >= 16


def test_maps_of_the_paper_fit_into_half_a_gigabyte(tmp_path):
    params, _ = profile("paper", tmp_path)
    maps, side = params.simulations.maps, params.simulations.map_pixels
    values = maps.train * side**2 + (maps.validation + maps.test) * params.simulations.mock_pixels**2
    assert maps.train + maps.validation + maps.test >= 2000
    assert 2 * values <= 0.5e9


def test_every_split_has_the_maps_and_boxes_asked_for(tiny, undisturbed):
    params = tiny[0].simulations
    for number, split in zip((0, 1000, 2000), SPLITS, strict=True):
        kappa, box = undisturbed[split].kappa, undisturbed[split].box
        assert kappa.shape == (4, 44, 44)
        assert set(box.tolist()) == {number}
        assert np.isfinite(kappa).all()
        assert abs(kappa.mean()) < 0.01 < kappa.std() + 0.008
    assert params.mock_pixels == 44


def test_boxes_differ_and_their_numbers_decide_them(tiny, undisturbed, tmp_path):
    """One more box in a split leaves the others, and their maps, as they are."""
    params, _, matter, _ = tiny
    simulations = params.simulations
    more = dataclasses.replace(
        simulations,
        maps=dataclasses.replace(simulations.maps, validation=8),
        nbody=dataclasses.replace(simulations.nbody, boxes=dataclasses.replace(simulations.nbody.boxes, validation=2)),
    )
    here = dataclasses.replace(params.compute, processes=0)
    again = nbody_maps(matter, params.theory, more, params.grid, seed=1, work=tmp_path, compute=here)["validation"]
    np.testing.assert_array_equal(again.kappa[:4], undisturbed["validation"].kappa)
    assert again.box.tolist() == [1000] * 4 + [1001] * 4
    assert len(np.unique(np.concatenate([again.kappa, undisturbed["train"].kappa]), axis=0)) == 12


def test_a_box_tells_its_progress(tiny, tmp_path):
    params, _, matter, _ = tiny
    parts = []
    with within(parts.append):
        _make_planes(tmp_path / "planes.npy", 0, matter, params.theory, params.simulations, 1, "numba")
    assert sum(parts) == pytest.approx(1)
    assert len(parts) >= params.simulations.nbody.steps


@pytest.mark.long
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(tiny, undisturbed, tmp_path):
    _, path, _, folder = tiny
    script = textwrap.dedent(f"""
        from pathlib import Path
        from analysis.params import load_params
        from analysis.core.tables import load_table
        from analysis.simulations.boxes import nbody_maps
        if __name__ == "__main__":
            params = load_params({str(path)!r})
            matter = load_table({str(folder / "matter.ecsv")!r})
            settings = (params.theory, params.simulations, params.grid)
            nbody_maps(matter, *settings, seed=1, work=Path({str(tmp_path / "work")!r}), compute=params.compute)
    """)
    (tmp_path / "run.py").write_text(script)
    process = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    first = tmp_path / "work" / "planes_0000.npy"
    for _ in range(600):
        if first.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert first.exists()
    assert not (tmp_path / "work" / "box_2000.npy").exists(), "the run was over before it was killed"
    stamp = first.stat().st_mtime_ns
    params, _, matter, _ = tiny
    maps = nbody_maps(
        matter, params.theory, params.simulations, params.grid, seed=1, work=tmp_path / "work", compute=params.compute
    )
    assert first.stat().st_mtime_ns == stamp, "a finished box was made again"
    for split in SPLITS:
        np.testing.assert_array_equal(maps[split].kappa, undisturbed[split].kappa)


def test_sources_in_front_of_the_first_plane_are_told_in_a_sentence(tiny, tmp_path):
    params, _, matter, _ = tiny
    near = dataclasses.replace(params.theory, sources=SourcesParams(redshift=0.01))
    with pytest.raises(BorderError, match=r"0\.01.*first plane.*box_mpc_h") as caught:
        nbody_maps(matter, near, params.simulations, params.grid, seed=1, work=tmp_path, compute=params.compute)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_suite_gives_every_split_its_maps_on_the_grids_pixels(tiny):
    params = tiny[0]
    native = np.random.default_rng(2).standard_normal((40, 100, 100)).astype(np.float32)

    def read(wanted):
        numbers = iter(range(40))
        for split in SPLITS:
            for _ in range(wanted[split]):
                yield split, SPLITS.index(split), native[next(numbers)]

    suite = Suite(2.05, 100, {}, read)
    maps = suite_maps(suite, dataclasses.replace(params.simulations, map_pixels=32, mock_pixels=44), params.grid)
    assert {split: m.kappa.shape for split, m in maps.items()} == {
        "train": (4, 32, 32),
        "validation": (4, 44, 44),
        "test": (4, 44, 44),
    }
    assert [set(m.box.tolist()) for m in maps.values()] == [{0}, {1}, {2}]
    block = native[0, 18:82, 18:82].reshape(32, 2, 32, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(maps["train"].kappa[0], block, atol=1e-5)
