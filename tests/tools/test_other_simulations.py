"""Truths of other simulations: their maps on the grid of a field, what is refused, and an exact Gaussian posterior."""

import dataclasses
import re

import h5py
import numpy as np
import pytest
from astropy.io import fits

from analysis.core.files import BorderError
from analysis.flatsky.power import ell_grid, gaussian_field, grid_power, multipole_edges
from analysis.judge.metrics import remy_rmse
from analysis.params import load_params
from analysis.posterior.wiener import gaussian_posterior_draws
from analysis.prior.score import Prior
from analysis.sky import Grid, Observation
from analysis.tools import other_simulations as other

GRID = Grid(32, 0.82, 150.0, 2.0)
ELL = np.array([100.0, 1000.0, 30000.0])
C_ELL = np.array([2e-8, 2e-9, 2e-11])  # sr; rms 0.02 in a pixel
POWER = grid_power(ELL, C_ELL, GRID.shape, GRID.pixel_arcmin)
POWER[0, 0] = POWER[0, 1]
PRIOR = Prior(POWER, GRID.pixel_arcmin)
EDGES = multipole_edges(GRID.pixels, GRID.pixel_arcmin)


def observation():
    """The middle 24 x 24 pixels, each with shear noise of 0.1, half as much on the left."""
    weight = np.zeros((2, *GRID.shape))
    weight[:, 4:28, 4:28] = 100.0
    weight[:, 4:28, 4:16] = 400.0
    return Observation(np.zeros_like(weight), weight, weight[0] > 0, GRID, "a field")


def a_map(side=64):
    return np.random.default_rng(5).standard_normal((side, side)).astype("float32")


# reading


@pytest.mark.parametrize("ending", ["fits", "npy", "h5"])
def test_a_file_of_each_format_gives_its_map(tmp_path, ending):
    path, kappa = tmp_path / f"map.{ending}", a_map()
    if ending == "fits":
        fits.writeto(path, kappa)
    elif ending == "npy":
        np.save(path, kappa)
    else:
        with h5py.File(path, "w") as handle:
            handle["kappa"] = kappa
    (found,) = other.read_maps(path, 0.41, dataset="kappa")
    assert np.array_equal(found, kappa)


def test_maps_of_a_folder_and_a_stack_are_taken_evenly(tmp_path):
    stack = a_map(16) + np.arange(6)[:, None, None]
    np.save(tmp_path / "stack.npy", stack)
    for path in (tmp_path, tmp_path / "stack.npy"):
        found = other.read_maps(path, 0.82, most=3)
        assert [float(np.round((kappa - stack[0]).mean())) for kappa in found] == [0, 2, 4]


def test_a_path_without_maps_is_refused(tmp_path):
    with pytest.raises(BorderError, match=r"none does not exist; give a FITS, NPY or HDF5 file"):
        other.read_maps(tmp_path / "none", 0.82)
    with pytest.raises(BorderError, match="has no maps"):
        other.read_maps(tmp_path, 0.82)


def test_a_header_with_another_pixel_scale_is_refused(tmp_path):
    fits.writeto(tmp_path / "map.fits", a_map(32), GRID.header())
    assert len(other.read_maps(tmp_path / "map.fits", 0.82)) == 1
    with pytest.raises(BorderError, match=r"has pixels of 0\.82 arcmin by its header, not 0\.41"):
        other.read_maps(tmp_path / "map.fits", 0.41)


# the grid's pixels


def test_averages_over_whole_pixels_keep_values_and_mean():
    kappa = a_map()
    coarse = other.at_scale(kappa, 0.41016, GRID)
    assert coarse == pytest.approx(kappa.reshape(32, 2, 32, 2).mean(axis=(1, 3)), abs=1e-6)
    assert coarse.mean() == pytest.approx(kappa.mean(), abs=1e-7)


def test_a_map_on_the_grids_pixels_stays_as_wide_as_it_is():
    kappa = a_map(40)
    assert other.at_scale(kappa, 0.82, GRID) == pytest.approx(kappa)


@pytest.mark.parametrize(
    ("kappa", "pixel_arcmin", "sentence"),
    [
        (a_map(62), 0.41, "the map has 31 pixels a side of the grid's 0.82 arcmin, but the grid has 32; give a map at"),
        (a_map(200), 0.3, "the map has pixels of 0.3 arcmin, and no whole number of them makes the grid's 0.82 to 1 %"),
        (a_map(200), 1.0, "the map has pixels of 1 arcmin, and no whole number of them makes the grid's 0.82 to 1 %"),
        (np.full((64, 64), np.nan), 0.41, "the map holds 4096 values that are not finite, but all must be; repair it"),
    ],
    ids=["small", "between", "coarse", "not finite"],
)
def test_a_map_that_does_not_fit_is_refused_in_one_sentence(kappa, pixel_arcmin, sentence):
    with pytest.raises(BorderError, match=re.escape(sentence)) as refused:
        other.at_scale(kappa, pixel_arcmin, GRID)
    assert "\n" not in str(refused.value)


