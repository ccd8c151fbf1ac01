"""Recalibrated maps are right on average at any denoised value; between the points of its table, lines."""

import dataclasses

import numpy as np
import pytest
from small_prior import POWER, SETTINGS, shifted

from analysis.flatsky.power import gaussian_field
from analysis.prior.recalibration import LEVELS, LONG_ARCMIN, SHARES, measured, recalibration_of, short_waves
from analysis.prior.score import Prior, denoised, gaussian_score, inside_margin, prior_score, score_network
from analysis.prior.training import recalibrated

TABLE = recalibration_of(
    {
        "sigmas": [0.01, 0.04, 0.5],
        "values": [[-0.02, 0.0, 0.06]] * 3,
        "shifts": [[0.004, 0.001, 0.0], [0.002, 0.001, 0.0], [0.0, 0.0, 0.0]],
    }
)
WAVES = 4e-4 * POWER / POWER.mean()
INNER = np.s_[:, 2:-2, 2:-2]


def lognormal(n, seed):
    """Maps with shallow voids and high peaks, rms about 0.02; a frame of two pixels is of other maps."""
    maps = np.expm1(gaussian_field(WAVES, 2 * n, rng=np.random.default_rng(seed)) / 0.02) * 0.02
    frame = np.ones(WAVES.shape, bool)
    frame[INNER[1:]] = False
    return np.where(frame, -5 * maps[n:], maps[:n])


def shifts(clean, sigma):
    """Of a map of one pixel for each value."""
    return np.asarray(TABLE.shift(np.array([[clean]], "float32"), np.array([sigma], "float32")))[0, 0]


def test_between_the_points_of_the_table_are_lines():
    found = shifts([-0.02, -0.01, 0.0, 0.03, 0.06], 0.01)
    np.testing.assert_allclose(found, [0.004, 0.0025, 0.001, 0.0005, 0], atol=1e-7)
    np.testing.assert_allclose(shifts([-0.02], 0.02), [0.003], atol=1e-7)  # halfway in the logarithm of the noise


def test_beyond_the_table_nothing_changes_more():
    np.testing.assert_allclose(shifts([-0.5, 0.5], 0.01), [0.004, 0.0], atol=1e-7)
    np.testing.assert_array_equal(shifts([-0.5, 0.0], 0.5), 0)
    np.testing.assert_array_equal(shifts([-0.5, 0.0], 2.0), 0)


def test_below_the_smallest_noise_it_falls_with_the_noise():
    np.testing.assert_allclose(shifts([-0.5, 0.0], 0.001), [0.0004, 0.0001], atol=1e-8)


def test_maps_of_two_noise_levels_are_shifted_each_by_its_own():
    clean = np.random.default_rng(1).normal(0, 0.02, (2, 4, 6)).astype("float32")
    sigma = np.array([0.01, 0.1], "float32")
    each = [np.asarray(TABLE.shift(clean[i : i + 1], sigma[i : i + 1]))[0] for i in range(2)]
    np.testing.assert_allclose(np.asarray(TABLE.shift(clean, sigma)), each, atol=1e-8)


def wiener(noisy, sigma):
    """Where maps are skewed, its lowest pixels are lower than their truths by some tenths of the noise."""
    return denoised(noisy, sigma, gaussian_score(noisy, sigma, WAVES))


@pytest.fixture(scope="module")
def table():
    return measured(wiener, lognormal(300, 2), (0.005, 0.5), margin=2, rng=np.random.default_rng(3))


@pytest.mark.parametrize("level", [1, 6])
def test_truths_have_the_mean_that_a_denoised_pixel_shows(table, level):
    truth = lognormal(400, 4)
    sigma = np.full(len(truth), table.sigmas[level], "float32")
    noisy = (truth + sigma[0] * np.random.default_rng(5).standard_normal(truth.shape)).astype("float32")
    before = np.asarray(wiener(noisy, sigma))
    after = before + np.asarray(table.shift(before, sigma))
    errors = {name: (truth - found)[INNER] for name, found in {"before": before, "after": after}.items()}
    errors = {name: error - error.mean() for name, error in errors.items()}  # which is not recalibrated
    lowest = before[INNER] < np.quantile(before[INNER], SHARES[4])
    sums = {name: (error * lowest).sum(axis=(1, 2)) for name, error in errors.items()}  # of each map
    significance = {name: each.sum() / each.std() / len(each) ** 0.5 for name, each in sums.items()}
    assert significance["before"] > 8
    assert abs(significance["after"]) < 3.5 * (1 + 400 / 300) ** 0.5  # errors of these maps and of the table's
    assert np.mean(errors["after"] ** 2) < np.mean(errors["before"] ** 2)


