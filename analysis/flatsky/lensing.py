"""Shear from convergence and back on the flat sky: the operator P and its adjoint P^T.

In Fourier space P is two real multipliers p1, p2 (`kernel`). Both are even in k, so the complex shear
gamma1 + i gamma2 needs one complex transform. Forward model, Kaiser-Squires inversion, likelihood and Wiener filter
all use these two functions.
"""

import numpy as np
from keras import ops

from analysis.flatsky.backend import fourier, inverse_fourier
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
    p1, p2 = _kernel(kappa)
    real, imag = fourier(kappa)
    gamma1, gamma2 = inverse_fourier(p1 * real - p2 * imag, p1 * imag + p2 * real)
    return ops.stack([gamma1, gamma2], axis=-3)


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
    p1, p2 = _kernel(gamma)
    real, imag = fourier(gamma[..., 0, :, :], gamma[..., 1, :, :])
    return inverse_fourier(p1 * real + p2 * imag, p1 * imag - p2 * real)[0]


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


def _kernel(maps):
    """The kernel for the grid of `maps`, in their precision."""
    p1, p2 = kaiser_squires_kernel(int(maps.shape[-2]), int(maps.shape[-1]))
    dtype = ops.dtype(maps)
    return ops.cast(p1, dtype), ops.cast(p2, dtype)
