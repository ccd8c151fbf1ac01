"""Results of long runs, kept in `data/released/<profile>/`, and whether they still belong to the code beside them."""

import hashlib
import json
import shutil
from functools import reduce
from pathlib import Path

import yaml

from analysis.files import BorderError, read_json, write_json
from analysis.params import DATA, ROOT, load_params
from analysis.power import load_table
from analysis.provenance import DIGITS, code_cells, import_closure, stage_keys

STAGES = ("simulations", "train", "calibrate")  # what a calibration rests on
RELEASED = DATA / "released"
KEPT = (
    "calibration/metrics.json",
    "calibration/ranks_own.ecsv",
    "calibration/ranks_sky.ecsv",
)


def release_digest(profile: str, root: Path = ROOT) -> str:
    """Digest of the code of the stages in `STAGES` and of what a profile sets for them."""
    notebooks = [root / "notebooks" / f"{stage}.ipynb" for stage in STAGES]
    names = {name for notebook in notebooks for name in import_closure(notebook, root)}
    keys = sorted({key for stage in STAGES for key in stage_keys(stage, root)})
    settings = [
        yaml.safe_load((root / "conf" / name).read_text(encoding="utf-8"))
        for name in ("config.yaml", f"profile/{profile}.yaml")
    ]
    content = {
        "notebooks": [code_cells(notebook) for notebook in notebooks],
        "code": {name: (root / name).read_text(encoding="utf-8") for name in names},
        "params": {key: [reduce(_entry, key.split("."), level) for level in settings] for key in keys},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _entry(section: dict | None, key: str):
    """An entry of a section, None where there is none."""
    return section.get(key) if isinstance(section, dict) else None


def released_calibration(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """The released calibration of a profile, with a warning where code or parameters have moved since.

    Returns
    -------
    dict
        `profile`, `metrics`, `tables` of ranks by kind of mock, `warning`, empty where they are of this code, and
        `note` for a figure; no entries where none was released
    """
    if not (folder / profile / "release.json").is_file():
        return {}
    current = read_json(folder / profile / "release.json")["digest"] == release_digest(profile, root)
    stale = f"code or parameters have changed since the profile {profile} was released; its numbers may no longer hold"
    return _calibration(folder / profile / "calibration", profile, "" if current else stale)


def current_calibration(profile: str) -> dict:
    """The calibration that lies in `data/`, as `released_calibration` gives another."""
    return _calibration(DATA / "calibration", profile, "")


def _calibration(folder: Path, profile: str, warning: str) -> dict:
    """Metrics and ranks of a folder."""
    return {
        "profile": profile,
        "metrics": read_json(folder / "metrics.json"),
        "tables": {kind: load_table(folder / f"ranks_{kind}.ecsv") for kind in ("own", "sky")},
        "warning": warning,
        "note": f"profile {profile}" + (f" | {warning}" if warning else ""),
    }


def main() -> None:
    """Keep the results of the profile that lies in `data/`.

    Raises
    ------
    BorderError
        If one of them is missing.
    """
    profile = load_params().profile
    missing = [name for name in KEPT if not (DATA / name).is_file()]
    if missing:
        raise BorderError(f"data/{missing[0]} is missing; run `dvc repro` with the profile {profile} first")
    for name in KEPT:
        target = RELEASED / profile / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DATA / name, target)
    write_json(RELEASED / profile / "release.json", {"digest": release_digest(profile)})
