"""Shear around places: positive around mass, and nothing across."""

from itertools import pairwise

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.flatsky.lensing import shear_from_convergence
from analysis.survey.stacking import ring_sums, stacked_shear

EDGES = [0.5, 1.5, 3.0, 5.0, 8.0]
PIXEL = 0.8


def tangential_pattern(x, y, shape=(41, 45)):
    """The shear of an isothermal sphere, half over the distance in pixels, and its distance from every pixel."""
    rows, columns = np.indices(shape)
    dx, dy = columns - x, rows - y
    r = np.hypot(dx, dy)
    size = -0.5 / np.maximum(r, 1)
    return size * np.stack([(dx**2 - dy**2), 2 * dx * dy]) / np.maximum(r, 1) ** 2, r


def test_a_tangential_pattern_is_recovered_in_every_ring():
    gamma, r = tangential_pattern(20, 17)
    weight = np.random.default_rng(1).uniform(1, 3, gamma.shape)
    weight[:, 10:14, 22:30] = 0
    rings = ring_sums(gamma, weight, EDGES, PIXEL)
    found = stacked_shear(rings, np.array([20.0]), np.array([17.0]))
    for number, (inner, outer) in enumerate(pairwise(EDGES)):
        ring = (r * PIXEL >= inner) & (r * PIXEL < outer)
        expected = np.average(0.5 / r[ring], weights=weight.mean(axis=0)[ring])
        assert found[0, number] == pytest.approx(expected, rel=1e-9)
        assert inner <= rings.radius_arcmin[number] < outer
    np.testing.assert_allclose(found[1], 0, atol=1e-12)
    turned = np.stack([-gamma[1], gamma[0]])  # every shear by 45 degrees
    across = stacked_shear(ring_sums(turned, weight, EDGES, PIXEL), np.array([20.0]), np.array([17.0]))
    np.testing.assert_allclose(across, [0 * found[0], found[0]], atol=1e-12)


def test_shear_around_mass_is_positive():
    rows, columns = np.indices((48, 48))
    kappa = np.exp(-0.5 * ((columns - 30) ** 2 + (rows - 20) ** 2) / 2.0**2)
    gamma = np.asarray(shear_from_convergence(kappa))
    found = stacked_shear(ring_sums(gamma, np.ones_like(gamma), EDGES, PIXEL), np.array([30.0]), np.array([20.0]))
    assert (found[0] > 0.03).all()
    np.testing.assert_allclose(found[1], 0, atol=2e-3)


def test_places_count_by_their_weight_and_sets_stand_apart():
    gamma, _ = tangential_pattern(20, 17)
    weight = np.zeros_like(gamma)
    weight[:, :, :22] = 2.0
    rings = ring_sums(gamma, weight, EDGES, PIXEL)
    places = np.array([[20.0, 3.0], [44.0, 44.0]]), np.array([[17.0, 30.0], [2.0, 30.0]])
    found = stacked_shear(rings, *places)
    assert found.shape == (2, 2, 4)
    both = [rings.weight[:, 17, 20], rings.weight[:, 30, 3]]
    each = [stacked_shear(rings, np.array([x]), np.array([y]))[0] for x, y in ((20.0, 17.0), (3.0, 30.0))]
    np.testing.assert_allclose(found[0, 0], (each[0] * both[0] + each[1] * both[1]) / (both[0] + both[1]))
    assert np.isnan(found[1]).all()  # no galaxy anywhere near


def test_rings_without_pixels_are_told():
    with pytest.raises(BorderError, match=r"rings_arcmin: no pixel of 4.1 arcmin lies 0.5 to 1.5 arcmin"):
        ring_sums(np.zeros((2, 8, 8)), np.ones((2, 8, 8)), EDGES, 4.1)
