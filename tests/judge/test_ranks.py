"""Ranks: uniform for exact samples, telling for those that are too narrow, too wide or shifted."""

import numpy as np
import pytest
from scipy.stats import chisquare, norm

from analysis.judge import ranks

N = 19


@pytest.fixture(scope="module")
def drawn():
    """Truths and samples of a posterior N(m, 1) whose m is known, for 400 mocks."""
    rng = np.random.default_rng(1)
    centre = rng.standard_normal(400)
    return centre + rng.standard_normal(400), centre + rng.standard_normal((N, 400)), centre


def test_rank_counts_samples_below():
    assert ranks.rank(np.array([0.5, -1.0]), np.array([[0.0, 0.0], [1.0, 1.0]])).tolist() == [1, 0]


def test_exact_samples_have_uniform_ranks_and_intervals_that_cover(drawn):
    truth, samples, _ = drawn
    found = ranks.rank(truth, samples)
    assert found.min() == 0
    assert found.max() == N
    assert ranks.uniformity(found, N) > 1e-3
    for level in (0.68, 0.95):
        assert abs(ranks.coverage(found, N, level) - level) < 3.3 * np.sqrt(level * (1 - level) / 400)
    assert ranks.tilt_or_width(found, N) > 1e-3
    assert ranks.largest_deviation(found, N) < 1.358 / 20


@pytest.mark.parametrize(("scale", "shift", "covers"), [(0.7, 0, 0.51), (1.5, 0, 0.84), (1, 0.5, 0.62)])
def test_faults_are_told(drawn, scale, shift, covers):
    truth, samples, centre = drawn
    found = ranks.rank(truth, centre + scale * (samples - centre) + shift)
    assert ranks.uniformity(found, N) < 1e-3
    assert abs(ranks.coverage(found, N, 0.68) - covers) < 0.08
    assert ranks.largest_deviation(found, N) > 1.358 / 20


def test_three_of_four_ranks_alike_are_no_alarm():
    chance = (20 * 4 * 19 + 20) / 20**4  # or all four
    error = np.sqrt(chance / ranks.DRAWN)
    assert ranks.uniformity(np.array([17, 17, 3, 17]), N) == pytest.approx(chance, abs=4 * error)


def test_drawn_ranks_say_what_chi_squared_says_of_many():
    rng = np.random.default_rng(9)
    for _ in range(20):
        found = rng.integers(0, N + 1, size=99)
        assert ranks.uniformity(found, N) == pytest.approx(
            chisquare(np.bincount(found, minlength=N + 1)).pvalue, abs=0.03
        )


def test_powers_are_the_shares_of_shifted_sets_that_a_test_finds():
    alone = np.random.default_rng(4).integers(N + 1, size=(3, 400))  # of statistics that do not depend on each other
    assert all(chance < 0.02 for chance in ranks.powers(np.zeros((2, 100)), N, tests=5, found=alone[:2]).values())
    assert all(chance > 0.98 for chance in ranks.powers(np.full((2, 400), 1.0), N, tests=5, found=alone[:2]).values())
    found = ranks.powers(np.full((3, 100), 0.3), N, tests=5, found=alone)
    # mean rank .5 + .3 / (2 sqrt pi), of spread about 1 / sqrt 12; two-sided, half of the level for each of two tests
    departure = 0.3 / (2 * np.pi**0.5) * (12 * 100) ** 0.5 * N / (N + 1)
    expected = norm.sf(norm.isf(0.01 / 5 / 4) - departure)
    assert found["mean_or_spread"] == pytest.approx(expected, abs=0.06)
    assert found["chi_squared"] < found["mean_or_spread"] < found["pooled"]
    departure *= 3**0.5  # of the mean of three
    assert found["pooled"] == pytest.approx(norm.sf(ranks.POOLED - departure), abs=0.06)
    same = ranks.powers(np.full((3, 100), 0.3), N, tests=5, found=alone[[0, 0, 0]])
    assert same["pooled"] == pytest.approx(norm.sf(ranks.POOLED - departure / 3**0.5), abs=0.06)  # no more than one
    assert ranks.powers(np.full((3, 2), 0.3), N, tests=5, found=np.zeros((3, 2), int))["pooled"] <= 1


