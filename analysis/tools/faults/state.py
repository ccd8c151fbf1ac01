"""An undisturbed run of the profile `tiny` in a folder of its own, and stages of it that are run again and struck."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import yaml
from astropy.io import fits

from analysis.core.files import BorderError, read_json, sha256, write_json
from analysis.core.paths import ROOT
from analysis.core.tree import project_files
from analysis.tools.faults.strike import FILLER, PATIENCE_S, Fault, family, mirror, strike

# What no run needs, what every run writes anew, and what belongs to DVC
APART = ("data/store", "data/released/tiny", "notebooks/run", "figures/run", "notebooks/executed", "tests", "paper")
VARYING = (".dvc", "tmp", "data/timings", "data/seconds", "data/training.json", ".work/ipython")
LOGS = "tensorboard"  # folders whose files are called by the time
GALAXIES = 180_000  # more than `fields.cosmos_bright.rows`
SIDE_DEG = 1.4
COLUMNS = ("ra", "dec", "e1", "e2", "nhweight_int")
ROOM_BYTES = 400_000_000  # of a case's own file system
TRIES = 3  # where a stage ended before its fault
GRACE_S = 20.0  # for processes whose parent was killed

DEFINITIONS = {
    "faults": "stages of the profile tiny that were struck while they ran, kinds in turn, stage and moment at random",
    "survived": "of these, those after which `dvc repro` of the stage ended with the bytes of an undisturbed run, no"
    " file missing, none left over, no process left, and no traceback told",
    "kinds": "stage, kernel, worker: that process killed (SIGKILL); machine: all of them; disk: full from then on;"
    " network: cut within a file of the catalogue",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: `told` says in which way the second run was not as an undisturbed one."""

    fault: Fault
    survived: bool
    told: str


def tracked() -> list[str]:
    """Files of the project as they lie here, without what no run needs."""
    names = [path.relative_to(ROOT).as_posix() for path in project_files()]
    return [name for name in names if not _within(name, APART)]


def prepared(folder: Path, stages: Sequence[str] = ()) -> Path:
    """The project after an undisturbed run of some stages, or of all of them; made once, in `folder/state`.

    The sky is drawn, so that nothing is fetched but from `folder/sky`.

    Raises
    ------
    BorderError
        If the run fails.
    """
    state = folder / "state"
    if (folder / "undisturbed.json").is_file():
        return state
    shutil.rmtree(state, ignore_errors=True)
    for name in tracked():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, state / name)
    _make_tiny(state)
    _make_sky(state, folder / "sky")
    with mirror(folder / "sky") as server:
        log = folder / "undisturbed.log"
        if _started(["repro", *stages], state, server.address, log).wait() != 0:
            raise BorderError(f"the undisturbed run in {state} failed: {' '.join(_lines(log)[-5:])}; mend it first.")
    write_json(folder / "undisturbed.json", {"contents": contents(state)})
    return state


def stage_names(state: Path) -> list[str]:
    """Stages that were run, as DVC spells them."""
    return sorted(_lock(state)["stages"])


def fetches(stage: str) -> bool:
    """Whether a stage fetches files."""
    return stage.startswith("catalogue")


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 digest of every file below a folder, but for what every run writes anew; names alone below `.work`."""
    files = [path for path in folder.rglob("*") if path.is_file() and not {"__pycache__", LOGS} & set(path.parts)]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: "" if _within(name, (".work", "dvc.lock")) else sha256(path)
        for name, path in sorted(names.items())
        if not _within(name, VARYING)
    }


def ran_again(state: Path, fault: Fault, case: Path) -> Outcome:
    """Run a stage of a state from before it ran, do the fault, run it again, and compare with the undisturbed run.

    Parameters
    ----------
    case : folder to do so in; made anew, and removed
    """
    for _ in range(TRIES):
        with _copied(state, fault.stage, case), mirror(state.parent / "sky") as server:
            if fault.kind == "network":
                server.left = int(fault.moment * sum(path.stat().st_size for path in server.folder.rglob("*.*")))
            log = _log(case)
            run = _started(["repro", "--single-item", fault.stage], case, server.address, log)
            members = [] if fault.kind == "network" else strike(fault, run, case, _seconds(state, fault.stage))
            ended = _ended(run) is not None
            if members or server.left == 0:
                server.left = None
                (case / FILLER).unlink(missing_ok=True)
                told = _unlike(state, fault, case, server.address, _lines(log), members)
                told = told if ended else f"the struck run did not end in {PATIENCE_S:g} s"
                return Outcome(fault, survived=not told, told=told)
        fault = replace(fault, moment=fault.moment / 2, writing=False)
    return Outcome(fault, survived=False, told=f"the stage ended {TRIES} times before it was struck")


def _unlike(
    state: Path, fault: Fault, case: Path, address: str, lines: list[str], members: list[psutil.Process]
) -> str:
    """What is not as it should be after the second run; empty where all is."""
    at = next((number for number, line in enumerate(lines) if "Traceback" in line), None)
    if at is not None:
        return f"the struck run told a traceback: {' '.join([*lines[max(at - 2, 0) : at + 2], *lines[-2:]])}"
    run = _started(["repro", "--single-item", fault.stage], case, address, _log(case))
    if _ended(run) != 0:
        return f"the second run failed: {' '.join(_lines(_log(case))[-3:])}"
    wanted, found = read_json(state.parent / "undisturbed.json")["contents"], contents(case)
    faults = {
        "missing": sorted(set(wanted) - set(found)),
        "left over": sorted(set(found) - set(wanted)),
        "other bytes": sorted(name for name in set(wanted) & set(found) if wanted[name] != found[name]),
        "still running": [str(process.pid) for process in psutil.wait_procs(members, GRACE_S)[1]],
    }
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    if _outs(case, fault.stage) != _outs(state, fault.stage):
        faults["other bytes"].append("dvc.lock")
    return "; ".join(f"{what}: {' '.join(names)}" for what, names in faults.items() if names)


def _started(arguments: list[str], folder: Path, address: str, log: Path) -> psutil.Popen:
    """DVC at work in a folder, with what it prints in a file."""
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
    with open(log, "wb") as printed:
        return psutil.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _log(case: Path) -> Path:
    """What the runs of a case print: beside it, since its disk may be full."""
    return case.with_name(f"{case.name}.log")


def _lines(log: Path) -> list[str]:
    """Lines of what a run printed."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def _ended(run: psutil.Popen) -> int | None:
    """Exit status of a run; None where it had to be ended, with all below it."""
    try:
        return run.wait(PATIENCE_S)
    except psutil.TimeoutExpired:
        for process in family(run):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return None


