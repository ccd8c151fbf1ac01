"""Making the convergence maps to learn from: our own N-body boxes, or the maps of a published suite.

Whatever the source, the outcome is the same: maps of the grid's pixel scale, split by box.
"""

import logging
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError, atomic
from analysis.core.progress import followed, progress, within
from analysis.core.workers import scatter
from analysis.flatsky.maps import SPLITS, MapSet
from analysis.params import MOST_BOXES, ComputeParams, GridParams, SimulationsParams, TheoryParams, stage_rng
from analysis.simulations.expansion import comoving_distance
from analysis.simulations.lightcone import convergence_map, plane_distances, simulate_box
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.suites import Suite, suite
from analysis.simulations.suites.rebin import crops_of, rebinned

log = logging.getLogger(__name__)

PLANES_SHARE = 0.9  # of the time of a box; the rest goes into its maps
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
    """Maps of every split, and what is worth knowing of them.

    Parameters
    ----------
    matter : k in h/Mpc, linear and halofit power at z = 0 in (Mpc/h)^3
    work : folder of what is finished, so that an interrupted run goes on where it was
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
    native = suite(params, theory)
    return suite_maps(native, params, grid), {**about, **native.about}


def side_of(split: str, params: SimulationsParams) -> int:
    """Pixels a side of the maps of a split: those that become mocks are wider than the grid."""
    return params.map_pixels if split == "train" else params.mock_pixels


def box_split(params: SimulationsParams) -> dict[str, range]:
    """Which N-body boxes make the maps of each split: disjoint ranges of box numbers.

    More boxes of one split leave those of the others what they are: tests stay tests.
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
    """Maps through our own boxes, spread over workers; boxes that `work` holds are not made again."""
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
    """Convergence maps through one N-body box; the box's number decides its seed.

    Parameters
    ----------
    box : number of the box
    split : decides how many maps and how wide
    matter : k in h/Mpc, linear and halofit power at z = 0 in (Mpc/h)^3

    Returns
    -------
    (n, side, side), float32, dimensionless

    Raises
    ------
    BorderError
        If most sources lie in front of the first plane, so that there is nothing to lens them.
    """
    rng = stage_rng(seed, "simulations", f"box {box}")
    redshift, share = source_distribution(theory.sources)
    distance = comoving_distance(redshift, theory.omega_m)
    first = plane_distances(redshift.max(), params.nbody.box_mpc_h, theory.omega_m)[0][0]
    if share[distance <= first].sum() > 0.5:
        raise BorderError(
            f"theory.sources lie at redshift {np.sum(redshift * share):.3g}, most of them in front of the first plane"
            f" at {first:g} Mpc/h: give sources farther away, or a smaller simulations.nbody.box_mpc_h"
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


def suite_maps(native: Suite, params: SimulationsParams, grid: GridParams) -> dict[str, MapSet]:
    """Maps of a published suite, cut and averaged onto pixels of the grid's size.

    Raises
    ------
    BorderError
        If the suite has too few maps, too coarse or too narrow ones, or a map is damaged.
    """
    scales = (native.pixel_arcmin, grid.pixel_arcmin)
    counts = {split: getattr(params.maps, split) for split in SPLITS}
    each = {split: crops_of(native.pixels, *scales, side_of(split, params)) for split in SPLITS}
    wanted = {split: -(-counts[split] // each[split]) for split in SPLITS}
    maps: dict[str, list] = {split: [] for split in SPLITS}
    boxes: dict[str, list] = {split: [] for split in SPLITS}
    for split, box, kappa in native.read(wanted):
        cut = rebinned(kappa, *scales, side_of(split, params))[: counts[split] - len(maps[split])]
        maps[split] += list(cut.astype(np.float32))
        boxes[split] += [box] * len(cut)
        if len(maps[split]) % 100 < len(cut):
            log.info("%d of %d %s maps", len(maps[split]), counts[split], split)
    return {split: MapSet(np.stack(maps[split]), np.array(boxes[split])) for split in SPLITS}


def _finished(work: Path, box: int) -> Path:
    """Where the maps of a finished box wait for the others."""
    return work / f"box_{box:04d}.npy"


def _make_box(path: Path, box: int, split: str, *settings) -> None:
    """Make the maps of a box and put them where they wait."""
    maps = box_maps(box, split, *settings)
    with atomic(path) as temporary:
        np.save(temporary, maps, allow_pickle=False)
