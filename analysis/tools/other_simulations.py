"""Truths that somebody else simulated: their maps as mocks of a field, and what the posterior makes of them.

For reporting only. Nothing is trained or tuned on such maps.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.core.files import BorderError
from analysis.flatsky.maps import rebinned
from analysis.flatsky.power import binned_c_ell, binned_modes, ell_grid, grid_power
from analysis.judge.metrics import spectrum_ratio
from analysis.judge.ranks import coverage, rank
from analysis.judge.validation import accuracy_table
from analysis.params import FilesParams, SampleParams
from analysis.posterior.sampler import annealer
from analysis.prior.score import Prior, check_grid
from analysis.rivals.baselines import wiener_filter
from analysis.simulations.mocks import Mock, mock_observation, spread_indices
from analysis.simulations.suites.folder import Place, _load, _numbers, find_places
from analysis.simulations.suites.reading import TOLERANCE, at_hand
from analysis.sky import Grid, Observation

BANDS = 12  # logarithmic, of a spectrum measured on a few maps


def read_maps(path: str | Path, pixel_arcmin: float, *, dataset: str | None = None, most: int = 4) -> list[np.ndarray]:
    """Convergence maps of a file or a folder, (side, side) each, dimensionless, float32.

    Parameters
    ----------
    path : FITS, NPY or HDF5 file with a map or a stack of maps, or a folder of such files; from the repository if
        relative
    pixel_arcmin : pixel scale of the maps, arcmin
    dataset : name of the map in HDF5 files
    most : number of maps to take, evenly spread over those that are there

    Raises
    ------
    BorderError
        If there is no map, a file cannot be read, a map is not a square of finite numbers, maps differ in size, or a
        header has another pixel scale.
    """
    path = at_hand(str(path), "give a FITS, NPY or HDF5 file, or a folder of them")
    if path.is_dir():
        places = find_places(path, dataset)
    else:
        places = [Place(path, number, 0) for number in _numbers(path, dataset)]
    params = FilesParams(folder=str(path), pixel_arcmin=pixel_arcmin, dataset=dataset)
    side, maps = None, []
    for index in spread_indices(len(places), min(most, len(places))):
        maps.append(_load(places[index], params, side))
        side = len(maps[0])
    return maps


def at_scale(kappa: np.ndarray, pixel_arcmin: float, grid: Grid) -> np.ndarray:
    """A map averaged over whole pixels to the pixel scale of a grid; it may be wider than the grid.

    Parameters
    ----------
    kappa : (side, side), dimensionless
    pixel_arcmin : its pixel scale, arcmin

    Returns
    -------
    (n, n), n at least `grid.pixels`; pixels at the edge that do not fill a new one are left out

    Raises
    ------
    BorderError
        If a value is not finite, no whole number of pixels makes a pixel of the grid (to 1 %), or the map is smaller
        than the grid.
    """
    bad = np.count_nonzero(~np.isfinite(kappa))
    if bad:
        raise BorderError(f"the map holds {bad} values that are not finite, but all must be; repair it or leave it out")
    times = max(1, round(grid.pixel_arcmin / pixel_arcmin))
    if abs(times * pixel_arcmin / grid.pixel_arcmin - 1) > TOLERANCE:
        raise BorderError(
            f"the map has pixels of {pixel_arcmin:.5g} arcmin, and no whole number of them makes the grid's"
            f" {grid.pixel_arcmin:.5g} to {100 * TOLERANCE:g} %; bring it to a pixel of {grid.pixel_arcmin:.5g} arcmin"
            " divided by a whole number"
        )
    side = len(kappa) // times
    if side < grid.pixels:
        raise BorderError(
            f"the map has {side} pixels a side of the grid's {grid.pixel_arcmin:.5g} arcmin, but the grid has"
            f" {grid.pixels}; give a map at least {grid.pixels * grid.pixel_arcmin:.4g} arcmin wide"
        )
    return rebinned(kappa, 1.0, float(times), side)[0]


def mocks_of(
    maps: Sequence[np.ndarray], observation: Observation, name: str, *, rng: np.random.Generator
) -> list[Mock]:
    """Mocks of a field with these truths: the field's mask and noise, and the reduced shear of the whole map.

    Parameters
    ----------
    maps : (n, n) each, dimensionless, at the pixel scale of the observation (`at_scale`)
    observation : its weights give mask and noise
    name : of the suite; mock i is `<name>_<i>`
    rng : of the noise
    """
    pairs = [mock_observation(np.asarray(kappa, float), observation, rng=rng) for kappa in maps]
    return [Mock(f"{name}_{i}", truth, seen, i) for i, (truth, seen) in enumerate(pairs)]


def posterior_samples(
    mocks: Sequence[Mock], prior: Prior, params: SampleParams, chains: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Posterior samples of each mock by the sampler that `params.preset` names, (mocks, chains, ny, nx), float64.

    Raises
    ------
    BorderError
        If the prior is for another grid.
    """
    grid = mocks[0].observation.grid
    check_grid(prior, grid.shape, grid.pixel_arcmin)
    anneal, seen = annealer(prior, params), [mock.observation for mock in mocks]
    drawn = [anneal(each.gamma, each.weight, chains, reduced=each.reduced, rng=rng)[0] for each in seen]
    return np.asarray(drawn, float)


