"""Distances and growth in a flat universe of matter and a cosmological constant (radiation neglected).

Lengths are comoving Mpc/h, times are scale factors a, and H0 = 1: E = H/H0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson, solve_ivp
from scipy.interpolate import CubicHermiteSpline

Array = NDArray[np.floating]

HUBBLE_DISTANCE_MPC_H = 2997.92458


def expansion_rate(a: float | Array, omega_m: float) -> float | Array:
    """Expansion rate H(a)/H0."""
    return np.sqrt(omega_m / a**3 + 1.0 - omega_m)


def comoving_distance(redshift: Array, omega_m: float) -> Array:
    """Comoving distance, Mpc/h."""
    z = np.linspace(0.0, max(float(np.max(redshift)), 1e-3), 2001)
    chi = HUBBLE_DISTANCE_MPC_H * cumulative_simpson(1 / expansion_rate(1 / (1 + z), omega_m), x=z, initial=0)
    return np.interp(redshift, z, chi)


@dataclass(frozen=True)
class Growth:
    """Growth factors as functions of ln a.

    `first`, `second` : D1 (1 today) and D2 (3/7 D1^2 in an Einstein-de Sitter universe);
    `first_momentum`, `second_momentum` : a^3 E dD/da of each.
    """

    omega_m: float
    first: CubicHermiteSpline
    second: CubicHermiteSpline
    first_momentum: CubicHermiteSpline
    second_momentum: CubicHermiteSpline


def growth_factors(omega_m: float, *, a_early: float = 1e-4, nodes: int = 400) -> Growth:
    """Growth at first and second order, from the early, matter-dominated universe to today.

    With G = a^3 E dD/da:  dD/dln a = G / (a^2 E),  dG/dln a = 3/2 Omega_m S / (a E),
    where S is D1 at first and D2 + D1^2 at second order.

    Source: Bouchet et al. 1995 (A&A 296 575), eqs. 6 and 7.
    """

    def slopes(ln_a: Array, state: Array) -> Array:
        a = np.exp(ln_a)
        first, first_momentum, second, second_momentum = state
        drift = 1.0 / (a**2 * expansion_rate(a, omega_m))
        kick = 1.5 * omega_m / (a * expansion_rate(a, omega_m))
        return np.stack([drift * first_momentum, kick * first, drift * second_momentum, kick * (second + first**2)])

    start = np.array([a_early, np.sqrt(omega_m) * a_early**1.5, 3 / 7 * a_early**2, 0.0])
    start[3] = 6 / 7 * np.sqrt(omega_m) * a_early**2.5
    ln_a = np.linspace(np.log(a_early), 0.0, nodes)
    state = solve_ivp(slopes, (ln_a[0], 0.0), start, "DOP853", ln_a, rtol=1e-10, atol=1e-20).y
    today = state[0, -1]
    scale = np.array([today, today, today**2, today**2])[:, None]
    table, slope = state / scale, slopes(ln_a, state) / scale
    first, first_momentum, second, second_momentum = (
        CubicHermiteSpline(ln_a, value, derivative) for value, derivative in zip(table, slope, strict=True)
    )
    return Growth(omega_m, first, second, first_momentum, second_momentum)


def drift_factor(growth: Growth, a_from: float, a_to: float, a_momentum: float) -> float:
    """Displacement per unit of momentum at `a_momentum`, exact for a Zel'dovich trajectory.

    Source: Feng et al. 2016 (FastPM), eq. 22.
    """
    gained = growth.first(np.log(a_to)) - growth.first(np.log(a_from))
    return float(gained / growth.first_momentum(np.log(a_momentum)))


def kick_factor(growth: Growth, a_from: float, a_to: float, a_force: float) -> float:
    """Change of momentum per unit of force at `a_force`, exact for a Zel'dovich trajectory.

    Source: Feng et al. 2016 (FastPM), eq. 23.
    """
    gained = growth.first_momentum(np.log(a_to)) - growth.first_momentum(np.log(a_from))
    return float(gained / (1.5 * growth.omega_m * growth.first(np.log(a_force))))
