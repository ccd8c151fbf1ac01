"""Halos of known mass injected into small mocks: how often posterior samples show them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy import constants
from astropy import units as u
from astropy.table import Table
from colossus.cosmology import cosmology
from colossus.halo import concentration, profile_nfw
from scipy.ndimage import distance_transform_edt

from analysis.core.files import read_json, write_json
from analysis.core.workers import scatter
from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.peaks import aperture_mass, aperture_noise, presence
from analysis.flatsky.statistics import mean_and_error
from analysis.judge.calibration import CutOut
from analysis.judge.mock_runs import run_setting, run_small_mocks
from analysis.params import ClustersParams, Params, TheoryParams, stage_rng
from analysis.posterior.sampler import annealed
from analysis.prior.score import Prior
from analysis.simulations.theory import efficiency_at
from analysis.survey.clusters import random_places

PUBLISHED = {"snr": (3.8, 5.4, 6.6), "present": (0.82, 0.94, 1.0)}  # Remy et al. 2023, with another peak finder
SUBPIXELS = 5  # a side of each pixel, over which a halo is averaged


def injected_mocks(params: Params, work: Path) -> Table:
    """Samples of small mocks with a halo of each mass of `clusters.injection`, one row a mock.

    Mocks, places and noise are the same for each mass.

    Parameters
    ----------
    work : folder with one JSON file per mock; a mock whose file exists is not run again

    Returns
    -------
    Table
        Rows of `injection_row`, with `mass` (solar masses)
    """
    injection = params.clusters.injection
    tasks = {
        work / f"halo_{order}_{number:04d}.json": (mass, number)
        for number in range(injection.realisations)
        for order, mass in enumerate(injection.masses)
    }
    scatter(_inject, tasks, params.compute, what="mocks with a halo")
    return Table(rows=[read_json(path) for path in tasks])


def _inject(path: Path, mass: float, number: int) -> None:
    """Sample one mock with a halo and write its `injection_row`."""
    params, prior, on_field = run_setting(path.parent.name, small=True)
    rng = injection_rng(params, number)
    mock = run_small_mocks(path.parent.name)("own", rng)
    write_json(path, sampled_halo(mock, mass, params, prior, annealed(on_field), rng))


def injection_rng(params: Params, number: int) -> np.random.Generator:
    """Random numbers of one mock, of the place of its halo, and of its samples, in this order."""
    return stage_rng(params.seed, "clusters", str(number))


def sampled_halo(
    mock: CutOut, mass: float, params: Params, prior: Prior, anneal: Callable, rng: np.random.Generator
) -> dict[str, float]:
    """`injection_row` of a halo injected at a random place of a mock, with its `mass`.

    Parameters
    ----------
    mock : without the halo
    mass : M200c, solar masses
    anneal : sampler with `prior`, as `sampler.annealer` makes it
    """
    settings = params.clusters
    place = inner_place(mock.weight, settings.aperture_arcmin / prior.pixel_arcmin, rng=rng)
    profile = nfw_convergence(mass, settings.injection.redshift, params.theory)
    halo = halo_map(profile, mock.truth.shape, *place, prior.pixel_arcmin)
    mock = injected(mock, halo)
    samples = np.asarray(anneal(mock.gamma, mock.weight, settings.injection.samples, rng=rng)[0], float)
    return {"mass": mass} | injection_row(mock, halo, place, samples, settings, prior.pixel_arcmin, rng=rng)


def nfw_convergence(mass: float, redshift: float, theory: TheoryParams) -> Callable:
    """Convergence of an NFW halo as a function of the angle from its centre, arcmin.

    Parameters
    ----------
    mass : M200c, solar masses; its concentration is that of Duffy et al. 2008 (all halos, 200 critical densities)
    redshift : of the halo; it does not lens sources nearer than itself
    theory : cosmology, and redshifts of the sources

    Source: Wright & Brainerd 2000, eq. 11, by colossus (Diemer 2018).
    """
    # colossus asks for sigma8, but concentration and profile do not depend on it
    universe = cosmology.setCosmology(
        "params.yaml",
        flat=True,
        H0=100 * theory.h,
        Om0=theory.omega_m,
        Ob0=theory.omega_b,
        sigma8=0.8,
        ns=theory.n_s,
        relspecies=False,
        persistence="",
    )
    mass_h = mass * theory.h
    halo = profile_nfw.NFWProfile(
        M=mass_h, c=concentration.concentration(mass_h, "200c", redshift, model="duffy08"), z=redshift, mdef="200c"
    )
    efficiency = efficiency_at(redshift, theory)
    distance = universe.angularDiameterDistance(redshift) * u.Mpc / theory.h
    critical = (constants.c**2 / (4 * np.pi * constants.G * distance)).to_value(u.solMass / u.kpc**2)
    kpc_h = np.deg2rad(1 / 60) * distance.to_value(u.kpc) * theory.h

    def convergence(angle_arcmin: np.ndarray) -> np.ndarray:
        angle = np.asarray(angle_arcmin, float)
        surface = halo.surfaceDensity(angle.ravel() * kpc_h).reshape(angle.shape) * theory.h  # solar masses / kpc^2
        return surface * efficiency / critical

    return convergence


def halo_map(convergence: Callable, shape: tuple[int, int], x: float, y: float, pixel_arcmin: float) -> np.ndarray:
    """Convergence of a halo on the grid, averaged over each pixel.

    Parameters
    ----------
    convergence : of the angle in arcmin, as `nfw_convergence` gives it
    x, y : its centre, pixels

    Returns
    -------
    (ny, nx)
    """
    within = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    rows = (np.arange(shape[0])[:, None] + within).ravel()
    columns = (np.arange(shape[1])[:, None] + within).ravel()
    distance = np.hypot(*np.meshgrid(columns - x, rows - y))
    # the density diverges at the centre, which may be the centre of a subpixel
    fine = convergence(np.maximum(distance, 0.25 / SUBPIXELS) * pixel_arcmin)
    return fine.reshape(shape[0], SUBPIXELS, shape[1], SUBPIXELS).mean(axis=(1, 3))


def injected(mock: CutOut, halo: np.ndarray) -> CutOut:
    """The mock with a halo (side, side) added to its truth, and the shear of the halo added to its shear."""
    shear = np.asarray(shear_from_convergence(halo[None]))[0]
    gamma = np.where(mock.weight > 0, mock.gamma + shear, 0.0).astype(mock.gamma.dtype)
    return replace(mock, truth=mock.truth + halo, gamma=gamma)


def inner_place(weight: np.ndarray, radius: float, *, rng: np.random.Generator) -> tuple[float, float]:
    """A random observed pixel at least `radius` pixels inside the outline of a mock, or as far inside as possible."""
    rows, columns = np.nonzero(weight[0] > 0)
    outline = np.zeros(weight.shape[-2:], bool)
    outline[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    depth = np.where(weight[0] > 0, distance_transform_edt(np.pad(outline, 1))[1:-1, 1:-1], 0.0)
    x, y = random_places(depth >= min(radius, depth.max()), rng, 1)
    return float(x[0]), float(y[0])


def injection_row(
    mock: CutOut,
    halo: np.ndarray,
    place: tuple[float, float],
    samples: np.ndarray,
    settings: ClustersParams,
    pixel_arcmin: float,
    *,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Signal to noise of an injected halo, and how often samples show it.

    Parameters
    ----------
    mock : with the halo
    halo : (side, side), the halo alone
    place : x, y of its centre, pixels
    samples : (n, side, side)

    Returns
    -------
    dict
        `snr`, aperture mass of the halo over the noise of the shear; `present`, share of samples with a peak of at
        least the threshold within the radius; `chance`, the same at random places of the mock; `in_truth`, whether the
        truth has such a peak; `mass_truth`, `mass_mean`, `mass_std`, aperture mass of truth and samples; `box`
    """
    aperture, radius = settings.aperture_arcmin / pixel_arcmin, settings.radius_arcmin / pixel_arcmin
    at = {"radius": radius, "threshold": settings.threshold}
    x, y = (np.array([value]) for value in place)
    anywhere = random_places(mock.weight[0] > 0, rng, settings.random_places)
    masses = aperture_mass(samples, *place, aperture)
    return {
        "snr": float(aperture_mass(halo, *place, aperture) / aperture_noise(mock.weight, *place, aperture)),
        "present": float(presence(samples, x, y, **at)[0]),
        "chance": float(presence(samples, *anywhere, **at).mean()),
        "in_truth": float(presence(mock.truth[None], x, y, **at)[0]),
        "mass_truth": float(aperture_mass(mock.truth, *place, aperture)),
        "mass_mean": float(masses.mean()),
        "mass_std": float(masses.std(ddof=1)),
        "box": mock.box,
    }


def injection_summary(rows: Table, redshift: float) -> dict[str, float | list[float]]:
    """Means over realisations for each injected mass, with the jackknife error of `present` over boxes.

    Parameters
    ----------
    rows : of `injection_row`, with `mass` (solar masses)
    redshift : of the halos
    """
    masses = sorted(set(rows["mass"]))
    chosen = [rows[rows["mass"] == mass] for mass in masses]
    present = [mean_and_error(one["present"], one["box"]) for one in chosen]
    return {
        "redshift": redshift,
        "mass": [float(mass) for mass in masses],
        "realisations": [len(one) for one in chosen],
        "present": [mean for mean, _ in present],
        "present_err": [error for _, error in present],
        **{name: [float(np.mean(one[name])) for one in chosen] for name in ("snr", "chance", "in_truth")},
        "mass_bias": [  # aperture mass of the posterior mean less the truth's, over the truth's
            float(np.mean(one["mass_mean"] - one["mass_truth"]) / np.mean(one["mass_truth"])) for one in chosen
        ],
    }
