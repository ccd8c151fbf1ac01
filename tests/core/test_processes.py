"""Processes of a pool end with what started them."""

import subprocess
import sys

import psutil

from analysis.core.paths import ROOT

PROGRAM = """
import os, time
from analysis.core.workers import pool_of_processes
if __name__ == "__main__":
    with pool_of_processes(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_pool_ends_with_a_parent_that_was_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, env=_environment()) as run:
        worker = psutil.Process(int(run.stdout.readline()))
        assert worker.is_running()
        run.kill()
    gone, alive = psutil.wait_procs([worker], timeout=60)
    for process in alive:
        process.kill()
    assert gone == [worker]


def test_a_pool_does_its_work():
    program = "from analysis.core.workers import pool_of_processes\nif __name__ == '__main__':\n" + (
        "    with pool_of_processes(2, max_tasks_per_child=1) as pool:\n        print(list(pool.map(abs, [-1, -2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=_environment(), check=True
    )
    assert done.stdout == "[1, 2]\n"


def _environment() -> dict[str, str]:
    return {**psutil.Process().environ(), "PYTHONPATH": str(ROOT)}
