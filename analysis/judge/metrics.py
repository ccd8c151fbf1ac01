"""How far maps are from the truth, and whether samples are spread as they should be.

Two conventions for the error of a map, and every number says which: the metric of Remy et al. 2023 subtracts each
map's mean over the whole map, sums the error over observed pixels, and correlates the masked maps over the whole
array; the in-mask metric takes means and sums over observed pixels alone.
"""

import numpy as np
from scipy.ndimage import maximum_filter

from analysis.flatsky.power import binned_c_ell

RUNAWAY = 1.5  # times the training maximum
NEAR_BOUND = 0.9  # of the training maximum, which no denoised map exceeds
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
    """Correlation of the masked maps, unobserved pixels being zero, over the whole array.

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
    """Unbiased variance between samples, averaged over observed pixels; each sample less its mean, as its error is.

    Parameters
    ----------
    samples : (n, ny, nx), n at least 2
    in_mask : subtract means over observed pixels, not over the whole map
    """
    means = samples[:, mask].mean(axis=-1) if in_mask else samples.mean(axis=(-2, -1))
    return float(np.mean(np.var(samples[:, mask] - means[:, None], axis=0, ddof=1)))


def mean_of_infinitely_many(mse: float, variance: float, n: int) -> float:
    """Mean square error that the mean of infinitely many samples would have.

    The mean of n independent samples adds their variance / n to it: MSE_inf = MSE - V / n.
    """
    return mse - variance / n


def pearson_of_infinitely_many(pearson: float, mean_variance: float, variance: float, n: int) -> float:
    """Correlation that the mean of infinitely many samples would have with the truth.

    The mean of n samples has the covariance with the truth that it should, but `variance` / n too much of its own.

    Parameters
    ----------
    pearson : of the mean of n samples
    mean_variance : variance over pixels of that mean
    variance : between samples, averaged over the same pixels
    """
    return float(pearson * np.sqrt(mean_variance / (mean_variance - variance / n)))


def mse_ratio_over_ideal(samples: np.ndarray, truths: np.ndarray, mask: np.ndarray) -> float:
    """MSE of one sample over that of the mean of n, against its value for exact posterior samples, 2n / (n + 1).

    1 where truths are spread about the samples' mean as the samples are; less where samples spread too little.

    Parameters
    ----------
    samples : (mocks, n, ny, nx)
    truths : (mocks, ny, nx)
    mask : (ny, nx), True where observed
    """
    n = samples.shape[1]
    # variances over pixels: errors less their mean in the mask, which shear does not know
    one = np.mean(np.var((samples - truths[:, None])[..., mask], axis=-1))
    mean = np.mean(np.var((samples.mean(axis=1) - truths)[..., mask], axis=-1))
    return float(one / mean * (n + 1) / (2 * n))


def spectrum_ratio(
    samples: np.ndarray, truths: np.ndarray, mask: np.ndarray, pixel_arcmin: float, edges: np.ndarray
) -> np.ndarray:
    """Power of masked samples over that of the masked truths, bin by bin; 1 for samples as rough as the truth.

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
    power = [
        binned_c_ell(maps * mask, pixel_arcmin, edges).reshape(-1, len(edges) - 1).mean(axis=0)
        for maps in (samples, truths)
    ]
    return power[0] / power[1]


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

    def power(seen: np.ndarray) -> np.ndarray:
        return binned_c_ell(seen * mask, pixel_arcmin, edges).reshape(-1, len(edges) - 1).mean(axis=0)

    cross = (power(maps + truths) - power(maps - truths)) / 4  # |a + b|^2 - |a - b|^2 = 4 Re(a b*)
    return cross / np.sqrt(power(maps) * power(truths))


def peak_errors(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray, *, lowest: float) -> np.ndarray:
    """An estimate less the truth at the pixels of the truth's peaks.

    Parameters
    ----------
    estimate, truth : (ny, nx)
    mask : (ny, nx), where peaks count
    lowest : height from which a peak counts

    Returns
    -------
    (n_peaks,)
    """
    return (estimate - truth)[mask & (truth >= lowest) & (truth == maximum_filter(truth, size=3))]


def runaway(samples: np.ndarray, training_max: float) -> bool:
    """Whether any sample left what the network was trained on: not finite, or above 1.5 times the training maximum."""
    return bool(not np.isfinite(samples).all() or samples.max() > RUNAWAY * training_max)


def share_at_bound(maps: np.ndarray, training_max: float) -> float:
    """Share of maps that come near the highest training pixel, which no denoised map exceeds.

    Where that happens oftener than in true maps, samples ran away and the bound alone held them.

    Parameters
    ----------
    maps : (..., ny, nx)
    """
    return float(np.mean(maps.max(axis=(-2, -1)) > NEAR_BOUND * training_max))


def _centred(values: np.ndarray) -> np.ndarray:
    """Values less their mean."""
    return values - values.mean()


def _rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two arrays of numbers."""
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])
