"""Diagnostics of chains: health at each noise level (table CHAIN), and agreement between chains (table CONVERGENCE)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.flatsky.maps import central_crops
from analysis.flatsky.power import binned_c_ell, multipole_edges

log = logging.getLogger(__name__)

BANDS = 4  # of the power of noisy chains
MIN_DRAWS = 4  # each chain is split into halves, and each half needs two draws

Watch = Callable[[np.ndarray], None] | None  # sees the chains, (n, ny, nx), after a transition


@dataclass(frozen=True)
class Level:
    """Health of the chains at one noise level (one row of the CHAIN table).

    Attributes
    ----------
    sigma : noise level
    step : leapfrog step, in units of the mass matrix; 0 where none was made
    acceptance : mean Metropolis ratio of proposals, at most 1 each; 1 where draws are exact
    stein : E[(kappa - mean) . score] / -(number of modes), 1 in equilibrium; NaN where the score was not at hand
    highest : largest convergence in any chain
    evaluations : network evaluations so far, per chain
    power : of the noisy chains over S + sigma^2, in `BANDS` bands from long waves to short; 1 on average over data
    """

    sigma: float
    step: float
    acceptance: float
    stein: float
    highest: float
    evaluations: int
    power: tuple[float, ...]


def stein_ratio(kappa, force) -> float:
    """E[(kappa - mean) . score] over its value in equilibrium, -(number of modes).

    Parameters
    ----------
    kappa : (n, ny, nx), n at least 2
    force : (n, ny, nx), the score, or anything of the same expectation given `kappa`

    Source: Stein 1972.
    """
    kappa, force = np.asarray(kappa, float), np.asarray(force, float)
    centred = kappa - kappa.mean(axis=0)
    # chains centred on their own mean lose one part in their number
    bessel = len(kappa) / (len(kappa) - 1)
    return float(-np.sum(centred * force, axis=(-2, -1)).mean() * bessel / kappa[0].size)


def noisy_power(kappa, sigma: float, power: np.ndarray) -> tuple[float, ...]:
    """Power of maps at a noise level over S + sigma^2, in bands of equal ratio from the longest wave to the shortest.

    Parameters
    ----------
    kappa : (n, ny, nx)
    power : (ny, nx), pixel variance per mode
    """
    side = min(power.shape)
    k = np.hypot(*np.meshgrid(*(side * np.fft.fftfreq(length) for length in power.shape), indexing="ij"))
    band = np.digitize(k, np.geomspace(1, side / 2, BANDS + 1)[1:-1])
    found = np.mean(np.abs(np.fft.fft2(kappa, norm="ortho")) ** 2, axis=0)
    expected = power + sigma**2
    return tuple(
        float(found[chosen].sum() / expected[chosen].sum()) for chosen in ((band == i) & (k > 0) for i in range(BANDS))
    )


def check_finite(values, sigma: float) -> None:
    """Make sure that chains, or the score they follow, are numbers.

    Raises
    ------
    BorderError
        If one is not.
    """
    if not np.isfinite(values).all():
        raise BorderError(
            f"a chain is not finite at noise level {sigma:.4g}: the network fails there; look at prior.* in"
            " data/validation/metrics.json, and train it longer or on more maps"
        )


def report(level: Level, number: int) -> Level:
    """Write one line to the log for a noise level, and return its record.

    Raises
    ------
    BorderError
        If a chain is not finite.
    """
    check_finite(level.highest, level.sigma)
    log.info(
        "level %d: sigma %.4f, acceptance %.2f, Stein %.3f, highest kappa %.3f, %d evaluations",
        number, level.sigma, level.acceptance, level.stein, level.highest, level.evaluations,
    )  # fmt: skip
    return level


def watched(mask: np.ndarray, pixel_arcmin: float) -> tuple[list[dict[str, np.ndarray]], Callable[[np.ndarray], None]]:
    """A list, and the `watch` that fills it with the statistics of the chains after each transition.

    Parameters
    ----------
    mask : (ny, nx), True where observed; for larger maps only the middle is used
    """
    draws = []

    def watch(kappa: np.ndarray) -> None:
        draws.append(chain_statistics(central_crops(kappa, len(mask)), mask, pixel_arcmin))

    return draws, watch


def chain_statistics(kappa: np.ndarray, mask: np.ndarray, pixel_arcmin: float) -> dict[str, np.ndarray]:
    """Numbers that summarise each chain's map: power in bands of multipole, and the highest observed pixel.

    Parameters
    ----------
    kappa : (n, ny, nx), dimensionless
    mask : (ny, nx), True where observed

    Returns
    -------
    dict
        (n,) by name
    """
    bands = binned_c_ell(kappa * mask, pixel_arcmin, multipole_edges(kappa.shape[-1], pixel_arcmin))
    return {f"band_{i}": values for i, values in enumerate(bands.T)} | {"highest_peak": kappa[:, mask].max(axis=1)}


def convergence_table(draws: Sequence[Mapping[str, np.ndarray]]) -> Table:
    """R-hat and effective sample size of every statistic, one row each.

    Parameters
    ----------
    draws : what `chain_statistics` gave after each transition, at least `MIN_DRAWS` of them

    Returns
    -------
    Table
        `statistic`, `rhat` (rank-normalised, split chains), `ess` (bulk, of all chains together)

    Source: Vehtari et al. 2021, as ArviZ computes them.
    """
    from arviz_stats.base import array_stats  # seconds to import, and only here

    rows = []
    for name in draws[0]:
        chains = np.stack([draw[name] for draw in draws], axis=1)
        rhat, ess = (f(chains, chain_axis=0, draw_axis=1) for f in (array_stats.rhat, array_stats.ess))
        rows.append((name, float(rhat), float(ess)))
    return Table(rows=rows, names=("statistic", "rhat", "ess"))
