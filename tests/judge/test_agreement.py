"""Two samplers of one posterior agree, and two posteriors do not."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from analysis.flatsky.power import gaussian_field
from analysis.judge.agreement import (
    DENSITY_BINS,
    HEIGHTS,
    checked_runs,
    densities,
    field_agreement,
    mean_difference,
    mock_agreement,
    peak_counts,
)
from analysis.judge.calibration import STATISTICS
from analysis.params import load_params

POWER, PIXEL = np.full((48, 48), 4e-4), 0.82


def test_samples_of_one_law_agree_and_a_larger_amplitude_is_seen():
    rng, mask = np.random.default_rng(3), np.arange(48)[:, None] * np.ones(48) > 8
    mean = gaussian_field(POWER, 1, rng=rng)[0]
    first, same, wider = (mean + a * gaussian_field(POWER, 40, rng=rng) for a in (1.0, 1.0, 1.15))
    found = field_agreement(first, same, mask, PIXEL)
    assert found["mean_difference_rms"] == pytest.approx((39 / 38) ** 0.5, abs=5 * (1 / 2 / mask.sum()) ** 0.5)
    z = (found["band_ratio"] - 1) / found["band_ratio_err"]
    assert np.abs(z).max() < 3.5
    assert found["n"] == [40, 40]
    assert found["peaks"][0][0] > 10
    off = field_agreement(wider, same, mask, PIXEL)
    assert ((off["band_ratio"] - 1) / off["band_ratio_err"]).sum() / len(z) ** 0.5 > 4
    moved = field_agreement(first + 0.02, same, mask, PIXEL)
    assert moved["mean_difference_rms"] > 3


def test_the_difference_of_means_is_in_units_of_its_error():
    first = np.zeros((5, 2, 2)) + np.array([0, 1, 2, 3, 4])[:, None, None]
    second = np.zeros((3, 2, 2)) + np.array([4, 6, 8])[:, None, None]
    np.testing.assert_allclose(mean_difference(first, second), -4 / np.hypot((2.5 / 5) ** 0.5, (4 / 3) ** 0.5))


def test_peaks_are_those_of_observed_pixels_by_height():
    samples = np.zeros((1, 20, 20))
    for place, height in (((5, 5), 0.03), ((5, 12), 0.05), ((12, 5), 0.9), ((15, 15), 0.5)):
        samples[(0, *place)] = height
    mask = np.ones((20, 20), bool)
    mask[14:, 14:] = False
    counts = peak_counts(samples, mask)[0]
    assert counts.tolist() == [1, 1, 0, 0, 0, 1]
    assert len(counts) == len(HEIGHTS)


def test_densities_of_observed_pixels_have_unit_area():
    samples = np.random.default_rng(4).normal(0.03, 0.01, (3, 16, 16))
    samples[:, :4] = 9.0
    mask = np.ones((16, 16), bool)
    mask[:4] = False
    assert np.sum(densities(samples, mask) * np.diff(DENSITY_BINS)) == pytest.approx(1)


def test_paired_mocks_see_what_their_scatter_would_hide():
    rng, n = np.random.default_rng(5), 60
    truth = rng.lognormal(0, 0.2, n)
    first, second = (
        Table({f"{name}_mean": a * truth * (1 + 0.02 * rng.standard_normal(n)) for name in STATISTICS})
        for a in (1.05, 1.0)
    )
    found = mock_agreement(first, second[:50])
    for ratio, error in zip(found["band_ratio"], found["band_ratio_err"], strict=True):
        assert error == pytest.approx(0.02 * 2**0.5 / 50**0.5, rel=0.35)
        assert abs(ratio - 1.05) < 4 * error
    assert min(found["z"].values()) > 4


def test_the_run_that_another_sampler_repeats_is_found():
    params = load_params().sample
    assert checked_runs(params) == {"cosmos": "cosmos_gibbs"}
    turned = dataclasses.replace(params.fields["cosmos_gibbs"], rotate_deg=90.0)
    assert checked_runs(dataclasses.replace(params, fields=params.fields | {"cosmos_gibbs": turned})) == {}
    assert checked_runs(dataclasses.replace(params, preset="gibbs")) == {}
