"""Chains between two noise levels, on disk: a run that was killed goes on there and ends with the same bits."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from analysis.core.files import BorderError, atomic
from analysis.posterior.sampler.health import Level


def save_state(path: Path | None, rng: np.random.Generator, levels: Sequence[Level], **arrays: np.ndarray) -> None:
    """Write where chains are: what a sampler goes on with, the levels so far, and the state of its random numbers.

    Parameters
    ----------
    path : ending in .npz; None keeps nothing
    """
    if path is None:
        return
    about = {"levels": [asdict(level) for level in levels], "rng": rng.bit_generator.state}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **{name: np.asarray(a) for name, a in arrays.items()})


def load_state(path: Path | None, rng: np.random.Generator) -> tuple[list[Level], dict[str, np.ndarray]] | None:
    """Levels and arrays that `save_state` wrote, `rng` put back to where it was; None where there is nothing.

    Raises
    ------
    BorderError
        If the file is damaged.
    """
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(str(arrays.pop("about")))
        levels = [Level(**{**level, "power": tuple(level["power"])}) for level in about["levels"]]
        rng.bit_generator.state = about["rng"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise BorderError(f"{path} cannot be read ({error}); delete it, and the chains begin anew") from None
    return levels, arrays
