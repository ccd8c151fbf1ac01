"""Prior-predictive checks: does the shear of a field look like that of the simulated universe, under its own noise?

A posterior takes its prior for granted. These checks do not: mocks of held-out simulated maps with the mask, the noise
and the reduced shear of a field say how its statistics scatter if the prior is right, and the field is one draw more.

The amplitude of the convergence that the field asks for follows from its E-mode power less its B-mode power. In a
prior of amplitude a every map is a times larger, and that power a^2 times.

Source: Box 1980 for the check; Schneider et al. 2002 for E- and B-modes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from astropy.table import Table

from analysis.core.progress import followed
from analysis.flatsky.kernel import e_and_b_modes
from analysis.flatsky.peaks import peak_heights
from analysis.flatsky.power import binned_modes, ell_grid
from analysis.params import PredictiveParams
from analysis.simulations.mocks import mock_observation
from analysis.sky import Observation
from analysis.survey.nulls import mode_measure, ranked

STATISTICS = {
    "e_minus_b": "E-mode power less B-mode power in bands, from long waves to short",
    "correlation": "correlation of the shear of two pixels, xi+, by their distance",
    "peaks": "peaks of the smoothed E-mode by signal to noise",
    "skewness": "skewness of the smoothed E-mode over its noise",
}
PEAKS = (2.0, 3.0, 4.0)  # lowest signal to noise of the peaks of each bin


def predictive_check(
    observation: Observation, maps: np.ndarray, params: PredictiveParams, *, rng: np.random.Generator
) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Compare a field with mocks of simulated maps under its mask and noise.

    Parameters
    ----------
    maps : (n, side, side), held-out maps of convergence, wider than the field

    Returns
    -------
    metrics : by statistic of `STATISTICS` the chance of mocks as far off, `p_value`, and `ratio`, the field's mean over
        the mocks'; the `amplitude` that the field asks for, its error (the scatter of mocks of that amplitude), the
        share of mocks below it, and the smallest and largest of mocks
    statistics : (1 + mocks, k) by name, the field's in row 0
    ell : (bands,)
    """
    weight, pixel_arcmin = observation.weight, observation.grid.pixel_arcmin
    shears = [observation.gamma, *mock_shears(observation, maps, params.mocks, rng=rng)]
    statistics, ell = field_statistics(np.stack(shears), weight, params, pixel_arcmin)
    mocks = statistics["e_minus_b"][1:]
    amplitude, of_mocks = amplitudes(statistics["e_minus_b"][:1], mocks)[0], amplitudes(mocks, mocks)
    like_it = np.stack(mock_shears(observation, amplitude * maps, params.mocks, rng=rng))
    error = amplitudes(field_statistics(like_it, weight, params, pixel_arcmin)[0]["e_minus_b"], mocks).std(ddof=1)
    metrics = {
        "p_value": {name: ranked(values)[2] for name, values in statistics.items()},
        "ratio": {name: float(v[0].mean() / v[1:].mean()) for name, v in statistics.items()},
        "amplitude": float(amplitude),
        "amplitude_err": float(error),
        "amplitude_rank": float(np.mean(of_mocks < amplitude)),
        "amplitude_of_mocks": [float(of_mocks.min()), float(of_mocks.max())],
        "mocks": params.mocks,
    }
    return metrics, statistics, ell


def mock_shears(
    observation: Observation, maps: np.ndarray, count: int, *, rng: np.random.Generator
) -> list[np.ndarray]:
    """Shears of mocks of a field, (2, ny, nx) each: maps in turn, at random orientations.

    Parameters
    ----------
    maps : (n, side, side), dimensionless
    """
    shears = []
    for number in followed(range(count), "mocks of the prior"):
        kappa = np.rot90(maps[number % len(maps)], rng.integers(4))
        kappa = kappa.T if rng.random() < 0.5 else kappa
        shears.append(mock_observation(kappa, observation, rng=rng, reduced=observation.reduced)[1].gamma)
    return shears


