"""The shear kernel in Fourier space, and E- and B-modes, in NumPy alone.

Code that needs no more than this does not have to load TensorFlow or JAX.
"""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=16)
def kaiser_squires_kernel(ny: int, nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers p1, p2 that turn modes of convergence into modes of shear, (ny, nx) each.

    p1 = (kx^2 - ky^2) / k^2,  p2 = 2 kx ky / k^2,  0 at k = 0.

    On the Nyquist rows of an even grid k and -k are the same mode, so p2, which is odd there, is averaged to zero.
    Both multipliers are then even, and real maps stay real.

    Source: Kaiser & Squires 1993, eq. 2.1.9; Remy et al. 2020, section 2.
    """
    kx, ky = np.meshgrid(np.fft.fftfreq(nx), np.fft.fftfreq(ny))
    k_squared = kx**2 + ky**2
    k_squared[0, 0] = 1.0
    p1, p2 = (kx**2 - ky**2) / k_squared, 2 * kx * ky / k_squared
    return _even(p1), _even(p2)


def e_and_b_modes(gamma: np.ndarray) -> np.ndarray:
    """E- and B-mode of shear in Fourier space (orthonormal), (..., 2, ny, nx), complex.

    E = p1 gamma1 + p2 gamma2, as `lensing.convergence_from_shear`, and B = p1 gamma2 - p2 gamma1.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless
    """
    p1, p2 = kaiser_squires_kernel(*gamma.shape[-2:])
    modes = np.fft.fft2(gamma, norm="ortho")
    first, second = modes[..., 0, :, :], modes[..., 1, :, :]
    return np.stack([p1 * first + p2 * second, p1 * second - p2 * first], axis=-3)


def _even(multiplier: np.ndarray) -> np.ndarray:
    """The part of a multiplier that is even under k -> -k."""
    return 0.5 * (multiplier + np.roll(np.flip(multiplier), 1, axis=(0, 1)))