def with_own_spectrum(prior: Prior, maps: Sequence[np.ndarray]) -> Prior:
    """The prior with the spectrum of these maps in its Gaussian part; the network stays as it is.

    The spectrum is measured in logarithmic bands of multipole and interpolated between them. A map has few long waves,
    so the lowest bands of a single map are off by half and more. The mean of maps has the variance of the given prior,
    since the mean of a map is a matter of its suite's zero.

    Parameters
    ----------
    prior : on any grid
    maps : (n, n) each, dimensionless, at the pixel scale of the prior (`at_scale`)
    """
    stack, shape, arcmin = np.asarray(maps, float), prior.power.shape, prior.pixel_arcmin
    modes = ell_grid(stack.shape[-2:], arcmin)
    edges = np.geomspace(0.99 * modes[modes > 0].min(), 1.01 * modes.max(), BANDS + 1)
    ell = binned_modes(modes, arcmin, edges)
    c_ell, held = binned_c_ell(stack, arcmin, edges).mean(axis=0), np.isfinite(ell)
    power = grid_power(ell[held], c_ell[held], shape, arcmin)
    power[0, 0] = prior.power[0, 0]
    return replace(prior, power=power.astype(prior.power.dtype))


def wiener_maps(mocks: Sequence[Mock], prior: Prior) -> np.ndarray:
    """Exact Wiener filter of each mock, with the spectrum of the prior, (mocks, ny, nx)."""
    seen = [mock.observation for mock in mocks]
    return np.stack([wiener_filter(each.gamma, each.weight, prior.power) for each in seen])


def less_mean(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Observed pixels of maps (..., ny, nx) less their mean, which shear does not tell, (..., n_observed)."""
    seen = maps[..., mask]
    return seen - seen.mean(axis=-1, keepdims=True)


def suite_row(name: str, mocks: Sequence[Mock], samples: np.ndarray, wiener: np.ndarray, edges: np.ndarray) -> dict:
    """What the posterior makes of a suite's truths: one row of a table.

    Parameters
    ----------
    name : of the row
    mocks : of one mask
    samples : (mocks, n, ny, nx), dimensionless, n at least 2
    wiener : (mocks, ny, nx), of `wiener_maps`
    edges : (n_bins + 1,), multipoles

    Returns
    -------
    dict
        `name`; `rmse_wiener`, and `ratio`, RMSE of the samples' mean over that of the Wiener filter (metric of Remy
        et al. 2023, all maps together); `ratio_infinite`, the same for infinitely many samples; `coverage68`, share
        of observed pixels whose truth is inside the samples' central 68 %; `power_ratio` (n_bins,), power of masked
        truths over that of masked samples; `rank_highest` and `rank_deepest`, number of samples (mean over maps)
        whose highest and lowest observed pixel is below that of the truth. Coverage and ranks are of maps less their
        mean over observed pixels, which shear does not tell.
    """
    mask, arcmin = mocks[0].observation.mask, mocks[0].observation.grid.pixel_arcmin
    truths, n = np.stack([mock.truth for mock in mocks]), samples.shape[1]
    table = accuracy_table(mocks, {"posterior_mean": samples.mean(axis=1), "wiener": wiener}, samples)
    ours, linear = (table[table["method"] == method] for method in ("posterior_mean", "wiener"))
    mse = np.mean(linear["accuracy.rmse"] ** 2)
    true, drawn = less_mean(truths, mask), less_mean(samples, mask).swapaxes(0, 1)
    return {
        "name": name,
        "rmse_wiener": float(np.sqrt(mse)),
        "ratio": float(np.sqrt(np.mean(ours["accuracy.rmse"] ** 2) / mse)),
        "ratio_infinite": float(np.sqrt(max(np.mean(ours["accuracy.mse_infinite"]), 0) / mse)),
        "coverage68": coverage(rank(true, drawn), n, 0.68),
        "power_ratio": 1 / spectrum_ratio(samples, truths, mask, arcmin, edges),
        "rank_highest": float(np.mean(rank(true.max(axis=-1), drawn.max(axis=-1)))),
        "rank_deepest": float(np.mean(rank(true.min(axis=-1), drawn.min(axis=-1)))),
    }
