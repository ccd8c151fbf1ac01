"""`python -m analysis init mycat.fits` and `map mycat.fits`: your own field, from its catalogue to maps.

A field is one file, `conf/field/<name>.yaml`: its catalogue, its runs, its network, its grid. The parameters take it by
`field=<name>`, in place of COSMOS. Delete the file to remove the field.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import ROOT
from analysis.flatsky.power import load_power
from analysis.params import checked_params, load_params
from analysis.params.load import composed
from analysis.params.types import is_name, name_like
from analysis.tools.check import MARGIN, MULTIPLE, Asked, TableSummary, as_yaml, looked_at, normal_path

KEPT_NETWORK = "data/released/reference/score"  # needs no training
CHAINS, CONTROL_CHAINS = 12, 4
LARGEST_TILE = 448  # pixels that the network is given at once, for memory


def init(path: str, asked: Asked, *, name: str | None, network: str | None, root: Path = ROOT) -> str:
    """Look at a catalogue, show the settings of its field, and write them to `conf/field/<name>.yaml`.

    Parameters
    ----------
    name : of the field; None for that of the file
    network : folder of the network that samples it, below the root; None for the released one
    root : of the project

    Returns
    -------
    the name

    Raises
    ------
    BorderError
        If the catalogue cannot be used (`check.looked_at`), the name is not free, or the settings are not valid.
    """
    name, network = name or name_like(normal_path(path).stem), network or KEPT_NETWORK
    _check_free(name, root)
    fetched(network, root)
    entry, summary = looked_at(path, asked)
    content = field_settings(name, entry, summary, network, root)
    text = (
        "# @package _global_\n"
        f"# The field {name}, by `python -m analysis init`; `field={name}` takes it, deleting this file undoes it.\n"
        f"{as_yaml(content)}"
    )
    place = _place(name, root)
    print(f"{place.relative_to(root)}:\n\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    with atomic(place) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        settings_of(name, root)
    except BaseException:
        place.unlink()
        raise
    return name


def field_settings(name: str, entry: dict, summary: TableSummary, network: str, root: Path = ROOT) -> dict:
    """All parameters of a field, as they differ from those of `conf/config.yaml`.

    The grid has the pixel scale of the network, and its pixels or as many more as the field needs, a multiple of 32.

    Parameters
    ----------
    entry : below `fields`
    network : folder below the root
    """
    pixel_arcmin = read_json(root / network / "network.json")["pixel_arcmin"]
    learnt = len(load_power(root / network / "power.npy"))
    needed = int(np.ceil((60 * summary.side_deg / pixel_arcmin + 2 * MARGIN) / MULTIPLE)) * MULTIPLE
    pixels, observation = max(learnt, needed), f"data/observation/{name}.fits"
    sample = {
        "network": network,
        "fields": {
            name: {"observation": observation, "chains": CHAINS},
            f"{name}_bmode": {"observation": observation, "chains": CONTROL_CHAINS, "rotate_deg": 45.0},
        },
    }
    content = {
        "grid": {"pixels": pixels, "pixel_arcmin": pixel_arcmin},
        "fields": {name: entry | {"title": name}},
        "catalogue": {"fields": [name]},
        "mocks": {"field": name},
        "sample": sample,
        "clusters": {"controls": {name: f"{name}_bmode"}},
        "method": {"runs": [name]},
    }
    if pixels > learnt:  # the parameters ask for maps as wide; for a network that is kept none are made
        content["simulations"] = {"map_pixels": pixels, "mock_pixels": pixels}
    if pixels > LARGEST_TILE:
        sample["tile_pixels"] = LARGEST_TILE
    return content


def map_field(path: str, asked: Asked, *, name: str | None, network: str | None, root: Path = ROOT) -> None:
    """From a catalogue to samples, their mean and pictures, through the stages `catalogue`, `nulls` and `sample`.

    Settings that are there already (`init`) are used as they are.

    Raises
    ------
    BorderError
        If the settings that are there belong to another catalogue, `params.yaml` was edited, or `init`, a stage, or the
        drawing fails.
    """
    found = known(path, name, root)
    if found and (asked != Asked({}, {}) or network):
        raise BorderError(
            f"conf/field/{found}.yaml is there, and options are for a new field; write them there, or delete that file"
        )
    _check_composed(root)
    if found:
        print(f"conf/field/{found}.yaml is used as it is; delete it to look at the catalogue anew")
    name = found or init(path, asked, name=name, network=network, root=root)
    settings = settings_of(name, root)
    fetched(settings["sample"]["network"], root)
    with atomic(root / "params.yaml") as temporary:
        text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)
        temporary.write_text(f"# paper/guide/parameters.md describes every key.\n{text}", encoding="utf-8")
    print(f"params.yaml is that of {name} now; `git checkout params.yaml dvc.lock` brings the paper's back")
    runs = list(settings["sample"]["fields"])
    stages = [f"nulls@{name}", *(f"sample@{run}" for run in runs)]
    _dvc("repro", *stages, root=root, said=f"a stage of {name} failed; its message is above")
    from analysis.report import draw  # takes seconds, so only here

    for run in runs:
        draw.main(run, keep=False)
    print(f"data/samples/{name}.fits has the samples, their mean and deviation; paper/guide/tutorial.md reads them")


def settings_of(name: str, root: Path = ROOT) -> dict:
    """The parameters with a field of `conf/field`, checked.

    Raises
    ------
    BorderError
        If they cannot be put together or are not valid.
    """
    try:
        content = composed(load_params(root / "params.yaml").profile, [f"field={name}"], root)
    except Exception as error:  # of Hydra, OmegaConf or YAML, each with its own
        told = " ".join(str(error).split())[:200]
        raise BorderError(f"conf/field/{name}.yaml does not fit into the parameters ({told}); correct it") from None
    checked_params(content, f"conf/field/{name}.yaml")
    return content


def known(path: str, name: str | None, root: Path = ROOT) -> str | None:
    """The name of the field of a catalogue, where its settings are there; None if they are not.

    Raises
    ------
    BorderError
        If a field of that name has another catalogue.
    """
    place, catalogues = normal_path(path), _catalogues(root)
    if name is None:
        name = next((field for field, of in catalogues.items() if of == place), name_like(place.stem))
    if name in catalogues and catalogues[name] != place:
        raise BorderError(f"conf/field has a field {name} of another catalogue than {place}; choose another --name")
    return name if name in catalogues else None


def fetched(network: str, root: Path = ROOT) -> None:
    """Make sure that the files of a network are there: a released one is pulled from the store."""
    if not (root / network / "network.json").is_file():
        pointer = f"{network}.dvc"
        target = pointer if (root / pointer).is_file() else network
        _dvc("pull", target, root=root, said=f"{network} is not there")


def _place(name: str, root: Path) -> Path:
    """The file of a field."""
    return root / "conf" / "field" / f"{name}.yaml"


def _content(file: Path) -> dict:
    """What a file of `conf/field` says."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise BorderError(f"conf/field/{file.name} cannot be read as YAML ({told}); correct it") from None


