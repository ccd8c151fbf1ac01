"""Halos: found where they are, their cores counted, and their number in a universe of a known spectrum."""

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.simulations.halos import RHO_CRITICAL, core_ratios, largest_halos, mass_function, nfw_projected

OMEGA_M = 0.3


@pytest.mark.parametrize("concentration", [3.0, 8.0])
def test_projected_mass_of_an_nfw_halo(concentration):
    """Against its density integrated along the line of sight and over the disc."""
    radius, c = 0.4, concentration
    r, z = np.linspace(0, radius, 801)[1:, None], np.sinh(np.linspace(0, 12, 4001)) / c
    s = c * np.hypot(r, z)
    surface = 2 * np.trapezoid(1 / (s * (1 + s) ** 2), z, axis=1)
    mass = np.trapezoid(2 * np.pi * r[:, 0] * surface, r[:, 0])
    norm = 4 * np.pi * (np.log1p(c) - c / (1 + c)) / c**3
    assert nfw_projected(np.array([radius]), c)[0] == pytest.approx(mass / norm, rel=0.01)


def test_a_halo_is_found_where_it_is_and_its_core_counted():
    """Particles that follow an NFW profile in a thin background."""
    rng, box, c = np.random.default_rng(15), 64.0, 6.0
    share = rng.uniform(0, np.log1p(c) - c / (1 + c), 4000)
    x = np.linspace(1e-4, c, 20000)
    radius = 1.3 * np.interp(share, np.log1p(x) - x / (1 + x), x) / c
    direction = rng.standard_normal((4000, 3))
    halo = np.array([10.0, 62.5, 30.0]) + radius[:, None] * direction / np.linalg.norm(direction, axis=1)[:, None]
    position = np.concatenate([halo % box, rng.uniform(0, box, (64**3 // 4, 3))]).astype(np.float32)
    found = next(largest_halos(position, box, 0.0, OMEGA_M, number=12))
    np.testing.assert_allclose(found.centre, [10.0, 62.5 % box, 30.0], atol=0.15)
    inside = np.linalg.norm(halo - [10.0, 62.5, 30.0], axis=1) < 1.29
    particle = RHO_CRITICAL * OMEGA_M * box**3 / len(position)
    assert found.mass == pytest.approx(inside.sum() * particle, rel=0.05)
    ratios = np.exp(core_ratios(position, found, box))
    puffed = np.array(found.centre) + 1.8 * ((position - found.centre + box / 2) % box - box / 2)
    assert np.all(ratios > 0.5)
    assert np.all(np.exp(core_ratios((puffed % box).astype(np.float32), found, box)) < 0.75 * ratios)


def test_mass_function_of_a_power_law():
    """P = C / k^2: sigma^2 = C / (2 pi^2 R) integral of W^2(x) dx, which is 3 pi / 5; d ln sigma / d ln M = -1/6."""
    k, mass = np.geomspace(1e-5, 2e3, 20000), np.geomspace(1e13, 1e15, 21)
    density = RHO_CRITICAL * OMEGA_M
    radius = np.cbrt(3 * mass / (4 * np.pi * density))
    scale = 2 * np.pi**2 * radius[10] / (3 * np.pi / 5)  # sigma = 1 in the middle
    found = mass_function(mass, k, scale / k**2, 0.0, OMEGA_M)
    sigma = np.sqrt(radius[10] / radius)
    shape = 0.186 * ((sigma / 2.57) ** -1.47 + 1) * np.exp(-1.19 / sigma**2)
    np.testing.assert_allclose(found[1:-1], (shape * density / mass / 6)[1:-1], rtol=3e-3)
    assert mass_function(mass, k, scale / k**2, 1.0, OMEGA_M)[10] < found[10]


@pytest.mark.parametrize(("amplitude", "redshift"), [(1e-3, 0.0), (1e5, 0.0), (1.0, 9.0)])
def test_a_mass_function_outside_its_range_is_told_in_a_sentence(amplitude, redshift):
    mass, k = np.geomspace(1e14, 1e15, 20), np.geomspace(1e-4, 50, 400)
    linear = 5e4 * k / 0.02 / (1 + (k / 0.02) ** 2) ** 1.3
    assert mass_function(mass, k, linear, 0.3, OMEGA_M)[0] > 0
    with pytest.raises(BorderError, match=r"outside the range of the mass function .* check theory\.a_s"):
        mass_function(mass, k, amplitude * linear, redshift, OMEGA_M)
