"""The likelihood's score against the slope of its logarithm."""

import numpy as np
import pytest

from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.power import ell_grid, gaussian_field, periodogram
from analysis.posterior.remy2020 import likelihood_score
from analysis.prior.margin import gaussian_margin


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.4])
def test_likelihood_score_is_the_slope_of_the_gaussian_likelihood(sigma):
    """log N(gamma; P kappa, 1 / w + sigma^2) over observed pixels, a step along random directions."""
    rng = np.random.default_rng(1)
    weight = rng.uniform(50, 200, (2, 16, 16))
    weight[:, :5] = 0
    gamma, kappa = 0.1 * rng.standard_normal((2, 16, 16)), 0.1 * rng.standard_normal((3, 16, 16))
    seen = weight > 0
    variance = 1 / weight[seen] + sigma**2

    def log_likelihood(maps):
        residual = (gamma - np.asarray(shear_from_convergence(maps)))[:, seen]
        return -0.5 * np.sum(residual**2 / variance, axis=1)

    direction = rng.standard_normal(kappa.shape)
    slope = (log_likelihood(kappa + 1e-5 * direction) - log_likelihood(kappa - 1e-5 * direction)) / 2e-5
    score = np.asarray(likelihood_score(kappa, sigma, gamma, weight))
    np.testing.assert_allclose(np.sum(score * direction, axis=(1, 2)), slope, rtol=1e-6)


POWER = 4e-3 * (np.maximum(ell_grid((24, 24), 0.82), 700) / 700) ** -1.5


def test_a_gaussian_map_with_its_margin_redrawn_is_as_likely_as_before():
    maps = gaussian_field(POWER, 2000, rng=np.random.default_rng(1)).astype("float32")
    redrawn = gaussian_margin(POWER, 4)(maps, np.random.default_rng(2))
    np.testing.assert_array_equal(redrawn[:, 4:-4, 4:-4], maps[:, 4:-4, 4:-4])
    assert np.abs(redrawn - maps)[:, :4].mean() > 0.1 * maps.std()
    ratio = periodogram(redrawn) / POWER
    assert np.abs(ratio - 1).max() < 5 / (2000 / 2) ** 0.5  # of some modes one real number a map counts
    assert abs(ratio.mean() - 1) < 4 * (2 / 2000 / POWER.size) ** 0.5


def test_a_margin_follows_from_what_is_inside():
    rng = np.random.default_rng(3)
    maps = np.repeat(gaussian_field(POWER, 1, rng=rng), 4000, axis=0).astype("float32")
    drawn = gaussian_margin(POWER, 4)(maps, rng).astype(float)
    covariance = np.fft.ifft2(POWER).real
    index = np.arange(24)
    lag = (index[:, None] - index) % 24
    full = covariance[lag[:, None, :, None], lag[None, :, None, :]].reshape(576, 576)
    inside = np.zeros((24, 24), bool)
    inside[4:-4, 4:-4] = True
    i, o = inside.ravel(), ~inside.ravel()
    gain = np.linalg.solve(full[np.ix_(i, i)], full[np.ix_(i, o)]).T
    mean = gain @ maps[0].ravel()[i].astype(float)
    variance = np.diag(full[np.ix_(o, o)] - gain @ full[np.ix_(i, o)])
    found = drawn.reshape(4000, -1)[:, o]
    assert np.abs((found.mean(axis=0) - mean) / np.sqrt(variance / 4000)).max() < 5
    assert np.abs(found.var(axis=0) / variance - 1).max() < 6 * (2 / 4000) ** 0.5


def test_without_a_margin_maps_stay():
    maps = np.ones((2, 24, 24), "float32")
    assert gaussian_margin(POWER, 0)(maps, np.random.default_rng(1)) is maps
