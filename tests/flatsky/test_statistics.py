"""Jackknife errors and corrected p-values, against values worked out by hand."""

import numpy as np
import pytest

from analysis.flatsky.statistics import holm, mean_and_error, ratio_of_rms


def test_ratio_of_rms_and_its_jackknife():
    numerator, denominator = np.array([1.0, 2.0, 3.0, 6.0]), np.array([4.0, 4.0, 4.0, 4.0])
    ratio, error = ratio_of_rms(numerator, denominator, [0, 0, 1, 1])
    assert ratio == pytest.approx(np.sqrt(12 / 16))
    halves = np.sqrt([9 / 8, 3 / 8])
    assert error == pytest.approx(abs(halves[0] - halves[1]) / 2)
    _, alone = ratio_of_rms(numerator, denominator, [7, 7, 7, 7])  # one box: every mock for itself
    without = np.sqrt([11 / 12, 10 / 12, 9 / 12, 6 / 12])
    assert alone == pytest.approx(np.sqrt(3 * np.mean((without - without.mean()) ** 2)))


def test_error_of_a_mean_is_that_of_boxes():
    mean, error = mean_and_error([1.0, 1.0, 3.0, 3.0], [5, 5, 6, 6])
    assert (mean, error) == pytest.approx((2, 1))
    assert mean_and_error([1.0, 1.0, 3.0, 3.0], [5, 5, 5, 5])[1] == pytest.approx(1 / 3**0.5)


def test_holm_multiplies_by_the_number_left():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == pytest.approx({"b": 1.0, "a": 1.0})
