"""Smoothed Kaiser-Squires and Wiener filter maps; error and time of any method; files of maps.

The Wiener filter uses the same spectrum as the Gaussian part of the score.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.core.progress import followed
from analysis.flatsky.backend import filtered
from analysis.flatsky.lensing import convergence_from_shear
from analysis.flatsky.power import ARCMIN, ell_grid
from analysis.posterior.wiener import gaussian_posterior_mean
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, image_hdu, read_image, write_fits

RIVALS = ("sparse", "deepmass")


def smoothed_kaiser_squires(gamma: np.ndarray, smoothing_arcmin: float, pixel_arcmin: float) -> np.ndarray:
    """E-mode convergence of the shear, smoothed with a Gaussian, (..., ny, nx); unobserved pixels have zero shear.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless
    smoothing_arcmin : standard deviation of the Gaussian, arcmin

    Source: Kaiser & Squires 1993.
    """
    ell = ell_grid(gamma.shape[-2:], pixel_arcmin)
    beam = np.exp(-0.5 * (ell * smoothing_arcmin * ARCMIN) ** 2)
    return np.asarray(filtered(convergence_from_shear(np.asarray(gamma, float)), beam))


def wiener_filter(gamma: np.ndarray, weight: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Posterior mean under the Gaussian prior, (S^-1 + P^T w P)^-1 P^T w gamma, (..., ny, nx), dimensionless.

    Parameters
    ----------
    gamma : (..., 2, ny, nx), dimensionless
    weight : (2, ny, nx), inverse variance; 0 = unobserved
    power : (ny, nx), pixel variance per mode (orthonormal FFT)

    Source: Wiener 1949; Remy et al. 2020, section 2.
    """
    gamma, weight = np.asarray(gamma, float), np.asarray(weight, float)
    pull = np.asarray(convergence_from_shear(weight * gamma))
    return gaussian_posterior_mean(pull.reshape(-1, *power.shape), weight, power).reshape(pull.shape)


def mean_square_error(maps: np.ndarray, truths: np.ndarray, mask: np.ndarray) -> float:
    """Mean square error of maps (n, ny, nx) over the pixels of a mask, without the mean, which shear does not show."""
    return float(np.mean(np.var((maps - truths)[..., mask], axis=-1)))


def best_smoothing(mocks: Sequence[Mock], scales_arcmin: Sequence[float]) -> float:
    """The smoothing of Kaiser-Squires, arcmin, with the smallest mean square error over mocks of one mask.

    Parameters
    ----------
    scales_arcmin : the smoothings to choose from
    """
    mask, pixel_arcmin = mocks[0].observation.mask, mocks[0].observation.grid.pixel_arcmin
    gamma, truths = np.stack([m.observation.gamma for m in mocks]), np.stack([m.truth for m in mocks])

    def error(scale: float) -> float:
        return mean_square_error(smoothed_kaiser_squires(gamma, scale, pixel_arcmin), truths, mask)

    return min(scales_arcmin, key=error)


def mock_baselines(mocks: Sequence[Mock], power: np.ndarray, smoothing_arcmin: float) -> dict[str, np.ndarray]:
    """Kaiser-Squires and Wiener maps of mocks, (mocks, ny, nx) each."""
    seen = [mock.observation for mock in mocks]
    smoothed = [smoothed_kaiser_squires(o.gamma, smoothing_arcmin, o.grid.pixel_arcmin) for o in seen]
    wiener = [wiener_filter(o.gamma, o.weight, power) for o in followed(seen, "Wiener maps of mocks")]
    return {"kaiser_squires": np.stack(smoothed), "wiener": np.stack(wiener)}


def timed_maps(
    methods: Mapping[str, Callable], shears: Sequence[np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Maps of several shears by every method, (n, ny, nx) each, and the shortest time of one map in seconds.

    The shortest time leaves out compilation, which the first map needs, and the load of other programs.

    Parameters
    ----------
    methods : functions from shears (1, 2, ny, nx) to maps (1, ny, nx), by name
    shears : (2, ny, nx) each
    """
    maps, seconds = {}, {}
    for name, method in methods.items():
        results, times = [], []
        for gamma in followed(shears, f"maps of {name}"):
            start = time.perf_counter()
            results.append(method(gamma[None]))
            times.append(time.perf_counter() - start)
        maps[name] = np.concatenate(results)
        seconds[name] = min(times)
    return maps, seconds


def save_baselines(
    path: str | Path, maps: Mapping[str, np.ndarray], grid: Grid, *, cards: Mapping[str, object]
) -> None:
    """Write maps (ny, nx), or stacks of samples (n, ny, nx), as FITS: one image HDU each, with the name in capitals."""
    hdus = [
        image_hdu(values, grid, name.upper(), axis="SAMPLE" if np.ndim(values) == 3 else "")
        for name, values in maps.items()
    ]
    write_fits(path, hdus, cards)


def load_baseline(path: str | Path, name: str) -> np.ndarray:
    """One map that `save_baselines` wrote, such as `wiener` or `realisations`.

    Raises
    ------
    BorderError
        If the file is missing, cut short, or has no such map.
    """
    return read_image(path, name.upper())[0]


def save_rivals(
    folder: str | Path,
    maps: Mapping[str, np.ndarray],
    names: Iterable[str],
    grid: Grid,
    *,
    cards: Mapping[str, object],
) -> None:
    """Write the maps of every rival, (n, ny, nx) each, as one FITS file for each observation, by its name."""
    for i, name in enumerate(names):
        chosen = {rival: stack[i] for rival, stack in maps.items()}
        save_baselines(Path(folder) / f"{name}.fits", chosen, grid, cards=cards)


def load_rivals(folder: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The maps that `save_rivals` wrote for these observations, (n, ny, nx) for each rival.

    Raises
    ------
    BorderError
        If a file is missing or damaged.
    """
    paths = [Path(folder) / f"{name}.fits" for name in names]
    return {rival: np.stack([load_baseline(path, rival) for path in paths]) for rival in RIVALS}
