"""Shear from convergence and back on the flat sky: the operator P and its adjoint P^T.

In Fourier space P is two real multipliers p1, p2 (`kernel`), even in k, so that real maps stay real. Forward model,
Kaiser-Squires inversion, likelihood and Wiener filter all use these two functions.
"""

import numpy as np
from keras import ops

from analysis.flatsky.backend import fourier, inverse_fourier, multiplied
from analysis.flatsky.kernel import kaiser_squires_kernel


def shear_from_convergence(kappa):
    """Shear of a convergence map, gamma = P kappa.

    Parameters
    ----------
    kappa : (..., ny, nx), dimensionless

    Returns
    -------
    (..., 2, ny, nx), dimensionless
    """
    shape = kappa.shape[-2:]
    modes = fourier(kappa)
    return ops.stack([inverse_fourier(multiplied(modes, p), shape) for p in kaiser_squires_kernel(*shape)], axis=-3)


def convergence_from_shear(gamma):
    """E-mode convergence of a shear map, kappa = P^T gamma, with mean zero.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless

    Returns
    -------
    (..., ny, nx), dimensionless

    Source: Kaiser & Squires 1993.
    """
    shape = gamma.shape[-2:]
    modes = fourier(gamma)
    p1, p2 = kaiser_squires_kernel(*shape)
    return inverse_fourier(multiplied(modes[..., 0, :, :], p1) + multiplied(modes[..., 1, :, :], p2), shape)


def reduced_shear(gamma: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Mean ellipticity of sheared galaxies: g = gamma / (1 - kappa), or 1 / g* where that exceeds 1.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless
    kappa : (..., ny, nx), dimensionless

    Returns
    -------
    (..., 2, ny, nx), of absolute value at most 1

    Source: Seitz & Schneider 1997 (A&A 318 687).
    """
    size = np.linalg.norm(gamma, axis=-3, keepdims=True)
    rest = 1 - kappa[..., None, :, :]
    strong = size > np.abs(rest)
    return np.where(strong, gamma * rest / np.maximum(size, 1e-30) ** 2, gamma / np.where(strong, 1.0, rest))