@contextmanager
def _copied(state: Path, stage: str, case: Path) -> Iterator[None]:
    """The project from before a stage ran, in `case`, on a file system of its own where this user may mount one."""
    _remove(case)
    case.mkdir(parents=True)
    if os.geteuid() == 0:
        command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(case)]
        subprocess.run(command, capture_output=True, check=False)
    try:
        shutil.copytree(state, case, dirs_exist_ok=True, ignore=shutil.ignore_patterns("site", "tmp", "files", "runs"))
        made = [*(out["path"] for out in _outs(state, stage)), f".work/{stage}"]
        for path in [case / name for name in [*made, *(["data/cache"] if fetches(stage) else [])]]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        lock = _lock(case)
        del lock["stages"][stage]
        (case / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
        yield
    finally:
        _remove(case)


def _remove(case: Path) -> None:
    """Unmount and remove a case."""
    if case.is_mount():
        subprocess.run(["umount", "--lazy", str(case)], capture_output=True, check=True)
    shutil.rmtree(case, ignore_errors=True)
    _log(case).unlink(missing_ok=True)


def _make_tiny(state: Path) -> None:
    """Give a copy of the project the parameters of the profile `tiny`, and take it out of Git's sight."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(state / "conf"), version_base=None):
        composed = OmegaConf.to_container(compose("config", overrides=["profile=tiny"]), resolve=True)
    (state / "params.yaml").write_text(yaml.safe_dump(composed, sort_keys=False))
    (state / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"
    )
    (state / "dvc.lock").unlink(missing_ok=True)


def _make_sky(state: Path, sky: Path) -> None:
    """Draw galaxies without a signal where COSMOS is, and let a copy of the project know them by their digests."""
    from analysis.survey.clusters import WIDTH, load_clusters  # seconds to import, and only here

    rng = np.random.default_rng(2020)
    (sky / "cosmos").mkdir(parents=True, exist_ok=True)
    place = rng.uniform(-SIDE_DEG / 2, SIDE_DEG / 2, (2, GALAXIES))
    shape = rng.normal(0, 0.26, (2, GALAXIES))
    weight = rng.uniform(0.5, 1, GALAXIES)
    for name, values in zip(COLUMNS, (150.1161 + place[0], 2.2475 + place[1], *shape, weight), strict=True):
        fits.PrimaryHDU(values.astype(np.float64)).writeto(sky / "cosmos" / f"{name}.fits", overwrite=True)
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


def _lock(folder: Path) -> dict:
    """What `dvc.lock` says."""
    return yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))


def _outs(folder: Path, stage: str) -> list[dict]:
    """Outputs of a stage with their digests; none where it is not done."""
    return _lock(folder)["stages"].get(stage, {}).get("outs", [])


def _seconds(state: Path, stage: str) -> float:
    """Wall time of a stage in the undisturbed run."""
    with contextlib.suppress(BorderError):
        return read_json(state / "data" / "timings" / f"{stage.replace('@', '_')}.json")["wall_s"]
    return 10.0


def _within(name: str, folders: Sequence[str]) -> bool:
    """Whether a path is one of these, or lies below one."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)
