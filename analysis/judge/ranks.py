"""Ranks of true values among posterior samples: uniformity, coverage, TARP.

Among n exact posterior samples the rank of the truth is uniform on 0 to n, for any statistic of the map:
simulation-based calibration (Talts et al. 2018).
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import chisquare, norm

RESAMPLINGS = 1000
FEW = 5  # expected counts per rank; with fewer, the chi-squared distribution does not hold
DRAWN = 19_999  # sets of ranks drawn in that case
POOLED = 2.5  # departure of the pooled mean rank, in errors, that is too much
SETS = 400  # of shifted ranks drawn for the power of the tests


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
    """p-value of chi squared of ranks, if they are uniform on 0 to `n`.

    With few ranks the p-value comes from drawn sets of ranks, because chi squared is then wrong by factors of twenty.
    """
    counts = np.bincount(ranks, minlength=n + 1)
    if counts.mean() >= FEW:
        return float(chisquare(counts).pvalue)
    drawn = np.random.default_rng(0).multinomial(len(ranks), np.full(n + 1, 1 / (n + 1)), size=DRAWN)
    as_uneven = np.sum(np.sum(drawn**2, axis=1) >= np.sum(counts**2))  # chi squared grows with the sum of squares
    return float((1 + as_uneven) / (1 + DRAWN))


def tilt_or_width(ranks: np.ndarray, n: int) -> float:
    """p-value of the mean and the spread of ranks, if they are uniform on 0 to `n`: twice the smaller of two z-tests.

    The tests are of the mean and of the mean square distance from the middle. They detect a shifted or too narrow
    posterior with fewer mocks than chi squared.
    """
    values = (np.arange(n + 1) + 0.5) / (n + 1)
    p_values = [
        2 * norm.sf(abs(np.mean(of[ranks]) - of.mean()) / of.std() * len(ranks) ** 0.5)
        for of in (values, (values - 0.5) ** 2)
    ]
    return float(min(1.0, 2 * min(p_values)))


def pooled_z(ranks: np.ndarray, n: int) -> float:
    """Departure of the mean rank from the middle over its error, of several statistics of each mock together.

    The error is that of the mocks' mean ranks, since statistics of one mock depend on each other.

    Parameters
    ----------
    ranks : (statistics, mocks), 0 to n
    """
    values = np.mean((ranks + 0.5) / (n + 1), axis=0)
    spread = max(values.std(ddof=1), 0.1 / (n + 1))  # a few mocks may have the same
    return float((values.mean() - 0.5) / (spread / len(values) ** 0.5))


def powers(shifts: np.ndarray, n: int, *, tests: int, found: np.ndarray) -> dict[str, float]:
    """Chance that each test of ranks finds samples that are shifted from the truth: what a passed test could have seen.

    Posteriors are taken as Gaussian, and statistics of one mock as correlated as the ranks that were found. Ranks of
    `SETS` sets of mocks are drawn; a test finds a set at 1 %, after Holm's correction for the least of `tests` p-values
    (the pooled test at a departure of `POOLED`).

    Parameters
    ----------
    shifts : (statistics, mocks), of the truth above its samples, in standard deviations of these
    found : (statistics, mocks), ranks

    Returns
    -------
    dict
        `chi_squared` and `mean_or_spread` of one statistic, averaged over all; `pooled` of all together
    """
    rng, level, count = np.random.default_rng(0), 0.01 / tests, shifts.shape[1]
    flat = np.sum(rng.multinomial(count, np.full(n + 1, 1 / (n + 1)), size=DRAWN) ** 2, axis=1)
    uneven = np.quantile(flat, 1 - level)
    scores = norm.ppf((found + 0.5) / (n + 1))
    scores -= scores.mean(axis=1, keepdims=True)
    spread = scores.std(axis=1, keepdims=True)
    scores = np.divide(scores, spread, out=np.zeros_like(scores), where=spread > 0)  # equal ranks tell nothing
    together = scores @ scores.T / scores.shape[1]
    np.fill_diagonal(together, 1.0)
    values, vectors = np.linalg.eigh(together)
    root = vectors * np.sqrt(np.maximum(values, 0))  # of few mocks the matrix is singular
    shifted = norm.cdf(root @ rng.standard_normal((SETS, *shifts.shape)) + shifts * n / (n + 1))  # of n samples
    drawn = np.minimum((n + 1) * shifted, n).astype(int)
    by_statistic = drawn.reshape(-1, count)
    squares = [np.sum(np.bincount(drawn_ranks, minlength=n + 1) ** 2) for drawn_ranks in by_statistic]
    return {
        "chi_squared": float(np.mean(np.array(squares) > uneven)),
        "mean_or_spread": float(np.mean([tilt_or_width(drawn_ranks, n) < level for drawn_ranks in by_statistic])),
        "pooled": float(np.mean([abs(pooled_z(drawn_ranks, n)) > POOLED for drawn_ranks in drawn])),
    }


def coverage(ranks: np.ndarray, n: int, level: float) -> float:
    """Share of truths in the central interval of probability `level`.

    Samples divide the probability into n + 1 equal bins; a bin cut by an end of the interval counts by the part inside.
    """
    low, high = (1 - level) / 2, (1 + level) / 2
    edges = np.arange(n + 2) / (n + 1)
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * (n + 1)
    return float(np.mean(inside[ranks]))


def expected_coverage(ranks: np.ndarray, n: int) -> np.ndarray:
    """Share of ranks below 1, 2, ... n; for exact samples 1, 2, ... n over n + 1."""
    return np.array([np.mean(ranks < below) for below in range(1, n + 1)])


def largest_deviation(ranks: np.ndarray, n: int) -> float:
    """Largest departure of the expected coverage from the diagonal, over the levels of n samples.

    Source: Lemos et al. 2023 (TARP), where ranks are of the distance from a reference point.
    """
    return float(np.max(np.abs(expected_coverage(ranks, n) - np.arange(1, n + 1) / (n + 1))))


def largest_by_chance(count: int, n: int, *, level: float) -> float:
    """What `largest_deviation` of `count` uniform ranks stays below with the chance `level`, from drawn sets."""
    drawn = np.random.default_rng(0).multinomial(count, np.full(n + 1, 1 / (n + 1)), size=DRAWN)
    departures = np.cumsum(drawn, axis=1)[:, :n] / count - np.arange(1, n + 1) / (n + 1)
    return float(np.quantile(np.abs(departures).max(axis=1), level))


def tarp_rank(truth: np.ndarray, samples: np.ndarray, reference: np.ndarray) -> int:
    """Rank of the truth's distance from a reference point among those of the samples.

    Parameters
    ----------
    truth, reference : (pixels,); the reference must not depend on the truth
    samples : (n, pixels)
    """
    return int(rank(np.sum((truth - reference) ** 2), np.sum((samples - reference) ** 2, axis=-1)))


def bootstrap_error(statistic: Callable, groups: Sequence, *, rng: np.random.Generator) -> float | np.ndarray:
    """Standard error of a statistic of mocks, by a bootstrap that draws N-body boxes, each with all its mocks.

    Draws from G boxes have (G - 1) / G of the variance of new boxes, for a mean, which is corrected.

    Parameters
    ----------
    statistic : of the indices of the mocks to use, (m,), with repetitions; returns a number or an array
    groups : (mocks,), the box of each mock
    """
    groups = np.asarray(groups)
    if len(np.unique(groups)) < 2:
        groups = np.arange(len(groups))  # with one box, mocks are drawn one by one
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    values = [
        statistic(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(RESAMPLINGS)
    ]
    return (np.std(values, axis=0, ddof=1) * np.sqrt(len(members) / max(len(members) - 1, 1)))[()]
