"""Errors of statistics over mocks by the jackknife, and p-values corrected for their number."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np


def jackknife(statistic: Callable, groups: Sequence) -> tuple[float | np.ndarray, float | np.ndarray]:
    """A statistic of all mocks, and its error from leaving out one group after the other.

    Mocks of one N-body box share matter, so they form one group. With a single box, each mock is its own group.

    Parameters
    ----------
    statistic : function of the mocks to use, (mocks,) booleans; returns a number or an array
    groups : (mocks,), the box of each mock
    """
    groups = np.asarray(groups)
    names = np.unique(groups)
    if len(names) < 2:
        groups = names = np.arange(len(groups))
    without = np.array([statistic(groups != name) for name in names])
    error = np.sqrt((len(names) - 1) * np.mean((without - without.mean(axis=0)) ** 2, axis=0))
    return statistic(np.full(len(groups), True)), error[()]


def ratio_of_rms(numerator: np.ndarray, denominator: np.ndarray, groups: Sequence) -> tuple[float, float]:
    """Ratio of two rms errors over mocks, sqrt(sum of squares / sum of squares), and its jackknife error.

    Parameters
    ----------
    numerator, denominator : (mocks,), mean square errors
    groups : (mocks,), as `jackknife` takes them
    """
    return jackknife(lambda chosen: float(np.sqrt(np.sum(numerator[chosen]) / np.sum(denominator[chosen]))), groups)


def mean_and_error(values: Sequence[float], groups: Sequence) -> tuple[float, float]:
    """Mean over mocks, and its jackknife error."""
    return jackknife(lambda chosen: float(np.mean(np.asarray(values)[chosen])), groups)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number: any false rejection at a level is at most as likely as that level.

    Source: Holm 1979.
    """
    adjusted, largest = {}, 0.0
    for position, name in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[name]))
        adjusted[name] = largest
    return adjusted
