"""The convergence maps that the prior learns from: our own N-body boxes, or the maps of a published suite.

Both give maps of the grid's pixel scale, split by box.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError, atomic
from analysis.core.progress import followed
from analysis.core.workers import scatter
from analysis.flatsky.maps import SPLITS, MapSet, crops_per_map, rebinned
from analysis.params import MOST_BOXES, ComputeParams, GridParams, SimulationsParams, TheoryParams, stage_rng
from analysis.simulations.halos import RADII
from analysis.simulations.lightcone import Planes, convergence_map, plane_distances, simulate_box
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.suites import Suite, published_suite
from analysis.simulations.theory import comoving_distance

log = logging.getLogger(__name__)

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
) -> tuple[dict[str, MapSet], dict, Table | None]:
    """Maps of every split, facts about them for `maps.json`, and the largest halos of N-body boxes (`box_halos`).

    Parameters
    ----------
    matter : k in h/Mpc and linear power at z = 0 in (Mpc/h)^3
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
        return maps, {**about, "splits_share_boxes": False}, box_halos(work, box_split(params)["train"])
    suite = published_suite(params, theory)
    return suite_maps(suite, params, grid), {**about, **suite.about}, None


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
    splits: Sequence[str] = SPLITS,
    planes: Path | None = None,
) -> dict[str, MapSet]:
    """Maps of all N-body boxes, made by the workers; what is already in `work` is not made again.

    Each plane of a training map comes from any training box. A held-out map goes through one box, whose number it
    carries, so that errors can be taken between boxes. The numbers of training maps only tell who made them.

    Parameters
    ----------
    matter : k in h/Mpc and linear power at z = 0 in (Mpc/h)^3
    splits : those to make
    planes : folder of the boxes' density planes, if it is not `work`

    Raises
    ------
    BorderError
        If most sources lie in front of the first plane, so that nothing lenses them.
    """
    check_sources(theory, params.nbody.box_mpc_h)
    planes = planes or work
    numbers = {split: boxes for split, boxes in box_split(params).items() if split in splits}
    boxes = [box for numbered in numbers.values() for box in numbered]
    tasks = {_planes(planes, box): (box, matter, theory, params, seed, compute.nbody) for box in boxes}
    scatter(_make_planes, tasks, compute, what="boxes")
    tasks = {
        _finished(work, box): (box, split, [_planes(planes, one) for one in through], theory, params, grid, seed)
        for split, numbered in numbers.items()
        for box in numbered
        for through in [numbered if split == "train" else [box]]
    }
    scatter(_make_maps, tasks, compute, what="shares of the maps")
    return {
        split: MapSet(
            np.concatenate([np.load(_finished(work, box), allow_pickle=False) for box in boxes]),
            np.repeat(boxes, getattr(params.maps, split) // len(boxes)),
        )
        for split, boxes in numbers.items()
    }


def box_halos(work: Path, boxes: Sequence[int]) -> Table:
    """Largest halos of finished boxes at `lightcone.HALO_REDSHIFT`.

    Its columns are `box`, `mass` (Msun/h), and `core_0`, `core_1`, ..: mass within each of `halos.RADII` on the sky
    over that of an NFW halo.
    """
    halos = [np.load(_halos(work, box), allow_pickle=False) for box in boxes]
    numbers = np.repeat(list(boxes), [len(found) for found in halos])
    names = ["mass", *(f"core_{number}" for number in range(len(RADII)))]
    return Table([numbers, *np.concatenate(halos).T], names=["box", *names])


def check_sources(theory: TheoryParams, box_mpc_h: float) -> None:
    """Check that most sources lie behind the first plane.

    Raises
    ------
    BorderError
        If they do not: nothing would lens them.
    """
    redshift, share = source_distribution(theory.sources)
    distance = comoving_distance(redshift, theory.omega_m)
    first = plane_distances(redshift.max(), box_mpc_h, theory.omega_m)[0][0]
    if share[distance <= first].sum() > 0.5:
        raise BorderError(
            f"theory.sources have a mean redshift of {np.sum(redshift * share):.3g}, and most of them lie in front of"
            f" the first plane at {first:g} Mpc/h: give sources farther away, or a smaller simulations.nbody.box_mpc_h"
        )


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


def _planes(work: Path, box: int) -> Path:
    """File with the density planes of a box."""
    return work / f"planes_{box:04d}.npy"


def _halos(work: Path, box: int) -> Path:
    """File with the largest halos of a box, written before its planes."""
    return work / f"halos_{box:04d}.npy"


def _finished(work: Path, box: int) -> Path:
    """File with a box's share of the maps."""
    return work / f"box_{box:04d}.npy"


def _make_planes(
    path: Path, box: int, matter: Table, theory: TheoryParams, params: SimulationsParams, seed: int, backend: str
) -> None:
    """Simulate a box and write its planes in half precision; odd boxes have phases opposite to the one before."""
    rng = stage_rng(seed, "simulations", f"phases {box // 2}")
    furthest = source_distribution(theory.sources)[0].max()
    wavenumber, linear = (np.asarray(matter[name]) for name in ("k", "linear"))
    how = {"opposite": box % 2 == 1, "backend": backend}
    planes = simulate_box(theory.omega_m, wavenumber, linear, params.nbody, furthest, rng, **how)
    for file, content in ((_halos(path.parent, box), planes.halos), (path, planes.delta.astype(np.float16))):
        with atomic(file) as temporary:
            np.save(temporary, content, allow_pickle=False)


def _make_maps(
    path: Path,
    box: int,
    split: str,
    planes: Sequence[Path],
    theory: TheoryParams,
    params: SimulationsParams,
    grid: GridParams,
    seed: int,
) -> None:
    """Make a box's share of the maps of its split, through the planes in these files."""
    rng = stage_rng(seed, "simulations", f"box {box}")
    redshift, share = source_distribution(theory.sources)
    distance = comoving_distance(redshift, theory.omega_m)
    chi, a = plane_distances(redshift.max(), params.nbody.box_mpc_h, theory.omega_m)
    stacks = [np.load(file, mmap_mode="r", allow_pickle=False) for file in planes]
    boxes = [Planes(delta, chi, a, params.nbody.box_mpc_h, theory.omega_m) for delta in stacks]
    size = {"pixels": side_of(split, params), "pixel_arcmin": grid.pixel_arcmin}
    numbers = range(getattr(params.maps, split) // getattr(params.nbody.boxes, split))
    maps = [convergence_map(boxes, distance, share, **size, rng=rng) for _ in followed(numbers, "maps")]
    with atomic(path) as temporary:
        np.save(temporary, np.stack(maps), allow_pickle=False)
