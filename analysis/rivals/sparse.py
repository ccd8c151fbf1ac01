"""Mass maps with sparse halos: the sum of a sparse, positive component in starlets and a Gaussian random field.

    kappa = kappa_S + kappa_G,   min  (gamma - P kappa)^T w (gamma - P kappa) + kappa_G^T S^-1 kappa_G,

kappa_S made of those starlet coefficients alone that stand out of the noise, and nowhere negative. Starlets, being
isotropic wavelets with a peak, are near to halos; what is left of the data is filtered as a Gaussian field is.

Source: Starck et al. 2021 (A&A 649 A99, MCALens), section 3.
"""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
from astropy.table import Table
from keras import ops

from analysis.core.progress import followed
from analysis.flatsky.backend import compiled, filtered
from analysis.flatsky.kernel import kaiser_squires_kernel
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.params import SparseParams
from analysis.posterior.wiener import gaussian_posterior_solve
from analysis.simulations.mocks import Mock

TOLERANCE = 1e-6  # of the Wiener filter that ends a map


def starlet_filters(shape: tuple[int, int], scales: int) -> np.ndarray:
    """Multipliers of the isotropic undecimated starlet transform of periodic maps.

    Scale j is the difference of two smoothings, c_(j-1) - c_j, each by the B3 spline (1, 4, 6, 4, 1) / 16 with 2^j - 1
    holes along both axes: c_j = c_(j-1) cos^4(2^(j-1) theta_x / 2) cos^4(2^(j-1) theta_y / 2). They add up to 1.

    Parameters
    ----------
    shape : (ny, nx) of the maps
    scales : of detail, the finest first; the smooth rest is one more

    Returns
    -------
    (scales + 1, ny, nx), dimensionless

    Source: Starck, Fadili & Murtagh 2007, section 3.
    """
    theta_y, theta_x = (2 * np.pi * np.fft.fftfreq(side) for side in shape)
    smooth = [np.ones(shape)]
    for j in range(scales):
        spline = np.outer(np.cos(2**j * theta_y / 2) ** 4, np.cos(2**j * theta_x / 2) ** 4)
        smooth.append(smooth[-1] * spline)
    details = [finer - coarser for finer, coarser in pairwise(smooth)]
    return np.stack([*details, smooth[-1]])


def starlet(maps, filters):
    """Starlet coefficients of maps (..., ny, nx), one map a scale, (..., scales, ny, nx); their sum is the map."""
    return filtered(ops.expand_dims(maps, -3), ops.cast(filters, ops.dtype(maps)))


