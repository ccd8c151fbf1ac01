"""Convergence maps to learn from: N-body boxes, light cones through them, crops and symmetries.

Maps are split into training, validation and test by box: no two of these see the same matter.
"""

import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.files import BorderError, atomic
from analysis.lightcone import comoving_distance, convergence_map, simulate_box
from analysis.params import GridParams, SimulationsParams, TheoryParams, stage_rng
from analysis.power import source_distribution

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


def box_split(params: SimulationsParams) -> dict[str, range]:
    """Which boxes make the maps of each split: disjoint ranges of box numbers."""
    ends = np.cumsum([0, params.boxes_train, params.boxes_validation, params.boxes_test])
    return {split: range(ends[i], ends[i + 1]) for i, split in enumerate(SPLITS)}


def box_of_map(number: int, split: str, params: SimulationsParams) -> int:
    """The N-body box of a map, from its number in its split."""
    return box_split(params)[split][number // params.maps_per_box]


def box_maps(
    box: int,
    matter: Table,
    theory: TheoryParams,
    params: SimulationsParams,
    pixel_arcmin: float,
    seed: int,
) -> np.ndarray:
    """Convergence maps through one N-body box; the box's number decides its seed.

    Parameters
    ----------
    box : number of the box
    matter : k in h/Mpc, linear and halofit power at z = 0 in (Mpc/h)^3

    Returns
    -------
    (maps_per_box, map_pixels, map_pixels), float32, dimensionless
    """
    rng = stage_rng(seed, "simulations", f"box {box}")
    redshift, share = source_distribution(theory)
    planes = simulate_box(
        theory.omega_m,
        np.asarray(matter["k"]),
        np.asarray(matter["linear"]),
        params,
        redshift.max(),
        rng,
        nonlinear_power=np.asarray(matter["halofit"]),
        candidates=params.candidates,
    )
    distance = comoving_distance(redshift, theory.omega_m)
    return np.stack(
        [
            convergence_map(planes, distance, share, pixels=params.map_pixels, pixel_arcmin=pixel_arcmin, rng=rng)
            for _ in range(params.maps_per_box)
        ]
    )


def simulated_maps(
    matter: Table,
    theory: TheoryParams,
    params: SimulationsParams,
    grid: GridParams,
    *,
    seed: int,
    processes: int | None = None,
) -> dict[str, np.ndarray]:
    """Maps of every split, boxes spread over processes.

    Parameters
    ----------
    matter : k in h/Mpc, linear and halofit power at z = 0 in (Mpc/h)^3
    processes : None takes every core; the maps do not depend on it

    Returns
    -------
    dict of (n, map_pixels, map_pixels), float32, dimensionless
    """
    split = box_split(params)
    boxes = sum(len(numbers) for numbers in split.values())
    settings = (matter, theory, params, grid.pixel_arcmin, seed)
    maps = []
    # a fresh interpreter a process: a forked one would inherit the threads of the notebook's kernel
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes or os.cpu_count(), boxes), mp_context=context) as pool:
        for box, result in enumerate(pool.map(box_maps, range(boxes), *([s] * boxes for s in settings))):
            log.info("box %d of %d: %d maps", box + 1, boxes, len(result))
            maps.append(result)
    return {name: np.concatenate([maps[box] for box in numbers]) for name, numbers in split.items()}


def crops(maps: np.ndarray, pixels: int, *, rng: np.random.Generator) -> np.ndarray:
    """One random crop of each map, under a random one of the eight symmetries of the square.

    Parameters
    ----------
    maps : (n, ny, nx)
    pixels : side of the crop

    Returns
    -------
    (n, pixels, pixels)
    """
    out = np.empty((len(maps), pixels, pixels), maps.dtype)
    for i, kappa in enumerate(maps):
        y, x = (rng.integers(0, side - pixels + 1) for side in kappa.shape)
        crop = np.rot90(kappa[y : y + pixels, x : x + pixels], rng.integers(4))
        out[i] = crop.T if rng.random() < 0.5 else crop
    return out


def central_crops(maps: np.ndarray, pixels: int) -> np.ndarray:
    """The middle `pixels` x `pixels` of each map."""
    y, x = ((side - pixels) // 2 for side in maps.shape[-2:])
    return maps[..., y : y + pixels, x : x + pixels]


def save_maps(maps: dict[str, np.ndarray], folder: str | Path) -> None:
    """Write `<split>.npy` for every split."""
    for name, values in maps.items():
        with atomic(Path(folder) / f"{name}.npy") as temporary:
            np.save(temporary, values, allow_pickle=False)


def load_maps(folder: str | Path, split: str) -> np.ndarray:
    """Maps of one split, (n, map_pixels, map_pixels).

    Raises
    ------
    BorderError
        If the file is missing or holds no finite maps.
    """
    path = Path(folder) / f"{split}.npy"
    try:
        maps = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BorderError(f"{path} cannot be read ({error}); run `dvc repro simulations`") from None
    if maps.ndim != 3 or not np.isfinite(maps).all():
        raise BorderError(f"{path} holds no stack of finite maps (shape {maps.shape}); run `dvc repro -f simulations`")
    return maps