@pytest.mark.parametrize("highest", [None, 0.001])
def test_a_recalibrated_prior_denoises_to_the_shifted_map_and_no_higher_than_its_bound(highest):
    kappa = 0.02 * np.random.default_rng(6).standard_normal((2, 16, 16)).astype("float32")
    sigma = np.array([0.02, 0.1], "float32")
    network = score_network(SETTINGS, gain=True)
    one = shifted(Prior(POWER.astype("float32"), 0.82, network, 0.3, (0.005, 0.5), margin=3, gain=True))
    before = np.asarray(denoised(kappa, sigma, prior_score(one, kappa, sigma)))
    one = dataclasses.replace(one, recalibration=TABLE, highest=highest)
    after = np.asarray(denoised(kappa, sigma, prior_score(one, kappa, sigma)))
    inside = np.asarray(TABLE.shift(before, sigma)) * inside_margin((16, 16), 3)
    expected = before + np.fft.ifft2(np.fft.fft2(inside) * short_waves((16, 16), 0.82)).real
    assert np.abs(expected - before).max() > 5e-4
    if highest is not None:
        assert (expected > highest).any() & (before < highest).any()
        expected = np.minimum(expected, highest)
    np.testing.assert_allclose(after, expected, atol=2e-6)


def test_long_waves_are_left_alone():
    """Else their power would change by a hundred times what is added."""
    left = short_waves((160, 200), 0.82)
    assert left[0, 0] == 0
    assert left[0, 1] < 0.01
    assert short_waves((100, 100), LONG_ARCMIN / 10)[0, 10] == pytest.approx(0.5)
    assert left[80, 0] > 0.98


@pytest.mark.parametrize(
    "change",
    [
        {"sigmas": [0.01, 0.5]},
        {"sigmas": [0.04, 0.01, 0.5]},
        {"values": [[0.0, -0.02, 0.06]] * 3},
        {"values": [[0.0, 1.0]] * 3},
        {"shifts": [[np.nan, 0.0, 0.0]] * 3},
        {"shifts": "none"},
    ],
)
def test_what_is_no_table_is_told(change):
    rows = {name: rows.tolist() for name, rows in vars(TABLE).items()}
    recalibration_of(rows)
    with pytest.raises(ValueError, match=r"no table|could not convert|inhomogeneous"):
        recalibration_of(rows | change)


def test_few_or_equal_pixels_give_finite_numbers():
    for maps in (lognormal(1, 8), np.zeros((2, 16, 16))):
        found = measured(wiener, maps, (0.3, 0.5), margin=6, rng=np.random.default_rng(9))
        assert np.isfinite(np.asarray(found.shift(np.zeros((1, 4, 4), "float32"), np.full(1, 0.31, "float32")))).all()
        assert np.all(np.diff(found.sigmas) > 0)


def test_the_highest_values_and_the_largest_noise_are_left_alone():
    network = score_network(SETTINGS, gain=True)
    one = Prior(WAVES.astype("float32"), 0.82, network, 0.3, (0.005, 0.5), margin=2, gain=True)
    found = recalibrated(one, lognormal(30, 7), seed=1).recalibration
    assert len(found.sigmas) == LEVELS + 1
    assert found.sigmas[-1] == 0.5
    assert np.all(found.shifts[:, -1] == 0)
    assert np.all(found.shifts[-1] == 0)
    assert np.all(np.diff(found.values, axis=1) > 0)
    assert np.all(
        found.shifts[:4, 0] > 0
    )  # voids of a skewed field are shallower than the Gaussian score takes them for
