"""Halos of an N-body box: their masses against a mass function, and their cores against NFW profiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.core.files import BorderError
from analysis.simulations.mesh import Array, deposit

RADII = (0.1, 0.2, 0.4)  # Mpc/h
LEAST_SIGMA, MOST_SIGMA, MOST_REDSHIFT = 0.4, 4.0, 2.5  # where Tinker et al. 2008 fitted their mass function
RHO_CRITICAL = 2.775e11  # solar masses / h in a cubic Mpc/h


@dataclass(frozen=True)
class Halo:
    """A halo: its `centre` (3,), `mass` (Msun/h), particles `near` it, and the number `expected` in an NFW halo.

    `expected` (3,) is the number of particles within `RADII` on the sky.
    """

    centre: Array
    mass: float
    near: NDArray[np.integer]
    expected: Array


def largest_halos(position: Array, box: float, redshift: float, omega_m: float, number: int) -> Iterator[Halo]:
    """Halos around the densest places of a box, with the mass of NFW halos of the same size within `RADII` on the sky.

    The size is that of a sphere of 200 times the mean density, which the mesh of the forces resolves; the concentration
    is the mean of such halos. Only spheres of 0.5 to 3 Mpc/h are found, masses of about 1e13 and 2e15 Msun/h.

    Parameters
    ----------
    position : (n, 3), Mpc/h
    box : Mpc/h
    number : of places

    Source: Navarro, Frenk & White 1997; Duffy et al. 2008 (MNRAS 390 L64), table 1; Bartelmann 1996, eq. 7.
    """
    cells = int(box)
    particle = RHO_CRITICAL * omega_m * box**3 / len(position)
    order = np.argsort(deposit(position, box, cells), axis=None)[::-1]
    taken: list[Array] = []
    for corner in np.column_stack(np.unravel_index(order[:5000], (cells,) * 3)) * (box / cells):
        if any(np.abs(_offset(corner - other, box)).max() < 4 for other in taken):
            continue
        near = np.arange(len(position))
        for axis in range(3):
            near = near[np.abs(_offset(position[near, axis] - corner[axis], box)) < 5]
        centre = _centre(position[near], corner, box, (0.8,))
        distance = np.sort(np.linalg.norm(_offset(position[near] - centre, box), axis=1))
        inside = (distance > 0.5) & (distance < 3)
        sphere = 4 / 3 * np.pi * distance**3 * RHO_CRITICAL * omega_m
        last = np.flatnonzero(inside & (np.arange(len(distance)) * particle > 200 * sphere))
        taken.append(centre)
        if len(last):
            mass, radius = last[-1] * particle, distance[last[-1]]
            concentration = 10.14 * (mass / 2e12) ** -0.081 * (1 + redshift) ** -1.01
            yield Halo(centre, mass, near, last[-1] * nfw_projected(np.array(RADII) / radius, concentration))
        if len(taken) == number:
            return


def nfw_projected(radius: Array, concentration: float) -> Array:
    """Mass of an NFW halo within projected radii, in units of its radius, over its mass, (n,)."""
    x = np.asarray(radius) * concentration
    root = np.sqrt(np.abs(1 - x**2))
    angle = np.where(x < 1, np.arccosh(1 / np.minimum(x, 1)), np.arccos(1 / np.maximum(x, 1)))
    shape = np.where(root > 0, angle / np.maximum(root, 1e-12), 1.0)
    return (np.log(x / 2) + shape) / (np.log1p(concentration) - concentration / (1 + concentration))


def core_ratios(position: Array, halo: Halo, box: float) -> Array:
    """Logarithm of the mass of a halo within `RADII`, averaged over three views, over that of an NFW halo, (n,)."""
    near = position[halo.near]
    offset = _offset(near - _centre(near, halo.centre, box, (0.6, 0.4, 0.25)), box)
    counts = np.zeros(len(RADII))
    for axis in range(3):
        along, across = np.abs(offset[:, axis]), np.hypot(*np.delete(offset, axis, axis=1).T)
        counts += [np.sum((across < radius) & (along < 3)) / 3 for radius in RADII]
    return np.log(np.maximum(counts, 1) / halo.expected)


def _offset(difference: Array, box: float) -> Array:
    """The nearest periodic image of a difference of positions."""
    return (difference + box / 2) % box - box / 2


def _centre(near: Array, start: Array, box: float, radii: Sequence[float]) -> Array:
    """Centre of a halo: the mean of the particles within each radius, from the widest to the narrowest."""
    centre = np.asarray(start, float)
    for radius in radii:
        for _ in range(8):
            offset = _offset(near - centre, box)
            inside = np.linalg.norm(offset, axis=1) < radius
            centre = centre + (offset[inside].mean(axis=0) if inside.any() else 0.0)
    return centre


def mass_function(mass: Array, wavenumber: Array, power: Array, redshift: float, omega_m: float) -> Array:
    """Number of halos per d ln M and cubic Mpc/h, (n,), for spheres of 200 times the mean density.

    dn / d ln M = f(sigma) rho / M |d ln sigma / d ln M|, f(sigma) = A [(sigma / b)^-a + 1] exp(-c / sigma^2), sigma the
    rms of the linear density in spheres that hold M.

    Parameters
    ----------
    mass : (n,), increasing, Msun/h
    wavenumber, power : (k,), h/Mpc and (Mpc/h)^3, linear matter power at this redshift

    Raises
    ------
    BorderError
        If the smallest mass or the redshift is outside the range of the fit.

    Source: Tinker et al. 2008 (ApJ 688 709), eqs. 2-8 and table 2.
    """
    density = RHO_CRITICAL * omega_m
    x = wavenumber * np.cbrt(3 * mass / (4 * np.pi * density))[:, None]
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    sigma = np.sqrt(np.trapezoid(power * window**2 * wavenumber**3, np.log(wavenumber), axis=1) / (2 * np.pi**2))
    if not (LEAST_SIGMA <= sigma[0] <= MOST_SIGMA and 0 <= redshift <= MOST_REDSHIFT):
        raise BorderError(
            f"halos of {mass[0]:.2g} Msun/h at redshift {redshift:g}, where the linear density has an rms of"
            f" {sigma[0]:.2g}, are outside the range of the mass function (rms {LEAST_SIGMA} to {MOST_SIGMA}, redshift"
            f" 0 to {MOST_REDSHIFT}); check theory.a_s and theory.omega_m"
        )
    slope = np.abs(np.gradient(np.log(sigma), np.log(mass)))
    a, b = 1.47 * (1 + redshift) ** -0.06, 2.57 * (1 + redshift) ** -(10 ** -((0.75 / np.log10(200 / 75)) ** 1.2))
    shape = 0.186 * (1 + redshift) ** -0.14 * ((sigma / b) ** -a + 1) * np.exp(-1.19 / sigma**2)
    return shape * density / mass * slope
