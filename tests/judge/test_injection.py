"""Injected halos: their mass is what it is called, and samples that show them are counted."""

import dataclasses

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table

from analysis.flatsky.lensing import convergence_from_shear
from analysis.judge.calibration import CutOut
from analysis.judge.injection import (
    halo_map,
    injected,
    injection_row,
    injection_summary,
    inner_place,
    nfw_convergence,
)
from analysis.params import load_params

PARAMS = load_params()
MASS = 3e14


def sphere_of_200(mass, redshift, cosmology):
    """Radius within which a halo is 200 times as dense as the universe, kpc."""
    density = 200 * cosmology.critical_density(redshift).to_value(u.solMass / u.kpc**3)
    return (3 * mass / (4 * np.pi * density)) ** (1 / 3)


def test_the_surface_density_of_a_halo_adds_up_to_its_mass():
    cosmology = FlatLambdaCDM(H0=100 * PARAMS.theory.h, Om0=PARAMS.theory.omega_m)
    lens, source = (cosmology.angular_diameter_distance(z) for z in (0.5, 1.0))
    behind = cosmology.angular_diameter_distance(0.5, 1.0)
    critical = constants.c**2 / (4 * np.pi * constants.G) * source / (lens * behind)
    radius = sphere_of_200(MASS, 0.5, cosmology)
    r = np.geomspace(1e-5, 1, 4000) * radius
    kappa = nfw_convergence(MASS, 0.5, PARAMS.theory)(np.rad2deg(r / lens.to_value(u.kpc)) * 60)
    projected = np.trapezoid(2 * np.pi * r * kappa, r) * critical.to_value(u.solMass / u.kpc**2)
    # Duffy et al. 2008, table 1: c = 5.71 (M / 2e12 Msun/h)^-.084 (1 + z)^-.47
    c = 5.71 * (MASS * PARAMS.theory.h / 2e12) ** -0.084 * 1.5**-0.47
    cylinder = np.log(c / 2) + np.arccos(1 / c) / np.sqrt(c**2 - 1)  # Lokas & Mamon 2001, eq. 43
    expected = MASS * cylinder / (np.log(1 + c) - c / (1 + c))
    assert projected == pytest.approx(expected, rel=0.01)


def test_a_halo_behind_the_sources_lenses_nothing():
    assert not nfw_convergence(MASS, 1.2, PARAMS.theory)(np.array([0.5, 2.0])).any()


def test_a_pixel_holds_the_mean_over_it():
    profile = nfw_convergence(MASS, 0.5, PARAMS.theory)
    coarse = halo_map(profile, (16, 16), 7.5, 7.5, 0.82)
    fine = halo_map(profile, (80, 80), 39.5, 39.5, 0.164).reshape(16, 5, 16, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse, fine, rtol=0.02)
    assert np.unravel_index(np.argmax(halo_map(profile, (16, 20), 12.0, 3.0, 0.82)), (16, 20)) == (3, 12)


@pytest.fixture
def mock():
    weight = np.zeros((2, 32, 32))
    weight[:, 4:28, 4:28] = 500.0
    weight[:, 10, 10] = 0
    return CutOut(np.zeros((32, 32)), np.zeros((2, 32, 32), "float32"), weight.astype("float32"), 3)


def test_an_injected_halo_is_in_truth_and_shear(mock):
    halo = halo_map(nfw_convergence(MASS, 0.5, PARAMS.theory), (32, 32), 16.0, 15.0, 0.82)
    loaded = injected(mock, halo)
    np.testing.assert_array_equal(loaded.truth, halo)
    assert not loaded.gamma[:, mock.weight[0] == 0].any()
    odd = CutOut(np.zeros((31, 31)), np.zeros((2, 31, 31)), np.ones((2, 31, 31)), 3)  # no Nyquist rows are lost
    seen = np.asarray(convergence_from_shear(injected(odd, halo[:31, :31]).gamma[None]))[0]
    np.testing.assert_allclose(seen, halo[:31, :31] - halo[:31, :31].mean(), atol=1e-10)


def test_places_are_observed_and_far_from_the_border(mock):
    places = {inner_place(mock.weight, 5.0, rng=np.random.default_rng(seed)) for seed in range(60)}
    assert len(places) > 20
    assert all(8 <= x <= 23 and 8 <= y <= 23 and (x, y) != (10, 10) for x, y in places)
    centre = {inner_place(mock.weight, 50.0, rng=np.random.default_rng(seed)) for seed in range(20)}
    assert centre <= {(15, 15), (15, 16), (16, 15), (16, 16)}


def row_of(mock, samples, place, halo):
    settings = dataclasses.replace(PARAMS.clusters, threshold=0.06, radius_arcmin=1.5, aperture_arcmin=4.1)
    return injection_row(mock, halo, place, samples, settings, 0.82, rng=np.random.default_rng(1))


def test_a_row_counts_the_samples_that_show_the_halo(mock):
    halo = halo_map(nfw_convergence(MASS, 0.5, PARAMS.theory), (32, 32), 16.0, 15.0, 0.82)
    samples = np.stack([halo, halo, halo, np.zeros_like(halo)])
    found = row_of(injected(mock, halo), samples, (16.0, 15.0), halo)
    assert found["present"] == 0.75
    assert found["in_truth"] == 1
    assert found["chance"] < 0.05
    assert found["mass_mean"] == pytest.approx(0.75 * found["mass_truth"])
    deeper = dataclasses.replace(mock, weight=4 * mock.weight)
    assert row_of(injected(deeper, halo), samples, (16.0, 15.0), halo)["snr"] == pytest.approx(2 * found["snr"])


def test_summaries_are_means_by_mass():
    row = {"snr": 4.0, "chance": 0.1, "in_truth": 1.0, "mass_truth": 0.02, "mass_mean": 0.01, "mass_std": 0.005}
    shares = {3e14: (0.5, 0.7), 9e13: (0.1, 0.3)}
    table = Table(
        rows=[
            {"mass": mass, "present": share, "box": box, **row}
            for mass, each in shares.items()
            for box, share in enumerate(each)
        ]
    )
    found = injection_summary(table, 0.5)
    assert found["mass"] == [9e13, 3e14]
    np.testing.assert_allclose(found["present"], [0.2, 0.6])
    np.testing.assert_allclose(found["present_err"], [0.1, 0.1])  # half the difference of two
    np.testing.assert_allclose(found["mass_bias"], [-0.5, -0.5])
