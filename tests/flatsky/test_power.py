"""Spectra against CAMB's own code, white noise and random fields."""

import os

import camb
import numpy as np
import pytest
from camb.sources import GaussianSourceWindow

from analysis.core.download import fetch
from analysis.flatsky.power import (
    ARCMIN,
    binned_c_ell,
    crop_power,
    ell_grid,
    gaussian_field,
    grid_power,
    larger_power,
    multipole_edges,
    periodogram,
    resampled_power,
)
from analysis.params import load_params
from analysis.simulations.theory import camb_results, convergence_c_ell


@pytest.fixture(scope="module")
def theory():
    return convergence_c_ell(load_params().theory)


def largest_departure(theory, ell, c_ell):
    """Largest |C_ell / c_ell - 1| of a theory spectrum (its ell, its C_ell) at the multipoles of another."""
    ours = np.exp(np.interp(np.log(ell), np.log(theory[0]), np.log(theory[1])))
    return np.abs(ours / c_ell - 1).max()


@pytest.mark.long
def test_theory_agrees_with_the_lensing_source_spectra_of_camb(theory):
    """CAMB's own spectrum of a lensing source plane, by its Limber integrator."""
    params, ell = load_params().theory, np.arange(100, 10001)
    settings = camb_results(params, np.array([0.0])).Params.copy()
    settings.SourceWindows = [
        GaussianSourceWindow(redshift=params.sources.redshift, source_type="lensing", sigma=0.005)
    ]
    settings.set_for_lmax(12000, lens_potential_accuracy=2)
    settings.Want_CMB = False
    settings.SourceTerms.limber_windows = True
    c_ell = camb.get_results(settings).get_source_cls_dict(lmax=10000, raw_cl=True)["W1xW1"][ell]
    assert largest_departure(theory, ell, c_ell) < 0.01


@pytest.mark.skipif(
    "DATA_MIRROR" not in os.environ,
    reason="NOT TESTED: the spectra of MassiveNuS need DATA_MIRROR, a folder or address with the public files",
)
def test_theory_agrees_with_the_halofit_of_massivenus(theory):
    table = np.load(fetch("massivenus/mnu0.0_Maps10_PS_theory.npy"), allow_pickle=False)
    seen = (table[0] >= 200) & (table[0] <= 10000)
    assert largest_departure(theory, table[0][seen], table[5][seen]) < 0.03  # row 5: halofit (Takahashi)


def test_white_noise_has_the_area_of_a_pixel_as_its_power():
    maps = 0.3 * np.random.default_rng(1).standard_normal((50, 64, 64))
    c_ell = binned_c_ell(maps, 0.8, np.array([500.0, 4000.0, 10000.0])).mean(axis=0)
    np.testing.assert_allclose(c_ell, 0.09 * (0.8 * ARCMIN) ** 2, rtol=0.02)


def test_drawn_fields_return_their_spectrum(theory):
    power = grid_power(*theory, (64, 64), 0.8)
    power[0, 0] = 0.01
    maps = gaussian_field(power, 800, rng=np.random.default_rng(2))
    measured = np.mean(np.abs(np.fft.fft2(maps, norm="ortho")) ** 2, axis=0)
    # 800 maps, each mode complex or real: relative error of the mean at most sqrt(2/800) a mode
    assert abs(np.mean(measured / power) - 1) < 0.005
    assert np.abs(measured / power - 1).max() < 6 * np.sqrt(2 / 800)


def test_spectrum_of_a_crop_is_what_crops_of_large_maps_show(theory):
    large = gaussian_field(grid_power(*theory, (256, 256), 0.8), 400, rng=np.random.default_rng(3))
    expected = crop_power(*theory, (32, 32), 0.8)
    ratio = periodogram(large[:, 64:96, 64:96]) / expected
    assert abs(np.mean(ratio) - 1) < 0.02
    assert abs(ratio[0, 0] - 1) < 0.4


ELL = np.geomspace(2, 50000, 200)


def test_a_prior_that_is_theory_is_theory_on_a_larger_grid():
    c_ell = 1e-9 * (ELL / 1000) ** -1.3
    power = crop_power(ELL, c_ell, (24, 24), 0.8)
    np.testing.assert_allclose(larger_power(power, 24, ELL, c_ell, 0.8), power, rtol=1e-12)
    found = larger_power(power, 60, ELL, c_ell, 0.8)
    np.testing.assert_allclose(found, crop_power(ELL, c_ell, (60, 60), 0.8, pad=4), rtol=1e-12)
    assert found.mean() == pytest.approx(power.mean(), rel=0.03)  # the variance of a pixel is what it was
    flat = resampled_power(power, 60)
    long = (ell_grid((60, 60), 0.8) < 300) & (ell_grid((60, 60), 0.8) > 0)
    assert (found[long] > 1.3 * flat[long]).all()  # waves that the smaller grid has no room for


def test_what_a_prior_departs_from_theory_is_carried_to_a_larger_grid():
    c_ell = 1e-9 * (ELL / 1000) ** -1.3
    lost = {side: np.exp(-ell_grid((side, side), 0.8) / 20000) for side in (32, 80)}
    power = lost[32] * crop_power(ELL, c_ell, (32, 32), 0.8)
    expected = lost[80] * crop_power(ELL, c_ell, (80, 80), 0.8, pad=4)
    inside = (ell_grid((80, 80), 0.8) > 900) & (ell_grid((80, 80), 0.8) < 13000)
    np.testing.assert_allclose(larger_power(power, 80, ELL, c_ell, 0.8)[inside], expected[inside], rtol=0.01)


@pytest.mark.parametrize("pixels", [16, 32, 80, 160, 360])
def test_every_bin_of_multipole_holds_modes(pixels):
    counts, _ = np.histogram(ell_grid((pixels, pixels), 0.5), multipole_edges(pixels, 0.5))
    assert counts.min() > 0
