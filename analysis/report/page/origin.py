"""Origin of a file: the stage, code and parameters that dvc.lock records, and the commit."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import yaml
from astropy.io import fits

from analysis.core.provenance import DIGITS

CODE = ("analysis/", "notebooks/")


@dataclass(frozen=True)
class Origin:
    """How one file was made.

    Attributes
    ----------
    path : of the file, from the root of the project
    stage : as DVC spells it, `sample@cosmos`; empty if no run is recorded
    digest : of the code and parameters recorded for the stage, 16 hexadecimal digits
    params : those parameters
    state : whether file, code and parameters of this tree are those of the record, in words
    source : the cards SOURCE and CODEHASH of the file; empty without cards
    upstream : stages that had to run before, the earliest last
    """

    path: str
    stage: str
    digest: str
    params: Mapping
    state: str
    source: str
    upstream: tuple[str, ...]


def recorded_stages(root: Path) -> dict[str, dict]:
    """Every stage that dvc.lock records, by name; empty if nothing has run."""
    path = root / "dvc.lock"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["stages"] if path.is_file() else {}


def origin_of(path: str, stages: Mapping[str, Mapping], root: Path, *, made_as: str = "") -> Origin:
    """The origin of the file `path` (from `root`), by the records of `recorded_stages`.

    Parameters
    ----------
    made_as : path of the output of a stage, if the file is a copy of one
    """
    stage = _maker(made_as or path, stages)
    source = _source(root / path)
    if not stage:
        return Origin(path, "", "", {}, "no run is recorded that made it", source, ())
    entry = stages[stage]
    params = entry.get("params", {}).get("params.yaml", {})
    code = {dep["path"]: dep.get("md5") for dep in entry["deps"] if dep["path"].startswith(CODE)}
    text = json.dumps({"code": code, "params": params}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    upstream = tuple(_upstream(stage, stages))
    state = _state(path, made_as or path, entry, code, params, root)
    return Origin(path, stage, digest, params, state, source, upstream)


def commit_of(root: Path, path: str = "") -> str:
    """The commit that last changed a file, or the tree if no file is given; `in no commit` without one."""
    found = _git(root, "log", "-1", "--format=%h", "--abbrev=12", "--", *([path] if path else []))
    if not found:
        return "in no commit"
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *([path] if path else []))
    return f"{found}, changed since" if changed else found


def _maker(path: str, stages: Mapping[str, Mapping]) -> str:
    """The stage that wrote a file, or the folder around it; empty if none is recorded."""
    for name, entry in stages.items():
        if any(path == out["path"] or path.startswith(f"{out['path']}/") for out in entry.get("outs", ())):
            return name
    return ""


def _upstream(stage: str, stages: Mapping[str, Mapping]) -> Iterator[str]:
    """The stages that had to run before a stage, each once."""
    waiting, seen = [stage], {stage}
    while waiting:
        for dep in stages[waiting.pop(0)]["deps"]:
            makers = {_maker(dep["path"], stages)} | {
                name
                for name, entry in stages.items()
                if any(out["path"].startswith(f"{dep['path']}/") for out in entry.get("outs", ()))
            }
            for maker in sorted(makers - seen - {""}):
                seen.add(maker)
                waiting.append(maker)
                yield maker


def _state(path: str, output: str, entry: Mapping, code: Mapping[str, str], params: Mapping, root: Path) -> str:
    """Whether file, code and parameters are still those of the record of an output, in words."""
    outs = {out["path"]: out.get("md5") for out in entry["outs"]}
    if output in outs and (root / path).is_file() and _md5(root / path) != outs[output]:
        return "the file is not the one that this run made"
    moved = [name for name, md5 in code.items() if not (root / name).exists() or _md5(root / name) != md5]
    moved += ["params.yaml"] if _moved(params, root / "params.yaml") else []
    if not moved:
        return "code and parameters are those of this tree"
    return f"changed since it was made: {', '.join(moved[:3])}{' and more' if len(moved) > 3 else ''}"


def _moved(params: Mapping, path: Path) -> bool:
    """Whether params.yaml has other values than the recorded ones."""
    current = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    try:
        return any(reduce(lambda node, key: node[key], key.split("."), current) != params[key] for key in params)
    except KeyError:
        return True


def _source(path: Path) -> str:
    """The cards SOURCE and CODEHASH of a FITS file as text; empty for other files."""
    if path.suffix != ".fits" or not path.is_file():
        return ""
    header = fits.getheader(path)
    told = (header.get("SOURCE"), f"CODEHASH {header['CODEHASH']}" if "CODEHASH" in header else None)
    return "; ".join(filter(None, told))


def _md5(path: Path) -> str:
    """Digest of a file or folder as dvc.lock has it, without caches of Python; `dvc status` takes seconds a stage."""
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    files = [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    names = {file.relative_to(path).as_posix(): _md5(file) for file in files}
    listed = [{"md5": md5, "relpath": name} for name, md5 in sorted(names.items())]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _git(root: Path, *arguments: str) -> str:
    """Output of a Git command; empty without Git or a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
