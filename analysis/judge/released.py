"""Results of long runs as Git keeps them in `data/released/<profile>/`, and whether they are still of this code."""

import hashlib
import json
from functools import reduce
from operator import getitem
from pathlib import Path

from analysis.core.files import read_json
from analysis.core.paths import DATA, ROOT
from analysis.core.provenance import DIGITS, code_cells, import_closure, stage_keys
from analysis.core.tables import load_table
from analysis.params.load import composed

STAGES = {  # what each kept part rests on, besides the network that is kept with it
    "calibration": ("prior", "calibrate"),
    "clusters": ("prior", "sample", "clusters"),
    "validation": ("mocks", "prior", "sample", "baselines", "rivals", "calibrate", "validate"),
}


RELEASED = DATA / "released"


DEFAULT = "quick"  # the profile of a bare `dvc repro`


def release_digest(part: str, profile: str, root: Path = ROOT) -> str:
    """Digest of the code of the stages that a part rests on (`STAGES`) and of what a profile sets for them."""
    settings = composed(profile, root=root)
    notebooks = [root / "notebooks" / f"{stage}.ipynb" for stage in STAGES[part]]
    names = {name for notebook in notebooks for name in import_closure(notebook, root)}
    keys = sorted({key for stage in STAGES[part] for key in stage_keys(stage, root)})
    content = {
        "notebooks": [code_cells(notebook) for notebook in notebooks],
        "code": {name: (root / name).read_text(encoding="utf-8") for name in names},
        "params": {key: reduce(getitem, key.split("."), settings) for key in keys},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGITS]


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


def released_clusters(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """What samples of the released run of a profile show of clusters.

    Returns
    -------
    dict
        `profile`, `metrics` of the stage clusters and a `warning` as above; no entries where none was released
    """
    warning = _warning("clusters", profile, folder, root)
    if warning is None:
        return {}
    metrics = read_json(folder / profile / "clusters" / "metrics.json")
    return {"profile": profile, "metrics": metrics, "warning": warning}


def released_networks(folder: Path = RELEASED, root: Path = ROOT) -> dict[str, dict]:
    """By profile with a released network, what was recorded of its training, else the profile's grid alone."""
    found = {}
    for record in sorted(folder.glob("*/release.json")):
        profile, training = record.parent.name, record.parent / "training.json"
        found[profile] = read_json(training) if training.is_file() else composed(profile, root=root)["grid"]
    return found


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


def results_shown(root: Path = ROOT) -> Path:
    """Folder with the results of the run in the tree; where there is none, with the released ones."""
    return root / "data" if (root / "data/validation/metrics.json").is_file() else root / "data/released" / DEFAULT
