"""What each figure shows, kept as a file of arrays: a figure can be drawn again without the run that it is of."""

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from inspect import signature
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError, atomic
from analysis.core.paths import FIGURES
from analysis.figures.maps import agreement_figure, data_figure, field_figure, mock_figure, std_figure
from analysis.figures.method import (
    annealing_figure,
    denoiser_figure,
    learning_figure,
    prior_figure,
    simulations_figure,
    training_figure,
)
from analysis.figures.results import calibration_figure, clusters_figure, information_figure, spectra_figure
from analysis.figures.style import save_figure
from analysis.sky import Grid

DRAWN: dict[str, Callable] = {  # the function that draws each figure of the paper
    "annealing": annealing_figure,
    "calibration": calibration_figure,
    "clusters": clusters_figure,
    "data": data_figure,
    "denoiser": denoiser_figure,
    "figure1_mock": mock_figure,
    "figure2_cosmos": field_figure,
    "figure2_cosmos_bright": field_figure,
    "information": information_figure,
    "learning": learning_figure,
    "posterior_std": std_figure,
    "power_spectra": spectra_figure,
    "prior": prior_figure,
    "samplers": agreement_figure,
    "simulations": simulations_figure,
    "training": training_figure,
}


def draw(path: Path, **shown) -> Path:
    """Keep what a figure shows, then draw it from the kept file.

    Parameters
    ----------
    path : .npz, to be written; its stem is a name of `DRAWN`
    shown : arguments of that function: arrays, tables (of which columns are kept), grids, numbers, text, and mappings
        and sequences of these; without masked values

    Returns
    -------
    Path of the PNG, in `figures/run/`
    """
    keep(path, shown)
    return redraw(path, FIGURES)


def redraw(path: Path, folder: Path) -> Path:
    """Draw a kept figure into a folder, as PDF and PNG.

    Returns
    -------
    Path of the PNG

    Raises
    ------
    BorderError
        If the file is damaged, or not of a figure as this code draws it.
    """
    if path.stem not in DRAWN:
        raise BorderError(f"{path} is of no figure of this code ({', '.join(DRAWN)}); move it away.")
    function, shown = DRAWN[path.stem], load(path)
    try:
        signature(function).bind(**shown)
    except TypeError as error:
        raise BorderError(
            f"{path} was kept by other code ({error}); make it again with `dvc repro method figures`."
        ) from None
    return save_figure(function(**shown), folder, path.stem)


def keep(path: Path, shown: Mapping) -> None:
    """Write arguments of a figure as arrays and JSON, the same bytes for the same arguments."""
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_packed(dict(shown), arrays))
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, tree=np.array(tree), **arrays)


def load(path: Path) -> dict:
    """Arguments of a figure that `keep` wrote; sequences come back as lists.

    Raises
    ------
    BorderError
        If the file is missing or damaged.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return _unpacked(json.loads(str(file["tree"])), file)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise BorderError(
            f"{path} cannot be read as what a figure shows ({error}); fetch it again with"
            f" `dvc pull --force {path.parent}`, or make it with `dvc repro method figures`."
        ) from error


def _packed(value, arrays: dict[str, np.ndarray]):
    """A value as JSON, its arrays moved to `arrays`; each is `[kind, content]`, so that kinds cannot be confused."""
    match value:
        case None | bool() | int() | float() | str():
            return ["plain", value]
        case np.generic():
            return ["plain", value.item()]
        case Table() | np.ma.MaskedArray() if np.ma.is_masked(value.as_array() if isinstance(value, Table) else value):
            raise TypeError("masked values cannot be kept: fill them first")
        case Table():
            return ["table", [[name, _packed(np.asarray(value[name]), arrays)] for name in value.colnames]]
        case np.ndarray() if not value.dtype.hasobject:
            name = f"array_{len(arrays)}"
            arrays[name] = value
            return ["array", name]
        case Grid():
            return ["grid", asdict(value)]
        case Mapping():
            return ["mapping", [[_packed(key, arrays), _packed(item, arrays)] for key, item in value.items()]]
        case list() | tuple():
            return ["list", [_packed(item, arrays) for item in value]]
    raise TypeError(f"{type(value).__name__} cannot be kept as what a figure shows")


def _unpacked(tree: list, arrays: Mapping[str, np.ndarray]):
    """The value that `_packed` took apart."""
    kind, content = tree
    match kind:
        case "plain":
            return content
        case "table":
            return Table({name: _unpacked(column, arrays) for name, column in content})
        case "array":
            return arrays[content]
        case "grid":
            return Grid(**content)
        case "mapping":
            return {_unpacked(key, arrays): _unpacked(item, arrays) for key, item in content}
        case "list":
            return [_unpacked(item, arrays) for item in content]
    raise ValueError(f"a part of unknown kind {kind!r}")
