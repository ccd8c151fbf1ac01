"""Work over processes: done once whatever dies, the same bits wherever, on this machine or through a batch system."""

import dataclasses
import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from pipeline import PATHS

from analysis.core.files import BorderError, atomic
from analysis.core.progress import progress
from analysis.core.workers import TELL_S, scatter
from analysis.params import load_params, stage_rng

COMPUTE = dataclasses.replace(load_params().compute, processes=2, memory_gb=1.0)


def drawn(path, seed, diary, workers=1):
    """A task: numbers that its seed decides, and a line in a diary of who began it; done once so many have begun."""
    with open(diary, "a", encoding="utf-8") as file:
        file.write(f"{path.name} {os.getpid()}\n")
    deadline = time.time() + 200
    while len({process for _, process in begun(diary)}) < workers and time.time() < deadline:
        time.sleep(0.05)
    with atomic(path) as temporary:
        np.save(temporary, stage_rng(seed, "drawn").standard_normal(1000))


def slow(path):
    """A task that is half done for a while."""
    advance = progress("parts", 4)
    advance()
    time.sleep(1.1 * TELL_S)
    advance()
    time.sleep(1.0)
    path.write_text("")


def telling(path, names):
    """A task that writes variables of its worker's environment."""
    path.write_text(json.dumps([os.environ.get(name) for name in names]))


def dying(path):
    """A task that takes its worker with it."""
    os._exit(1)


def failing(path):
    """A task of bad input."""
    raise BorderError(f"{path.name} cannot be made; do without")


def mixed(path, task, *arguments):
    """One task or another."""
    globals()[task](path, *arguments)


def expected(seed):
    return stage_rng(seed, "drawn").standard_normal(1000)


def begun(diary):
    return [line.split() for line in diary.read_text().splitlines()] if diary.exists() else []


def test_every_task_is_done_once_and_none_that_is_there(tmp_path):
    diary = tmp_path / "diary"
    tasks = {tmp_path / f"{seed}.npy": (seed, diary) for seed in range(5)}
    drawn(tmp_path / "3.npy", 3, diary)
    stamp = (tmp_path / "3.npy").stat().st_mtime_ns
    scatter(drawn, tasks, COMPUTE, what="draws")
    assert sorted(name for name, _ in begun(diary)) == [f"{seed}.npy" for seed in range(5)]
    assert (tmp_path / "3.npy").stat().st_mtime_ns == stamp
    for seed in range(5):
        np.testing.assert_array_equal(np.load(tmp_path / f"{seed}.npy"), expected(seed))


def test_without_workers_the_tasks_are_done_here_and_are_the_same(tmp_path):
    tasks = {tmp_path / f"{seed}.npy": (seed, tmp_path / "diary") for seed in range(3)}
    scatter(drawn, tasks, dataclasses.replace(COMPUTE, processes=0), what="draws")
    for seed, path in enumerate(tasks):
        np.testing.assert_array_equal(np.load(path), expected(seed))
    assert {int(process) for _, process in begun(tmp_path / "diary")} == {os.getpid()}


@pytest.mark.long
def test_a_worker_killed_in_the_middle_changes_no_bit(tmp_path):
    diary = tmp_path / "diary"
    script = textwrap.dedent(f"""
        import dataclasses
        from pathlib import Path
        from test_workers import COMPUTE, drawn
        from analysis.core.workers import scatter
        if __name__ == "__main__":
            folder = Path({str(tmp_path)!r})
            tasks = {{folder / f"{{seed}}.npy": (seed, folder / "diary", 3) for seed in range(6)}}
            scatter(drawn, tasks, COMPUTE, what="draws")
    """)
    (tmp_path / "run.py").write_text(script)
    run = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": PATHS})
    deadline = time.time() + 200
    while not begun(diary) and time.time() < deadline:
        time.sleep(0.05)
    name, process = begun(diary)[0]
    os.kill(int(process), signal.SIGKILL)
    assert run.wait(timeout=300) == 0
    for seed in range(6):
        np.testing.assert_array_equal(np.load(tmp_path / f"{seed}.npy"), expected(seed))
    counts = {other: sum(found == other for found, _ in begun(diary)) for other, _ in begun(diary)}
    assert counts[name] == 2
    assert len({process for _, process in begun(diary)}) == 3, "the worker was not replaced"


@pytest.mark.long
def test_a_task_that_kills_every_worker_is_given_up_in_a_sentence(tmp_path):
    with pytest.raises(BorderError, match=r"3 workers died over one of 1 boxes.*raise compute\.memory_gb \(1\)"):
        scatter(dying, {tmp_path / "box.npy": ()}, COMPUTE, what="boxes")
    assert list(tmp_path.iterdir()) == []