def field_statistics(
    shears: np.ndarray, weight: np.ndarray, params: PredictiveParams, pixel_arcmin: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Statistics of shears of one mask, (n, k) by name of `STATISTICS`, and the multipoles of the bands.

    Parameters
    ----------
    shears : (n, 2, ny, nx)
    weight : (2, ny, nx), inverse variance of each
    """
    weight = np.asarray(weight, float)
    measure = mode_measure(weight, pixel_arcmin, smoothing_arcmin=params.smoothing_arcmin, bands=params.bands)
    mask, edges = measure.mask, measure.edges
    correlation = correlation_of(weight.mean(axis=0), params.distances_arcmin, pixel_arcmin)
    found = {name: [] for name in STATISTICS}
    for gamma in shears:
        modes = e_and_b_modes(measure.relative * gamma)
        power = measure.area * binned_modes(np.abs(modes) ** 2, pixel_arcmin, edges)
        snr = np.fft.ifft2(measure.smoothing * modes[0], norm="ortho").real / measure.spread[0]
        found["e_minus_b"].append(power[0] - power[1])
        found["correlation"].append(correlation(gamma))
        found["peaks"].append(np.histogram(peak_heights(snr[None]), (*PEAKS, np.inf))[0])
        seen = snr[mask] - snr[mask].mean()
        found["skewness"].append([np.mean(seen**3) / np.mean(seen**2) ** 1.5])
    ell = binned_modes(ell_grid(mask.shape, pixel_arcmin), pixel_arcmin, edges)
    statistics = {name: np.array(values, float) for name, values in found.items()}
    return {name: values[:, np.isfinite(values).all(axis=0)] for name, values in statistics.items()}, ell[
        np.isfinite(ell)
    ]


def correlation_of(weight: np.ndarray, distances_arcmin: Sequence[float], pixel_arcmin: float) -> Callable:
    """A function of a shear field (2, ny, nx) that returns its correlation xi+ in bins of distance, (bins,).

    xi+(r) = sum w_i w_j gamma_i . gamma_j / sum w_i w_j over pairs of pixels at distance r; noise adds nothing to it.

    Parameters
    ----------
    weight : (ny, nx)
    distances_arcmin : edges of the bins; a bin without pairs is NaN
    """
    padded = [2 * length for length in weight.shape]  # pairs do not wrap around
    lags = np.hypot(*np.meshgrid(*(length * np.fft.fftfreq(length) for length in padded), indexing="ij"))
    bins, number = np.digitize(lags * pixel_arcmin, distances_arcmin).ravel(), len(distances_arcmin) - 1

    def products(values: np.ndarray) -> np.ndarray:
        pairs = np.fft.ifft2(np.abs(np.fft.fft2(values, padded)) ** 2).real
        return np.bincount(bins, pairs.ravel(), number + 2)[1 : number + 1]

    pairs = products(weight)
    met = pairs > 0.5 * weight[weight > 0].min() ** 2

    def correlation(gamma: np.ndarray) -> np.ndarray:
        found = sum(products(weight * component) for component in gamma)
        return np.divide(found, pairs, out=np.full(number, np.nan), where=met)

    return correlation


def amplitudes(powers: np.ndarray, mocks: np.ndarray) -> np.ndarray:
    """Amplitude of the convergence in fields, in units of the mocks', from E- less B-mode power; (n,), not below 0.

    Bands count by their signal over their variance in mocks.

    Parameters
    ----------
    powers : (n, bands)
    mocks : (m, bands), of the amplitude 1
    """
    mean = mocks.mean(axis=0)
    share = mean / mocks.var(axis=0, ddof=1)
    return np.sqrt(np.maximum(powers @ share / (mean @ share), 0.0))


def statistics_table(metrics: dict) -> Table:
    """One row a statistic: the field over the mocks, the chance of it, and what it measures."""
    rows = [(name, metrics["ratio"][name], metrics["p_value"][name], about) for name, about in STATISTICS.items()]
    return Table(rows=rows, names=("statistic", "ratio", "p_value", "meaning"))
