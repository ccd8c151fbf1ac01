"""Null tests: noise passes them as often as it should, a B-mode and mass are found, each where it belongs."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import kstest

from analysis.core.files import BorderError
from analysis.flatsky.kernel import e_and_b_modes
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.flatsky.power import ARCMIN, ell_grid, gaussian_field, grid_power
from analysis.params import load_params
from analysis.sky import Grid, Observation, rotate_shear
from analysis.survey.nulls import (
    NULL,
    TESTS,
    leakage,
    lensing_shear,
    mode_noise,
    null_tests,
    ranked,
    summary,
)

PARAMS = dataclasses.replace(
    load_params().nulls, realisations=39, random_sets=39, bands=3, rings_arcmin=[0.5, 2.0, 4.0], smoothing_arcmin=1.2
)
GRID = Grid(28, 0.8, 150.0, 2.0)
ELL = np.geomspace(10, 1e5, 50)
NOTHING = ELL, np.full(50, 1e-30)  # sr, no lensing


def weights(rng):
    """Weights of a field with a hole and a border, the components of different noise."""
    weight = rng.uniform(50, 150, (1, *GRID.shape)) * np.array([1.0, 1.5])[:, None, None]
    weight[:, 8:12, 15:20] = 0
    weight[:, :2] = 0
    return weight


def observed(gamma, weight, rng, noise=1.0):
    """A field with shear and noise as its weights say."""
    spread = np.where(weight > 0, weight, np.inf) ** -0.5
    seen = (gamma + noise * spread * rng.standard_normal(weight.shape)) * (weight > 0)
    return Observation(seen, weight, (weight[0] > 0).astype(int), GRID, "a field")


def places(x, y):
    ra_deg, dec_deg = GRID.wcs.wcs_pix2world(x, y, 0)
    return Table({"ra_deg": ra_deg, "dec_deg": dec_deg})


def p_values(observation, rng, x=(), y=(), theory=NOTHING):
    lists = {"clusters": places(x, y)} if len(x) else {}
    table = null_tests(observation, lists, PARAMS, theory=theory, rng=rng).table
    return {row["test"]: row["p_value"] for row in table}


def test_noise_passes_as_often_as_it_should():
    found = []
    for seed in range(60):
        rng = np.random.default_rng([7, seed])
        weight = weights(rng)
        row, column = (at[rng.integers(len(at), size=6)] for at in np.nonzero(weight[0]))
        found.append(p_values(observed(0.0, weight, rng), rng, column, row))
    jitter = np.random.default_rng(8)
    for name in found[0]:
        ranks = np.array([round(40 * each[name]) for each in found])
        assert ranks.min() >= 1
        assert kstest((ranks - jitter.random(len(ranks))) / 40, "uniform").pvalue > 1e-3, name


def test_lensing_that_leaks_through_holes_passes_as_often_as_it_should():
    """Strong lensing, whose leakage noise alone does not explain."""
    theory = ELL, 3e-7 * (ELL / 1000) ** -1.3
    power = grid_power(*theory, (56, 56), 0.8)
    found, blind = [], []
    for seed in range(60):
        rng = np.random.default_rng([8, seed])
        weight = weights(rng)
        field = observed(lensing_shear(power, GRID.shape, 1, rng=rng)[0], weight, rng)
        found.append(p_values(field, rng, theory=theory))
        blind.append(p_values(field, rng))
    jitter = np.random.default_rng(9)
    of_none = [name for name, (kind, _) in TESTS.items() if kind == NULL]
    for name in of_none:
        ranks = np.array([round(40 * each[name]) for each in found])
        assert kstest((ranks - jitter.random(len(ranks))) / 40, "uniform").pvalue > 1e-3, name
    assert np.mean([each["b_power"] <= 0.05 for each in blind]) > 0.5
    tests = null_tests(field, {}, PARAMS, theory=theory, rng=rng)
    assert tests.spectrum["leakage"][0] > tests.spectrum["leakage"][-1] > 0
    assert summary(tests)["leakage"] == list(tests.spectrum["leakage"])


def test_nothing_leaks_where_all_is_seen():
    power = grid_power(ELL, 1e-9 * (ELL / 1000) ** -1.3, GRID.shape, 0.8)
    edges = np.geomspace(0.99, 14, 4) * ell_grid(GRID.shape, 0.8)[0, 1]
    np.testing.assert_allclose(
        leakage(np.ones((2, *GRID.shape)), power, edges, 0.8, rng=np.random.default_rng(1)), 0, atol=1e-12
    )


def waves():
    """Shear of a Gaussian field, several times the noise in its longest waves."""
    power = 0.1 * np.exp(-0.5 * (ell_grid(GRID.shape, 0.8) / 2500) ** 2)
    return np.asarray(shear_from_convergence(gaussian_field(power, 1, rng=np.random.default_rng(3))[0]))


@pytest.mark.parametrize("degrees", [0, 45])
def test_a_field_of_one_mode_is_found_in_that_alone(degrees):
    rng = np.random.default_rng(4)
    weight = np.full((2, *GRID.shape), 100.0)
    field = rotate_shear(observed(waves(), weight, rng), degrees)
    found = p_values(field, rng)
    full, empty = ("e", "b") if degrees == 0 else ("b", "e")
    assert found[f"{full}_power"] == found[f"{full}_peak"] == 1 / 40
    assert found[f"{empty}_power"] > 0.05
    assert found[f"{empty}_peak"] > 0.05
    tests = null_tests(field, {}, PARAMS, theory=NOTHING, rng=rng)
    assert (summary(tests)["null_min_p_holm"] < 0.11) == (degrees == 45)
    spectrum = tests.spectrum
    assert spectrum[full][0] > 5 * spectrum[f"{full}_err"][0]
    assert np.abs(spectrum[empty] / spectrum[f"{empty}_err"]).max() < 4


def test_the_power_of_a_mode_is_that_of_its_map():
    """Without noise or holes: E is what Kaiser-Squires makes of the shear, B of the shear turned by 45 degrees."""
    gamma = waves()
    modes = e_and_b_modes(gamma)
    maps = np.fft.ifft2(modes, norm="ortho").real
    np.testing.assert_allclose(maps[0], np.asarray(convergence_from_shear(gamma)), atol=1e-12)
    field = Observation(gamma, np.full_like(gamma, 1e12), np.ones(GRID.shape, int), GRID)
    np.testing.assert_allclose(e_and_b_modes(rotate_shear(field, 45).gamma)[1], modes[0], atol=1e-12)
    tests = null_tests(field, {}, PARAMS, theory=NOTHING, rng=np.random.default_rng(5))
    ell = ell_grid(GRID.shape, 0.8)
    edges = np.geomspace(0.99, 14, 4) * ell[0, 1]
    inside = (ell >= edges[1]) & (ell < edges[2])
    expected = np.mean(abs(modes[0][inside]) ** 2) * (0.8 * ARCMIN) ** 2
    assert tests.spectrum["e"][1] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(tests.spectrum["b"], 0, atol=1e-4 * expected)
    assert tests.spectrum["ell"][1] == pytest.approx(ell[inside].mean())


def test_noise_of_the_modes_is_what_realisations_scatter():
    rng = np.random.default_rng(6)
    weight = weights(rng)
    relative = weight / weight[weight > 0].mean()
    smoothing = np.exp(-0.5 * (ell_grid(GRID.shape, 0.8) * 1.2 * ARCMIN) ** 2)
    spread = np.where(weight > 0, weight, np.inf) ** -0.5
    modes = e_and_b_modes(relative * spread * rng.standard_normal((2000, *weight.shape)))
    found = np.fft.ifft2(smoothing * modes, norm="ortho").real.std(axis=0)
    np.testing.assert_allclose(mode_noise(weight, relative, smoothing) / found, 1, atol=5 / np.sqrt(4000))


def test_mass_at_places_is_found_around_them_and_nowhere_else():
    rng = np.random.default_rng(9)
    x, y = np.array([6.0, 20.0, 9.0, 22.0]), np.array([8.0, 6.0, 21.0, 20.0])
    rows, columns = np.indices(GRID.shape)
    kappa = sum(0.5 * np.exp(-0.5 * ((columns - a) ** 2 + (rows - b) ** 2)) for a, b in zip(x, y, strict=True))
    gamma = np.asarray(shear_from_convergence(kappa))
    field = observed(gamma, np.full((2, *GRID.shape), 100.0), rng)
    found = p_values(field, rng, x, y)
    assert found["clusters_tangential"] == 1 / 40
    assert found["clusters_cross"] > 0.05
    tests = null_tests(field, {"clusters": places(x, y)}, PARAMS, theory=NOTHING, rng=rng)
    profile = tests.profiles["clusters"]
    assert profile["tangential"][0] > 4 * profile["tangential_err"][0]
    assert list(tests.table["places"]) == [0] * len(TESTS) + [4, 4]


def test_places_off_the_field_are_left_out(caplog):
    rng = np.random.default_rng(10)
    field = observed(0.0, weights(rng), rng)
    off = Table({"ra_deg": [10.0, 150.0], "dec_deg": [2.0, 30.0]})
    tests = null_tests(field, {"stars": off}, PARAMS, theory=NOTHING, rng=rng)
    assert list(tests.table["test"]) == list(TESTS)
    assert tests.profiles == {}
    assert "stars: none of the 2 lies in an observed pixel" in caplog.text


def test_a_field_without_data_is_told():
    zeros = np.zeros((2, *GRID.shape))
    with pytest.raises(BorderError, match="a field has no observed pixel"):
        null_tests(
            Observation(zeros, zeros, zeros[0], GRID, "a field"),
            {},
            PARAMS,
            theory=NOTHING,
            rng=np.random.default_rng(1),
        )


def test_ranks_and_chi_squared():
    assert ranked(np.array([3.0, 1.0, 2.0, 5.0])) == (3.0, pytest.approx(8 / 3), 0.5)
    assert ranked(np.array([-3.0, -1.0, -2.0]))[2] == 1
    values = np.random.default_rng(11).standard_normal((2001, 3))
    values[0] = [3.0, 0.0, 4.0]
    value, expected, p_value = ranked(values)
    assert value == pytest.approx(25, rel=0.1)
    assert expected == 3
    assert p_value == pytest.approx(1 / 2001)
