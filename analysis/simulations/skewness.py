"""Theory of the skewness of smoothed convergence, from a published fit of the matter bispectrum.

    <kappa^3> = int dchi q^3 / chi^4 int d2l1 d2l2 / (2 pi)^4 B(l1 / chi, l2 / chi, l3 / chi) W(l1) W(l2) W(l3)

with l3 = |l1 + l2|, q as in `theory.convergence_c_ell` and W the Gaussian filter. The fit was made to N-body runs and
is good to about 15 %.
"""

import numpy as np
from astropy.table import Table

from analysis.params import TheoryParams
from analysis.simulations.theory import Array, line_of_sight

POINTS, ANGLES, PLANES = 72, 33, 32  # of the integrals over multipole, angle and distance
ELL_MAX = 3e4
SMOOTHED_DEX = 0.35  # of ln k: averages the slope of the linear power over its acoustic oscillations


def kernel_factors(slope: Array, scale: Array, sigma8: float) -> tuple[Array, Array, Array]:
    """The factors a, b and c of the second-order kernel, which take it from large scales to small.

    Parameters
    ----------
    slope : (...), n = dln P / dln k of the linear power
    scale : (...), q = k over the wavenumber where k^3 P / (2 pi^2) of the linear power is 1
    sigma8 : at the same redshift

    Source: Scoccimarro & Couchman 2001, eqs. 6 to 8.
    """
    n, q = slope, scale
    reduced = (4 - 2**n) / (1 + 2 ** (n + 1))
    a = (1 + sigma8**-0.2 * np.sqrt(0.7 * reduced) * (q / 4) ** (n + 3.5)) / (1 + (q / 4) ** (n + 3.5))
    b = (1 + 0.4 * (n + 3) * q ** (n + 3)) / (1 + q ** (n + 3.5))
    c = (1 + 4.5 / (1.5 + (n + 3) ** 4) * (2 * q) ** (n + 3)) / (1 + (2 * q) ** (n + 3.5))
    return a, b, c


def second_order_kernel(ratio: Array, cosine: Array, first: tuple, second: tuple) -> Array:
    """F2(k1, k2) with the factors (a, b, c) of each wavenumber.

    Parameters
    ----------
    ratio : k1 / k2
    cosine : of the angle between them

    Source: Scoccimarro & Couchman 2001, eq. 5; all factors 1 give perturbation theory.
    """
    (a1, b1, c1), (a2, b2, c2) = first, second
    return 5 / 7 * a1 * a2 + 0.5 * cosine * (ratio + 1 / ratio) * b1 * b2 + 2 / 7 * cosine**2 * c1 * c2


def plane_moments(ell: Array, power: Array, factors: tuple, smoothing_arcmin: Array) -> tuple[Array, Array]:
    """Second and third moment of a smoothed plane at second order, (n,) each.

    Parameters
    ----------
    ell : (m,), evenly spaced in the logarithm
    power : (m,), two-dimensional
    factors : a, b and c at each multipole
    smoothing_arcmin : (n,), standard deviations of Gaussians
    """
    one, two = np.meshgrid(np.arange(len(ell)), np.arange(len(ell)), indexing="ij")
    nodes, share = np.polynomial.legendre.leggauss(ANGLES)
    cosine = np.cos(0.5 * np.pi * (nodes + 1))[:, None, None]  # even in the angle: half a turn is enough
    third = ell[one] ** 2 + ell[two] ** 2 + 2 * ell[one] * ell[two] * cosine
    first, second = (tuple(factor[index] for factor in factors) for index in (one, two))
    kernel = share[:, None, None] * second_order_kernel(ell[one] / ell[two], cosine, first, second)
    measure = ell**2 / (2 * np.pi) * np.gradient(np.log(ell)) * power
    moments = []
    for radians2 in np.radians(smoothing_arcmin / 60) ** 2:
        seen = measure * np.exp(-0.5 * radians2 * ell**2)
        closed = np.sum(kernel * np.exp(-0.5 * radians2 * third), axis=0)
        moments.append((np.sum(seen * np.exp(-0.5 * radians2 * ell**2)), 3 * seen @ closed @ seen))
    return tuple(np.array(moments).T)


def convergence_skewness(params: TheoryParams, smoothing_arcmin: Array, *, ell_min: float) -> Table:
    """Skewness <kappa^3> / <kappa^2>^(3/2) of convergence smoothed with Gaussians.

    Parameters
    ----------
    smoothing_arcmin : (n,), standard deviations
    ell_min : lowest multipole; a field of side L has no longer wave than 2 pi / L

    Returns
    -------
    Table
        `smoothing_arcmin` and `skewness`
    """
    sight, ell = line_of_sight(params, points=PLANES), np.geomspace(ell_min, ELL_MAX, POINTS)
    second, third = np.zeros(len(smoothing_arcmin)), np.zeros(len(smoothing_arcmin))
    for chi, weight, z, q, sigma8 in zip(sight.chi, sight.weight, sight.redshift, sight.q, sight.sigma8, strict=True):
        k = ell / chi
        factors = _factors(sight.linear, z, k, sigma8)
        found = plane_moments(ell, sight.nonlinear(z, k) / chi**2, factors, smoothing_arcmin)
        second += weight * q**2 * found[0]
        third += weight * q**3 * found[1]
    return Table({"smoothing_arcmin": smoothing_arcmin, "skewness": third / second**1.5})


def _factors(linear, redshift: float, k: Array, sigma8: float) -> tuple[Array, Array, Array]:
    """`kernel_factors` at a redshift, with the slope of a smoothed linear power."""
    fine = np.geomspace(1e-3, 1e3, 800)
    ln_k, ln_power = np.log(fine), np.log(linear(redshift, fine))
    nonlinear_k = float(np.exp(np.interp(0.0, ln_power + 3 * ln_k - np.log(2 * np.pi**2), ln_k)))
    window = np.exp(-0.5 * (np.subtract.outer(ln_k, ln_k) / SMOOTHED_DEX) ** 2)
    slope = (window / window.sum(axis=1, keepdims=True)) @ np.gradient(ln_power, ln_k)
    return kernel_factors(np.interp(np.log(k), ln_k, slope), k / nonlinear_k, sigma8)
