"""What the posterior is measured against: smoothed Kaiser-Squires, Wiener filter, Gaussian constrained realisations.

The Wiener filter and the realisations know the same spectrum as the score's Gaussian part.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.core.progress import followed
from analysis.flatsky.backend import filtered
from analysis.flatsky.lensing import convergence_from_shear
from analysis.flatsky.power import ARCMIN, wavenumbers
from analysis.posterior.wiener import gaussian_posterior_mean
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, image_hdu, read_image, write_fits


def smoothed_kaiser_squires(gamma: np.ndarray, smoothing_arcmin: float, pixel_arcmin: float) -> np.ndarray:
    """E-mode of the shear, seen through a Gaussian; unobserved pixels count as zero shear.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless
    smoothing_arcmin : standard deviation of the Gaussian, arcmin

    Returns
    -------
    (..., ny, nx), dimensionless

    Source: Kaiser & Squires 1993.
    """
    ell = wavenumbers(gamma.shape[-2:], pixel_arcmin)
    beam = np.exp(-0.5 * (ell * smoothing_arcmin * ARCMIN) ** 2)
    return np.asarray(filtered(convergence_from_shear(np.asarray(gamma, float)), beam))


def best_smoothing(mocks: Sequence[Mock], scales_arcmin: Sequence[float]) -> float:
    """The smoothing of Kaiser-Squires, arcmin, of the smallest mean square error over mocks.

    Parameters
    ----------
    mocks : of one mask
    scales_arcmin : those to choose from
    """
    mask, pixel_arcmin = mocks[0].observation.mask, mocks[0].observation.grid.pixel_arcmin
    gammas, truths = np.stack([m.observation.gamma for m in mocks]), np.stack([m.truth for m in mocks])

    def error(scale: float) -> float:
        # a variance: the mean of a map is what shear does not know
        return np.mean(np.var((smoothed_kaiser_squires(gammas, scale, pixel_arcmin) - truths)[..., mask], axis=-1))

    return min(scales_arcmin, key=error)


def wiener_filter(gamma: np.ndarray, weight: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Posterior mean under the Gaussian prior, by conjugate gradients to 1e-8.

    (S^-1 + P^T w P)^-1 P^T w gamma

    Parameters
    ----------
    gamma, weight : (2, ny, nx); weights of zero are unobserved
    power : (ny, nx), pixel variance per mode (orthonormal FFT)

    Returns
    -------
    (ny, nx), dimensionless

    Source: Wiener 1949; Remy et al. 2020, section 2.
    """
    gamma, weight = np.asarray(gamma, float), np.asarray(weight, float)
    return gaussian_posterior_mean(convergence_from_shear(weight * gamma)[None], weight, power)[0]


def mock_baselines(mocks: Sequence[Mock], power: np.ndarray, smoothing_arcmin: float) -> dict[str, np.ndarray]:
    """Kaiser-Squires and Wiener maps of mocks, (mocks, ny, nx) each."""
    return {
        "kaiser_squires": np.stack(
            [
                smoothed_kaiser_squires(m.observation.gamma, smoothing_arcmin, m.observation.grid.pixel_arcmin)
                for m in mocks
            ]
        ),
        "wiener": np.stack(
            [
                wiener_filter(m.observation.gamma, m.observation.weight, power)
                for m in followed(mocks, "Wiener maps of mocks")
            ]
        ),
    }


def save_baselines(
    path: str | Path, maps: Mapping[str, np.ndarray], grid: Grid, *, cards: Mapping[str, object]
) -> None:
    """Write baselines as FITS: an image HDU each, named in capitals; stacks (n, ny, nx) are stacks of samples."""
    hdus = [
        image_hdu(values, grid, name.upper(), axis="SAMPLE" if np.ndim(values) == 3 else "")
        for name, values in maps.items()
    ]
    write_fits(path, hdus, cards)


def load_baseline(path: str | Path, name: str) -> np.ndarray:
    """One map that `save_baselines` wrote: `kaiser_squires`, `wiener`, `gaussian_std` or `realisations`.

    Raises
    ------
    BorderError
        If the file is missing, cut short, or holds no such map.
    """
    return read_image(path, name.upper())[0]
