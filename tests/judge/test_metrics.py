"""Errors, spreads and counts against values worked out by hand."""

import numpy as np
import pytest

from analysis.flatsky.power import ell_grid, gaussian_field, multipole_edges
from analysis.judge import metrics

MASK = np.zeros((16, 16), bool)
MASK[4:12, 4:10] = True


def test_metric_of_remy_subtracts_means_of_whole_maps_and_errs_in_the_mask():
    truth = np.random.default_rng(1).standard_normal((16, 16))
    error = np.where(MASK, 0.3, 0.0)  # its mean over the map is 0.3 * 48 / 256
    assert metrics.remy_rmse(truth + 5 + error, truth, MASK) == pytest.approx(0.3 - 0.3 * 48 / 256)
    assert metrics.in_mask_rmse(truth + 5 + error, truth, MASK) == pytest.approx(0)


def test_correlation_of_remy_counts_the_zeros_outside_the_mask():
    # inside the mask both maps have mean m: over the whole array, zeros outside add to what they share
    a, b = np.random.default_rng(2).standard_normal((2, 16, 16))
    a, b = (np.where(MASK, x - x[MASK].mean() + 2, -2 * 48 / 208) for x in (a, b))
    inside = np.mean((a[MASK] - 2) * (b[MASK] - 2)), np.var(a[MASK]), np.var(b[MASK])
    share = 48 / 256
    shared = share * (1 - share) * 4
    expected = (share * inside[0] + shared) / np.sqrt((share * inside[1] + shared) * (share * inside[2] + shared))
    assert metrics.remy_pearson(a, b, MASK) == pytest.approx(expected)
    assert metrics.in_mask_pearson(a, b, MASK) == pytest.approx(inside[0] / np.sqrt(inside[1] * inside[2]))


def test_mean_of_infinitely_many_samples_is_the_truth_of_a_posterior_mean():
    # posterior N(m, 1) a pixel, m drawn about the truth with variance 1: MSE of m is 1, of a mean of n 1 + 1/n
    rng = np.random.default_rng(3)
    truths = np.zeros((200, 16, 16))
    samples = rng.standard_normal((200, 1, 16, 16)) + rng.standard_normal((200, 5, 16, 16))
    everywhere = np.ones((16, 16), bool)
    mse = np.array(
        [metrics.remy_rmse(s.mean(axis=0), t, everywhere) ** 2 for s, t in zip(samples, truths, strict=True)]
    )
    variance = np.array([metrics.sampling_variance(s, everywhere) for s in samples])
    lost = 1 - 1 / 256  # the mean of each map
    assert mse.mean() == pytest.approx(1.2 * lost, rel=0.02)
    assert metrics.mean_of_infinitely_many(mse, variance, 5).mean() == pytest.approx(lost, rel=0.02)
    assert metrics.mse_ratio_over_ideal(samples, truths, everywhere) == pytest.approx(1, rel=0.01)


def test_samples_that_spread_too_little_have_a_small_mse_ratio():
    rng = np.random.default_rng(4)
    samples = rng.standard_normal((100, 1, 16, 16)) + 0.5 * rng.standard_normal((100, 4, 16, 16))
    ratio = (1 + 0.25) / (1 + 0.25 / 4) * 5 / 8
    assert metrics.mse_ratio_over_ideal(samples, np.zeros((100, 16, 16)), MASK) == pytest.approx(ratio, rel=0.03)


def test_maps_near_the_highest_training_pixel_count():
    maps = np.zeros((2, 2, 4, 4))
    maps[0, 0, 1, 1], maps[1, 0, 2, 2] = 0.95, 0.85
    assert metrics.share_at_bound(maps, 1.0) == 0.25


def test_spectrum_ratio_is_the_ratio_of_powers():
    truths = np.random.default_rng(5).standard_normal((3, 16, 16))
    samples = 1.5 * np.stack([truths, truths], axis=1)
    edges = multipole_edges(16, 0.82)
    np.testing.assert_allclose(metrics.spectrum_ratio(samples, truths, MASK, 0.82, edges), 2.25)


@pytest.mark.parametrize(("value", "ran"), [(0.44, False), (0.46, True), (np.nan, True), (np.inf, True)])
def test_runaway_is_what_leaves_the_training_range(value, ran):
    samples = np.zeros((2, 8, 8))
    samples[1, 2, 3] = value
    assert metrics.runaway(samples, 0.3) is ran


def test_spectrum_of_a_gaussian_field_against_its_own_power_is_one():
    power = 4e-3 * (np.maximum(ell_grid((64, 64), 0.82), 500) / 500) ** -1.5
    a, b = (gaussian_field(power, 200, rng=np.random.default_rng(seed)) for seed in (6, 7))
    ratio = metrics.spectrum_ratio(a, b, np.ones((64, 64)), 0.82, multipole_edges(64, 0.82))
    np.testing.assert_allclose(ratio, 1, atol=0.06)


def test_an_estimate_is_compared_at_the_peaks_of_the_truth():
    truth, estimate = np.zeros((2, 16, 16))
    truth[4, 4], truth[4, 10], truth[10, 4], truth[10, 10] = 0.1, 0.2, 0.05, 0.3
    estimate[4, 4], estimate[4, 11] = 0.12, 0.5  # the second beside the peak, where it does not count
    mask = np.ones((16, 16), bool)
    mask[10, 10] = False
    errors = metrics.peak_errors(estimate, truth, mask, lowest=0.06)
    np.testing.assert_allclose(errors, [0.02, -0.2])


def test_correlation_by_band_is_that_of_each_band():
    rng, edges = np.random.default_rng(8), np.array([300.0, 2000.0, 6000.0])
    truth = rng.standard_normal((20, 48, 48))
    noise = rng.standard_normal(truth.shape)
    mask = np.ones((48, 48), bool)
    found = metrics.correlation_by_band(0.6 * truth + 0.8 * noise, truth, mask, 1.0, edges)
    np.testing.assert_allclose(found, 0.6, atol=0.04)
    np.testing.assert_allclose(metrics.correlation_by_band(-3 * truth, truth, mask, 1.0, edges), -1)
