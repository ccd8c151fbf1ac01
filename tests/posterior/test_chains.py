"""Chains of a field: grouped for workers, put together as if they had been one batch."""

import numpy as np
import pytest

from analysis.posterior.chains import group_sizes, together
from analysis.posterior.diagnostics import Level


@pytest.mark.parametrize(
    ("chains", "batch", "sizes"),
    [
        (12, 6, [6, 6]),
        (12, 12, [12]),
        (13, 6, [5, 4, 4]),
        (3, 2, [3]),
        (2, 6, [2]),
        (16, 4, [4, 4, 4, 4]),
        (5, 2, [3, 2]),
    ],
)
def test_groups_are_even_and_leave_no_chain_alone(chains, batch, sizes):
    assert group_sizes(chains, batch) == sizes


def level(sigma, acceptance, stein, highest, evaluations, power):
    return Level(sigma, 0.1, acceptance, stein, highest, evaluations, power)


def test_health_of_groups_is_the_mean_over_their_chains():
    one = [level(0.5, 0.8, 0.99, 0.2, 10, (1.0, 2.0)), level(0.1, 1.0, np.nan, 0.3, 20, (1.0, 1.0))]
    other = [level(0.5, 0.2, 1.02, 0.4, 12, (4.0, 2.0)), level(0.1, 1.0, np.nan, 0.1, 22, (1.0, 1.0))]
    first, last = together([one, other], [4, 2])
    assert first.sigma == 0.5
    assert first.acceptance == pytest.approx(0.6)
    assert first.stein == pytest.approx(1.0)
    assert first.power == pytest.approx((2.0, 2.0))
    assert (first.highest, first.evaluations) == (0.4, 12)
    assert np.isnan(last.stein)
    assert (last.highest, last.evaluations) == (0.3, 22)
