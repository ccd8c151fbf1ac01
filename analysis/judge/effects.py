"""Effects of the sky that the sampler's shear operator leaves out, one at a time, on maps made from mocks.

The operator is periodic, linear in the convergence and constant within a pixel; the shear of the sky is not. All kinds
of mock share truths and noise, so that their differences are known better than the numbers themselves.
"""

from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from analysis.core.progress import progress, within
from analysis.flatsky.power import ARCMIN
from analysis.judge.metrics import in_mask_pearson, in_mask_rmse
from analysis.params import stage_rng
from analysis.posterior.wiener import gaussian_posterior_draws
from analysis.rivals.baselines import wiener_filter
from analysis.simulations.mocks import mock_observation
from analysis.sky import Observation

KINDS = {
    "own": {"wide": False, "reduced": False},  # the sampler's own periodic operator
    "wide": {"wide": True, "reduced": False},  # shear of a map wider than the grid
    "sky": {"wide": True, "reduced": True},  # and reduced shear, as galaxies have it
}
DRAWS = 32  # of the Gaussian posterior


def mock_effects(
    maps: Sequence[np.ndarray], observation: Observation, power: np.ndarray, *, seed: int
) -> dict[str, Table]:
    """Errors of the Wiener filter on each kind of mock of the same maps, and coverage of its 68 % intervals.

    Intervals are those of the Gaussian posterior, whose width depends on mask, noise and spectrum only.

    Parameters
    ----------
    maps : of (side, side), wider than the grid
    observation : its weights set mask and noise
    power : (ny, nx), spectrum of the prior

    Returns
    -------
    By kind a table of `rmse`, `pearson`, `coverage68` of each map, in-mask
    """
    blank = np.zeros_like(observation.gamma)
    rng = stage_rng(seed, "mocks", "effects")
    draws = gaussian_posterior_draws(blank, observation.weight, power, DRAWS, rng=rng)
    spread = np.sqrt(np.mean(draws**2, axis=0))  # their mean is zero, as there is no shear
    tables, advance = {}, progress("mocks of every kind", len(KINDS) * len(maps))
    for kind, options in KINDS.items():
        rows = []
        for number, kappa in enumerate(maps):
            rng = stage_rng(seed, "mocks", "effects", str(number))
            truth, mock = mock_observation(kappa, observation, rng=rng, **options)
            with within(advance):
                estimate = wiener_filter(mock.gamma, mock.weight, power)
            rows.append(_errors(estimate, truth, spread, observation.mask))
        tables[kind] = Table(rows=rows, names=("rmse", "pearson", "coverage68"))
    return tables


def effect_summary(tables: dict[str, Table]) -> dict[str, dict[str, float]]:
    """Means over the maps by kind, and the mean change of each map from the kind `own` with its error."""
    own = tables["own"]
    out = {}
    for kind, table in tables.items():
        out[kind] = {name: float(np.mean(table[name])) for name in table.colnames}
        if kind != "own":
            change = np.asarray(table["rmse"] / own["rmse"]) - 1
            out[kind] |= {"rmse_change": float(change.mean()), "rmse_change_err": _error(change)}
            out[kind] |= {"coverage68_change": float(np.mean(table["coverage68"] - own["coverage68"]))}
    return out


def shear_inside_pixels(ell: np.ndarray, c_ell: np.ndarray, pixel_arcmin: float) -> float:
    """Variance of a shear component about its mean over a pixel, without the shapes of galaxies.

    int ell dell / (2 pi) C_ell / 2 (1 - W^2), with W^2 the azimuthal mean of the squared pixel window.

    Parameters
    ----------
    ell, c_ell : (n,), sr
    """
    angle = np.linspace(0, np.pi / 2, 33)
    x = ell[:, None] * pixel_arcmin * ARCMIN / (2 * np.pi)
    window = np.mean((np.sinc(x * np.cos(angle)) * np.sinc(x * np.sin(angle))) ** 2, axis=1)
    return float(np.trapezoid(ell * c_ell / (4 * np.pi) * (1 - window), ell))


def _errors(estimate: np.ndarray, truth: np.ndarray, spread: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """RMSE, correlation, and share of observed pixels with the truth within one standard deviation."""
    error = (estimate - truth)[mask]
    inside = np.abs(error - error.mean()) < spread[mask]
    return in_mask_rmse(estimate, truth, mask), in_mask_pearson(estimate, truth, mask), float(inside.mean())


def _error(values: np.ndarray) -> float:
    """Standard error of a mean, 0 for one value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
