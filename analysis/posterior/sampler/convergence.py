"""Whether chains that started apart have come to agree: R-hat and effective sample size of what a map is used for."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from astropy.table import Table

from analysis.flatsky.maps import central_crops
from analysis.flatsky.power import binned_c_ell, multipole_edges

MIN_DRAWS = 4  # of which split chains have two a half


def watched(mask: np.ndarray, pixel_arcmin: float) -> tuple[list[dict[str, np.ndarray]], Callable[[np.ndarray], None]]:
    """A list, and the `watch` that fills it with the statistics of the chains after each transition.

    Parameters
    ----------
    mask : (ny, nx), True where observed; of larger maps the middle is looked at
    """
    draws = []

    def watch(kappa: np.ndarray) -> None:
        draws.append(chain_statistics(central_crops(kappa, len(mask)), mask, pixel_arcmin))

    return draws, watch


def chain_statistics(kappa: np.ndarray, mask: np.ndarray, pixel_arcmin: float) -> dict[str, np.ndarray]:
    """Numbers that summarise each chain's map: power in bands of multipole, and the highest peak of observed pixels.

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
