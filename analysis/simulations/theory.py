"""Theory of a flat universe: distances, growth, lensing efficiency, matter power, and the convergence spectrum.

Distances and growth are for matter and a cosmological constant (radiation neglected), with comoving lengths in Mpc/h,
scale factors a as times, and H0 = 1, so that E = H/H0. The spectra are from CAMB, which includes radiation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson, solve_ivp
from scipy.interpolate import CubicHermiteSpline

from analysis.params import TheoryParams
from analysis.simulations.n_of_z import source_distribution

Array = NDArray[np.floating]

HUBBLE_DISTANCE_MPC_H = 2997.92458
SPEED_OF_LIGHT_KM_S = 299792.458
K_MAX = 1e4  # of the extrapolated matter power, 1/Mpc


def expansion_rate(a: float | Array, omega_m: float) -> float | Array:
    """Expansion rate H(a)/H0."""
    return np.sqrt(omega_m / a**3 + 1.0 - omega_m)


def comoving_distance(redshift: Array, omega_m: float) -> Array:
    """Comoving distance, Mpc/h."""
    z = np.linspace(0.0, max(float(np.max(redshift)), 1e-3), 2001)
    chi = HUBBLE_DISTANCE_MPC_H * cumulative_simpson(1 / expansion_rate(1 / (1 + z), omega_m), x=z, initial=0)
    return np.interp(redshift, z, chi)


def lensing_efficiency(chi: np.ndarray, source_chi: np.ndarray, source_share: np.ndarray) -> np.ndarray:
    """Mean over the sources of (chi_s - chi) / chi_s, with 0 for sources in front, (...).

    Parameters
    ----------
    chi : (...), comoving distance in a flat universe, any unit
    source_chi : (sources,), the same of the sources
    source_share : (sources,), fraction of the sources at each distance; sums to 1
    """
    return np.maximum(1 - np.asarray(chi)[..., None] / source_chi, 0) @ source_share


def efficiency_at(redshift: float | np.ndarray, theory: TheoryParams) -> float | np.ndarray:
    """Lensing efficiency D_ls / D_s of a lens at `redshift` (...), averaged over the sources of `theory`."""
    sources, share = source_distribution(theory.sources)
    near, far = (comoving_distance(np.asarray(z, float), theory.omega_m) for z in (redshift, sources))
    return lensing_efficiency(near, far, share)


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


def camb_results(params: TheoryParams, redshifts: np.ndarray, k_max: float = 100.0):
    """Results of CAMB for flat space and massless neutrinos, with matter power at `redshifts` up to `k_max` h/Mpc."""
    import camb

    cosmology = camb.set_params(
        H0=100 * params.h,
        ombh2=params.omega_b * params.h**2,
        omch2=(params.omega_m - params.omega_b) * params.h**2,
        mnu=0.0,
        As=params.a_s,
        ns=params.n_s,
        halofit_version="takahashi",
        NonLinear=camb.model.NonLinear_both,
    )
    cosmology.set_matter_power(redshifts=sorted(redshifts, reverse=True), kmax=k_max * params.h)
    return camb.get_results(cosmology)


@dataclass(frozen=True)
class LineOfSight:
    """What lenses the sources, at Gauss-Legendre nodes of comoving distance, with lengths in Mpc.

    `chi`, `weight` : distance of a node, and its share of the integral over distance; `redshift`; `q` : 3/2 omega_m
    (H0/c)^2 chi / a g, the lensing kernel; `linear`, `nonlinear` : (z, k) -> matter power; `sigma8` : at each redshift
    """

    chi: Array
    weight: Array
    redshift: Array
    q: Array
    linear: Callable
    nonlinear: Callable
    sigma8: Array


def line_of_sight(params: TheoryParams, *, points: int) -> LineOfSight:
    """The line of sight to the sources of `params`, with halofit for the nonlinear power (Takahashi et al. 2012)."""
    source_z, share = source_distribution(params.sources)
    z_table = np.concatenate([np.arange(0.0, 1.0, 0.05), np.arange(1.0, source_z.max() + 0.2, 0.1)])
    results = camb_results(params, z_table)
    power = {"hubble_units": False, "k_hunit": False, "extrap_kmax": K_MAX}
    linear, nonlinear = (results.get_matter_power_interpolator(nonlinear=one, **power).P for one in (False, True))
    chi_source = results.comoving_radial_distance(source_z)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    chi = 0.5 * chi_source.max() * (nodes + 1)
    z = results.redshift_at_comoving_radial_distance(chi)
    hubble = 100 * params.h / SPEED_OF_LIGHT_KM_S
    q = 1.5 * params.omega_m * hubble**2 * chi * (1 + z) * lensing_efficiency(chi, chi_source, share)
    sigma8 = np.interp(z, z_table, results.get_sigma8()[::-1])
    return LineOfSight(chi, 0.5 * chi_source.max() * weights, z, q, linear, nonlinear, sigma8)


def convergence_c_ell(params: TheoryParams, *, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Multipoles, and the angular power spectrum of the convergence in sr, (n_ell,) each.

    C_ell = int dchi q(chi)^2 / chi^2 P((ell + 1/2) / chi, z),  q = 3/2 omega_m (H0/c)^2 chi / a  g(chi),

    with the halofit matter power P and the lensing efficiency g, in Limber's approximation.

    Parameters
    ----------
    points : Gauss-Legendre nodes along the line of sight

    Source: Kilbinger 2015, eqs. 29-31; Takahashi et al. 2012 for the matter power.
    """
    sight = line_of_sight(params, points=points)
    ell = np.unique(np.round(np.geomspace(2, params.ell_max, 400)))
    c_ell = np.zeros_like(ell)
    shares = sight.weight * sight.q**2 / sight.chi**2
    for chi, z, share in zip(sight.chi, sight.redshift, shares, strict=True):
        k = (ell + 0.5) / chi
        c_ell += np.where(k < K_MAX, share * sight.nonlinear(z, np.minimum(k, K_MAX)), 0.0)
    return ell, c_ell


def matter_tables(params: TheoryParams) -> Table:
    """Table of matter power today: `k` in h/Mpc, `linear` and `halofit` in (Mpc/h)^3."""
    results = camb_results(params, np.array([0.0]))
    k = np.geomspace(1e-4, 50, 500)
    linear = results.get_matter_power_interpolator(nonlinear=False).P(0.0, k)
    halofit = results.get_matter_power_interpolator(nonlinear=True).P(0.0, k)
    return Table({"k": k, "linear": linear, "halofit": halofit})
