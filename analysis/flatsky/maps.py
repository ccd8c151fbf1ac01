"""Sets of convergence maps on disk, their splits and boxes; crops of maps, and maps at another pixel scale.

Maps are split by N-body box into training, validation and test: no two splits see the same matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from analysis.core.files import BorderError, atomic, read_json, write_json

SPLITS = ("train", "validation", "test")
SCALE = 1 / 64  # of the stored numbers: half precision is finest around 1, and convergence is around 0.01
FINEST = 0.999  # smallest ratio of new to old pixel scale
ROUNDING = 1e-9  # relative; without it a map exactly as wide as its crops could be rejected


@dataclass(frozen=True, eq=False)
class MapSet:
    """Maps of one split, `kappa` (n, side, side), and the number of the box of each, `box` (n,)."""

    kappa: np.ndarray
    box: np.ndarray


def save_maps(maps: Mapping[str, MapSet], folder: str | Path, *, pixel_arcmin: float, about: Mapping) -> None:
    """Write `<split>.npy` in half precision, and `maps.json` with scale, pixels, boxes and `about`.

    Parameters
    ----------
    about : further facts for the reader, such as source, cosmology and redshifts of the sources
    """
    for split, content in maps.items():
        with atomic(Path(folder) / f"{split}.npy") as temporary:
            np.save(temporary, (content.kappa / SCALE).astype(np.float16), allow_pickle=False)
    boxes = {split: content.box.tolist() for split, content in maps.items()}
    write_json(Path(folder) / "maps.json", {"scale": SCALE, "pixel_arcmin": pixel_arcmin, "boxes": boxes, **about})


def load_maps(folder: str | Path, split: str) -> MapSet:
    """Maps of one split, float32.

    Raises
    ------
    BorderError
        If a file is missing, or is not a stack of finite maps.
    """
    path = Path(folder) / f"{split}.npy"
    about = read_json(Path(folder) / "maps.json")
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BorderError(f"{path} cannot be read ({error}); run `dvc repro simulations`") from None
    if stored.ndim != 3 or not np.isfinite(stored).all():
        raise BorderError(
            f"{path} is not a stack of finite maps (shape {stored.shape}); run `dvc repro -f simulations`"
        )
    return MapSet(stored.astype(np.float32) * np.float32(about["scale"]), np.array(about["boxes"][split]))


def crops(maps: np.ndarray, pixels: int, *, rng: np.random.Generator, turned: bool = True) -> np.ndarray:
    """One random crop of each map, (n, pixels, pixels).

    Parameters
    ----------
    maps : (n, ny, nx)
    pixels : side of the crop
    turned : apply a random symmetry of the square (eight rotations and reflections)
    """
    out = np.empty((len(maps), pixels, pixels), maps.dtype)
    for i, kappa in enumerate(maps):
        y, x = (rng.integers(0, side - pixels + 1) for side in kappa.shape)
        crop = kappa[y : y + pixels, x : x + pixels]
        if turned:
            crop = np.rot90(crop, rng.integers(4))
            crop = crop.T if rng.random() < 0.5 else crop
        out[i] = crop
    return out


def central_crops(maps: np.ndarray, pixels: int) -> np.ndarray:
    """The middle `pixels` x `pixels` of each map."""
    y, x = ((side - pixels) // 2 for side in maps.shape[-2:])
    return maps[..., y : y + pixels, x : x + pixels]


def crops_per_map(native_pixels: int, from_arcmin: float, to_arcmin: float, pixels: int) -> int:
    """Number of crops of `pixels` x `pixels` new pixels that `rebinned` cuts from one map."""
    return _crops_per_side(native_pixels, from_arcmin, to_arcmin, pixels) ** 2


def rebinned(kappa: np.ndarray, from_arcmin: float, to_arcmin: float, pixels: int) -> np.ndarray:
    """Crops of a map at a coarser pixel scale, side by side around its centre; each new pixel is a mean over its area.

    out = A kappa A^T, where A holds the share of each old pixel in each new one along an axis, so means are conserved.

    Parameters
    ----------
    kappa : (native, native)
    from_arcmin, to_arcmin : old and new pixel scale
    pixels : side of a crop, new pixels

    Returns
    -------
    (`crops_per_map`, pixels, pixels), row by row

    Raises
    ------
    BorderError
        If the new pixels are finer than the old, or no crop fits.
    """
    along = _crops_per_side(len(kappa), from_arcmin, to_arcmin, pixels)
    shares = overlap(len(kappa), along * pixels, to_arcmin / from_arcmin)
    block = shares @ (shares @ kappa.T).T
    tiles = block.reshape(along, pixels, along, pixels).swapaxes(1, 2)
    return tiles.reshape(-1, pixels, pixels).astype(kappa.dtype)


@lru_cache(maxsize=4)
def overlap(native: int, pixels: int, ratio: float) -> csr_array:
    """Share of each old pixel in each new one along an axis, (pixels, native); rows sum to 1.

    Parameters
    ----------
    native, pixels : number of old and new pixels; the new ones lie in the middle of the old
    ratio : new over old pixel scale
    """
    edges = native / 2 + ratio * (np.arange(pixels + 1) - pixels / 2)
    old = np.arange(native)
    inside = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    inside = np.clip(inside, 0, None)
    return csr_array(inside / inside.sum(axis=1, keepdims=True))


def _crops_per_side(native_pixels: int, from_arcmin: float, to_arcmin: float, pixels: int) -> int:
    """Number of crops along one side of a map; raises where none fits."""
    if to_arcmin < FINEST * from_arcmin:
        raise BorderError(
            f"maps with pixels of {from_arcmin:.4g} arcmin are too coarse for a grid of {to_arcmin:.4g} arcmin; raise"
            " grid.pixel_arcmin, or use finer maps (`-S simulations=nbody`)."
        )
    width, needed = native_pixels * from_arcmin, pixels * to_arcmin
    along = int(width / needed * (1 + ROUNDING))
    if along == 0:
        raise BorderError(
            f"the maps are {width:.4g} arcmin wide, but {pixels} pixels of {to_arcmin:.4g} arcmin need {needed:.4g};"
            f" lower simulations.map_pixels and mock_pixels to at most {int(width / to_arcmin * (1 + ROUNDING))}."
        )
    return along
