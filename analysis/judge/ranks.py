"""Whether probabilities mean what they say: ranks of truths among posterior samples, and what follows from them.

For exact samples of the posterior the rank of the truth among n of them, 0 to n, is uniform: simulation-based
calibration (Talts et al. 2018) of any statistic of the map.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import chisquare, norm

RESAMPLINGS = 1000
FEW = 5  # ranks expected of each value, below which chi squared does not have its distribution of many
DRAWN = 19_999


def rank(truth: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Number of samples below the truth.

    Parameters
    ----------
    truth : (...)
    samples : (n, ...)

    Returns
    -------
    (...), integers from 0 to n
    """
    return np.sum(np.asarray(samples) < np.asarray(truth), axis=0)


def uniformity(ranks: np.ndarray, n: int) -> float:
    """Probability of ranks at least as uneven as these if they are uniform on 0 to `n`, by chi squared.

    Few ranks are held against drawn ones: three of four alike have a chance of .01 among 20 values, not of .0005.
    """
    counts = np.bincount(ranks, minlength=n + 1)
    if counts.mean() >= FEW:
        return float(chisquare(counts).pvalue)
    drawn = np.random.default_rng(0).multinomial(len(ranks), np.full(n + 1, 1 / (n + 1)), size=DRAWN)
    as_uneven = np.sum(np.sum(drawn**2, axis=1) >= np.sum(counts**2))  # chi squared grows with the sum of squares
    return float((1 + as_uneven) / (1 + DRAWN))


def tilt_or_width(ranks: np.ndarray, n: int) -> float:
    """Probability of ranks whose mean or whose spread is as far off as theirs, if they are uniform on 0 to `n`.

    Two z-tests, of the mean and of the mean square distance from the middle; the smaller p-value, twice. A posterior
    that is shifted or too narrow by a fifth shows here much sooner than in chi squared, which looks everywhere at once.
    """
    values = (np.arange(n + 1) + 0.5) / (n + 1)
    p_values = [
        2 * norm.sf(abs(np.mean(of[ranks]) - of.mean()) / of.std() * len(ranks) ** 0.5)
        for of in (values, (values - 0.5) ** 2)
    ]
    return float(min(1.0, 2 * min(p_values)))


def coverage(ranks: np.ndarray, n: int, level: float) -> float:
    """Share of truths in the central interval of probability `level`.

    Of the n + 1 equal bins between samples those cut by the interval's ends count by the part inside.
    """
    low, high = (1 - level) / 2, (1 + level) / 2
    edges = np.arange(n + 2) / (n + 1)
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * (n + 1)
    return float(np.mean(inside[ranks]))


def expected_coverage(ranks: np.ndarray, n: int) -> np.ndarray:
    """Share of ranks below 1, 2, ... n: to compare with 1, 2, ... n over n + 1."""
    return np.array([np.mean(ranks < below) for below in range(1, n + 1)])


def largest_deviation(ranks: np.ndarray, n: int) -> float:
    """Largest departure of the expected coverage from the diagonal, at the levels that n samples attain.

    Source: Lemos et al. 2023 (TARP), where ranks are of the distance from a reference point.
    """
    return float(np.max(np.abs(expected_coverage(ranks, n) - np.arange(1, n + 1) / (n + 1))))


def tarp_rank(truth: np.ndarray, samples: np.ndarray, reference: np.ndarray) -> int:
    """Rank of the truth's distance from a reference point among those of the samples.

    Parameters
    ----------
    truth, reference : (pixels,); the reference may depend on the data and on chance, never on the truth
    samples : (n, pixels)
    """
    return int(rank(np.sum((truth - reference) ** 2), np.sum((samples - reference) ** 2, axis=-1)))


def bootstrap_error(statistic: Callable, groups: Sequence, *, rng: np.random.Generator) -> float | np.ndarray:
    """Standard error of a statistic of mocks that share N-body boxes: boxes are drawn anew, with all their mocks.

    Parameters
    ----------
    statistic : of the numbers of the mocks to use, (m,), some of them more than once; a number or an array
    groups : (mocks,), the box of each mock
    """
    groups = np.asarray(groups)
    if len(np.unique(groups)) < 2:
        groups = np.arange(len(groups))  # one box alone: its mocks stand for themselves
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    values = [
        statistic(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(RESAMPLINGS)
    ]
    return np.std(values, axis=0, ddof=1)[()]
