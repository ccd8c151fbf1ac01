"""Mass maps with sparse halos: the sum of a sparse, positive component in starlets and a Gaussian random field.

    kappa = kappa_S + kappa_G,   min  (gamma - P kappa)^T w (gamma - P kappa) + kappa_G^T S^-1 kappa_G,

where kappa_S is nowhere negative and uses only starlet coefficients above the noise. Starlets are isotropic wavelets
with a central peak, similar to halos. The rest of the data gets a Wiener filter.

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
from analysis.rivals.baselines import mean_square_error
from analysis.simulations.mocks import Mock

TOLERANCE = 1e-6  # of the final Wiener filter


def starlet_filters(shape: tuple[int, int], scales: int) -> np.ndarray:
    """Fourier multipliers of the isotropic undecimated starlet transform of periodic maps, (scales + 1, ny, nx).

    Scale j is the difference of two smoothings, c_(j-1) - c_j, each by the B3 spline (1, 4, 6, 4, 1) / 16 with 2^j - 1
    holes along both axes: c_j = c_(j-1) cos^4(2^(j-1) theta_x / 2) cos^4(2^(j-1) theta_y / 2). They add up to 1.

    Parameters
    ----------
    shape : (ny, nx) of the maps
    scales : number of detail scales, the finest first; the smooth rest comes last

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
    """Starlet coefficients of maps (..., ny, nx), (..., scales, ny, nx); the scales add up to the map."""
    return filtered(ops.expand_dims(maps, -3), ops.cast(filters, ops.dtype(maps)))


def coefficient_noise(weight: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Standard deviation of the starlet coefficients of P^T w n, n the noise, (scales, ny, nx), unit of weight^(1/2).

    A coefficient is the sum over pixels of w n, which has variance w, times a kernel g, so its variance is w * g^2.

    Parameters
    ----------
    weight : (2, ny, nx), inverse variance; 0 where nothing was observed
    filters : (scales, ny, nx), as `starlet_filters` gives them
    """
    variance = np.zeros(filters.shape)
    for component, multiplier in zip(weight, kaiser_squires_kernel(*weight.shape[-2:]), strict=True):
        squared = np.fft.ifft2(filters * multiplier).real ** 2
        variance += np.fft.ifft2(np.fft.fft2(component) * np.fft.fft2(squared)).real
    return np.sqrt(np.maximum(variance, 0))


def active_coefficients(gamma: np.ndarray, weight: np.ndarray, filters: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each starlet coefficient of P^T w gamma exceeds its noise, (n, scales, ny, nx); False where unobserved.

    The coefficients of the smooth rest are left out.

    Parameters
    ----------
    gamma : (n, 2, ny, nx), dimensionless
    weight : (2, ny, nx), inverse variance
    filters : (scales + 1, ny, nx)
    threshold : in standard deviations of the noise of each coefficient
    """
    details = filters[:-1]
    noise = coefficient_noise(weight, details)
    coefficients = np.asarray(starlet(convergence_from_shear(np.asarray(weight * gamma, float)), details))
    return (coefficients > threshold * noise) & (weight > 0).any(axis=0)


def sparse_components(
    gamma: np.ndarray, weight: np.ndarray, power: np.ndarray, *, scales: int, threshold: float, turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sparse and the Gaussian component of maps of one mask, (n, ny, nx) each, dimensionless; their sum is the map.

    In each turn the sparse component moves along the active coefficients of the residual and stays positive, then the
    Gaussian one makes a step of the proximal Wiener filter. In the end the Wiener filter is solved exactly, so that
    without an active coefficient the map is the Wiener map.

    Parameters
    ----------
    gamma : (n, 2, ny, nx), dimensionless
    weight : (2, ny, nx), inverse variance; 0 where nothing was observed
    power : (ny, nx), pixel variance per mode, of the Gaussian component
    scales : number of starlet scales, the finest about 2 pixels, each twice as wide as the one before
    threshold : of active coefficients, in standard deviations of their noise
    turns : number of updates of both components; the fewer, the less noise the sparse component fits

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
    """The sparse component after `turns` updates of both components."""
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
    """Wiener maps, for `pull` = P^T w gamma."""
    return gaussian_posterior_solve(pull, weight, power, tolerance=TOLERANCE)


def sparse_maps(gamma: np.ndarray, weight: np.ndarray, power: np.ndarray, **settings) -> np.ndarray:
    """The maps, (n, ny, nx): the sum of both components, with the arguments of `sparse_components`."""
    return np.sum(sparse_components(gamma, weight, power, **settings), axis=0)


def tuned(mocks: Sequence[Mock], power: np.ndarray, params: SparseParams) -> tuple[dict[str, float], Table]:
    """The keywords of `sparse_maps` with the smallest error over mocks of one mask, and a table of all that were tried.

    The table has the columns `scales`, `threshold`, `turns` and `rmse` (square root of `mean_square_error`).
    """
    observation = mocks[0].observation
    gamma, truths = np.stack([mock.observation.gamma for mock in mocks]), np.stack([mock.truth for mock in mocks])
    rows = []
    for threshold, turns in followed([*product(params.thresholds, params.turns)], "settings of sparse maps"):
        settings = {"scales": params.scales, "threshold": threshold, "turns": turns}
        maps = sparse_maps(gamma, observation.weight, power, **settings)
        rows.append(settings | {"rmse": float(np.sqrt(mean_square_error(maps, truths, observation.mask)))})
    best = min(rows, key=lambda row: row["rmse"])
    return {name: value for name, value in best.items() if name != "rmse"}, Table(rows)
