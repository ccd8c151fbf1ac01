"""Theory of the skewness: the second-order kernel, its limits, and its integral against fields that are drawn."""

import numpy as np
import pytest

from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.params import load_params
from analysis.simulations.skewness import (
    convergence_skewness,
    kernel_factors,
    plane_moments,
    second_order_kernel,
)

PIXEL, SIDE, SMOOTHING = 4.0, 96, np.array([8.0, 16.0])


def test_the_kernel_of_equal_waves_is_that_of_perturbation_theory():
    one = (1.0, 1.0, 1.0)
    found = [second_order_kernel(1.0, cosine, one, one) for cosine in (1.0, -1.0, -0.5)]
    np.testing.assert_allclose(found, [2.0, 0.0, 2 / 7], atol=1e-12)  # aligned, opposite, equilateral


def test_factors_go_from_perturbation_theory_to_a_hierarchy():
    n = np.array([-1.0, -2.0])
    np.testing.assert_allclose(kernel_factors(n, np.full(2, 1e-9), 0.8), np.ones((3, 2)), rtol=1e-4)
    a, b, c = kernel_factors(n, np.full(2, 1e9), 0.8)
    reduced = (4 - 2**n) / (1 + 2 ** (n + 1))
    np.testing.assert_allclose(a, 0.8**-0.2 * np.sqrt(0.7 * reduced), rtol=1e-3)  # Q no longer depends on the shape
    assert np.all(b < 1e-3)
    assert np.all(c < 1e-3)


def test_moments_are_those_of_fields_at_second_order():
    """d2 = 5/7 d^2 + grad d . grad phi + 2/7 (phi_ij)^2 of Gaussian d, phi = del^-2 d; <s^3> = 3 <s1^2 s2>."""
    ell, arcmin = ell_grid((SIDE, SIDE), PIXEL), np.radians(1 / 60)
    low, high = 4.0 * ell[0, 1], 0.3 * np.pi / (PIXEL * arcmin)  # products of two fields are resolved
    band = np.where((ell > low) & (ell < high), ell, np.inf)
    power = 1e-2 * (band / low) ** -1.5  # of modes of the grid, pixel variance
    fields = gaussian_field(power, 400, rng=np.random.default_rng(1))
    k = 2 * np.pi * np.fft.fftfreq(SIDE, PIXEL * arcmin)
    kx, ky, k2 = k[None, :], k[:, None], np.maximum(ell, 1e-9) ** 2
    modes = np.fft.fft2(fields)

    def real(filtered):
        return np.fft.ifft2(filtered).real

    second = 5 / 7 * fields**2
    for axis in (kx, ky):
        second += real(1j * axis * modes) * real(-1j * axis / k2 * modes)
        for other in (kx, ky):
            second += 2 / 7 * real(axis * other / k2 * modes) ** 2
    grid = np.geomspace(low, high, 160)
    factors = (np.ones(160),) * 3
    found = plane_moments(grid, 1e-2 * (grid / low) ** -1.5 * (PIXEL * arcmin) ** 2, factors, SMOOTHING)
    for number, smoothing in enumerate(SMOOTHING):
        window = np.exp(-0.5 * (smoothing * arcmin * ell) ** 2)
        smooth, smooth_second = (real(window * np.fft.fft2(maps)) for maps in (fields, second))
        drawn = [np.mean(smooth**2, axis=(1, 2)), 3 * np.mean(smooth**2 * smooth_second, axis=(1, 2))]
        for values, expected in zip(drawn, (found[0][number], found[1][number]), strict=True):
            error = values.std() / len(values) ** 0.5
            assert abs(values.mean() - expected) < 4 * error + 0.02 * expected  # of modes in bins
            assert error < 0.1 * expected


def test_on_large_scales_it_is_the_published_one():
    theory = load_params().theory
    wide = np.array([60.0])
    skewness = convergence_skewness(theory, wide, ell_min=2.0)["skewness"][0]
    rms = 0.00232  # of convergence at 60 arcmin, from C_ell
    # 42 omega_m^-0.8 z_s^-1.35 is for top-hats and n = -1.5: 36/7 - 3/2 (n + 2) is smaller at n = -0.7 of this scale
    published = 42 * theory.omega_m**-0.8 * (36 / 7 - 1.5 * 1.3) / (36 / 7 - 1.5 * 0.5)
    assert skewness / rms == pytest.approx(published, rel=0.15)  # Bernardeau, van Waerbeke & Mellier 1997, eq. 34
