"""Errors of a map against the truth, and tests of the spread of posterior samples.

There are two conventions for the error of a map. The metric of Remy et al. 2023 subtracts each map's mean over the
whole map, averages the error over observed pixels, and correlates the masked maps over the whole array. The in-mask
metric uses observed pixels only.
"""

import numpy as np

from analysis.flatsky.peaks import peak_places
from analysis.flatsky.power import binned_c_ell

RUNAWAY = 1.5  # times the training maximum: a sample above it ran away
NEAR_BOUND = 0.9  # of the training maximum, the bound of denoised maps
QUANTILES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def remy_rmse(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Root mean square error over observed pixels, both maps less their mean over the whole map.

    Parameters
    ----------
    estimate, truth : (ny, nx), dimensionless
    mask : (ny, nx), True where observed

    Source: Remy et al. 2023, table 1.
    """
    return _rms((_centred(estimate) - _centred(truth))[mask])


def remy_pearson(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Correlation over the whole array of the masked maps, whose unobserved pixels are zero.

    Source: Remy et al. 2023, table 1.
    """
    return _correlation(*(np.where(mask, _centred(kappa), 0.0) for kappa in (estimate, truth)))


def in_mask_rmse(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Root mean square error over observed pixels, both maps less their mean there."""
    return _rms(_centred(estimate[mask]) - _centred(truth[mask]))


def in_mask_pearson(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Correlation over observed pixels alone."""
    return _correlation(estimate[mask], truth[mask])


def sampling_variance(samples: np.ndarray, mask: np.ndarray, *, in_mask: bool = False) -> float:
    """Unbiased variance between samples, each less its own mean, averaged over observed pixels.

    Parameters
    ----------
    samples : (n, ny, nx), n at least 2
    in_mask : subtract means over observed pixels, not over the whole map
    """
    means = samples[:, mask].mean(axis=-1) if in_mask else samples.mean(axis=(-2, -1))
    return float(np.mean(np.var(samples[:, mask] - means[:, None], axis=0, ddof=1)))


def mean_of_infinitely_many(mse: float, variance: float, n: int) -> float:
    """Mean square error of the mean of infinitely many samples:  MSE_inf = MSE - V / n.

    The mean of n independent samples has their variance V / n on top of it.
    """
    return mse - variance / n


def pearson_of_infinitely_many(pearson: float, mean_variance: float, variance: float, n: int) -> float:
    """Correlation of the mean of infinitely many samples with the truth.

    The mean of n samples has the right covariance with the truth, but its own variance is too large by `variance` / n.

    Parameters
    ----------
    pearson : of the mean of n samples
    mean_variance : variance over pixels of that mean
    variance : between samples, averaged over the same pixels
    """
    return float(pearson * np.sqrt(mean_variance / (mean_variance - variance / n)))


def mse_ratio_over_ideal(samples: np.ndarray, truths: np.ndarray, mask: np.ndarray) -> float:
    """MSE of one sample over MSE of the mean of n, divided by 2n / (n + 1), its value for exact posterior samples.

    1 if truths scatter about the samples' mean as the samples do; below 1 if samples scatter too little.

    Parameters
    ----------
    samples : (mocks, n, ny, nx)
    truths : (mocks, ny, nx)
    mask : (ny, nx), True where observed
    """
    n = samples.shape[1]
    # variances over pixels leave out the mean error in the mask, which shear does not constrain
    one = np.mean(np.var((samples - truths[:, None])[..., mask], axis=-1))
    mean = np.mean(np.var((samples.mean(axis=1) - truths)[..., mask], axis=-1))
    return float(one / mean * (n + 1) / (2 * n))


def spectrum_ratio(
    samples: np.ndarray, truths: np.ndarray, mask: np.ndarray, pixel_arcmin: float, edges: np.ndarray
) -> np.ndarray:
    """Power of masked samples over power of the masked truths, bin by bin.

    Parameters
    ----------
    samples : (..., ny, nx)
    truths : (..., ny, nx)
    mask : (ny, nx), True where observed
    edges : (n_bins + 1,), multipoles

    Returns
    -------
    (n_bins,)
    """
    ours, true = (_mean_power(maps, mask, pixel_arcmin, edges) for maps in (samples, truths))
    return ours / true


def correlation_by_band(
    maps: np.ndarray, truths: np.ndarray, mask: np.ndarray, pixel_arcmin: float, edges: np.ndarray
) -> np.ndarray:
    """Correlation of masked maps with the masked truths, bin by bin: cross power over the root of both powers.

    Parameters
    ----------
    maps, truths : (..., ny, nx)
    mask : (ny, nx), True where observed
    edges : (n_bins + 1,), multipoles

    Returns
    -------
    (n_bins,)
    """
    pairs = (maps + truths, maps - truths, maps, truths)
    both, difference, ours, true = (_mean_power(each, mask, pixel_arcmin, edges) for each in pairs)
    return (both - difference) / 4 / np.sqrt(ours * true)  # |a + b|^2 - |a - b|^2 = 4 Re(a b*)


def peak_errors(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray, *, lowest: float) -> np.ndarray:
    """Error of an estimate at the peaks of the truth.

    Parameters
    ----------
    estimate, truth : (ny, nx)
    mask : (ny, nx), where peaks count
    lowest : height from which a peak counts

    Returns
    -------
    (n_peaks,)
    """
    x, y = (places.astype(int) for places in peak_places(truth, threshold=lowest))
    return (estimate - truth)[y, x][mask[y, x].astype(bool)]


def runaway(samples: np.ndarray, training_max: float) -> bool:
    """Whether any sample is not finite, or above `RUNAWAY` times the training maximum."""
    return bool(not np.isfinite(samples).all() or samples.max() > RUNAWAY * training_max)


def share_at_bound(maps: np.ndarray, training_max: float) -> float:
    """Share of maps whose highest pixel exceeds `NEAR_BOUND` times the training maximum.

    No denoised map exceeds the training maximum. If the share is larger than among true maps, samples ran away and were
    stopped by that bound.

    Parameters
    ----------
    maps : (..., ny, nx)
    """
    return float(np.mean(maps.max(axis=(-2, -1)) > NEAR_BOUND * training_max))


def _mean_power(maps: np.ndarray, mask: np.ndarray, pixel_arcmin: float, edges: np.ndarray) -> np.ndarray:
    """Binned power of masked maps, averaged over all of them, (n_bins,)."""
    return binned_c_ell(maps * mask, pixel_arcmin, edges).reshape(-1, len(edges) - 1).mean(axis=0)


def _centred(values: np.ndarray) -> np.ndarray:
    """Values less their mean."""
    return values - values.mean()


def _rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two arrays of numbers."""
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])