def coefficient_noise(weight: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Standard deviation of the starlet coefficients of what pure noise pulls a map to, P^T w n.

    A coefficient sums the noise of every pixel, w n of variance w, through a kernel g: its variance is w * g^2.

    Parameters
    ----------
    weight : (2, ny, nx), inverse variance; 0 where nothing was observed
    filters : (scales, ny, nx), as `starlet_filters` gives them

    Returns
    -------
    (scales, ny, nx), as the square root of `weight`
    """
    variance = np.zeros(filters.shape)
    for component, multiplier in zip(weight, kaiser_squires_kernel(*weight.shape[-2:]), strict=True):
        squared = np.fft.ifft2(filters * multiplier).real ** 2
        variance += np.fft.ifft2(np.fft.fft2(component) * np.fft.fft2(squared)).real
    return np.sqrt(np.maximum(variance, 0))


def active_coefficients(gamma: np.ndarray, weight: np.ndarray, filters: np.ndarray, threshold: float) -> np.ndarray:
    """Which starlet coefficients of the data's pull P^T w gamma stand out of their noise; never those of the rest.

    Parameters
    ----------
    gamma : (n, 2, ny, nx), dimensionless
    weight : (2, ny, nx), inverse variance
    filters : (scales + 1, ny, nx)
    threshold : in standard deviations of the noise of each coefficient

    Returns
    -------
    (n, scales, ny, nx), True where active; only where something was observed
    """
    details = filters[:-1]
    noise = coefficient_noise(weight, details)
    coefficients = np.asarray(starlet(convergence_from_shear(np.asarray(weight * gamma, float)), details))
    return (coefficients > threshold * noise) & (weight > 0).any(axis=0)


def sparse_components(
    gamma: np.ndarray, weight: np.ndarray, power: np.ndarray, *, scales: int, threshold: float, turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sparse and the Gaussian component of maps of one mask.

    In turns, the sparse component follows the residual through the active coefficients and stays positive, and the
    Gaussian one takes a step of the proximal Wiener filter; at the end that is solved for exactly, so that without
    an active coefficient the map is the Wiener map.

    Parameters
    ----------
    gamma : (n, 2, ny, nx), dimensionless
    weight : (2, ny, nx), inverse variance; 0 where nothing was observed
    power : (ny, nx), pixel variance per mode, of the Gaussian component
    scales : of starlets, the finest of about 2 pixels, each twice as wide as the one before
    threshold : of active coefficients, in standard deviations of their noise
    turns : of both components; nothing but their number holds the sparse one back from the noise of its coefficients

    Returns
    -------
    sparse, gaussian : (n, ny, nx) each, dimensionless; the map is their sum

    Source: Starck et al. 2021, section 3.3.
    """
    gamma, weight, power = (np.asarray(values, float) for values in (gamma, weight, power))
    filters = starlet_filters(power.shape, scales)
    active = active_coefficients(gamma, weight, filters, threshold)
    sparse = np.zeros(gamma.shape[:1] + power.shape)
    if active.any():
        sparse = np.asarray(_alternated(gamma, active.astype(float), weight, power, filters[:-1], turns))
    pull = convergence_from_shear(weight * (gamma - np.asarray(shear_from_convergence(sparse))))
    return sparse, np.asarray(_wiener(pull, weight, power))


@compiled
def _alternated(gamma, active, weight, power, filters, turns):
    """The sparse component after so many turns of both."""
    step = 1.0 / ops.max(weight)  # P^T w P has no eigenvalue above max(w)

    def residual(kappa):
        return step * convergence_from_shear(weight * (gamma - shear_from_convergence(kappa)))

    def turn(i, sparse, gaussian):
        details = starlet(residual(sparse + gaussian), filters)
        sparse = ops.maximum(sparse + ops.sum(active * details, axis=-3), 0.0)
        return i + 1, sparse, filtered(gaussian + residual(sparse + gaussian), power / (power + step))

    zeros = ops.zeros_like(gamma[:, 0])
    return ops.while_loop(lambda i, *_: i < turns, turn, (ops.zeros((), "int32"), zeros, zeros))[1]


@compiled
def _wiener(pull, weight, power):
    """Wiener maps of what shears pull to."""
    return gaussian_posterior_solve(pull, weight, power, tolerance=TOLERANCE)


def sparse_maps(gamma: np.ndarray, weight: np.ndarray, power: np.ndarray, **settings) -> np.ndarray:
    """Sum of both components, (n, ny, nx); the arguments are those of `sparse_components`."""
    return np.sum(sparse_components(gamma, weight, power, **settings), axis=0)


def tuned(mocks: Sequence[Mock], power: np.ndarray, params: SparseParams) -> tuple[dict[str, float], Table]:
    """The threshold and the number of turns of the smallest mean square error over mocks of one mask.

    Returns
    -------
    settings : keywords of `sparse_maps`
    tried : Table of every `threshold` and `turns` with its `rmse`, over observed pixels less the mean of each map
    """
    observation = mocks[0].observation
    gamma, truths = np.stack([mock.observation.gamma for mock in mocks]), np.stack([mock.truth for mock in mocks])
    rows = []
    for threshold, turns in followed([*product(params.thresholds, params.turns)], "settings of sparse maps"):
        settings = {"scales": params.scales, "threshold": threshold, "turns": turns}
        errors = (sparse_maps(gamma, observation.weight, power, **settings) - truths)[..., observation.mask]
        rows.append(settings | {"rmse": float(np.sqrt(np.mean(np.var(errors, axis=-1))))})
    best = min(rows, key=lambda row: row["rmse"])
    return {name: value for name, value in best.items() if name != "rmse"}, Table(rows)
