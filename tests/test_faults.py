"""Faults: one of each kind, after which a second run ends as if nothing had been."""

import subprocess
import sys
import urllib.error
import urllib.request
from http.client import IncompleteRead

import psutil
import pytest
from faults import KINDS, Fault, contents, difference_after, fill, mirror, prepared

STAGES = ["theory", "simulations", "catalogue@cosmos"]
CASES = [
    Fault("stage", "simulations", 0.7, writing=True),
    Fault("machine", "theory", 0.6),
    Fault("kernel", "theory", 0.3),
    Fault("worker", "simulations", 0.1),
    Fault("disk", "theory", 0.5),
    Fault("network", "catalogue@cosmos", 0.6),
]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Make a project in which the stages ran undisturbed."""
    return prepared(tmp_path_factory.mktemp("faults"), STAGES)


@pytest.mark.long
@pytest.mark.parametrize("fault", CASES, ids=lambda fault: fault.kind)
def test_a_rerun_ends_as_if_nothing_had_been(fault, state, tmp_path):
    assert difference_after(state, fault, tmp_path / "case") == ""


def test_every_kind_is_tested():
    assert [fault.kind for fault in CASES] == list(KINDS)


def test_what_lies_in_a_project_is_known_by_its_bytes(tmp_path):
    varying = ("data/timings/a.json", "data/seconds/a.json", "data/training.json", ".work/train/tensorboard/b/events.1")
    for name in ("data/map", *varying, ".dvc/tmp/lock", ".work/train/a", "analysis/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = contents(tmp_path)
    assert set(before) == {"data/map", ".work/train/a"}
    (tmp_path / "data" / "map").write_text("2")
    (tmp_path / "data" / ".half-map").touch()
    after = contents(tmp_path)
    assert after["data/map"] != before["data/map"]
    assert "data/.half-map" in after


def test_a_full_disk_lets_a_process_write_no_more(tmp_path):
    script = "import pathlib, sys; sys.stdin.readline(); pathlib.Path(sys.argv[1]).write_text('a')"
    process = psutil.Popen(
        [sys.executable, "-c", script, tmp_path / "a"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    fill([process])
    _, told = process.communicate("\n", timeout=60)
    assert process.returncode != 0
    assert "File too large" in told


def test_a_network_that_is_cut_sends_part_of_a_file_and_then_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "a").write_bytes(b"0123456789")
    with mirror(tmp_path) as server:
        address = f"{server.address}/a"
        assert urllib.request.urlopen(address).read() == b"0123456789"
        server.left = 13
        assert urllib.request.urlopen(address).read() == b"0123456789"
        with urllib.request.urlopen(address) as answer, pytest.raises(IncompleteRead) as cut:
            answer.read()
        assert cut.value.partial == b"012"
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(address)
        server.left = None
        assert urllib.request.urlopen(address).read() == b"0123456789"
