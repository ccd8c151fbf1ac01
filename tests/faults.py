"""Faults: a stage of the profile `tiny` is struck while it runs, and run again; does it end as if nothing had been?

`prepared` makes an undisturbed run, `difference_after` strikes a copy of it and compares.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import psutil
import yaml
from astropy.io import fits
from pipeline import project_files
from range_server import listening

from analysis.core.files import TEMPORARY, read_json, sha256, write_json
from analysis.core.paths import ROOT
from analysis.params.load import composed
from analysis.survey.clusters import WIDTH, load_clusters

KINDS = ("stage", "machine", "kernel", "worker", "disk", "network")
# text in the command line of the process that a kind kills
VICTIMS = {"stage": "analysis run", "kernel": "ipykernel_launcher", "worker": "multiprocessing.spawn"}
POLL_S, PATIENCE_S, GRACE_S = 0.01, 900.0, 20.0
TRIES = 3  # where a stage ended before its fault

# No run needs these; every run writes those anew
APART = ("data/store", "data/released/tiny", "notebooks/run", "figures/run", "notebooks/executed", "tests", "paper")
VARYING = (".dvc", "tmp", "data/timings", "data/seconds", "data/training.json", ".work/ipython")
UNSTABLE = {"__pycache__", "tensorboard"}  # folders whose files are named by time or Python
RESULTS = ("data", "notebooks/run", "figures/run", ".work")
GALAXIES, SIDE_DEG = 180_000, 1.4  # more galaxies than `fields.cosmos_bright.rows`


@dataclass(frozen=True)
class Fault:
    """A fault of a kind, done to a stage at a moment.

    kind : `stage`, `kernel` or `worker`, a process that is killed; `machine`, all of them at once; `disk`, where the
        stage can write no more to files; `network`, which is cut within a file
    stage : as DVC spells it
    moment : between 0 and 1, of the stage's time, or of the bytes it fetches
    writing : whether it waits, from that moment on, until a file is being written
    """

    kind: str
    stage: str
    moment: float
    writing: bool = False


def prepared(folder, stages):
    """The project in `folder/state` after an undisturbed run of some stages; the sky is drawn, in `folder/sky`."""
    state = folder / "state"
    for path in project_files():
        name = path.relative_to(ROOT).as_posix()
        if not within(name, APART):
            (state / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, state / name)
    params = composed("tiny")
    params["compute"]["processes"] = 1  # a worker to strike
    (state / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (state / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"
    )
    (state / "dvc.lock").unlink(missing_ok=True)
    make_sky(state, folder / "sky")
    with mirror(folder / "sky") as server:
        run = Run(["repro", *stages], state, server.address)
        assert run.ended() == 0, run.lines[-5:]
    write_json(folder / "undisturbed.json", contents(state))
    return state


def difference_after(state, fault, case):
    """How a stage that was struck and run again differs from the undisturbed run; empty where it does not."""
    for _ in range(TRIES):
        copy_from_before(state, fault.stage, case)
        with mirror(state.parent / "sky") as server:
            if fault.kind == "network":
                server.left = int(fault.moment * sum(path.stat().st_size for path in server.folder.rglob("*.*")))
            run = Run(["repro", "--single-item", fault.stage], case, server.address)
            seconds = read_json(state / "data" / "timings" / f"{fault.stage.replace('@', '_')}.json")["wall_s"]
            members = [] if fault.kind == "network" else strike(fault, run, case, seconds)
            ended = run.ended()
            if members or server.left == 0:
                server.left = None
                assert ended is not None, f"the struck run did not end in {PATIENCE_S:g} s"
                assert not any("Traceback" in line for line in run.lines), run.lines
                return difference(state, fault.stage, case, server.address, members)
        fault = replace(fault, moment=fault.moment / 2, writing=False)
    return f"the stage ended {TRIES} times before it was struck"


def difference(state, stage, case, address, members):
    """Run a stage again, and say what is not as in the undisturbed run."""
    run = Run(["repro", "--single-item", stage], case, address)
    if run.ended() != 0:
        return f"the second run failed: {' '.join(run.lines[-3:])}"
    wanted, found = read_json(state.parent / "undisturbed.json"), contents(case)
    faults = {
        "missing": sorted(set(wanted) - set(found)),
        "left over": sorted(set(found) - set(wanted)),
        "other bytes": sorted(name for name in set(wanted) & set(found) if wanted[name] != found[name]),
        "still running": [str(process.pid) for process in psutil.wait_procs(members, GRACE_S)[1]],
        "other digests": [stage] if outs(case, stage) != outs(state, stage) else [],
    }
    kill(members)
    return "; ".join(f"{what}: {' '.join(names)}" for what, names in faults.items() if names)


def contents(folder):
    """SHA-256 digest of every file that no run writes anew; names alone below `.work`."""
    files = [
        path for path in folder.rglob("*") if path.is_file() and not {"__pycache__", "tensorboard"} & {*path.parts}
    ]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: "" if within(name, (".work", "dvc.lock")) else sha256(path)
        for name, path in sorted(names.items())
        if not within(name, VARYING)
    }


def within(name, folders):
    """Whether a path is one of these, or lies below one."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


