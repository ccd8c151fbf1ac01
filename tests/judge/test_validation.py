"""Accuracy and spread on mocks with known errors, and methods side by side: known powers and coverages."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from small_mocks import GRID, MASK, mocks_and_samples

from analysis.core.files import BorderError
from analysis.core.tables import load_table, save_table
from analysis.flatsky.lensing import shear_from_convergence
from analysis.judge import validation
from analysis.rivals.baselines import load_rivals, save_baselines, save_rivals, timed_maps
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


def test_every_method_has_what_its_errors_make(tmp_path):
    mocks, samples = mocks_and_samples(24, 9, 1.0)
    truths = np.stack([mock.truth for mock in mocks])
    noise = np.random.default_rng(2).standard_normal(truths.shape)
    estimates = {"half": 0.5 * truths, "off": truths + 2 * noise, "posterior_mean": samples.mean(axis=1)}
    table = validation.comparison_table(
        mocks,
        estimates,
        validation.accuracy_table(mocks, estimates, samples),
        samples={"posterior_mean": samples},
        edges=np.geomspace(3000, 9000, 3),
    )
    save_table(table, tmp_path / "rivals.ecsv")
    half, off, mean = load_table(tmp_path / "rivals.ecsv")
    assert [row["method"] for row in (half, off, mean)] == list(estimates)
    assert off["rmse"] == pytest.approx(2, rel=0.02)
    assert half["pearson"] == pytest.approx(1)
    assert mean["rmse"] == pytest.approx(np.sqrt(1 + 1 / 9), rel=0.02)
    assert mean["rmse_infinite"] == pytest.approx(1, rel=0.02)
    assert abs(mean["coverage68"] - 0.68) < 0.02
    assert 0 < mean["coverage68_err"] < 0.02
    np.testing.assert_allclose(half["power_ratio"], 0.25)
    np.testing.assert_allclose(off["power_ratio"], 1.4, rtol=0.05)
    assert off["peak_rms"] == pytest.approx(2, rel=0.05)
    assert np.isnan([half["coverage68"], half["coverage68_err"]]).all()


def test_the_gaussian_posterior_of_other_data_has_the_same_spread(tmp_path):
    rng = np.random.default_rng(3)
    wiener = rng.standard_normal((3, 32, 32))
    deviations = rng.standard_normal((5, 32, 32))
    baselines = {"wiener": wiener[0], "realisations": wiener[0] + deviations}
    save_baselines(tmp_path / "mock.fits", baselines, GRID, cards={"PROFILE": "tiny"})
    samples = validation.gaussian_samples(tmp_path / "mock.fits", wiener)
    np.testing.assert_allclose(samples, wiener[:, None] + deviations, atol=1e-6)


def test_a_truth_without_peaks_has_no_error_there():
    mocks, samples = mocks_and_samples(3, 2, 1.0)
    for mock in mocks:
        mock.truth[MASK] *= 1e-3
    estimates = {"posterior_mean": samples.mean(axis=1)}
    errors = {"method": np.array(["posterior_mean"] * 3)}
    errors |= {f"accuracy.{name}": np.ones(3) for name in ("rmse", "pearson", "mse_infinite")}
    table = validation.comparison_table(mocks, estimates, Table(errors), samples={}, edges=np.geomspace(3000, 9000, 3))
    assert np.isnan(table["peak_rms"][0])


def test_rivals_are_timed_and_read_back_by_the_name_of_the_mock(tmp_path):
    shears = [np.full((2, 32, 32), float(i)) for i in range(3)]
    maps, seconds = timed_maps({"sparse": lambda g: g[:, 0], "deepmass": lambda g: 2 * g[:, 1]}, shears)
    assert set(seconds) == {"sparse", "deepmass"}
    assert all(0 <= value < 1 for value in seconds.values())
    save_rivals(tmp_path, maps, [f"test_0{i}" for i in range(3)], GRID, cards={"PROFILE": "tiny"})
    found = load_rivals(tmp_path, ["test_02", "test_01"])
    np.testing.assert_array_equal(found["deepmass"][:, 0, 0], [4, 2])
    np.testing.assert_array_equal(found["sparse"][:, 0, 0], [2, 1])
    with pytest.raises(BorderError, match=r"test_09\.fits"):
        load_rivals(tmp_path, ["test_09"])