def _catalogues(root: Path) -> dict[str, Path | None]:
    """The catalogue of every field in `conf/field`, by its name; None where it is no single file."""
    found = {}
    for file in sorted((root / "conf" / "field").glob("*.yaml")):
        for name, field in _content(file).get("fields", {}).items():
            path = (field.get("catalogue") or {}).get("path")
            found[name] = path and Path(os.path.normpath(root / path))
    return found


def _check_free(name: str, root: Path) -> None:
    """Make sure that a name can be that of a new field, and that no field or run has it."""
    if not is_name(name):
        raise BorderError(f"the field's name is {name!r}; give --name with a to z, digits, `_` or `-`, a letter first")
    taken = {file.stem for file in (root / "conf" / "field").glob("*.yaml")} | set(_catalogues(root))
    for file in (root / "conf" / "field").glob("*.yaml"):
        taken |= set(_content(file).get("sample", {}).get("fields", {}))
    if clash := {name, f"{name}_bmode"} & taken:
        raise BorderError(
            f"conf/field has {sorted(clash)[0]} already; delete its file if it is yours, or choose another --name"
        )


def _check_composed(root: Path) -> None:
    """Make sure that `params.yaml`, which is about to be written anew, holds nothing that `conf` does not give."""
    path = root / "params.yaml"
    now, profile = yaml.safe_load(path.read_text(encoding="utf-8")), load_params(path).profile
    given, fields = composed(profile, root=root), sorted((root / "conf" / "field").glob("*.yaml"))
    if now not in (given, *(composed(profile, [f"field={file.stem}"], root) for file in fields)):
        keys = ", ".join(key for key in given if now.get(key) != given[key])
        raise BorderError(
            f"params.yaml was edited (in {keys}) and would be written anew; put what is for your field into its file in"
            f" conf/field, which `init` writes, and take the edits back with `git checkout params.yaml`"
        )


def _dvc(*arguments: str, root: Path, said: str) -> None:
    """Run a command of DVC; if it fails, raise with what is `said`."""
    print(f"dvc {' '.join(arguments)}", flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", *arguments]
    if subprocess.run(command, cwd=root, env={**os.environ, "PATH": path}, check=False).returncode:
        raise BorderError(f"{said} (dvc {' '.join(arguments)})")
