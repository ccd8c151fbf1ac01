"""Results of long runs, kept in `data/released/<profile>/`, and whether they still belong to the code beside them."""

import hashlib
import shutil
from pathlib import Path

from analysis.files import BorderError, read_json, write_json
from analysis.params import DATA, ROOT, load_params
from analysis.provenance import DIGITS, import_closure

STAGES = ("simulations", "train", "calibrate")  # what a calibration rests on
RELEASED = DATA / "released"
KEPT = (
    "calibration/metrics.json",
    "calibration/ranks_own.ecsv",
    "calibration/ranks_sky.ecsv",
    "validation/metrics.json",
)


def release_digest(profile: str, root: Path = ROOT) -> str:
    """Digest of the code of the stages in `STAGES` and of what sets a profile's parameters."""
    names = {name for stage in STAGES for name in import_closure(root / "notebooks" / f"{stage}.ipynb", root)}
    names |= {f"notebooks/{stage}.ipynb" for stage in STAGES} | {"conf/config.yaml", f"conf/profile/{profile}.yaml"}
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + (root / name).read_bytes())
    return digest.hexdigest()[:DIGITS]


def released_calibration(profile: str, folder: Path = RELEASED, root: Path = ROOT) -> dict:
    """The released calibration of a profile, with a warning where code or parameters have moved since.

    Returns
    -------
    dict
        `calibration`, its metrics, and `warning`, empty where they are of this code; no entries where none was released
    """
    if not (folder / profile / "release.json").is_file():
        return {}
    current = read_json(folder / profile / "release.json")["digest"] == release_digest(profile, root)
    stale = f"code or parameters have changed since the profile {profile} was released; its numbers may no longer hold"
    return {
        "calibration": read_json(folder / profile / "calibration" / "metrics.json"),
        "warning": "" if current else stale,
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
