"""Maps at another pixel scale: every new pixel is the mean of the old over its area."""

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from analysis.core.files import BorderError

FINEST = 0.999  # new over old pixel scale
ROUNDING = 1e-9  # relative, so that a map as wide as its crops is not lost to it


def crops_of(native_pixels: int, from_arcmin: float, to_arcmin: float, pixels: int) -> int:
    """How many crops of `pixels` x `pixels` new pixels fit side by side into one map."""
    return _along(native_pixels, from_arcmin, to_arcmin, pixels) ** 2


def rebinned(kappa: np.ndarray, from_arcmin: float, to_arcmin: float, pixels: int) -> np.ndarray:
    """All crops of a map at a coarser pixel scale, which do not overlap and lie as one block around its centre.

    out = A kappa A^T, where A holds the share of each old pixel in each new one along an axis: means are conserved.

    Parameters
    ----------
    kappa : (native, native)
    from_arcmin, to_arcmin : old and new pixel scale
    pixels : side of a crop, new pixels

    Returns
    -------
    (n, pixels, pixels), as many as `crops_of` says, row by row

    Raises
    ------
    BorderError
        If the new pixels are finer than the old, or no crop fits.
    """
    along = _along(len(kappa), from_arcmin, to_arcmin, pixels)
    shares = overlap(len(kappa), along * pixels, to_arcmin / from_arcmin)
    block = shares @ (shares @ kappa.T).T
    tiles = block.reshape(along, pixels, along, pixels).swapaxes(1, 2)
    return tiles.reshape(-1, pixels, pixels).astype(kappa.dtype)


@lru_cache(maxsize=4)
def overlap(native: int, pixels: int, ratio: float) -> csr_array:
    """Share of each old pixel in each new one along an axis, (pixels, native); rows sum to 1.

    Parameters
    ----------
    native, pixels : old and new pixels; the new ones lie in the middle of the old
    ratio : new over old pixel scale
    """
    edges = native / 2 + ratio * (np.arange(pixels + 1) - pixels / 2)
    old = np.arange(native)
    inside = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    inside = np.clip(inside, 0, None)
    return csr_array(inside / inside.sum(axis=1, keepdims=True))


def _along(native_pixels: int, from_arcmin: float, to_arcmin: float, pixels: int) -> int:
    """Crops along one side of a map; raises where there is none."""
    if to_arcmin < FINEST * from_arcmin:
        raise BorderError(
            f"maps with pixels of {from_arcmin:.4g} arcmin cannot serve a grid of {to_arcmin:.4g} arcmin; raise"
            " grid.pixel_arcmin, or take finer maps (`-S simulations=nbody`)."
        )
    width, needed = native_pixels * from_arcmin, pixels * to_arcmin
    along = int(width / needed * (1 + ROUNDING))
    if along == 0:
        raise BorderError(
            f"the maps are {width:.4g} arcmin wide, but {pixels} pixels of {to_arcmin:.4g} arcmin need {needed:.4g};"
            f" lower simulations.map_pixels and mock_pixels to at most {int(width / to_arcmin * (1 + ROUNDING))}."
        )
    return along
