"""Calibration mocks: cut-outs that hide nothing of the truth but their noise, and ranks that find a bad posterior."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.maps import MapSet, central_crops
from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.judge.calibration import (
    BANDS,
    NOISE_CLASSES,
    STATISTICS,
    calibrate_mock,
    calibration_summary,
    cut_out,
    deepest_minima,
    moved_summary,
    piece_of_field,
    statistics_moved,
    strays,
    summaries,
    under_field,
)
from analysis.judge.mock_runs import calibrated, judging_rng
from analysis.params import load_params
from analysis.posterior.wiener import gaussian_posterior_draws
from analysis.prior.margin import gaussian_margin
from analysis.prior.score import Prior

SIDE, MARGIN, PIXEL = 32, 4, 0.82
POWER = 4e-3 * (np.maximum(ell_grid((SIDE, SIDE), PIXEL), 500) / 500) ** -1.5


def field_weight():
    """A field of 40 x 40 pixels in the middle of 64 x 64, with three depths."""
    weight = np.zeros((2, 64, 64))
    weight[:, 12:52, 12:52] = np.repeat([300.0, 500.0, 700.0, 900.0], 10)
    return weight


def maps(n=6):
    kappa = gaussian_field(
        4e-3 * (np.maximum(ell_grid((48, 48), PIXEL), 500) / 500) ** -1.5, n, rng=np.random.default_rng(1)
    )
    return MapSet(kappa.astype("float32"), np.arange(n) // 2)


@pytest.mark.parametrize("kind", ["own", "sky"])
def test_a_cut_out_shows_its_truth_but_for_the_noise(kind):
    residuals = []
    for seed in range(40):
        mock = cut_out(maps(), 1e3 * field_weight(), SIDE, MARGIN, kind, rng=np.random.default_rng(seed))
        assert mock.truth.shape == (SIDE, SIDE)
        assert mock.box in (0, 1, 2)
        seen = mock.weight > 0
        assert not seen[:, :MARGIN].any()
        assert not seen[:, :, -MARGIN:].any()
        assert not mock.gamma[~seen].any()
        shear = np.asarray(shear_from_convergence(mock.truth[None]))[0]
        residuals.append(((mock.gamma - shear) * np.sqrt(mock.weight))[seen])
    chi_squared = np.mean(np.concatenate(residuals) ** 2)
    if kind == "own":
        assert abs(chi_squared - 1) < 0.02
    else:  # the truth's own periodic shear is not what the sky shows
        assert chi_squared > 2


def test_the_margin_of_an_own_truth_is_drawn_anew_and_what_is_observed_stays():
    inner, jumps = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN], np.zeros(2)
    redrawn = gaussian_margin(POWER, MARGIN)
    for seed in range(10):
        plain, own, sky, same_sky = (
            cut_out(maps(), field_weight(), SIDE, MARGIN, kind, rng=np.random.default_rng(seed), redrawn=function).truth
            for kind, function in (("own", None), ("own", redrawn), ("sky", None), ("sky", redrawn))
        )
        np.testing.assert_allclose(own[inner], plain[inner], rtol=1e-6)
        np.testing.assert_array_equal(same_sky, sky)
        jumps += [np.sum((one[0] - one[-1]) ** 2) + np.sum((one[:, 0] - one[:, -1]) ** 2) for one in (plain, own)]
    assert jumps[1] < 0.75 * jumps[0]  # the seam of the torus


def test_sky_truths_keep_away_from_the_seam_of_their_map():
    central = np.sort(central_crops(maps().kappa, SIDE).reshape(6, -1), axis=1)
    for seed in range(10):  # maps so small that the middle is all that is far from the seam
        truth = cut_out(maps(), field_weight(), SIDE, MARGIN, "sky", rng=np.random.default_rng(seed)).truth
        assert np.any(np.all(np.sort(truth.ravel()) == central, axis=1))


def test_pieces_lie_in_the_field():
    weight = field_weight()
    for seed in range(20):
        piece = piece_of_field(weight, SIDE, MARGIN, rng=np.random.default_rng(seed))
        assert (piece[:, MARGIN:-MARGIN, MARGIN:-MARGIN] > 0).all()
        assert set(np.unique(piece[piece > 0])) <= {300.0, 500.0, 700.0, 900.0}
    everywhere = piece_of_field(np.ones((2, SIDE, SIDE)), SIDE, MARGIN, rng=np.random.default_rng(1))
    assert everywhere[:, MARGIN:-MARGIN, MARGIN:-MARGIN].all()


def test_places_are_chosen_without_the_truth():
    mock = cut_out(maps(), field_weight(), SIDE, MARGIN, "own", rng=np.random.default_rng(2))
    wiener = np.random.default_rng(3).standard_normal((SIDE, SIDE))
    fixed = np.random.default_rng(5).standard_normal((SIDE, SIDE))
    for seed in range(5):
        measured = [
            summaries(one, wiener, MARGIN, PIXEL, rng=np.random.default_rng(seed))(fixed)
            for one in (mock, dataclasses.replace(mock, truth=mock.truth[::-1].copy()))
        ]
        assert measured[0] == measured[1]


def test_the_reference_point_of_tarp_does_not_know_the_truth(monkeypatch):
    mock = cut_out(maps(), field_weight(), SIDE, MARGIN, "own", rng=np.random.default_rng(2))
    samples = gaussian_posterior_draws(mock.gamma, mock.weight, POWER, 4, rng=np.random.default_rng(3))
    references = []
    monkeypatch.setattr(
        "analysis.judge.calibration.ranks.tarp_rank", lambda truth, drawn, point: references.append(point)
    )
    for truth in (mock.truth, mock.truth[::-1].copy()):
        one = dataclasses.replace(mock, truth=truth)
        calibrate_mock(one, samples, Prior(POWER, PIXEL, margin=MARGIN), rng=np.random.default_rng(4))
    np.testing.assert_array_equal(*references)


def test_two_samplers_of_a_mock_are_judged_alike():
    """At the same places, against the same draws, however many random numbers each has used."""
    params = load_params()
    mock = cut_out(maps(), field_weight(), SIDE, MARGIN, "own", rng=np.random.default_rng(2))

    def anneal(gamma, weight, n, *, reduced, rng):
        return gaussian_posterior_draws(gamma, weight, POWER, n, rng=rng), None

    rows = [
        calibrated(mock, params, Prior(POWER, PIXEL, margin=MARGIN), anneal, rng, judging_rng(params, "own", 3))
        for rng in map(np.random.default_rng, (5, 6))
    ]
    alike = [name for name in rows[0] if name.endswith(("_truth", "_gaussian"))]
    assert len(alike) == len(STATISTICS) + 2
    assert [rows[0][name] for name in alike] == [rows[1][name] for name in alike]
    assert rows[0]["band_0_mean"] != rows[1]["band_0_mean"]


def test_every_statistic_is_measured():
    mock = cut_out(maps(), field_weight(), SIDE, MARGIN, "own", rng=np.random.default_rng(2))
    wiener = np.random.default_rng(3).standard_normal((SIDE, SIDE))
    measured = summaries(mock, wiener, MARGIN, PIXEL, rng=np.random.default_rng(4))(mock.truth)
    assert tuple(measured) == STATISTICS
    assert all(np.isfinite(value) for value in measured.values())
    assert measured["highest_peak"] == mock.truth[MARGIN:-MARGIN, MARGIN:-MARGIN].max()
    deepest = max(mock.weight[0][mock.truth == measured[f"pixel_{name}"]].item() for name in NOISE_CLASSES)
    assert deepest == measured_weight(mock, measured["pixel_deep"])


def measured_weight(mock, value):
    """Weight of the pixel that has a value of the truth."""
    return mock.weight[0][mock.truth == value].item()


def test_deepest_minima_are_those_of_the_map():
    y, x = np.mgrid[:24, :24]
    field = np.stack([0.0 * y, 0.1 * y + 0.01 * x])  # the second has no minimum but the one below
    for number in range(12):
        field[0, 6 * (number // 4) + 3, 5 * (number % 4) + 3] = -number - 1.0
    field[1, 12, 12] = -5.0
    deepest = deepest_minima(field)
    assert deepest[0] == pytest.approx(-np.mean(np.arange(3, 13)))
    assert deepest[1] == pytest.approx(-5.0)  # one minimum, and the deepest pixel


def test_chains_that_keep_their_truth_have_not_moved_and_others_have():
    rng, rows = np.random.default_rng(9), []
    for number in range(60):
        truth = gaussian_field(POWER, 1, rng=rng)[0]
        mock = under_field(truth, field_weight(), MARGIN, box=number, rng=rng)
        shear = np.asarray(shear_from_convergence(truth[None]))[0]
        assert np.std(((mock.gamma - shear) * np.sqrt(mock.weight))[mock.weight > 0]) == pytest.approx(1, abs=0.15)
        prior = Prior(POWER, PIXEL, margin=MARGIN)
        exact = gaussian_posterior_draws(mock.gamma, mock.weight, POWER, 8, rng=rng)
        row = {f"{name}_truth": value for name, value in truth_statistics(mock, rng).items()}
        for kind, moved in (("exact", exact), ("wide", 1.1 * exact)):
            found = statistics_moved(mock, moved, prior, rng=rng)
            rows.append({"kind": kind} | row | {f"{name}_moved": value for name, value in found.items()})
    table = Table(rows)
    exact, wide = (moved_summary(table[table["kind"] == kind]) for kind in ("exact", "wide"))
    assert max(map(abs, exact["moved_z"].values())) < 3.5
    assert max(wide["moved_z"][f"band_{i}"] for i in range(BANDS)) > 5
    departure = np.abs(np.array(exact["moved_band_ratio"]) - 1)
    assert (departure < 3.5 * np.array(exact["moved_band_ratio_err"])).all()
    np.testing.assert_allclose(np.divide(wide["moved_band_ratio"], exact["moved_band_ratio"]), 1.21, rtol=1e-3)


def truth_statistics(mock, rng):
    return summaries(mock, np.zeros((SIDE, SIDE)), MARGIN, PIXEL, rng=rng)(mock.truth)


@pytest.mark.parametrize(("spread", "calibrated"), [(1.0, True), (0.8, False)])
def test_exact_samples_pass_and_narrow_ones_fail(spread, calibrated):
    rows = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        truth = gaussian_field(POWER, 1, rng=rng).astype("float32")
        mock = cut_out(MapSet(truth, np.array([seed])), field_weight(), SIDE, MARGIN, "own", rng=rng)
        samples = gaussian_posterior_draws(mock.gamma, mock.weight, POWER, 19, rng=rng)
        samples = samples.mean(axis=0) + spread * (samples - samples.mean(axis=0))
        rows.append(calibrate_mock(mock, samples, Prior(POWER, PIXEL, margin=MARGIN), rng=rng))
    summary = calibration_summary(Table(rows), 19, seed=1)
    assert summary["n_boxes"] == 120
    assert summary["stray_share"] is None
    known = Table([row | {"strays": number} for row, number in zip(rows, [-1, 0, 3] * 40, strict=True)])
    assert calibration_summary(known, 19, seed=1)["stray_share"] == pytest.approx(1.5 / 19)
    assert (abs(summary["coverage68"] - 0.68) < 3.3 * summary["coverage68_err"]) == calibrated
    assert (abs(summary["mse_ratio_over_ideal"] - 1) < 3.3 * summary["mse_ratio_over_ideal_err"]) == calibrated
    assert (summary["tarp_max_deviation"] < summary["tarp_band95"]) == calibrated
    for score in ("crps", "energy"):  # the samples are draws of the Gaussian posterior, or narrower ones
        excess = summary[f"{score}_over_gaussian"] - 1
        assert (excess < 3.3 * summary[f"{score}_over_gaussian_err"]) == calibrated
    if calibrated:
        assert summary["sbc_min_p_holm"] > 1e-3


def test_a_band_without_a_mode_has_no_power_and_no_ratio():
    """Mocks of 16 pixels, as the profile tiny has them."""
    power = np.full((16, 16), 1e-3)
    rng = np.random.default_rng(6)
    rows = []
    for _ in range(3):
        mock = cut_out(maps(), field_weight(), 16, MARGIN, "own", rng=rng)
        samples = gaussian_posterior_draws(mock.gamma, mock.weight, power, 3, rng=rng)
        rows.append(calibrate_mock(mock, samples, Prior(power, PIXEL, margin=MARGIN), rng=rng))
    assert all(np.isfinite(value) for row in rows for value in row.values())
    ratios = calibration_summary(Table(rows), 3, seed=1)["truth_over_samples_by_band"]
    assert 0 < len(ratios) < BANDS
    assert all(np.isfinite(value) for value in ratios.values())


def test_samples_that_go_up_to_the_bound_alone_are_strays():
    samples = np.zeros((3, 8, 8))
    samples[1, 0, 0] = 0.95
    truth = np.full((8, 8), 0.1)
    assert strays(samples, truth, 1.0) == 1
    assert strays(samples, truth + 0.5, 1.0) == -1  # a truth that comes near
    assert strays(samples, truth, None) == -1
