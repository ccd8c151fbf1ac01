"""The margin of a map, where nothing may be observed: a Gaussian field given the pixels inside."""

from collections.abc import Callable

import numpy as np
from keras import ops

from analysis.flatsky.backend import compiled, conjugate_gradients, filtered
from analysis.flatsky.power import gaussian_field
from analysis.prior.score import inside_margin


def gaussian_margin(power: np.ndarray, margin: int) -> Callable:
    """A function (maps, rng) that draws a new Gaussian margin given the pixels inside, which stay as they are.

    The constrained realisation  g + S R^T (R S R^T)^-1 R (kappa - g)  of a Gaussian field g of power S, R the pixels
    inside. Maps of power S keep that power and become periodic.

    Parameters
    ----------
    power : (ny, nx), pixel variance per mode
    margin : pixels along the edges; 0 leaves the maps as they are

    Source: Hoffman & Ribak 1991.
    """
    if margin == 0:
        return lambda maps, rng: maps
    power = power.astype("float32")
    compiled_margin = compiled(lambda maps, field: with_margin(maps, field, power, margin))

    def redrawn(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        field = gaussian_field(power, len(maps), rng=rng).astype("float32")
        return np.asarray(compiled_margin(maps.astype("float32"), field))

    return redrawn


def with_margin(kappa, field, power, margin: int):
    """Maps with the margin of a Gaussian field that is constrained by their pixels inside.

    Parameters
    ----------
    kappa : (n, ny, nx)
    field : (n, ny, nx), Gaussian, of power `power`
    power : (ny, nx), pixel variance per mode
    margin : pixels along the edges; 0 leaves the maps as they are
    """
    if margin == 0:
        return kappa
    inside, power = inside_margin(power.shape, margin), ops.cast(power, kappa.dtype)
    solved = conjugate_gradients(
        lambda x: inside * filtered(inside * x, power),
        lambda x: inside * filtered(inside * x, 1.0 / power),
        inside * (kappa - field),
        iterations=200,
        tolerance=1e-4,
    )
    return ops.where(inside > 0, kappa, field + filtered(solved, power))
