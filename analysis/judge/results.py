"""Results read back: one run of `sample.fields`, the run that lies in `data/`, and the releases that Git keeps.

A release lies in `data/released/<profile>/`, with a digest of the code and parameters that made it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import read_json
from analysis.core.paths import DATA, ROOT
from analysis.core.provenance import DIGITS, code_cells, import_closure, stage_keys
from analysis.core.tables import load_table
from analysis.params import RunParams
from analysis.params.load import composed
from analysis.posterior.samples import load_samples
from analysis.rivals.baselines import load_baseline
from analysis.sky import Observation, load_observation
from analysis.survey.clusters import clusters_on_grid, empty_clusters, load_clusters

BASELINES = ("kaiser_squires", "wiener", "gaussian_std")
RELEASED = DATA / "released"
DEFAULT = "quick"  # the profile of a bare `dvc repro`
STAGES = {  # whose code and parameters each released part rests on, besides the network that is kept with it
    "calibration": ("prior", "calibrate"),
    "clusters": ("prior", "sample", "clusters"),
    "validation": ("mocks", "prior", "sample", "baselines", "rivals", "calibrate", "validate"),
}


@dataclass(frozen=True, eq=False)
class Result:
    """One run, read back.

    Attributes
    ----------
    observation : as stored, before any turn of its shears
    samples : (n, ny, nx), posterior samples
    kaiser_squires, wiener, gaussian_std : (ny, nx), baselines and the standard deviation of Gaussian realisations
    clusters : those in observed pixels, with positions `x`, `y`; no rows for a mock
    """

    observation: Observation
    samples: np.ndarray
    kaiser_squires: np.ndarray
    wiener: np.ndarray
    gaussian_std: np.ndarray
    clusters: Table


def load_result(root: Path, name: str, run: RunParams) -> Result:
    """The run `name` of a project whose `data/` lies in `root`.

    Raises
    ------
    BorderError
        If a file is missing or damaged.
    """
    observation = load_observation(root / run.observation)
    maps = (load_baseline(root / "data" / "baselines" / f"{name}.fits", baseline) for baseline in BASELINES)
    samples = load_samples(root / "data" / "samples" / f"{name}.fits")
    clusters = clusters_on_grid(listed_clusters(root / run.observation), observation.grid, observation.mask)
    return Result(observation, samples, *maps, clusters)


def listed_clusters(observation: Path) -> Table:
    """The cluster list stored beside an observation; no rows for a mock, which has no list."""
    path = observation.with_name(f"{observation.stem}_clusters.ecsv")
    return load_clusters(path) if path.is_file() else empty_clusters()


def results_shown(root: Path = ROOT) -> Path:
    """The folder `data` if a run has finished there, else that of the release."""
    return root / "data" if (root / "data/validation/metrics.json").is_file() else root / "data/released" / DEFAULT


def current_calibration(profile: str) -> dict:
    """The calibration that lies in `data/`, in the form of `released_calibration`."""
    return _calibration(DATA / "calibration", profile, "")


def released_results(profile: str = "reference", folder: Path = RELEASED) -> dict:
    """The released results that README.md and the paper show.

    Returns
    -------
    dict
        `calibration`, `validation`, `clusters` of the profile (empty if not released); `networks` and `runs` made with
        them, by profile
    """
    runs = {}
    for path in sorted(folder.glob("*/run_*.json")):
        runs.setdefault(path.parent.name, []).append(read_json(path))
    return {
        "calibration": released_calibration(profile),
        "validation": released_validation(profile),
        "clusters": released_clusters(profile),
        "networks": released_networks(),
        "runs": runs,
    }


def released_calibration(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """The released calibration of a profile, with a warning if code or parameters have changed since.

    Returns
    -------
    dict
        `profile`; `metrics`; `tables` of ranks by kind of mock; `warning`, empty if nothing has changed; `note` for a
        figure. Empty if no calibration was released.
    """
    warning = _warning("calibration", profile, folder, root)
    return {} if warning is None else _calibration(folder / profile / "calibration", profile, warning)


def released_validation(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """`profile`, `metrics` of all stages and `warning` of a released run; empty if none was released."""
    return _released("validation", profile, folder, root)


def released_clusters(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """`profile`, `metrics` of the stage clusters and `warning` of a released run; empty if none was released."""
    return _released("clusters", profile, folder, root)


def released_networks(folder: Path = RELEASED, root: Path = ROOT) -> dict[str, dict]:
    """Record of the training of each released network, by profile; the profile's grid where there is no record."""
    found = {}
    for record in sorted(folder.glob("*/release.json")):
        profile, training = record.parent.name, record.parent / "training.json"
        found[profile] = read_json(training) if training.is_file() else composed(profile, root=root)["grid"]
    return found


def release_digest(part: str, profile: str, root: Path = ROOT) -> str:
    """Digest of the code of the stages that a part rests on (`STAGES`) and of their parameters in a profile."""
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


def _released(part: str, profile: str, folder: Path, root: Path) -> dict:
    """Profile, metrics and warning of a released part; empty if it was not released."""
    warning = _warning(part, profile, folder, root)
    if warning is None:
        return {}
    return {"profile": profile, "metrics": read_json(folder / profile / part / "metrics.json"), "warning": warning}


def _warning(part: str, profile: str, folder: Path, root: Path) -> str | None:
    """A warning if code or parameters have changed since a part was released, else ""; None if it was not released."""
    record = folder / profile / "release.json"
    digest = read_json(record)["digest"].get(part) if record.is_file() else None
    if digest is None:
        return None
    stale = f"code or parameters have changed since the profile {profile} was released; its numbers may no longer hold"
    return "" if digest == release_digest(part, profile, root) else stale


def _calibration(folder: Path, profile: str, warning: str) -> dict:
    """Metrics and ranks of a calibration in a folder."""
    return {
        "profile": profile,
        "metrics": read_json(folder / "metrics.json"),
        "tables": {path.stem: load_table(path) for path in sorted((folder / "ranks").glob("*.ecsv"))},
        "warning": warning,
        "note": f"profile {profile}" + (f" | {warning}" if warning else ""),
    }
