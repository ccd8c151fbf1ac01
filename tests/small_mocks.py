"""Mocks whose truths lie about known means as exact posterior samples would."""

import numpy as np

from analysis.simulations.mocks import Mock
from analysis.sky import Grid, Observation

GRID = Grid(32, 0.82, 150.0, 2.0)


MASK = np.zeros((32, 32), bool)


MASK[6:26, 6:26] = True


def mocks_and_samples(n_mocks, n_samples, spread):
    """Mocks whose truths lie about a known mean as exact posterior samples of unit variance would."""
    rng = np.random.default_rng(1)
    means = 3 * rng.standard_normal((n_mocks, 32, 32))
    weight = np.stack([MASK, MASK]).astype(float)
    mocks = [
        Mock(f"test_{i}", mean + rng.standard_normal((32, 32)), Observation(weight, weight, MASK, GRID), i // 4)
        for i, mean in enumerate(means)
    ]
    return mocks, means[:, None] + spread * rng.standard_normal((n_mocks, n_samples, 32, 32))
