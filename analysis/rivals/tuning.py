"""What the posterior mean is measured against besides the baselines: maps of each rival, what they cost, and files."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.core.progress import followed
from analysis.rivals.baselines import load_baseline, save_baselines, smoothed_kaiser_squires, wiener_filter
from analysis.rivals.deepmass import DeepMass, deepmass_maps
from analysis.rivals.sparse import sparse_maps
from analysis.sky import Grid, Observation

RIVALS = ("sparse", "deepmass")


def methods(
    observation: Observation, power: np.ndarray, smoothing_arcmin: float, sparse: Mapping, deepmass: DeepMass
) -> dict[str, Callable]:
    """Functions from the shear of one map (2, ny, nx) to its convergence (ny, nx), by method.

    Parameters
    ----------
    observation : of the field
    power : (ny, nx), pixel variance per mode
    smoothing_arcmin : of Kaiser-Squires
    sparse : settings of `sparse_maps`
    deepmass : of the field
    """
    weight, pixel_arcmin = observation.weight, observation.grid.pixel_arcmin
    return {
        "kaiser_squires": lambda gamma: smoothed_kaiser_squires(gamma, smoothing_arcmin, pixel_arcmin),
        "wiener": lambda gamma: wiener_filter(gamma, weight, power),
        "sparse": lambda gamma: sparse_maps(gamma[None], weight, power, **sparse)[0],
        "deepmass": lambda gamma: deepmass_maps(deepmass, gamma[None])[0],
    }


def timed_maps(
    functions: Mapping[str, Callable], shears: Sequence[np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Maps of several shears by every method, (n, ny, nx) each, and the fewest seconds that one took.

    The first of them may have to compile, and other work may slow any of them down.
    """
    maps, seconds = {}, {}
    for name, function in functions.items():
        results, times = [], []
        for gamma in followed(shears, f"maps of {name}"):
            start = time.perf_counter()
            results.append(function(gamma))
            times.append(time.perf_counter() - start)
        maps[name] = np.stack(results)
        seconds[name] = min(times)
    return maps, seconds


def save_rivals(
    folder: str | Path,
    maps: Mapping[str, np.ndarray],
    names: Iterable[str],
    grid: Grid,
    *,
    cards: Mapping[str, object],
) -> None:
    """Write maps of every rival, (n, ny, nx) each, one FITS file an observation, called by its name."""
    for i, name in enumerate(names):
        chosen = {rival: stack[i] for rival, stack in maps.items()}
        save_baselines(Path(folder) / f"{name}.fits", chosen, grid, cards=cards)


def load_rivals(folder: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Maps of every rival, (n, ny, nx) each, as `save_rivals` wrote them.

    Raises
    ------
    BorderError
        If a file is missing or damaged.
    """
    paths = [Path(folder) / f"{name}.fits" for name in names]
    return {rival: np.stack([load_baseline(path, rival) for path in paths]) for rival in RIVALS}
