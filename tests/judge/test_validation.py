"""What is reported of mocks, samples and clusters, and that each number says what it means."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from small_mocks import GRID, MASK, mocks_and_samples

from analysis.flatsky.lensing import shear_from_convergence
from analysis.judge import validation
from analysis.judge.definitions import definitions
from analysis.simulations.mocks import Mock, own_mock
from analysis.sky import Observation


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
    found = definitions(known)
    assert set(found) == {"accuracy.wiener.rmse", "accuracy.wiener.rmse_err", "cosmos.cluster_stack_snr"}
    assert "jackknife" in found["accuracy.wiener.rmse_err"]
    assert definitions({"clusters": {"cosmos": {"n": 5}}}) == {"clusters.cosmos.n": "clusters in the stack"}
    with pytest.raises(KeyError, match=r"cosmos\.beauty"):
        definitions({"cosmos": {"beauty": 1.0}})


def test_mocks_of_their_own_shear_keep_truth_and_noise():
    rng = np.random.default_rng(7)
    truth = 0.02 * rng.standard_normal((32, 32))
    weight = np.stack([MASK, MASK]) * 1e8  # so little noise that reduced shear would be seen
    given = Mock("test_0", truth, Observation(np.zeros_like(weight), weight, MASK, GRID), 3)
    mocks = [own_mock(mock, seed=1) for mock in (given, replace(given, name="test_1"))]
    assert [mock.name for mock in mocks] == ["own_test_0", "own_test_1"]
    shear = np.asarray(shear_from_convergence(truth[None]))[0]
    noise = np.stack([mock.observation.gamma - shear for mock in mocks])[:, :, MASK]
    assert abs(np.std(noise) * 1e4 - 1) < 0.1
    assert abs(np.corrcoef(noise.reshape(2, -1))[0, 1]) < 0.15
    for mock in mocks:
        assert (mock.observation.gamma[:, ~MASK] == 0).all()
        np.testing.assert_array_equal(mock.truth, truth)


def test_errors_at_peaks_are_freed_of_the_noise_of_few_samples():
    mocks, samples = mocks_and_samples(40, 4, 1.0)
    truths = np.stack([mock.truth for mock in mocks])
    found = validation.peak_accuracy(mocks, {"low": truths - 0.5, "posterior_mean": samples.mean(axis=1)}, samples)
    assert found["n"] > 400
    assert found["rms_error"]["low"] == pytest.approx(0.5)
    mean, infinite = (found["rms_error"][key] ** 2 for key in ("posterior_mean", "posterior_mean_infinite"))
    assert mean - infinite == pytest.approx(0.25, rel=0.1)
