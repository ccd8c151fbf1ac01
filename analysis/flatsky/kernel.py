"""The multipliers of the Kaiser-Squires operator, in NumPy alone: whoever needs no more is spared a backend."""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=16)
def kaiser_squires_kernel(ny: int, nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers p1, p2 of the shear operator.

    p1 = (kx^2 - ky^2) / k^2,  p2 = 2 kx ky / k^2,  0 at k = 0.

    On the Nyquist rows of an even grid k and -k are the same mode and p2, odd there, is averaged to zero: the
    multipliers stay even, and real maps stay real.

    Returns
    -------
    p1, p2 : (ny, nx), dimensionless

    Source: Kaiser & Squires 1993, eq. 2.1.9; Remy et al. 2020, section 2.
    """
    kx, ky = np.meshgrid(np.fft.fftfreq(nx), np.fft.fftfreq(ny))
    k_squared = kx**2 + ky**2
    k_squared[0, 0] = 1.0
    p1, p2 = (kx**2 - ky**2) / k_squared, 2 * kx * ky / k_squared
    return _even(p1), _even(p2)


def _even(multiplier: np.ndarray) -> np.ndarray:
    """The part of a multiplier that is even under k -> -k."""
    return 0.5 * (multiplier + np.roll(np.flip(multiplier), 1, axis=(0, 1)))
