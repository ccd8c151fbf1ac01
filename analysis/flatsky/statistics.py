"""Statistics of maps: multipole bins, peaks, and errors by leaving groups of maps out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.ndimage import maximum_filter


def ratio_of_rms(numerator: np.ndarray, denominator: np.ndarray, groups: Sequence) -> tuple[float, float]:
    """sqrt(sum of squares / sum of squares) over mocks, and its jackknife error over groups of mocks.

    Mocks of one N-body box share matter and are one group; where there is one box alone, each mock is its own group.

    Parameters
    ----------
    numerator, denominator : (mocks,), mean square errors
    groups : (mocks,), the box of each mock
    """
    return jackknife(lambda chosen: _root_ratio(numerator[chosen], denominator[chosen]), groups)


def mean_and_error(values: Sequence[float], groups: Sequence) -> tuple[float, float]:
    """Mean over mocks, and its jackknife error over groups of mocks as in `ratio_of_rms`."""
    return jackknife(lambda chosen: float(np.mean(np.asarray(values)[chosen])), groups)


def jackknife(statistic: Callable, groups: Sequence) -> tuple[float | np.ndarray, float | np.ndarray]:
    """A statistic of chosen mocks, for all of them, and its error by leaving out one group after the other.

    Parameters
    ----------
    statistic : of which mocks to use, (mocks,) booleans; a number or an array
    groups : (mocks,), the box of each mock; where there is one box alone, each mock is its own group
    """
    groups = np.asarray(groups)
    names = np.unique(groups)
    if len(names) < 2:
        groups = names = np.arange(len(groups))
    without = np.array([statistic(groups != name) for name in names])
    error = np.sqrt((len(names) - 1) * np.mean((without - without.mean(axis=0)) ** 2, axis=0))
    return statistic(np.full(len(groups), True)), error[()]


def multipole_edges(pixels: int, pixel_arcmin: float) -> np.ndarray:
    """Edges of logarithmic bins of multipole, from twice the fundamental mode to half the Nyquist frequency.

    Eight bins, fewer on a grid so small that one would hold no mode.
    """
    radians = np.deg2rad(pixel_arcmin / 60)
    bins = min(8, pixels // 8)
    return np.geomspace(4 * np.pi / (pixels * radians), 0.5 * np.pi / radians, bins + 1)


def centres(edges: np.ndarray) -> np.ndarray:
    """Geometric centres of bins."""
    return np.sqrt(edges[1:] * edges[:-1])


def peak_heights(maps: np.ndarray) -> np.ndarray:
    """Heights of every peak of maps: pixels that none of their eight neighbours exceeds; edges do not count.

    Parameters
    ----------
    maps : (n, ny, nx)

    Returns
    -------
    (n_peaks,)
    """
    highest = maximum_filter(maps, size=(1, 3, 3))
    inner = (slice(None), slice(1, -1), slice(1, -1))
    return maps[inner][maps[inner] == highest[inner]]


def peak_count_ratio(samples: np.ndarray, maps: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Peaks a map in bins of height, of samples over those of simulated maps; NaN where these have none.

    Parameters
    ----------
    samples : (n, ny, nx)
    maps : (m, ny, nx)
    edges : (n_bins + 1,), dimensionless
    """
    counts = [np.histogram(peak_heights(stack), edges)[0] / len(stack) for stack in (samples, maps)]
    return np.divide(counts[0], counts[1], out=np.full(len(counts[0]), np.nan), where=counts[1] > 0)


def _root_ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """sqrt(sum / sum)."""
    return float(np.sqrt(np.sum(numerator) / np.sum(denominator)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number; reject those below a level, and the chance of any false one is below it.

    Source: Holm 1979.
    """
    adjusted, largest = {}, 0.0
    for position, name in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[name]))
        adjusted[name] = largest
    return adjusted
