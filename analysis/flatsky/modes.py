"""E- and B-modes of shear, in NumPy alone: what lensing makes, and what it does not make."""

import numpy as np

from analysis.flatsky.kernel import kaiser_squires_kernel


def e_and_b_modes(gamma: np.ndarray) -> np.ndarray:
    """E- and B-mode of shear maps in Fourier space (orthonormal FFT).

    E = p1 gamma1 + p2 gamma2, the Fourier transform of `lensing.convergence_from_shear`; B = p1 gamma2 - p2 gamma1.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless

    Returns
    -------
    (..., 2, ny, nx), complex
    """
    p1, p2 = kaiser_squires_kernel(*gamma.shape[-2:])
    modes = np.fft.fft2(gamma, norm="ortho")
    first, second = modes[..., 0, :, :], modes[..., 1, :, :]
    return np.stack([p1 * first + p2 * second, p1 * second - p2 * first], axis=-3)
