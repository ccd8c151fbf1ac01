"""kappaTNG: 10,000 maps of 5 x 5 deg through IllustrisTNG, each for 40 planes of sources, weighted to any n(z).

Source: Osato, Liu & Haiman 2021 (MNRAS 502 5593).
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from analysis.core.files import BorderError
from analysis.flatsky.maps import SPLITS
from analysis.params import KappatngParams, TheoryParams
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.suites.reading import PublishedMap, Suite, at_hand, checked

log = logging.getLogger(__name__)

COSMOLOGY = {"h": 0.6774, "omega_m": 0.3089, "omega_b": 0.0486, "n_s": 0.9667}  # sigma_8 is given, not a_s
PIXELS = 1024
PIXEL_ARCMIN = 5 * 60 / 1024
REALISATIONS = 100  # LP numbers, each a different stack of boxes
RUNS = 100  # maps of one LP number, with different rotations and shifts of its boxes
# redshifts of the sources in the groups z01 to z40
PLANES = np.array(
    [
        [0.034467, 0.069515, 0.1051819, 0.14151, 0.178545, 0.216332, 0.254921, 0.294363, 0.334713, 0.376027],
        [0.418368, 0.461799, 0.506387, 0.552205, 0.599329, 0.647838, 0.697818, 0.749361, 0.802561, 0.857522],
        [0.914352, 0.973168, 1.034093, 1.09726, 1.162811, 1.230896, 1.301678, 1.37533, 1.45204, 1.532007],
        [1.615449, 1.702597, 1.793703, 1.889038, 1.988896, 2.093596, 2.203481, 2.318928, 2.440344, 2.568175],
    ]
).ravel()


def open_suite(params: KappatngParams, theory: TheoryParams) -> Suite:
    """The suite for the sources of `theory`, from an address or a folder.

    Each file of 40 planes is downloaded when its map is read, and stays in `data/cache/suites`. The box of a map is
    its LP number: the first LP numbers are for training, the next for validation, the next for tests.

    Raises
    ------
    BorderError
        If all sources lie in front of the first plane, or the splits need more LP numbers than there are.
    """
    weights, beyond = plane_weights(*source_distribution(theory.sources))
    boxes = split_realisations(params)
    if beyond > 0:
        log.warning(
            "%.2g of the sources lie beyond the last plane of kappatng, z = %g, and are placed on it",
            beyond,
            PLANES[-1],
        )
    used = np.flatnonzero(weights)
    about = {
        "suite": "kappaTNG (Osato, Liu & Haiman 2021)",
        "source_redshifts": PLANES[used].tolist(),
        "source_weights": weights[used].tolist(),
        "beyond_last_plane": beyond,
        "approximation": "sources between two planes are shared linearly between them, by redshift",
    }
    return Suite(PIXEL_ARCMIN, PIXELS, about, partial(_read, params.address, boxes, weights))


def plane_weights(redshift: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (40,) of the planes that represent a source distribution, and the share of sources beyond the last plane.

    Convergence is interpolated linearly between planes, and between 0 at z = 0 and the first plane.

    Parameters
    ----------
    redshift, share : (n,) each; shares sum to 1

    Raises
    ------
    BorderError
        If all sources lie in front of the first plane.
    """
    if redshift[share > 0].max() < PLANES[0]:
        raise BorderError(
            f"theory.sources lie at z = {redshift.max():g} at most, in front of the first plane of kappatng"
            f" ({PLANES[0]:g}); give sources farther away."
        )
    nodes = np.append(0, PLANES)
    hats = np.stack([np.interp(redshift, nodes, row) for row in np.eye(len(nodes))])  # 1 at a node, 0 at the others
    return (hats @ share)[1:], float(share[redshift > PLANES[-1]].sum())


def split_realisations(params: KappatngParams) -> dict[str, range]:
    """LP numbers of each split, counted from 1; they are disjoint, so that no two splits see the same matter."""
    ends = np.cumsum([1] + [getattr(params.realisations, split) for split in SPLITS]).tolist()
    if ends[-1] - 1 > REALISATIONS:
        raise BorderError(
            f"simulations.kappatng.realisations are {ends[-1] - 1} LP numbers, but kappaTNG has {REALISATIONS}; lower"
            " them."
        )
    return {split: range(ends[i], ends[i + 1]) for i, split in enumerate(SPLITS)}


def _read(
    address: str, boxes: Mapping[str, range], weights: np.ndarray, wanted: Mapping[str, int]
) -> Iterator[PublishedMap]:
    """Maps of each split, spread evenly over its LP numbers; runs count from 1."""
    for split in SPLITS:
        most = RUNS * len(boxes[split])
        if wanted[split] > most:
            raise BorderError(
                f"simulations.maps.{split} is {wanted[split]}, but {len(boxes[split])} LP numbers of kappaTNG have"
                f" {most} maps; lower it or raise simulations.kappatng.realisations.{split}."
            )
    for split in SPLITS:
        each, more = divmod(wanted[split], len(boxes[split]))
        for i, box in enumerate(boxes[split]):
            for run in range(1, each + (i < more) + 1):
                yield split, box, convergence(_file(address, box, run), weights)


def _file(address: str, box: int, run: int) -> Path:
    """The file of one run, downloaded if necessary."""
    name = f"LP{box:03d}/LP{box:03d}_run{run:03d}_maps.hdf5"
    remedy = f"set simulations.kappatng.address to a folder or address that has {name}, or lower simulations.maps"
    return at_hand(f"{address.rstrip('/')}/{name}", remedy)


def convergence(path: Path, weights: np.ndarray) -> np.ndarray:
    """Convergence map of one file, for sources spread over the planes by `weights` (40,), float32.

    Raises
    ------
    BorderError
        If the file is not HDF5, or a plane is missing, has another size or is not finite.
    """
    kappa = np.zeros((PIXELS, PIXELS))
    try:
        with h5py.File(path, "r") as handle:
            for i in np.flatnonzero(weights):
                kappa += weights[i] * _plane(handle, f"z{i + 1:02d}/kappa", path)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(f"{path} cannot be read as HDF5 ({reason}); delete it and fetch it again.") from error
    return kappa.astype(np.float32)


def _plane(handle: h5py.File, name: str, path: Path) -> np.ndarray:
    """The checked map of one plane of sources."""
    plane = handle.get(name)
    if not isinstance(plane, h5py.Dataset):
        raise BorderError(f"{path} has no dataset {name}; delete it and fetch it again.")
    if plane.shape != (PIXELS, PIXELS):
        raise BorderError(
            f"{path}: {name} has shape {plane.shape}, expected {(PIXELS, PIXELS)}; give maps as they were published."
        )
    return checked(plane[()], f"{path}: {name}", PIXELS)
