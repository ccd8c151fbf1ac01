"""The prior alone: what is said of its samples beside held-out maps, and when it ends a run."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.flatsky.maps import MapSet
from analysis.judge.prior_checks import planted_peaks, prior_health, prior_verdict


def test_prior_health_tells_a_runaway_and_a_lack_of_power():
    maps = 0.02 * np.random.default_rng(3).standard_normal((12, 32, 32))
    held_out = MapSet(maps, np.arange(12) // 4)
    chain = Table(
        {
            "stein": [0.98, 1.01, np.nan],
            "sigma": [0.5, 0.1, 0.02],
            "highest": [0.02, 0.3, 0.4],
            "power": np.ones((3, 4)),
        }
    )
    judged = {"training_max": maps.max(), "pixel_arcmin": 0.82, "margin": 4}
    same = prior_health(maps, chain, held_out, rng=np.random.default_rng(1), **judged)
    assert same["runaway"] == 0
    assert same["runaway_sigma"] == 0.1
    assert same["stein_error"] == pytest.approx(0.02)
    np.testing.assert_allclose(same["band_power_ratio"], 1)
    assert same["peak_count_excess"] == 0
    assert same["at_bound"] == same["at_bound_held_out"] < 1
    assert same["band_power_excess"] <= 0
    other = prior_health(2 * maps, chain, held_out, rng=np.random.default_rng(1), **judged)
    assert other["band_power_excess"] > 10
    assert other["runaway"] == 1
    np.testing.assert_allclose(other["band_power_ratio"], 4)
    assert other["peak_count_excess"] > 1
    assert other["at_bound"] == 1
    assert other["deepest_excess"] > 1 > same["deepest_excess"] == 0
    assert other["minimum_count_excess"] > 1 > same["minimum_count_excess"] == 0


@pytest.mark.parametrize(("gain", "passes"), [(0.0, True), (0.1, False)])
def test_planted_peaks_that_feed_themselves_are_seen(gain, passes):
    """Ten draws that each raise what they find by `gain`, in place of a network's steps."""
    prior = SimpleNamespace(highest=1.2, noise_range=(0.003, 1.0))
    maps = 0.01 * np.random.default_rng(6).standard_normal((20, 32, 32)).astype("float32")

    def fall(noisy, sigmas, **_):
        assert noisy.shape == (48, 32, 32)
        assert sigmas[0] == pytest.approx(0.03)
        assert sigmas[-1] == pytest.approx(0.003)
        return noisy * (1 + gain) ** 10

    found = planted_peaks(prior, fall, maps, rng=np.random.default_rng(7))
    np.testing.assert_allclose(found["planted_height"], [0.36, 0.6, 0.84])
    expected = np.array([0.36, 0.6, 0.84]) * ((1 + gain) ** 10 - 1) / 0.03
    # the draws here keep the noise whole: its mean over 16 maps has an error of a quarter
    np.testing.assert_allclose(found["planted_change"], expected, atol=4 * 0.25 * (1 + gain) ** 10)
    assert (found["planted_worst"] <= 2) == passes


def test_peaks_higher_than_any_bin_count():
    low = 0.02 * np.random.default_rng(4).standard_normal((40, 32, 32))
    high = low.copy()
    high[:, 16, 16] = 0.7
    chain = Table({"stein": [1.0], "sigma": [0.5], "highest": [0.7], "power": [[1.0]]})
    found = prior_health(high, chain, MapSet(low, np.arange(40)), 0.8, 0.82, rng=np.random.default_rng(1), margin=4)
    assert found["peak_count_excess"] > 1
    assert found["at_bound"] == 0


def test_the_error_of_the_power_is_that_of_boxes():
    rng = np.random.default_rng(5)
    amplitude = np.repeat(1 + 0.3 * rng.standard_normal(8), 16)[:, None, None]
    maps = amplitude * rng.standard_normal((128, 32, 32))
    chain = Table({"stein": [1.0], "sigma": [0.5], "highest": [1.0], "power": [[1.0]]})
    errors = [
        np.mean(
            prior_health(maps, chain, MapSet(maps, box), 10.0, 0.82, rng=np.random.default_rng(1))[
                "band_power_ratio_err"
            ]
        )
        for box in (np.arange(128), np.arange(128) // 16)
    ]
    assert errors[1] > 1.5 * errors[0]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"runaway": 1, "runaway_sigma": 0.03}, "a runaway at noise 0.03"),
        ({"band_power_max_departure": 0.2, "band_power_excess": 1.2}, "power 0.20 off"),
        ({"at_bound": 0.08}, "8 % of samples at the bound"),
        ({"peak_count_excess": 1.5}, "peak counts 1.50 tolerances off"),
        ({"minimum_count_excess": 1.2}, "counts of minima 1.20 tolerances off"),
        ({"deepest_excess": 2.0}, "the deepest pixel 2.00 tolerances off"),
        ({"planted_worst": 5.5}, "planted peaks 5.5 noises off"),
        ({"planted_worst": np.nan}, "planted peaks nan noises off"),
    ],
)
def test_a_prior_that_fails_is_told_and_ends_a_run_where_that_is_asked_for(fault, told):
    good = {"band_power_max_departure": 0.05, "peak_count_excess": 0.5, "band_power_excess": 0.9}
    good |= {"n": 256, "runaway": 0, "runaway_sigma": None, "at_bound": 0.03, "at_bound_allowed": 0.06}
    good |= {"minimum_count_excess": 0.2, "deepest_excess": 0.1, "planted_worst": 0.4}
    assert prior_verdict(good, fatal=True) == "The prior passes its test."
    assert told in prior_verdict(good | fault, fatal=False)
    with pytest.raises(BorderError, match=told):
        prior_verdict(good | fault, fatal=True)
