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

STAGES = {  # what each kept part rests on
    "calibration": ("simulations", "train", "calibrate"),
    "validation": ("simulations", "mocks", "train", "prior", "sample", "baselines", "calibrate", "validate"),
}
RELEASED = DATA / "released"
KEPT = {
    "calibration": ("metrics.json", "ranks_own.ecsv", "ranks_sky.ecsv"),
    "validation": ("metrics.json",),
}


def release_digest(part: str, profile: str, root: Path = ROOT) -> str:
    """Digest of the code of the stages that a part rests on (`STAGES`) and of what a profile sets for them."""
    notebooks = [root / "notebooks" / f"{stage}.ipynb" for stage in STAGES[part]]
    names = {name for notebook in notebooks for name in import_closure(notebook, root)}
    keys = sorted({key for stage in STAGES[part] for key in stage_keys(stage, root)})
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
    warning = _warning("calibration", profile, folder, root)
    return {} if warning is None else _calibration(folder / profile / "calibration", profile, warning)


def released_validation(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """Every metric of the released run of a profile as `metrics`, and a `warning` as above; no entries without one."""
    warning = _warning("validation", profile, folder, root)
    if warning is None:
        return {}
    return {"metrics": read_json(folder / profile / "validation" / "metrics.json"), "warning": warning}


def _warning(part: str, profile: str, folder: Path, root: Path) -> str | None:
    """That code or parameters have moved since a part was released, empty if not; None if it was not released."""
    record = folder / profile / "release.json"
    digest = read_json(record)["digest"].get(part) if record.is_file() else None
    if digest is None:
        return None
    stale = f"code or parameters have changed since the profile {profile} was released; its numbers may no longer hold"
    return "" if digest == release_digest(part, profile, root) else stale


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
    """Keep the results of the profile that lies in `data/`: its calibration, and its validation if that belongs to it.

    Raises
    ------
    BorderError
        If there is no calibration.
    """
    profile = load_params().profile
    release(profile, DATA, RELEASED)


def release(profile: str, data: Path, folder: Path, root: Path = ROOT) -> None:
    """Copy what is kept of a run into the folder of releases, with the digests of what it rests on.

    A long run may end with its calibration: a validation that gathered another one is of another run, and left out.
    """
    missing = [name for name in KEPT["calibration"] if not (data / "calibration" / name).is_file()]
    if missing:
        raise BorderError(
            f"data/calibration/{missing[0]} is missing; run `dvc repro calibrate` with the profile {profile} first"
        )
    gathered = data / "validation" / "metrics.json"
    calibration = read_json(data / "calibration" / "metrics.json")
    parts = ["calibration"]
    if gathered.is_file() and read_json(gathered)["calibration"] == calibration:
        parts.append("validation")
    shutil.rmtree(folder / profile, ignore_errors=True)
    for part in parts:
        for name in KEPT[part]:
            target = folder / profile / part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / part / name, target)
    write_json(
        folder / profile / "release.json", {"digest": {part: release_digest(part, profile, root) for part in parts}}
    )
