"""Every method on the same mocks, side by side: errors, power, peaks and coverage, each with its error."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.flatsky.power import binned_c_ell
from analysis.flatsky.statistics import jackknife, mean_and_error
from analysis.judge.metrics import peak_errors
from analysis.judge.ranks import coverage, rank
from analysis.judge.validation import HIGH_PEAK
from analysis.rivals.baselines import load_baseline
from analysis.simulations.mocks import Mock


def comparison_table(
    mocks: Sequence[Mock],
    estimates: Mapping[str, np.ndarray],
    errors: Table,
    *,
    samples: Mapping[str, np.ndarray],
    edges: np.ndarray,
) -> Table:
    """What each method reaches on mocks; jackknife errors by box, by mock where there is one box.

    Parameters
    ----------
    mocks : of one mask
    estimates : (mocks, ny, nx) a method
    errors : `validation.accuracy_table` of the same
    samples : (mocks, n, ny, nx) of the methods that have an error bar
    edges : (n_bins + 1,), multipoles of the bands

    Returns
    -------
    Table
        One row a `method`; each quantity has its error beside it, `<quantity>_err`:
        `rmse` and `pearson` in the metric of Remy et al. 2023, `rmse_infinite` without the noise of few samples,
        `power_ratio` (n_bins,) of masked maps over that of the masked truths, `peak_rms` at the truths' in-mask peaks,
        and `coverage68` of the truths at observed pixels. NaN where there is none.
    """
    boxes = [mock.box for mock in mocks]
    rows = []
    for method, maps in estimates.items():
        own = errors[errors["method"] == method]
        row = {"method": method}
        row |= _measured("rmse", mean_and_error(own["accuracy.rmse"], boxes))
        row |= _measured("rmse_infinite", mean_and_error(np.sqrt(np.maximum(own["accuracy.mse_infinite"], 0)), boxes))
        row |= _measured("pearson", mean_and_error(own["accuracy.pearson"], boxes))
        row |= _measured("power_ratio", _power_ratio(mocks, maps, edges))
        row |= _measured("peak_rms", _peak_rms(mocks, maps))
        row |= _measured("coverage68", _coverage68(mocks, samples[method]) if method in samples else (np.nan, np.nan))
        rows.append(row)
    return Table(rows)


def gaussian_samples(path: Path, wiener: np.ndarray) -> np.ndarray:
    """Samples of the Gaussian posterior of mocks of one mask, whose spread about the Wiener map no data change.

    Parameters
    ----------
    path : baselines of one of the mocks, with realisations
    wiener : (mocks, ny, nx), of each mock

    Returns
    -------
    (mocks, n, ny, nx)
    """
    return wiener[:, None] + (load_baseline(path, "realisations") - load_baseline(path, "wiener"))


def _measured(name: str, value_and_error: tuple) -> dict:
    """Two columns of a row."""
    return dict(zip((name, f"{name}_err"), value_and_error, strict=True))


def _power_ratio(mocks: Sequence[Mock], maps: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of masked maps over that of the masked truths, summed over mocks, in bands of multipole."""
    observation = mocks[0].observation
    pixel_arcmin = observation.grid.pixel_arcmin
    truths = np.stack([mock.truth for mock in mocks])
    power, true = (binned_c_ell(stack * observation.mask, pixel_arcmin, edges) for stack in (maps, truths))
    return jackknife(lambda chosen: power[chosen].sum(axis=0) / true[chosen].sum(axis=0), [m.box for m in mocks])


def _peak_rms(mocks: Sequence[Mock], maps: np.ndarray) -> tuple[float, float]:
    """Root mean square error at the truths' in-mask peaks of at least `HIGH_PEAK`."""
    mask = mocks[0].observation.mask
    found = [peak_errors(one, mock.truth, mask, lowest=HIGH_PEAK) for one, mock in zip(maps, mocks, strict=True)]
    squares, numbers = np.array([np.sum(each**2) for each in found]), np.array([len(each) for each in found])

    def rms(chosen: np.ndarray) -> float:
        number = numbers[chosen].sum()
        return float(np.sqrt(squares[chosen].sum() / number)) if number else np.nan

    return jackknife(rms, [mock.box for mock in mocks])


def _coverage68(mocks: Sequence[Mock], samples: np.ndarray) -> tuple[float, float]:
    """Share of observed pixels whose truth lies in the central 68 % of its samples."""
    mask = mocks[0].observation.mask
    shares = [
        coverage(rank(mock.truth[mask], each[:, mask]), len(each), 0.68)
        for mock, each in zip(mocks, samples, strict=True)
    ]
    return mean_and_error(shares, [mock.box for mock in mocks])