def test_the_band_of_tarp_holds_its_share_of_uniform_ranks():
    rng = np.random.default_rng(9)
    for count in (24, 400):
        band = ranks.largest_by_chance(count, N, level=0.95)
        inside = np.mean([ranks.largest_deviation(rng.integers(N + 1, size=count), N) <= band for _ in range(2000)])
        assert 0.935 < inside < 0.985  # few ranks have few values
    assert band < 1.358 / 400**0.5  # the limit of many levels


def test_bins_at_the_ends_of_an_interval_count_in_part():
    every = np.arange(N + 1)
    for level in (0.1, 0.68, 0.95, 1.0):
        assert ranks.coverage(every, N, level) == pytest.approx(level)
    assert ranks.coverage(np.array([3]), N, 0.68) == pytest.approx(0.8)  # from .15 to .20, and the interval from .16


@pytest.mark.parametrize(("spread", "calibrated"), [(1.0, True), (0.8, False)])
def test_tarp_tells_samples_that_spread_too_little(spread, calibrated):
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        centre, truth = rng.standard_normal(8), None
        truth = centre + rng.standard_normal(8)
        reference = centre + 2 * rng.standard_normal(8)
        found.append(ranks.tarp_rank(truth, centre + spread * rng.standard_normal((N, 8)), reference))
    assert (ranks.largest_deviation(np.array(found), N) < 1.358 / 20) == calibrated


def test_bootstrap_by_box_sees_what_mocks_of_a_box_share():
    rng = np.random.default_rng(3)
    boxes = np.repeat(np.arange(40), 10)
    values = rng.standard_normal(40)[boxes] + 0.1 * rng.standard_normal(400)
    error = ranks.bootstrap_error(lambda chosen: values[chosen].mean(), boxes, rng=rng)
    assert abs(error - values.reshape(40, 10).mean(axis=1).std(ddof=1) / 40**0.5) < 0.02
    two = ranks.bootstrap_error(lambda chosen: values[:20][chosen].mean(), boxes[:20], rng=rng)
    assert two == pytest.approx(abs(values[:10].mean() - values[10:20].mean()) / 2, rel=0.1)
    alone = ranks.bootstrap_error(lambda chosen: values[chosen].mean(), np.zeros(400), rng=rng)
    assert alone < 0.5 * error


def test_a_small_tilt_or_lack_of_width_is_told_where_chi_squared_is_blind():
    rng = np.random.default_rng(7)
    truth, samples = rng.standard_normal(2000), rng.standard_normal((N, 2000))
    for fault in (0.92 * samples, samples + 0.1, 1.09 * samples):
        found = ranks.rank(truth, fault)
        assert ranks.tilt_or_width(found, N) < 0.2 * ranks.uniformity(found, N)
        assert ranks.tilt_or_width(found, N) < 0.01


def test_tilt_or_width_is_a_probability():
    rng = np.random.default_rng(8)
    found = [ranks.tilt_or_width(rng.integers(0, N + 1, size=400), N) for _ in range(2000)]
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(found) < level) == pytest.approx(level, abs=3.5 * np.sqrt(level / 2000) + 0.1 * level)


def test_pooled_ranks_of_dependent_statistics_have_the_error_of_the_mocks():
    rng, n, z = np.random.default_rng(8), 19, []
    for _ in range(300):
        common = rng.integers(n + 1, size=(1, 60))
        own = rng.integers(n + 1, size=(6, 60))
        z.append(ranks.pooled_z(np.where(rng.random((6, 60)) < 0.7, common, own), n))
    assert np.std(z) == pytest.approx(1, abs=0.15)
    assert abs(np.mean(z)) < 4 / 300**0.5
    assert ranks.pooled_z(np.minimum(rng.integers(n + 1, size=(6, 400)) + 2, n), n) > 5