class Run(psutil.Popen):
    """DVC at work in a folder; `lines` has what it and all below it printed."""

    def __init__(self, arguments, folder, address):
        environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATA_MIRROR": address,
            "NO_PROXY": "127.0.0.1",
            "TMPDIR": str(folder / "tmp"),
            "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "site"),
        }
        (folder / "tmp").mkdir(exist_ok=True)
        # through a pipe, which a process may write to that may write to no file
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        super().__init__([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, **pipes)
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with self.stdout as printed:
            self.lines.extend(printed)

    def ended(self):
        """Exit status; None where the run had to be ended, with all below it."""
        try:
            status = self.wait(PATIENCE_S)
        except psutil.TimeoutExpired:
            kill(family(self))
            status = None
        self.reader.join(GRACE_S)
        return status


def copy_from_before(state, stage, case):
    """The project from before a stage ran, in `case`, which is made anew."""
    shutil.rmtree(case, ignore_errors=True)
    shutil.copytree(state, case, ignore=shutil.ignore_patterns("site", "tmp", "files", "runs"))
    made = [out["path"] for out in outs(state, stage)]
    for name in [*made, f".work/{stage}", *(["data/cache"] if stage.startswith("catalogue") else [])]:
        path = case / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    lock = yaml.safe_load((case / "dvc.lock").read_text())
    del lock["stages"][stage]
    (case / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def outs(folder, stage):
    """Outputs of a stage with their digests; none where it is not done."""
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"].get(stage, {}).get("outs", [])


def make_sky(state, sky):
    """Draw galaxies without a signal where COSMOS is, and put their digests into the registry of a project."""
    rng = np.random.default_rng(2020)
    (sky / "cosmos").mkdir(parents=True)
    place = rng.uniform(-SIDE_DEG / 2, SIDE_DEG / 2, (2, GALAXIES))
    shape, weight = rng.normal(0, 0.26, (2, GALAXIES)), rng.uniform(0.5, 1, GALAXIES)
    columns = {"ra": 150.1161 + place[0], "dec": 2.2475 + place[1], "e1": shape[0], "e2": shape[1]}
    for name, values in (columns | {"nhweight_int": weight}).items():
        fits.PrimaryHDU(values).writeto(sky / "cosmos" / f"{name}.fits")
    clusters = load_clusters(ROOT / "data" / "observation" / "cosmos_clusters.ecsv")
    rows = np.zeros((len(clusters), WIDTH))
    for column, name in ((0, "id"), (1, "ra_deg"), (2, "dec_deg"), (3, "r500_arcmin"), (6, "z"), (7, "m500")):
        rows[:, column] = clusters[name]
    np.savetxt(sky / "cosmos" / "xray.txt", rows, fmt="%.6g")
    lines = [
        f"cosmos/{path.name} sha256:{sha256(path)} http://127.0.0.1:9/{path.name}"
        for path in sorted((sky / "cosmos").iterdir())
    ]
    (state / "analysis" / "core" / "registry.txt").write_text("\n".join(lines) + "\n")


# the harm


def strike(fault, run, case, seconds):
    """Wait until the moment of a fault, and do it; the processes that ran then, none where the run ended before."""
    end = time.monotonic() + PATIENCE_S
    while run.poll() is None and not victims(fault.kind, run) and time.monotonic() < end:
        time.sleep(POLL_S)
    begun = time.monotonic()
    while run.poll() is None and time.monotonic() < begun + fault.moment * seconds:
        time.sleep(POLL_S)
    while fault.writing and run.poll() is None and not being_written(case):
        time.sleep(POLL_S)
    members, struck = family(run), victims(fault.kind, run)
    if run.poll() is not None or not struck:
        return []
    if fault.kind == "disk":
        fill(struck)
    else:
        kill(struck)
        psutil.wait_procs(struck, GRACE_S)  # the dying take a moment, during which nobody types the next command
    return members


def victims(kind, run):
    """Processes that a fault meets once the stage runs: all for `machine`, the stage's for `disk`, else one."""
    members = family(run)
    found = [member for member in members if VICTIMS.get(kind, VICTIMS["stage"]) in command(member)]
    if kind == "machine":
        return members if found else []
    return family(found[-1]) if found and kind == "disk" else found[-1:]


def family(process):
    """A process and all below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def command(process):
    """Command line of a process, but for a shell's; empty where it ended."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return "" if words[1:2] == ["-c"] and "python" not in words[0] else " ".join(words)
    return ""


def being_written(case):
    """Whether a temporary file stands where results go."""
    with contextlib.suppress(OSError):  # folders come and go
        return any(
            TEMPORARY.fullmatch(name) and not name.endswith(("kernel.log", "kernel.json"))
            for folder in RESULTS
            for _, _, names in os.walk(case / folder)
            for name in names
        )
    return False


def fill(processes):
    """Let processes write no more to files, as on a full disk."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, (0, 0))


def kill(processes):
    """Kill processes that still run."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


class Cut(SimpleHTTPRequestHandler):
    """Serves `server.folder` until `server.left` bytes are sent, then nothing at all; None has no end."""

    def __init__(self, request, client_address, server):
        super().__init__(request, client_address, server, directory=str(server.folder))

    def do_GET(self):
        if self.server.left == 0:
            self.close_connection = True
            return
        super().do_GET()

    def copyfile(self, source, outputfile):
        content, left = source.read(), self.server.left
        if left is not None:  # counted before it is sent: the next request may come at once
            self.server.left = max(left - len(content), 0)
            self.close_connection = True
        self.wfile.write(content if left is None else content[:left])

    def log_message(self, *_):
        pass


def mirror(folder):
    """A server of a folder's files on loopback; `left` of it counts the bytes until it is cut."""
    return listening(Cut, folder=folder, left=None)
