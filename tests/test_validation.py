"""What is reported of mocks, samples and clusters, and that each number says what it means."""

import numpy as np
import pytest
from astropy.table import Table

from analysis import validation
from analysis.files import BorderError
from analysis.mocks import Mock
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


def test_accuracy_takes_the_noise_of_few_samples_away():
    mocks, samples = mocks_and_samples(24, 4, 1.0)
    worse = np.stack([mock.truth for mock in mocks]) + np.random.default_rng(2).standard_normal((24, 32, 32)) * 2
    estimates = {
        "wiener": worse,
        "posterior_mean": samples.mean(axis=1),
        "posterior_median": np.median(samples, axis=1),
    }
    table = validation.accuracy_table(mocks, estimates, samples)
    for convention in validation.CONVENTIONS:
        result = validation.accuracy(table, convention)
        mean = result["posterior_mean"]
        assert mean["rmse"] == pytest.approx(np.sqrt(1.25), rel=0.02)
        assert mean["rmse_infinite"] == pytest.approx(1, rel=0.02)
        # means of variance 9, truths of variance 9 + 1
        assert mean["pearson"] == pytest.approx(9 / np.sqrt(10 * 9.25), rel=0.005)
        assert mean["pearson_infinite"] == pytest.approx(9 / np.sqrt(10 * 9), rel=0.005)
        assert result["rmse_ratio_to_wiener"] == pytest.approx(0.5, rel=0.02)
        assert 0 < result["rmse_ratio_to_wiener_err"] < 0.02


def test_spread_of_exact_samples_is_ideal_and_of_narrow_ones_is_not():
    edges = np.geomspace(3000, 9000, 3)
    for spread, ideal in ((1.0, True), (0.5, False)):
        result = validation.posterior_spread(*mocks_and_samples(64, 4, spread), edges)
        assert (abs(result["spread"]["mse_ratio_over_ideal"] - 1) < 0.03) is ideal
        power = 1 if ideal else (9 + 0.25) / 10
        np.testing.assert_allclose(result["spectrum"]["sample_to_truth"], power, rtol=0.03)


def test_prior_health_tells_a_runaway_and_a_lack_of_power():
    maps = 0.02 * np.random.default_rng(3).standard_normal((12, 32, 32))
    chain = Table({"stein": [0.98, 1.01, np.nan], "sigma": [0.5, 0.1, 0.02], "highest": [0.02, 0.3, 0.4]})
    same = validation.prior_health(maps, chain, maps, maps.max(), 0.82, margin=4)
    assert same["runaway"] == 0
    assert same["runaway_sigma"] == 0.1
    assert same["stein_error"] == pytest.approx(0.02)
    np.testing.assert_allclose(same["band_power_ratio"], 1)
    assert same["peak_count_excess"] == 0
    other = validation.prior_health(2 * maps, chain, maps, maps.max(), 0.82, margin=4)
    assert other["runaway"] == 1
    np.testing.assert_allclose(other["band_power_ratio"], 4)
    assert other["peak_count_excess"] > 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"runaway": 1, "runaway_sigma": 0.03}, "a runaway at noise 0.03"),
        ({"band_power_max_departure": 0.2}, "power 0.20 off"),
        ({"peak_count_excess": 1.5}, "peak counts 1.50 times"),
    ],
)
def test_a_prior_that_is_none_ends_a_run(fault, told):
    good = {"runaway": 0, "runaway_sigma": None, "band_power_max_departure": 0.05, "peak_count_excess": 0.5}
    validation.check_prior(good)
    with pytest.raises(BorderError, match=told):
        validation.check_prior(good | fault)


def test_clusters_stand_out_of_a_map_that_has_them():
    rng = np.random.default_rng(4)
    kappa = 0.02 * rng.standard_normal((32, 32))
    y, x = np.nonzero(MASK)
    chosen = rng.choice(len(x), 30, replace=False)
    placed = Table({"x": x[chosen].astype(float), "y": y[chosen].astype(float)})
    with_clusters = kappa.copy()
    with_clusters[y[chosen], x[chosen]] += 0.04
    stacks = validation.cluster_stacks({"with": with_clusters, "without": kappa}, placed, MASK, seed=5)
    assert stacks["n"] == 30
    assert stacks["with"] > 5
    assert abs(stacks["without"]) < 3


def test_every_metric_has_one_definition_and_an_unknown_one_is_told():
    known = {"accuracy": {"wiener": {"rmse": 1.0, "rmse_err": 0.1}}, "cosmos": {"cluster_stack_snr": 5.0}}
    found = validation.definitions(known)
    assert set(found) == {"accuracy.wiener.rmse", "accuracy.wiener.rmse_err", "cosmos.cluster_stack_snr"}
    assert "standard error" in found["accuracy.wiener.rmse_err"]
    assert validation.definitions({"clusters": {"cosmos": {"n": 5}}}) == {"clusters.cosmos.n": "clusters in the stack"}
    with pytest.raises(KeyError, match=r"cosmos\.beauty"):
        validation.definitions({"cosmos": {"beauty": 1.0}})
