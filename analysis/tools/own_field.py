"""`python -m analysis init mycat.fits` and `map mycat.fits`: a field of one's own, from its file to maps.

A field is one file, `conf/field/<name>.yaml`: its catalogue, its runs, its network, its grid. The parameters take it by
`field=<name>`, in place of COSMOS. To be rid of the field, delete the file.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from analysis.core.files import BorderError, atomic, expanded, read_json
from analysis.core.paths import ROOT
from analysis.flatsky.power import load_power
from analysis.params import checked_params, load_params
from analysis.params.load import composed
from analysis.params.types import is_name, name_like
from analysis.tools.check import MARGIN, MULTIPLE, Asked, TableSummary, as_yaml, looked_at

CHAINS, CONTROL_CHAINS = 12, 4
LARGEST_TILE = 448  # pixels that the network is given at once, for memory


def init(path: str, asked: Asked, *, name: str | None = None, network: str, root: Path = ROOT) -> str:
    """Look at a catalogue, show the settings of its field, and write them to `conf/field/<name>.yaml`.

    Parameters
    ----------
    name : of the field; by default that of the file
    network : folder of the network that samples it, below the root
    root : of the project

    Returns
    -------
    the name

    Raises
    ------
    BorderError
        If the catalogue cannot be used (`check.looked_at`), the field is there already, or its settings are not valid.
    """
    if name is not None and not is_name(name):
        raise BorderError(f"--name is {name!r}; a name has letters from a to z, digits, `_` and `-`, a letter first")
    name = name or name_like(Path(expanded(path)).stem)
    place = root / "conf" / "field" / f"{name}.yaml"
    shown = place.relative_to(root)
    if place.exists():
        raise BorderError(f"{shown} is there already; delete it to begin anew, or choose another name with --name")
    fetched(network, root)
    entry, summary = looked_at(path, asked)
    content = field_settings(name, entry, summary, network, root)
    text = (
        "# @package _global_\n"
        f"# The field {name}, by `python -m analysis init`; `field={name}` takes it, deleting this file undoes it.\n"
        f"{as_yaml(content)}"
    )
    print(f"{shown}:\n\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    with atomic(place) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        checked_params(composed(load_params().profile, [f"field={name}"], root), shown)
    except BorderError:
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
    observation, pixel_arcmin = (
        f"data/observation/{name}.fits",
        read_json(root / network / "network.json")["pixel_arcmin"],
    )
    learnt = len(load_power(root / network / "power.npy"))
    needed = int(np.ceil((60 * summary.side_deg / pixel_arcmin + 2 * MARGIN) / MULTIPLE)) * MULTIPLE
    pixels = max(learnt, needed)
    sample = {
        "network": network,
        "fields": {
            name: {"observation": observation, "chains": CHAINS},
            f"{name}_bmode": {"observation": observation, "chains": CONTROL_CHAINS, "rotate_deg": 45.0},
        },
    }
    content = {
        "grid": {"pixels": pixels, "pixel_arcmin": pixel_arcmin},
        "fields": {name: entry},
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


def map_field(path: str, asked: Asked, *, name: str | None = None, network: str) -> None:
    """From a catalogue to samples, their mean and pictures, through the stages `catalogue`, `nulls` and `sample`.

    Settings that are there already (`init`) are used as they are.

    Raises
    ------
    BorderError
        If the settings that are there belong to another catalogue, or `init`, a stage, or the drawing fails.
    """
    name = known(path, name) or init(path, asked, name=name, network=network)
    profile = load_params().profile
    settings = composed(profile, [f"field={name}"])
    checked_params(settings, f"conf/field/{name}.yaml")
    fetched(settings["sample"]["network"])
    with atomic(ROOT / "params.yaml") as temporary:
        text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)
        temporary.write_text(f"# paper/guide/parameters.md describes every key.\n{text}", encoding="utf-8")
    print(f"params.yaml is that of {name} now; `dvc exp run -S field=cosmos` or `git checkout params.yaml` undo it")
    runs = list(settings["sample"]["fields"])
    stages = [f"nulls@{name}", *(f"sample@{run}" for run in runs)]
    _dvc("repro", *stages, said=f"a stage of {name} failed; its message is above")
    from analysis.report import draw  # takes seconds, so only here

    for run in runs:
        draw.main(run, keep=False)
    print(f"data/samples/{name}.fits has the samples, their mean and deviation; paper/guide/tutorial.md reads them")


def known(path: str, name: str | None, root: Path = ROOT) -> str | None:
    """The name of the field whose settings are there for a catalogue; None if there are none.

    Raises
    ------
    BorderError
        If a field of that name has another catalogue.
    """
    place = Path(expanded(path)).absolute()
    name = name or name_like(place.stem)
    file = root / "conf" / "field" / f"{name}.yaml"
    if not file.is_file():
        return None
    entry = yaml.safe_load(file.read_text(encoding="utf-8"))["fields"].get(name, {})
    of = entry.get("catalogue", {}).get("path")
    if of is None or root / of != place:
        raise BorderError(f"conf/field/{name}.yaml is not of {place}, but of {of}; choose another name with --name")
    print(f"conf/field/{name}.yaml is there and is used as it is; delete it to look at the catalogue anew")
    return name


def fetched(network: str, root: Path = ROOT) -> None:
    """Make sure that the files of a network are there: a released one is pulled from the store."""
    if not (root / network / "network.json").is_file():
        _dvc(
            "pull", f"{network}.dvc" if (root / f"{network}.dvc").is_file() else network, said=f"{network} is not there"
        )


def _dvc(*arguments: str, said: str) -> None:
    """Run a command of DVC; if it fails, raise with what is `said`."""
    print(f"dvc {' '.join(arguments)}", flush=True)
    if subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=ROOT, check=False).returncode:
        raise BorderError(f"{said} (dvc {' '.join(arguments)})")
