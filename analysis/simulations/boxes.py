"""The convergence maps that the prior learns from: our own N-body boxes, or the maps of a published suite.

Both give maps of the grid's pixel scale, split by box.
"""

import logging
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError, atomic
from analysis.core.progress import followed, progress, within
from analysis.core.workers import scatter
from analysis.flatsky.maps import SPLITS, MapSet, crops_per_map, rebinned
from analysis.params import MOST_BOXES, ComputeParams, GridParams, SimulationsParams, TheoryParams, stage_rng
from analysis.simulations.lightcone import convergence_map, plane_distances, simulate_box
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.suites import Suite, published_suite
from analysis.simulations.theory import comoving_distance

log = logging.getLogger(__name__)

PLANES_SHARE = 0.9  # of the time of a box; its maps take the rest
FIRST_BOX = dict(zip(SPLITS, (0, MOST_BOXES, 2 * MOST_BOXES), strict=True))


def simulated_maps(
    matter: Table,
    theory: TheoryParams,
    params: SimulationsParams,
    grid: GridParams,
    *,
    seed: int,
    work: Path,
    compute: ComputeParams,
) -> tuple[dict[str, MapSet], dict]:
    """Maps of every split, and facts about them for `maps.json`.

    Parameters
    ----------
    matter : k in h/Mpc, linear and halofit power at z = 0 in (Mpc/h)^3
    work : folder of finished boxes, from which an interrupted run continues
    compute : workers for the boxes; the maps do not depend on it
    """
    redshift, share = source_distribution(theory.sources)
    about = {
        "source": params.source,
        "cosmology": {key: getattr(theory, key) for key in ("h", "omega_m", "omega_b", "a_s", "n_s")},
        "source_redshifts": {"mean": np.sum(redshift * share), "first": redshift[0], "last": redshift[-1]},
    }
    if params.source == "nbody":
        maps = nbody_maps(matter, theory, params, grid, seed=seed, work=work, compute=compute)
        return maps, {**about, "splits_share_boxes": False}
    suite = published_suite(params, theory)
    return suite_maps(suite, params, grid), {**about, **suite.about}


def side_of(split: str, params: SimulationsParams) -> int:
    """Pixels along a side of the maps of a split; those that become mocks are wider than the grid."""
    return params.map_pixels if split == "train" else params.mock_pixels


def box_split(params: SimulationsParams) -> dict[str, range]:
    """Numbers of the N-body boxes of each split: disjoint ranges.

    More boxes in one split do not change the boxes of the others.
    """
    return {split: range(first, first + getattr(params.nbody.boxes, split)) for split, first in FIRST_BOX.items()}


def nbody_maps(
    matter: Table,
    theory: TheoryParams,
    params: SimulationsParams,
    grid: GridParams,
    *,
    seed: int,
    work: Path,
    compute: ComputeParams,
) -> dict[str, MapSet]:
    """Maps of all N-body boxes, made by the workers; boxes already in `work` are not made again."""
    numbers, settings = box_split(params), (matter, theory, params, grid, seed)
    tasks = {_finished(work, box): (box, split, *settings) for split, boxes in numbers.items() for box in boxes}
    scatter(_make_box, tasks, compute, what="boxes")
    return {
        split: MapSet(
            np.concatenate([np.load(_finished(work, box), allow_pickle=False) for box in boxes]),
            np.repeat(boxes, getattr(params.maps, split) // len(boxes)),
        )
        for split, boxes in numbers.items()
    }


def box_maps(
    box: int, split: str, matter: Table, theory: TheoryParams, params: SimulationsParams, grid: GridParams, seed: int
) -> np.ndarray:
    """Convergence maps through one N-body box, (n, side, side), float32, dimensionless.

    Parameters
    ----------
    box : number of the box, which sets its random seed
    split : sets the number of maps and their width
    matter : k in h/Mpc, linear and halofit power at z = 0 in (Mpc/h)^3

    Raises
    ------
    BorderError
        If most sources lie in front of the first plane, so that nothing lenses them.
    """
    rng = stage_rng(seed, "simulations", f"box {box}")
    redshift, share = source_distribution(theory.sources)
    distance = comoving_distance(redshift, theory.omega_m)
    first = plane_distances(redshift.max(), params.nbody.box_mpc_h, theory.omega_m)[0][0]
    if share[distance <= first].sum() > 0.5:
        raise BorderError(
            f"theory.sources have a mean redshift of {np.sum(redshift * share):.3g}, and most of them lie in front of"
            f" the first plane at {first:g} Mpc/h: give sources farther away, or a smaller simulations.nbody.box_mpc_h"
        )
    wavenumber, linear, halofit = (np.asarray(matter[name]) for name in ("k", "linear", "halofit"))
    advance = progress("N-body box", 1.0)
    with within(advance, PLANES_SHARE):
        planes = simulate_box(
            theory.omega_m, wavenumber, linear, params.nbody, redshift.max(), rng, nonlinear_power=halofit
        )
    count = getattr(params.maps, split) // getattr(params.nbody.boxes, split)
    size = {"pixels": side_of(split, params), "pixel_arcmin": grid.pixel_arcmin}
    with within(advance, 1 - PLANES_SHARE):
        numbers = followed(range(count), "maps of a box")
        return np.stack([convergence_map(planes, distance, share, **size, rng=rng) for _ in numbers])


def suite_maps(suite: Suite, params: SimulationsParams, grid: GridParams) -> dict[str, MapSet]:
    """Maps of a published suite, cut to the wanted width and averaged onto the grid's pixel scale.

    Raises
    ------
    BorderError
        If the suite has too few maps, its maps are too coarse or too narrow, or a map is damaged.
    """
    scales = (suite.pixel_arcmin, grid.pixel_arcmin)
    counts = {split: getattr(params.maps, split) for split in SPLITS}
    each = {split: crops_per_map(suite.pixels, *scales, side_of(split, params)) for split in SPLITS}
    wanted = {split: -(-counts[split] // each[split]) for split in SPLITS}
    maps: dict[str, list] = {split: [] for split in SPLITS}
    boxes: dict[str, list] = {split: [] for split in SPLITS}
    for split, box, kappa in suite.read(wanted):
        cut = rebinned(kappa, *scales, side_of(split, params))[: counts[split] - len(maps[split])]
        maps[split] += list(cut.astype(np.float32))
        boxes[split] += [box] * len(cut)
        if len(maps[split]) % 100 < len(cut):
            log.info("%d of %d %s maps", len(maps[split]), counts[split], split)
    return {split: MapSet(np.stack(maps[split]), np.array(boxes[split])) for split in SPLITS}


def _finished(work: Path, box: int) -> Path:
    """File with the maps of a finished box."""
    return work / f"box_{box:04d}.npy"


def _make_box(path: Path, box: int, split: str, *settings) -> None:
    """Make the maps of a box and write them to `path`."""
    maps = box_maps(box, split, *settings)
    with atomic(path) as temporary:
        np.save(temporary, maps, allow_pickle=False)
