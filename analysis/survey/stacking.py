"""Tangential and cross shear around places on a grid.

Tangential shear is positive around mass. Cross shear, at 45 degrees to it, is not made by lensing. Positions x (along
columns) and y (along rows) are 0-based; a place stands for the pixel that holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import fftconvolve

from analysis.core.files import BorderError
from analysis.sky import pixels_at


@dataclass(frozen=True, eq=False)
class Rings:
    """Sums over rings around every pixel.

    Attributes
    ----------
    shear : (bins, ny, nx), sum of weight times tangential shear + i cross shear
    weight : (bins, ny, nx), sum of weights
    radius_arcmin : (bins,), mean distance of a ring's pixels
    """

    shear: np.ndarray
    weight: np.ndarray
    radius_arcmin: np.ndarray


def ring_sums(gamma: np.ndarray, weight: np.ndarray, edges_arcmin: Sequence[float], pixel_arcmin: float) -> Rings:
    """Sums of shear over rings around every pixel of a grid; the pixel itself has no direction and belongs to no ring.

    gamma_t + i gamma_x = -(gamma_1 + i gamma_2) exp(-2 i phi), phi the polar angle about the middle pixel. The weight
    of a pixel is the mean of those of its components.

    Parameters
    ----------
    gamma, weight : (2, ny, nx), shear in the frame of the grid and its inverse variance
    edges_arcmin : (bins + 1,), of the rings

    Raises
    ------
    BorderError
        If a ring holds no pixel.
    """
    reach = int(edges_arcmin[-1] / pixel_arcmin)
    offsets = np.arange(-reach, reach + 1)
    distance = pixel_arcmin * np.hypot(offsets[:, None], offsets)
    turn = -np.exp(-2j * np.arctan2(offsets[:, None], offsets))
    total, sums, weights, radii = weight.mean(axis=0), [], [], []
    for inner, outer in pairwise(edges_arcmin):
        ring = (distance >= inner) & (distance < outer) & (distance > 0)
        if not ring.any():
            raise BorderError(
                f"nulls.rings_arcmin: no pixel of {pixel_arcmin:g} arcmin lies {inner:g} to {outer:g} arcmin from"
                " another; give wider rings"
            )
        # a ring is symmetric under reflection, so that convolution with it equals correlation
        sums.append(fftconvolve(total * (gamma[0] + 1j * gamma[1]), ring * turn, mode="same"))
        found = fftconvolve(total, ring.astype(float), mode="same")
        weights.append(np.where(found > 1e-9 * total.max(), found, 0.0))
        radii.append(distance[ring].mean())
    return Rings(np.array(sums), np.array(weights), np.array(radii))


def stacked_shear(rings: Rings, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean tangential and cross shear around places.

    Parameters
    ----------
    x, y : (..., n), pixels

    Returns
    -------
    (..., 2, bins), dimensionless; NaN in a ring without any observed pixel
    """
    row, column = (at.astype(int) for at in pixels_at(x, y))
    weight = rings.weight[:, row, column].sum(axis=-1)
    shear = rings.shear[:, row, column].sum(axis=-1)
    mean = np.stack([shear.real, shear.imag]) / np.where(weight > 0, weight, np.nan)
    return np.moveaxis(mean, (0, 1), (-2, -1))
