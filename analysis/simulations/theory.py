"""Theory spectra: matter power from CAMB, and the convergence spectrum of a source distribution (Limber)."""

import numpy as np
from astropy.table import Table

from analysis.params import TheoryParams
from analysis.simulations.n_of_z import lensing_efficiency, source_distribution

SPEED_OF_LIGHT_KM_S = 299792.458


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


def convergence_c_ell(params: TheoryParams, *, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Multipoles, and the angular power spectrum of the convergence in sr, (n_ell,) each.

    C_ell = int dchi q(chi)^2 / chi^2 P((ell + 1/2) / chi, z),  q = 3/2 omega_m (H0/c)^2 chi / a  g(chi),

    with the halofit matter power P and the lensing efficiency g, in Limber's approximation.

    Parameters
    ----------
    points : Gauss-Legendre nodes along the line of sight

    Source: Kilbinger 2015, eqs. 29-31; Takahashi et al. 2012 for the matter power.
    """
    source_z, share = source_distribution(params.sources)
    z_table = np.concatenate([np.arange(0.0, 1.0, 0.05), np.arange(1.0, source_z.max() + 0.2, 0.1)])
    results = camb_results(params, z_table)
    matter = results.get_matter_power_interpolator(nonlinear=True, hubble_units=False, k_hunit=False, extrap_kmax=1e4)
    chi_source = results.comoving_radial_distance(source_z)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    chi = 0.5 * chi_source.max() * (nodes + 1)
    dchi = 0.5 * chi_source.max() * weights
    z = results.redshift_at_comoving_radial_distance(chi)
    efficiency = lensing_efficiency(chi, chi_source, share)
    hubble = 100 * params.h / SPEED_OF_LIGHT_KM_S
    q = 1.5 * params.omega_m * hubble**2 * chi * (1 + z) * efficiency

    ell = np.unique(np.round(np.geomspace(2, params.ell_max, 400)))
    c_ell = np.zeros_like(ell)
    for chi_i, z_i, weight in zip(chi, z, dchi * q**2 / chi**2, strict=True):
        k = (ell + 0.5) / chi_i
        c_ell += np.where(k < 1e4, weight * matter.P(z_i, np.minimum(k, 1e4)), 0.0)
    return ell, c_ell


def matter_tables(params: TheoryParams) -> Table:
    """Table of matter power today: `k` in h/Mpc, `linear` and `halofit` in (Mpc/h)^3."""
    results = camb_results(params, np.array([0.0]))
    k = np.geomspace(1e-4, 50, 500)
    linear = results.get_matter_power_interpolator(nonlinear=False).P(0.0, k)
    halofit = results.get_matter_power_interpolator(nonlinear=True).P(0.0, k)
    return Table({"k": k, "linear": linear, "halofit": halofit})
