"""The loop that runs every sampler: start the chains, move them through the noise levels, save them, take the samples.

A sampler is four functions (`Sampler`). The loop, the files of chains under way, the progress and the diagnostics are
the same for all of them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from analysis.core.files import BorderError, atomic
from analysis.core.progress import progress
from analysis.posterior.diagnostics import Level, Watch, report

# All that chains need to continue. `kappa`, (chains, ny, nx), is their current map, and `clean` the same without noise,
# where `kappa` has some.
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sampler:
    """A sampler on the data of one field.

    Attributes
    ----------
    init : (rng, advance) -> state, the chains before the first noise level
    step : (state, number, rng, advance) -> (state, level), the chains after noise level `number` = 0, 1, ... and their
        health there; None after the last level
    samples : (state, rng, advance) -> (chains, ny, nx), the clean maps in which the chains end
    further : (state, rng, advance) -> (state, maps), one more transition at the last level, and its maps for `watch`
    around : (maps, rng) -> state, chains at the last level whose clean maps (chains, ny, nx) are given
    evaluations : of the network for one sample, as `advance` counts them
    evaluations_further : of the network for one more transition
    evaluations_ending : those of `evaluations` that follow the last level, where samples are taken
    """

    init: Callable
    step: Callable
    samples: Callable
    further: Callable
    around: Callable
    evaluations: float
    evaluations_further: float
    evaluations_ending: int = 0


def run_chains(
    sampler: Sampler,
    *,
    rng: np.random.Generator,
    further: int = 0,
    watch: Watch = None,
    resume: Path | None = None,
) -> tuple[np.ndarray, list[Level]]:
    """Samples, one from each chain, and the health of the chains at each noise level.

    Parameters
    ----------
    further : transitions at the last level after the samples are taken, for diagnostics
    watch : called with the maps (chains, ny, nx) after each of these
    resume : file (.npz) of the chains after each level; a run with the same arguments continues from it. Its `trail` is
        the first chain's clean map at its start and after each level
    """
    levels, state = load_state(resume, rng) or ([], None)
    done = levels[-1].evaluations if levels else 0
    total = float(sampler.evaluations + further * sampler.evaluations_further)  # a worker sends no NumPy number
    advance = progress("chains", total, done=done)
    if state is None:
        state = sampler.init(rng, advance)
        state["trail"] = _first_clean(state)
    while (moved := sampler.step(state, len(levels), rng, advance)) is not None:
        trail = state["trail"]
        state, level = moved
        levels.append(report(level, len(levels) + 1))
        state["trail"] = np.concatenate([trail, _first_clean(state)])
        save_state(resume, rng, levels, **state)
    samples = np.asarray(sampler.samples(state, rng, advance))
    levels[-1] = replace(levels[-1], evaluations=levels[-1].evaluations + sampler.evaluations_ending)
    for _ in range(further):
        state, maps = sampler.further(state, rng, advance)
        watch(np.asarray(maps))
    return samples, levels


def _first_clean(state: State) -> np.ndarray:
    """The clean map of the first chain, (1, ny, nx)."""
    return np.asarray(state.get("clean", state["kappa"]))[:1]


def save_state(path: Path | None, rng: np.random.Generator, levels: Sequence[Level], **arrays: np.ndarray) -> None:
    """Write the state of chains, their levels so far, and the state of their random numbers.

    Parameters
    ----------
    path : ending in .npz; None writes nothing
    """
    if path is None:
        return
    about = {"levels": [asdict(level) for level in levels], "rng": rng.bit_generator.state}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **{name: np.asarray(a) for name, a in arrays.items()})


def load_state(path: Path | None, rng: np.random.Generator) -> tuple[list[Level], dict[str, np.ndarray]] | None:
    """Levels and arrays that `save_state` wrote, with `rng` set back to its state; None if there is no file.

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
        raise BorderError(f"{path} cannot be read ({error}); delete it to start the chains again") from None
    return levels, arrays
