"""Whether a DVC remote holds, whole, what this tree needs; and damaged objects replaced by this machine's copies.

DVC takes an object of a remote at its word unless `verify` is set for that remote, and where it is set says that a pull
failed but not why. Here every object is read and hashed, and each that is missing or damaged is named.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from analysis.core.files import BorderError
from analysis.core.paths import ROOT

REFUSED = re.compile(r"\b(401|403)\b|denied|forbidden|unauthorized|invalidaccesskey|signaturedoesnotmatch")
NO_PLACE = re.compile(r"\b405\b|bucket does not exist|nosuchbucket|name or service|\bconnect\b|connection")
ANYTHING = re.compile("")
ADDRESS = re.compile(r"\S*/\S*")  # and paths
BLOCK = 1 << 20


@dataclass(frozen=True)
class Report:
    """Objects of a remote, as file by hash: those that are there as they should be, and those that are not."""

    whole: Mapping[str, str]
    missing: Mapping[str, str]
    damaged: Mapping[str, str]


def main(name: str | None, mend: bool, root: Path = ROOT) -> None:
    """Print what a remote holds of what the tree needs.

    Parameters
    ----------
    name : of the remote; the default one where left out
    mend : whether to put this machine's copies in the place of damaged objects

    Raises
    ------
    BorderError
        If the remote cannot be reached, or an object is missing or damaged and not mended.
    """
    from dvc.repo import Repo  # a second to import, and only here

    with Repo(str(root)) as repo:
        remote, cache = _remote(repo, name), repo.cache.local
        report = inspect(remote.odb, wanted_objects(repo, remote.odb))
        counts = f"{len(report.whole)} whole, {len(report.missing)} missing, {len(report.damaged)} damaged"
        print(f"{remote.name}: {counts}")
        for state in ("missing", "damaged"):
            for oid, file in getattr(report, state).items():
                print(f"  {state}: {file} ({oid})")
        mended = {oid for oid in report.damaged if mend and replaced(remote.odb, oid, Path(cache.oid_to_path(oid)))}
        if mended:
            print(f"{remote.name}: {len(mended)} replaced by this machine's copies")
    _complain(remote.name, report, len(report.damaged) - len(mended), mend)


def wanted_objects(repo: Any, remote: Any) -> dict[str, str]:
    """Files by hash of all that the tree's outputs hold and a push would send; contents of folders one by one."""
    wanted = {}
    for out in repo.index.outs:
        if not (out.use_cache and out.can_push and out.hash_info):
            continue
        oid, file = out.hash_info.value, str(Path(out.fspath).relative_to(repo.root_dir))
        wanted[oid] = file
        if oid.endswith(".dir"):
            wanted |= {entry["md5"]: f"{file}/{entry['relpath']}" for entry in _folder(oid, repo.cache.local, remote)}
    return wanted


def inspect(remote: Any, wanted: Mapping[str, str]) -> Report:
    """Read and hash every object that is wanted.

    Raises
    ------
    BorderError
        If the remote refuses, or the place that its address names does not exist.
    """
    states = {"whole": {}, "missing": {}, "damaged": {}}
    for oid, file in tqdm(wanted.items(), desc="reading", unit="object", disable=None):
        try:
            state = "whole" if _digest(remote, oid) == oid.removesuffix(".dir") else "damaged"
        except FileNotFoundError as error:
            _explain(error, NO_PLACE)
            state = "missing"
        except Exception as error:  # every kind of remote has exceptions of its own
            _explain(error, ANYTHING)
        states[state][oid] = file
    return Report(**states)


def replaced(remote: Any, oid: str, copy: Path) -> bool:
    """Whether a damaged object of a remote could be overwritten by a whole copy on this machine."""
    if not copy.is_file() or hashlib.md5(copy.read_bytes(), usedforsecurity=False).hexdigest() != oid[:32]:
        return False
    path = remote.oid_to_path(oid)
    if not remote.fs.protocol.startswith("http"):  # which overwrites, and knows no removal
        remote.fs.remove(path)
    remote.fs.put_file(str(copy), path)
    return True


def _remote(repo: Any, name: str | None) -> Any:
    """A remote of the tree's configuration."""
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException

    try:
        return repo.cloud.get_remote(name)
    except (ConfigError, DvcException, ImportError) as error:
        names = ", ".join(sorted(repo.config["remote"]))
        reason = " ".join(str(error).split())
        raise BorderError(f"remote {name!r} cannot be used ({reason}); there are: {names}; see README") from error


def _folder(oid: str, cache: Any, remote: Any) -> list[dict[str, str]]:
    """Entries of a folder's object, from this machine's cache, else from the remote; none where it is not whole."""
    copy = Path(cache.oid_to_path(oid))
    with suppress(Exception):  # what is wrong with it shows when the object itself is inspected
        content = copy.read_bytes() if copy.is_file() else _content(remote, oid)
        return json.loads(content)
    return []


def _content(remote: Any, oid: str) -> bytes:
    """Bytes of an object."""
    with remote.fs.open(remote.oid_to_path(oid), "rb") as file:
        return file.read()


def _digest(remote: Any, oid: str) -> str:
    """MD5 of what a remote holds under a hash."""
    digest = hashlib.md5(usedforsecurity=False)
    with remote.fs.open(remote.oid_to_path(oid), "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _explain(error: Exception, signs: re.Pattern) -> None:
    """Raise one sentence with a remedy if an error bears one of the signs, or that of credentials."""
    causes = filter(None, (error, error.__cause__))  # HTTP: every failure is a missing file, by cause of which
    reason = " ".join(" by ".join(f"{type(cause).__name__}: {cause}" for cause in causes).split())[:300]
    said = ADDRESS.sub(" ", reason).lower()  # whose port, names or hash may hold any sign
    if REFUSED.search(said):
        raise BorderError(
            f"the remote refuses this user ({reason}); set key or password with `dvc remote modify --local`, as README"
            " says for each kind of remote"
        ) from error
    if signs.search(said):
        raise BorderError(
            f"the remote is not where its address says ({reason}); create the bucket or folder, or correct the address"
            " with `dvc remote modify NAME url ADDRESS`"
        ) from error


def _complain(name: str, report: Report, damaged: int, mend: bool) -> None:
    """Raise what is left to do, if anything is."""
    if damaged:
        remedy = (
            "this machine has no whole copy of them: do the same on one that has, or make them again (`dvc repro`)"
            if mend
            else f"`python -m analysis store {name} --mend` puts this machine's copies in their place"
        )
        raise BorderError(f"{damaged} objects of {name} are damaged; {remedy}")
    if report.missing:
        raise BorderError(f"{len(report.missing)} objects are not in {name}; `dvc push -r {name}` where they were made")
