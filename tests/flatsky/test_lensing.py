"""The lensing operator against plane waves, its adjoint and the round trip."""

import numpy as np
import pytest

from analysis.flatsky.lensing import convergence_from_shear, reduced_shear, shear_from_convergence


@pytest.mark.parametrize(("direction", "expected"), [((1, 0), (1, 0)), ((0, 1), (-1, 0)), ((1, 1), (0, 1))])
def test_plane_wave_fixes_signs_and_axes(direction, expected):
    y, x = np.mgrid[:32, :32] / 32
    kappa = np.cos(2 * np.pi * 3 * (direction[0] * x + direction[1] * y))
    gamma = np.asarray(shear_from_convergence(kappa))
    np.testing.assert_allclose(gamma, np.multiply.outer(expected, kappa), atol=1e-12)


@pytest.mark.parametrize("shape", [(32, 32), (31, 33), (30, 35)])
def test_adjoint(shape):
    rng = np.random.default_rng(1)
    kappa, gamma = rng.standard_normal((3, *shape)), rng.standard_normal((3, 2, *shape))
    forward = np.sum(np.asarray(shear_from_convergence(kappa)) * gamma)
    backward = np.sum(kappa * np.asarray(convergence_from_shear(gamma)))
    np.testing.assert_allclose(forward, backward, rtol=1e-11)


def test_round_trip_on_an_odd_grid_returns_the_map_less_its_mean():
    kappa = np.random.default_rng(2).standard_normal((2, 33, 31))
    gamma = np.asarray(shear_from_convergence(kappa))
    np.testing.assert_allclose(
        np.asarray(convergence_from_shear(gamma)), kappa - kappa.mean((-2, -1), keepdims=True), atol=1e-12
    )
    turned = np.stack([-gamma[:, 1], gamma[:, 0]], axis=1)
    np.testing.assert_allclose(np.asarray(convergence_from_shear(turned)), 0, atol=1e-12)


def test_tangential_shear_of_an_isothermal_sphere_is_its_convergence():
    y, x = np.mgrid[-128:129, -128:129]
    radius = np.hypot(x, y)
    gamma1, gamma2 = np.asarray(shear_from_convergence(1 / (2 * np.maximum(radius, 0.25))))
    angle = np.arctan2(y, x)
    tangential = -gamma1 * np.cos(2 * angle) - gamma2 * np.sin(2 * angle)
    cross = gamma1 * np.sin(2 * angle) - gamma2 * np.cos(2 * angle)
    for ring in (8, 12, 20):
        near = abs(radius - ring) < 1
        assert np.mean((2 * radius * tangential)[near]) == pytest.approx(1, rel=0.05)
        assert abs(np.mean((2 * radius * cross)[near])) < 1e-10


def test_reduced_shear_of_a_singular_isothermal_sphere_turns_over_at_its_einstein_radius():
    """kappa = |gamma| = r_E / 2r: g = gamma / (1 - kappa) outside r_E, and 1 / g* inside, where |g| falls again."""
    kappa = np.array([[0.1, 0.25, 0.5, 1.0, 2.0]])
    g = reduced_shear(np.stack([-0.6 * kappa, 0.8 * kappa]), kappa)
    size = np.array([[0.1 / 0.9, 1 / 3, 1.0, 0.0, 0.5]])
    np.testing.assert_allclose(np.hypot(*g), size, atol=1e-12)
    np.testing.assert_allclose(g[:, 0, :2], np.array([[-0.6], [0.8]]) * size[0, :2])
    np.testing.assert_allclose(g[:, 0, 4], np.array([0.6, -0.8]) * 0.5)
