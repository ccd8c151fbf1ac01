"""The likelihood's score against the slope of its logarithm."""

import numpy as np
import pytest

from analysis.lensing import shear_from_convergence
from analysis.posterior import likelihood_score


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