def test_progress_within_a_task_is_told_by_the_process_that_gave_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("analysis.core.progress.INTERVAL_S", 0.0)
    scatter(slow, {tmp_path / "one.npz": ()}, COMPUTE, what="groups of chains")
    assert re.fullmatch(r"  groups of chains: 50 % done, about \d+ s left\n", capsys.readouterr().err)


@pytest.mark.long
def test_workers_that_others_started_get_the_environment_of_this_process(tmp_path, monkeypatch):
    from dask.distributed import LocalCluster

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "ours"))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("PYTHONPATH", PATHS)
    names = ["KERAS_HOME", "KERAS_BACKEND"]
    desk = {"KERAS_HOME": str(tmp_path / "theirs"), "KERAS_BACKEND": "tensorflow"}
    with LocalCluster(1, threads_per_worker=1, env=desk, dashboard_address=":0") as cluster:
        compute = dataclasses.replace(COMPUTE, scheduler=cluster.scheduler_address)
        scatter(telling, {tmp_path / "told.json": (names,)}, compute, what="tellings")
    assert json.loads((tmp_path / "told.json").read_text()) == [str(tmp_path / "ours"), "jax"]


def test_workers_that_cannot_get_the_environment_are_told_in_a_sentence(tmp_path, monkeypatch):
    from dask.distributed import LocalCluster

    with LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        compute = dataclasses.replace(COMPUTE, scheduler=cluster.scheduler_address)
        monkeypatch.setattr("analysis.core.workers._variables", _of_another_desk)
        with pytest.raises(BorderError, match=r"compute\.scheduler has KERAS_BACKEND=other, not tensorflow"):
            scatter(telling, {tmp_path / "told.json": ([],)}, compute, what="tellings")
    assert list(tmp_path.iterdir()) == []


def _of_another_desk(names):
    """Variables of a worker that runs with another backend."""
    return {name: os.environ.get(name) for name in names} | {"KERAS_BACKEND": "other"}


def test_the_others_go_on_when_one_fails(tmp_path):
    diary = tmp_path / "diary"
    tasks = {tmp_path / "bad.npy": ("failing",)}
    tasks |= {tmp_path / f"{seed}.npy": ("drawn", seed, diary) for seed in range(3)}
    with pytest.raises(BorderError, match=r"bad\.npy cannot be made; do without"):
        scatter(mixed, tasks, COMPUTE, what="draws")
    assert all((tmp_path / f"{seed}.npy").is_file() for seed in range(3))


@pytest.fixture
def batch_system(tmp_path, monkeypatch):
    """A folder of commands that stand in for SLURM's: a job is a process of this machine, its script kept."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "sbatch").write_text(
        "#!/bin/bash\n"
        f'cp "$1" {tmp_path}/job_$$.sh\n'
        f"nohup bash {tmp_path}/job_$$.sh >{tmp_path}/job_$$.log 2>&1 &\n"
        'echo "Submitted batch job $!"\n'
    )
    (commands / "scancel").write_text('#!/bin/bash\npkill -P "$1"\nkill "$1" 2>/dev/null\nexit 0\n')
    for command in commands.iterdir():
        command.chmod(command.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", PATHS)
    monkeypatch.setenv("DASK_LOGGING", "{'distributed': 1}")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_slurm_jobs_do_the_work_with_what_was_asked_for(batch_system):
    slurm = dataclasses.replace(
        COMPUTE.slurm, jobs=2, cores=3, hours=1.5, partition="gpu", account="lensing", directives=["--gres=gpu:1"]
    )
    compute = dataclasses.replace(COMPUTE, cluster="slurm", slurm=slurm)
    tasks = {batch_system / f"{seed}.npy": (seed, batch_system / "diary") for seed in range(4)}
    scatter(drawn, tasks, compute, what="draws")
    for seed in range(4):
        np.testing.assert_array_equal(np.load(batch_system / f"{seed}.npy"), expected(seed))
    scripts = [path.read_text() for path in batch_system.glob("job_*.sh")]
    assert len(scripts) == 2
    for line in ("-p gpu", "-A lensing", "--cpus-per-task=3", "-t 01:30:00", "--mem=954M", "--gres=gpu:1"):
        assert f"#SBATCH {line}\n" in scripts[0]
    assert "export TF_NUM_INTRAOP_THREADS=3\n" in scripts[0]
    assert "export DASK_LOGGING='{'\"'\"'distributed'\"'\"': 1}'\n" in scripts[0]
    assert f"export KERAS_HOME={batch_system}\n" in scripts[0]
    assert "--nthreads 1 " in scripts[0]
