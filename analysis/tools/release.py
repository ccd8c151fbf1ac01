"""Results of long runs, kept in `data/released/<profile>/`, and whether they still belong to this code.

A digest of code changes with every comment. Samples of the same mock, network and random numbers do not: where
`recheck` finds those of a release again, `confirm` marks the release as made by this code.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from analysis.core.files import BorderError, read_json, sha256, write_json
from analysis.core.paths import DATA, ROOT
from analysis.core.provenance import code_hash
from analysis.judge.results import DEFAULT, RELEASED, STAGES, release_digest
from analysis.params import Params, checked_params, load_params
from analysis.params.load import composed

SHOWN = {  # results of the default profile that Git keeps, and where; results in data/ keep their place below it
    "figures/run": "figures",
    "notebooks/run": "notebooks/executed",
    **{
        f"data/{name}": f"data/released/{DEFAULT}/{name}"
        for name in (
            "benchmark/metrics.json",
            "calibration/metrics.json",
            "calibration/ranks",
            "clusters/metrics.json",
            "clusters/results",
            "nulls",
            "prior/metrics.json",
            "rivals/metrics.json",
            "seconds",
            "timings",
            "training.json",
            "validation/definitions.json",
            "validation/metrics.json",
            "validation/rivals.ecsv",
        )
    },
}
UNKEPT = (".gif",)  # made in seconds, and a megabyte
KEPT = {  # files of each part of a release, as patterns; of the network, all files
    "calibration": ("metrics.json", "ranks/*.ecsv"),
    "clusters": ("metrics.json", "results/injection.ecsv", "results/cosmos_clusters.ecsv"),
    "validation": ("metrics.json", "results/accuracy.ecsv", "rivals.ecsv"),
}


def main(network_only: bool) -> None:
    """Keep the results in `data/`: the network, its calibration, and what belongs to them.

    For the default profile, the results that Git shows are kept (`show`); its network is in the DVC remote.
    """
    params = load_params()
    if params.profile == DEFAULT and not network_only:
        print(f"{len(show())} files released; `make readme paper` brings their numbers into the text")
        return
    folder = RELEASED / params.profile
    release(ROOT / "params.yaml", DATA, RELEASED, network_only=network_only)
    heavy = [folder / "score"]
    if not network_only:
        from analysis.tools.recheck import keep_mocks  # imports a backend, which takes seconds

        keep_mocks(params, DATA, folder)
        heavy.append(folder / "mocks")
    # binary files are kept by DVC, as every such result is; `dvc push` then puts them into the store
    names = [str(path.relative_to(ROOT)) for path in heavy]
    subprocess.run([sys.executable, "-m", "dvc", "add", *names], cwd=ROOT, check=True)


def confirm(profile: str) -> None:
    """Sample the kept mocks of a release again, print a comparison, and mark the parts that agree.

    Raises
    ------
    BorderError
        If a part does not agree.
    """
    from analysis.tools.recheck import RECHECKS, report

    folder = RELEASED / profile
    params = checked_params(composed(profile), f"the profile {profile}")
    released = read_json(folder / "release.json")["digest"]
    parts = {part: recheck(folder, params) for part, recheck in RECHECKS.items() if part in released}
    for part, found in parts.items():
        for line in report(found):
            print(f"{part}: {line}")
    agreeing = [part for part, found in parts.items() if found and all(row[-1] for row in found)]
    mark(profile, agreeing)
    failed = [part for part in parts if part not in agreeing]
    if failed:
        raise BorderError(
            f"the {' and '.join(failed)} of {profile} cannot be confirmed; run the profile again and release it:"
            f" `dvc exp run -S profile={profile}`, then `make release`"
        )


def show(root: Path = ROOT) -> list[str]:
    """Copy figures, executed notebooks, metrics and tables of the run in the tree to where Git keeps them (`SHOWN`).

    Returns
    -------
    list of str
        Paths of the copies, from `root`.

    Raises
    ------
    BorderError
        If the run is of another profile than the default, or not finished.
    """
    profile = load_params(root / "params.yaml").profile
    missing = [name for name in SHOWN if "benchmark" not in name and not (root / name).exists()]
    if profile != DEFAULT or missing:
        why = f"of the profile {profile}" if profile != DEFAULT else f"without {missing[0]}"
        raise BorderError(f"the run in this tree is {why}; run `dvc repro` with the profile {DEFAULT} first")
    copies = []
    for source, target in SHOWN.items():
        files = [root / source] if (root / source).is_file() else sorted((root / source).glob("*.*"))
        for file in (file for file in files if file.suffix not in UNKEPT and not file.name.startswith(".")):
            copy = root / target / file.name if (root / source).is_dir() else root / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copies.append(copy.relative_to(root).as_posix())
    return copies


def release(path: Path, data: Path, folder: Path, root: Path = ROOT, *, network_only: bool = False) -> None:
    """Copy the kept results of a run into the folder of releases, with the digests of their code and parameters.

    A long run may end with its calibration or with its clusters. Results of other code, and a validation that used
    another calibration, are left out. Parts that were released before stay, with their digests, while the network is
    the same.

    Parameters
    ----------
    path : params.yaml of the run
    network_only : for a run without a calibration

    Raises
    ------
    BorderError
        If there is no calibration, other code or parameters made it, or params.yaml is not that of its profile.
    """
    params = load_params(path)
    profile, settings = params.profile, yaml.safe_load(path.read_text(encoding="utf-8"))
    changed = [
        key for key, value in composed(profile, root=root).items() if key != "compute" and settings[key] != value
    ]
    if changed:
        raise BorderError(
            f"params.yaml departs from the profile {profile} in {', '.join(changed)}; only a profile is released:"
            f" change conf/profile/{profile}.yaml, or compose it with `dvc exp run -S profile={profile}`"
        )
    parts = [] if network_only else _current_parts(params, data, root)
    weights = [place / "score" / "network.weights.h5" for place in (data, folder / profile)]
    same = all(path.is_file() for path in weights) and sha256(weights[0]) == sha256(weights[1])
    for part in ("score", *(parts if same else STAGES)):  # other parts of the same network stay, with their digests
        shutil.rmtree(folder / profile / part, ignore_errors=True)
    for part in ("score", *parts):
        for pattern in KEPT.get(part, ("*",)):
            for file in sorted((data / part).glob(pattern)):
                target = folder / profile / file.relative_to(data)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    record, kept = data / "training.json", folder / profile / "training.json"
    if record.is_file() and read_json(record)["network"] == sha256(weights[0]):
        shutil.copyfile(record, kept)
    elif not same:
        kept.unlink(missing_ok=True)
    mark(profile, parts, folder, root, anew=not same)


def _current_parts(params: Params, data: Path, root: Path) -> list[str]:
    """Parts of a run that are complete and made by the current code and parameters."""
    whole = {part: all(any((data / part).glob(name)) for name in names) for part, names in KEPT.items()}
    found = {part: read_json(data / part / "metrics.json") for part in KEPT if whole[part]}
    current = []
    if whole["calibration"] and found["calibration"]["code"] == code_hash("calibrate", params, root):
        current.append("calibration")
    if whole["clusters"] and found["clusters"]["injection"]["code"] == code_hash("clusters", params, root):
        current.append("clusters")
    if (
        "calibration" in current
        and whole["validation"]
        and found["validation"]["calibration"] == found["calibration"]
        and found["validation"]["code"] == code_hash("validate", params, root)
    ):
        current.append("validation")
    if not current:
        why = "was made by other code or parameters" if whole["calibration"] else "is missing"
        raise BorderError(
            f"data/calibration {why}, and data/clusters too; run `dvc repro calibrate` or `dvc repro clusters` with the"
            f" profile {params.profile} first, or release the network alone with `python -m analysis release --network`"
        )
    return current


def mark(profile: str, parts: Sequence[str], folder: Path = RELEASED, root: Path = ROOT, *, anew: bool = False) -> None:
    """Record that the current code and parameters make these parts of a release; `anew` forgets all other parts."""
    record = folder / profile / "release.json"
    digest = {} if anew or not record.is_file() else read_json(record)["digest"]
    write_json(record, {"digest": digest | {part: release_digest(part, profile, root) for part in parts}})
