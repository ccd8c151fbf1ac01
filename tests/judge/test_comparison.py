"""Methods side by side: known errors, powers and coverages, and rivals' maps read back."""

import numpy as np
import pytest
from astropy.table import Table
from small_mocks import GRID, MASK, mocks_and_samples

from analysis.core.files import BorderError
from analysis.core.tables import load_table, save_table
from analysis.judge.comparison import comparison_table, gaussian_samples
from analysis.judge.validation import accuracy_table
from analysis.rivals.baselines import load_rivals, save_baselines, save_rivals, timed_maps


def test_every_method_has_what_its_errors_make(tmp_path):
    mocks, samples = mocks_and_samples(24, 9, 1.0)
    truths = np.stack([mock.truth for mock in mocks])
    noise = np.random.default_rng(2).standard_normal(truths.shape)
    estimates = {"half": 0.5 * truths, "off": truths + 2 * noise, "posterior_mean": samples.mean(axis=1)}
    table = comparison_table(
        mocks,
        estimates,
        accuracy_table(mocks, estimates, samples),
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
    samples = gaussian_samples(tmp_path / "mock.fits", wiener)
    np.testing.assert_allclose(samples, wiener[:, None] + deviations, atol=1e-6)


def test_a_truth_without_peaks_has_no_error_there():
    mocks, samples = mocks_and_samples(3, 2, 1.0)
    for mock in mocks:
        mock.truth[MASK] *= 1e-3
    estimates = {"posterior_mean": samples.mean(axis=1)}
    errors = {"method": np.array(["posterior_mean"] * 3)}
    errors |= {f"accuracy.{name}": np.ones(3) for name in ("rmse", "pearson", "mse_infinite")}
    table = comparison_table(mocks, estimates, Table(errors), samples={}, edges=np.geomspace(3000, 9000, 3))
    assert np.isnan(table["peak_rms"][0])


def test_rivals_are_timed_and_read_back_by_the_name_of_the_mock(tmp_path):
    shears = [np.full((2, 32, 32), float(i)) for i in range(3)]
    maps, seconds = timed_maps({"sparse": lambda g: g[0], "deepmass": lambda g: 2 * g[1]}, shears)
    assert set(seconds) == {"sparse", "deepmass"}
    assert all(0 <= value < 1 for value in seconds.values())
    save_rivals(tmp_path, maps, [f"test_0{i}" for i in range(3)], GRID, cards={"PROFILE": "tiny"})
    found = load_rivals(tmp_path, ["test_02", "test_01"])
    np.testing.assert_array_equal(found["deepmass"][:, 0, 0], [4, 2])
    np.testing.assert_array_equal(found["sparse"][:, 0, 0], [2, 1])
    with pytest.raises(BorderError, match=r"test_09\.fits"):
        load_rivals(tmp_path, ["test_09"])
