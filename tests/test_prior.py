"""The prior alone: what is said of its samples beside held-out maps, and when it ends a run."""

import numpy as np
import pytest
from astropy.table import Table

from analysis.files import BorderError
from analysis.prior import check_prior, prior_health


def test_prior_health_tells_a_runaway_and_a_lack_of_power():
    maps = 0.02 * np.random.default_rng(3).standard_normal((12, 32, 32))
    chain = Table({"stein": [0.98, 1.01, np.nan], "sigma": [0.5, 0.1, 0.02], "highest": [0.02, 0.3, 0.4]})
    same = prior_health(maps, chain, maps, maps.max(), 0.82, margin=4)
    assert same["runaway"] == 0
    assert same["runaway_sigma"] == 0.1
    assert same["stein_error"] == pytest.approx(0.02)
    np.testing.assert_allclose(same["band_power_ratio"], 1)
    assert same["peak_count_excess"] == 0
    assert same["at_bound"] == same["at_bound_held_out"] < 1
    other = prior_health(2 * maps, chain, maps, maps.max(), 0.82, margin=4)
    assert other["runaway"] == 1
    np.testing.assert_allclose(other["band_power_ratio"], 4)
    assert other["peak_count_excess"] > 1
    assert other["at_bound"] == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"runaway": 1, "runaway_sigma": 0.03}, "a runaway at noise 0.03"),
        ({"band_power_max_departure": 0.2}, "power 0.20 off"),
        ({"at_bound": 0.08}, "8 % of samples at the bound"),
        ({"peak_count_excess": 1.5}, "peak counts 1.50 times"),
    ],
)
def test_a_prior_that_is_none_ends_a_run(fault, told):
    good = {"band_power_max_departure": 0.05, "peak_count_excess": 0.5}
    good |= {"n": 256, "runaway": 0, "runaway_sigma": None, "at_bound": 0.03, "at_bound_held_out": 0.02}
    check_prior(good)
    with pytest.raises(BorderError, match=told):
        check_prior(good | fault)