def test_a_prior_for_another_grid_is_refused():
    mocks = other.mocks_of([a_map(32)], observation(), "white", rng=np.random.default_rng(1))
    smaller = Prior(POWER[:16, :16], 0.82)
    with pytest.raises(BorderError, match="the prior was made for 16x16 pixels"):
        other.posterior_samples(mocks, smaller, load_params().sample, 2, rng=np.random.default_rng(1))


# the spectrum of the maps


def known_modes():
    """Modes whose power a measured spectrum knows: without the mean, and the corners beyond the last band."""
    modes = ell_grid(GRID.shape, GRID.pixel_arcmin)
    return (modes > 0) & (modes < 0.9 * modes.max())


def test_own_spectrum_of_many_maps_is_theirs():
    maps = gaussian_field(POWER, 400, rng=np.random.default_rng(2))
    known = known_modes()
    own = other.with_own_spectrum(dataclasses.replace(PRIOR, power=np.full_like(POWER, 7.0)), maps)
    assert own.power[0, 0] == 7.0
    assert own.power[known] == pytest.approx(POWER[known], rel=0.15)  # bands are wide, the spectrum is steep
    assert np.mean(own.power.flat[1:]) == pytest.approx(np.mean(POWER.flat[1:]), rel=0.05)


def test_own_spectrum_may_come_from_wider_maps():
    power = grid_power(ELL, C_ELL, (48, 48), GRID.pixel_arcmin)
    known = known_modes()
    own = other.with_own_spectrum(PRIOR, gaussian_field(power, 400, rng=np.random.default_rng(2)))
    assert own.power[known] == pytest.approx(POWER[known], rel=0.15)


# a Gaussian truth and an exact Gaussian prior


@pytest.fixture(scope="module")
def gaussian():
    """Mocks of maps drawn from the prior, exact posterior samples, and Wiener maps."""
    rng = np.random.default_rng(3)
    mocks = other.mocks_of(gaussian_field(POWER, 16, rng=rng), observation(), "gaussian", rng=rng)
    seen = [mock.observation for mock in mocks]
    samples = [gaussian_posterior_draws(each.gamma, each.weight, POWER, 48, rng=rng) for each in seen]
    return mocks, np.stack(samples), other.wiener_maps(mocks, PRIOR)


def within_errors(values, expected, errors=4):
    """Whether the mean of independent values is the expected one, to some of its errors."""
    values = np.asarray(values)
    return abs(values.mean() - expected) < errors * values.std(ddof=1) / len(values) ** 0.5


def test_the_mean_of_exact_samples_is_the_wiener_filter(gaussian):
    mocks, samples, wiener = gaussian
    parts = [other.suite_row("part", mocks, samples[:, i::8], wiener, EDGES) for i in range(8)]
    infinite = np.array([row["ratio_infinite"] for row in parts])
    assert infinite.std(ddof=1) < 0.01  # of eight, so that the next line sees 1 % and less
    assert within_errors(infinite, 1.0)
    assert np.mean([row["ratio"] for row in parts]) > 1.01  # six samples are noisier


def test_exact_samples_cover_their_truths_and_have_their_power(gaussian):
    mocks, samples, wiener = gaussian
    rows = [
        other.suite_row("one", [m], s[None], w[None], EDGES) for m, s, w in zip(mocks, samples, wiener, strict=True)
    ]
    assert within_errors([row["coverage68"] for row in rows], 0.68)
    assert np.std([row["coverage68"] for row in rows]) < 0.1
    assert within_errors([np.mean(row["power_ratio"]) for row in rows], 1.0)
    for name in ("rank_highest", "rank_deepest"):
        assert within_errors([row[name] / 48 for row in rows], 0.5)


def test_the_row_of_a_suite_pools_its_maps(gaussian):
    mocks, samples, wiener = gaussian
    row, mask = other.suite_row("all", mocks, samples, wiener, EDGES), mocks[0].observation.mask
    squares = [remy_rmse(w, m.truth, mask) ** 2 for w, m in zip(wiener, mocks, strict=True)]
    assert row["rmse_wiener"] == pytest.approx(np.mean(squares) ** 0.5)
    assert row["name"] == "all"


@pytest.mark.parametrize(("factor", "seen"), [(-1, "ratio_infinite"), (0.5, "coverage68")])
def test_a_wrong_sign_or_factor_shows(gaussian, factor, seen):
    mocks, samples, wiener = gaussian
    row = other.suite_row("wrong", mocks, factor * samples, wiener, EDGES)
    assert row["ratio_infinite"] > 1.2 if seen == "ratio_infinite" else row["coverage68"] < 0.5


def test_the_sampler_draws_the_exact_posterior(gaussian):
    mocks, _, wiener = gaussian
    rng, params = np.random.default_rng(4), load_params().sample
    samples = other.posterior_samples(mocks[:4], PRIOR, params, 16, rng=rng)
    assert samples.shape == (4, 16, *GRID.shape)
    each = [other.suite_row("m", [m], s[None], w[None], EDGES) for m, s, w in zip(mocks, samples, wiener, strict=False)]
    assert within_errors([row["ratio_infinite"] for row in each], 1.0)
    assert within_errors([row["coverage68"] for row in each], 0.68)
