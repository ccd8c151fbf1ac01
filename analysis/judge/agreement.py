"""Whether two samplers draw the same posterior: the same field, or the same small mocks, sampled by each."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.flatsky.peaks import peak_places
from analysis.flatsky.power import binned_c_ell, centres, multipole_edges
from analysis.judge.calibration import STATISTICS
from analysis.judge.metrics import QUANTILES
from analysis.params import SampleParams
from analysis.posterior.samples import load_samples
from analysis.sky import load_observation

HEIGHTS = (0.02, 0.04, 0.06, 0.08, 0.12, 0.2)  # of the lowest peaks of each bin
DENSITY_BINS = np.linspace(-0.05, 0.15, 41)  # convergence


def checked_runs(params: SampleParams) -> dict[str, str]:
    """Runs of `sample.fields` by name that the run of the value repeats with another sampler."""
    fields = {name: replace(run, chains=2, preset=None) for name, run in params.fields.items()}
    presets = {name: params.of_run(name).preset for name in fields}
    return {
        name: other
        for name, other in permutations(fields, 2)
        if fields[name] == fields[other] and presets[name] == params.preset != presets[other]
    }


def of_runs(root: Path, params: SampleParams) -> dict[str, dict]:
    """`field_agreement` of every run that another sampler repeats, by its name.

    Parameters
    ----------
    root : of the project
    """
    found = {}
    for name, other in checked_runs(params).items():
        observation = load_observation(root / params.fields[name].observation)
        samples = (load_samples(root / "data" / "samples" / f"{run}.fits") for run in (name, other))
        found[name] = field_agreement(*samples, observation.mask, observation.grid.pixel_arcmin)
    return found


def mock_agreement(first: Table, second: Table) -> dict:
    """Differences between the mean statistics of two samplers on the same small mocks, mock by mock.

    Parameters
    ----------
    first, second : `calibration.calibrate_mock` of the same mocks, in the same order; `first` may have more

    Returns
    -------
    dict
        `z`, mean difference over its error by statistic; `band_ratio`, mean power of `first` over that of `second`, and
        its error
    """
    n = len(second)
    of_second = {name: np.asarray(second[f"{name}_mean"]) for name in STATISTICS}
    difference = {name: np.asarray(first[f"{name}_mean"])[:n] - of_second[name] for name in STATISTICS}
    error = {name: values.std(ddof=1) / n**0.5 for name, values in difference.items()}
    bands = {name: values.mean() for name, values in of_second.items() if name.startswith("band_")}
    return {
        "z": {name: float(values.mean() / max(error[name], 1e-30)) for name, values in difference.items()},
        "band_ratio": [float(1 + difference[name].mean() / of) for name, of in bands.items() if of],
        "band_ratio_err": [float(error[name] / of) for name, of in bands.items() if of],
    }


def field_agreement(first: np.ndarray, second: np.ndarray, mask: np.ndarray, pixel_arcmin: float) -> dict:
    """Samples of one field by two samplers, compared: means, band powers, peaks, and the one-point distribution.

    Every error is the Monte-Carlo error, from the spread between samples.

    Parameters
    ----------
    first, second : (n, ny, nx), (m, ny, nx)
    mask : (ny, nx), True where observed
    """
    edges = multipole_edges(mask.shape[-1], pixel_arcmin)
    powers = [_mean_and_error(binned_c_ell(maps * mask, pixel_arcmin, edges)) for maps in (first, second)]
    ratio = powers[0][0] / powers[1][0]
    seen = np.isfinite(ratio)  # on a very small grid some bands have no mode
    peaks = [_mean_and_error(peak_counts(maps, mask)) for maps in (first, second)]
    z = mean_difference(first, second)[mask]
    return {
        "n": [len(first), len(second)],
        "mean_difference_rms": float(np.sqrt(np.mean(z**2))),
        "ell": centres(edges)[seen],
        "band_ratio": ratio[seen],
        "band_ratio_err": (ratio * np.hypot(*(error / mean for mean, error in powers)))[seen],
        "height": HEIGHTS,
        "peaks": [mean for mean, _ in peaks],
        "peaks_err": [error for _, error in peaks],
        "quantile": QUANTILES,
        "one_point": [np.quantile(maps[:, mask], QUANTILES) for maps in (first, second)],
    }


def mean_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Difference of the means of samples over its Monte-Carlo error, (ny, nx); rms a little above 1 for equal laws."""
    (one, error), (other, other_error) = (_mean_and_error(maps) for maps in (first, second))
    return (one - other) / np.hypot(error, other_error)


def peak_counts(samples: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Peaks in observed pixels of each sample, by height from `HEIGHTS` on; (n, bins)."""
    counts = []
    for kappa in samples:
        x, y = (values.astype(int) for values in peak_places(kappa, threshold=HEIGHTS[0]))
        counts.append(np.histogram(kappa[y, x][mask[y, x]], (*HEIGHTS, np.inf))[0])
    return np.stack(counts)


def densities(samples: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Probability density of observed pixels in `DENSITY_BINS`, (bins,); those outside count in no bin."""
    counts = np.histogram(samples[:, mask], DENSITY_BINS)[0]
    return counts / (samples[:, mask].size * np.diff(DENSITY_BINS))


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and its error."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5
