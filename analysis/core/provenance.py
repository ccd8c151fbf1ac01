"""Where a result comes from: digests of the code and parameters of a stage, and FITS cards that hold them."""

import ast
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from analysis.core.files import sha256
from analysis.core.paths import ROOT

if TYPE_CHECKING:
    from analysis.params import Params

DIGITS = 16
PIPELINES = ("dvc.yaml", "data/benchmark/dvc.yaml")  # a plain `dvc repro` runs the first alone


def code_cells(notebook: Path) -> list[str]:
    """Source of each code cell of a notebook, without IPython's magics."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [re.sub(r"(?m)^\s*[%!].*$", "", source) for source in sources]


def import_closure(notebook: Path, root: Path = ROOT) -> list[str]:
    """Files of `analysis/` that a notebook imports, directly or through other modules, also inside functions.

    A data file counts as imported by a module in the same folder that names it.

    Parameters
    ----------
    notebook : Path
        A notebook of any stage.
    root : Path
        Folder that holds `analysis/`.

    Returns
    -------
    list of str
        Paths relative to `root`, sorted.
    """
    waiting = list(_imported("\n".join(code_cells(notebook)), "", root))
    found = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            source = path.read_text(encoding="utf-8")
            package = ".".join(path.relative_to(root).parent.parts)
            waiting += [*_imported(source, package, root), *_named(source, package, path.parent)]
    return sorted(path.relative_to(root).as_posix() for path in found)


def pipeline_stages(root: Path = ROOT) -> dict[str, dict]:
    """Every stage by name, from the files of `PIPELINES` that exist."""
    paths = [root / path for path in PIPELINES if (root / path).is_file()]
    return {
        name: stage
        for path in paths
        for name, stage in yaml.safe_load(path.read_text(encoding="utf-8"))["stages"].items()
    }


def stage_keys(stage: str, root: Path = ROOT) -> list[str]:
    """Keys of `params.yaml` that a pipeline file names for a stage.

    For an item of a matrix (`sample@cosmos`) the keys are those of the item; for the whole matrix (`sample`) a key
    with a template becomes the section around it.
    """
    name, _, item = stage.partition("@")
    entry = pipeline_stages(root)[name]
    keys = entry.get("do", entry)["params"]
    if item:
        return [re.sub(r"\$\{[^}]*\}", item, key) for key in keys]
    return [key.partition(".${")[0] for key in keys]


def code_hash(stage: str, params: "Params", root: Path = ROOT) -> str:
    """Digest of a stage's notebook (code cells), its import closure and its own parameters.

    Parameters
    ----------
    stage : str
        As DVC spells it: `train`, or `sample@cosmos` for one item of a matrix.
    params : Params
        The parameters the stage runs with.
    root : Path
        Folder that holds `analysis/`, `notebooks/` and `dvc.yaml`.

    Returns
    -------
    str
        The first 16 hexadecimal digits of a SHA-256.
    """
    notebook = root / "notebooks" / f"{stage.partition('@')[0]}.ipynb"
    content = {
        "notebook": code_cells(notebook),
        "code": {name: (root / name).read_text(encoding="utf-8") for name in import_closure(notebook, root)},
        "params": {key: _value(params, key) for key in stage_keys(stage, root)},
    }
    text = json.dumps(content, sort_keys=True, default=dataclasses.asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def work_folder(stage: str, params: "Params", root: Path = ROOT) -> Path:
    """Folder where a stage keeps finished parts of a run; other code, parameters or data give another folder.

    Parameters
    ----------
    stage : str
        Name of a stage; `sample@cosmos` for one item of a `foreach`.
    """
    files = [
        file
        for path in _data(stage, params, root)
        for file in sorted([root / path, *(root / path).rglob("*")])
        if file.is_file()
    ]
    content = [(file.relative_to(root).as_posix(), sha256(file)) for file in files]
    data = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGITS]
    return root / ".work" / stage / f"{code_hash(stage, params, root)}-{data}"


def cards(stage: str, params: "Params", source: str) -> dict[str, str | int]:
    """FITS cards that record how a file was made.

    Parameters
    ----------
    stage : str
        As DVC spells it: `train`, or `sample@cosmos` for one item of a matrix.
    params : Params
        The parameters the stage runs with.
    source : str
        Origin of the data, for example "COSMOS, all galaxies".

    Returns
    -------
    dict
        `PROFILE SOURCE SEED CODEHASH`.
    """
    return {
        "PROFILE": params.profile,
        "SOURCE": source,
        "SEED": params.seed,
        "CODEHASH": code_hash(stage, params),
    }


@cache
def _named_in(source: str, package: str) -> tuple[frozenset[str], frozenset[str]]:
    """Dotted names in the import statements of a module, and its strings; each source is parsed once."""
    nodes = list(ast.walk(ast.parse(source)))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return frozenset(name for node in nodes for name in _names(node, package)), frozenset(texts)


def _imported(source: str, package: str, root: Path) -> Iterator[Path]:
    """Files of `analysis/` named by the import statements of a module, with the `__init__` of each package."""
    for module in sorted(_named_in(source, package)[0]):
        parts = module.split(".")
        if parts[0] == "analysis":
            for depth in range(1, len(parts) + 1):
                path = root.joinpath(*parts[:depth])
                yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


def _named(source: str, package: str, folder: Path) -> Iterator[Path]:
    """Data files of `folder` whose name is a string in a module."""
    files = {path.name: path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    return (files[name] for name in sorted(_named_in(source, package)[1] & set(files)))


def _names(node: ast.AST, package: str) -> list[str]:
    """Dotted names that one import statement may load; some are functions, which are dropped later."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _data(stage: str, params: "Params", root: Path) -> list[str]:
    """Data files and folders that a stage depends on."""
    name, _, item = stage.partition("@")
    entry = pipeline_stages(root)[name]
    items = entry.get("foreach", "").strip("${}")

    def value(template: re.Match) -> str:
        key = template[1]
        if key.startswith("item."):
            key = f"{items}.{item}.{key.removeprefix('item.')}"
        return item if key == "key" else str(_value(params, key))

    named = [re.sub(r"\$\{([^}]*)\}", value, path) for path in entry.get("do", entry)["deps"]]
    return [path for path in named if not path.startswith(("analysis/", "notebooks/"))]


def _value(params: "Params", key: str) -> object:
    """Value at a dotted key of the parameters."""
    return reduce(
        lambda node, name: node[name] if isinstance(node, dict) else getattr(node, name), key.split("."), params
    )
