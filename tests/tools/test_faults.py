"""Faults: six of them, one a kind, and that what they would miss is seen."""

import subprocess
import sys
import urllib.error
import urllib.request
from http.client import IncompleteRead

import psutil
import pytest

from analysis.tools import faults
from analysis.tools.faults import KINDS, Fault, Outcome, drawn, prepared, ran_again, summary
from analysis.tools.faults.state import contents
from analysis.tools.faults.strike import fill, mirror

STAGES = ["theory", "simulations", "catalogue@cosmos"]
CASES = [
    Fault("stage", "simulations", 0.7, writing=True),
    Fault("machine", "theory", 0.6, writing=False),
    Fault("kernel", "theory", 0.3, writing=False),
    Fault("worker", "simulations", 0.1, writing=False),
    Fault("disk", "theory", 0.5, writing=False),
    Fault("network", "catalogue@cosmos", 0.6, writing=False),
]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Make a project in which the stages ran undisturbed."""
    return prepared(tmp_path_factory.mktemp("faults"), STAGES)


@pytest.mark.long
@pytest.mark.parametrize("fault", CASES, ids=lambda fault: fault.kind)
def test_a_rerun_ends_as_if_nothing_had_been(fault, state, tmp_path):
    outcome = ran_again(state, fault, tmp_path / "case")
    assert (outcome.told, outcome.survived) == ("", True)
    assert (outcome.fault.kind, outcome.fault.stage) == (fault.kind, fault.stage)


def test_every_kind_is_tested():
    assert [fault.kind for fault in CASES] == list(KINDS)


def test_faults_come_in_turn_and_are_the_same_every_time():
    stages = ["theory", "train", "catalogue@cosmos", "sample@cosmos", "sample@mock", "simulations"]
    hundred = [drawn(number, stages) for number in range(100)]
    assert [fault.kind for fault in hundred[:7]] == [*KINDS, KINDS[0]]
    assert hundred == [drawn(number, stages) for number in range(100)]
    assert {fault.stage for fault in hundred} == set(stages)
    assert {fault.stage for fault in hundred if fault.kind == "network"} == {"catalogue@cosmos"}
    assert {fault.stage.partition("@")[0] for fault in hundred if fault.kind == "worker"} == {"sample", "simulations"}
    assert 0 < min(fault.moment for fault in hundred) < max(fault.moment for fault in hundred) < 1
    assert {fault.writing for fault in hundred} == {True, False}


def test_summary_counts_by_kind_and_stage_and_names_what_was_lost():
    outcomes = [
        Outcome(Fault("disk", "sample@mock", 0.1, writing=False), survived=True, told=""),
        Outcome(Fault("disk", "sample@cosmos", 0.2, writing=False), survived=False, told="left over: a"),
        Outcome(Fault("kernel", "train", 0.3, writing=True), survived=True, told=""),
    ]
    found = summary(outcomes)
    assert (found["faults"], found["survived"]) == (3, 2)
    assert found["kinds"] == {"disk": {"faults": 2, "survived": 1}, "kernel": {"faults": 1, "survived": 1}}
    assert found["stages"] == {"sample": {"faults": 2, "survived": 1}, "train": {"faults": 1, "survived": 1}}
    assert [(lost["fault"]["stage"], lost["told"]) for lost in found["lost"]] == [("sample@cosmos", "left over: a")]


def test_faults_that_were_done_are_not_done_again(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(faults, "ran_again", lambda state, fault, case: done.append(fault) or Outcome(fault, True, ""))
    fault = Fault("disk", "train", 0.5, writing=True)
    outcomes = [faults._outcome(tmp_path / "fault_000.json", tmp_path, fault) for _ in range(2)]
    assert outcomes == [Outcome(fault, survived=True, told="")] * 2
    assert done == [fault]


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
    fill(tmp_path, [process])
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
