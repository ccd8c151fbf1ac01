"""Posterior samples on disk: SAMPLES, MEAN, STD, TRAIL, and tables: CHAIN by noise level, CONVERGENCE by statistic."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from analysis.sky import Grid, image_hdu, read_image, write_fits


def save_samples(
    path: str | Path,
    samples: np.ndarray,
    levels: Sequence,
    grid: Grid,
    *,
    cards: Mapping[str, object],
    convergence: Table | None = None,
    trail: np.ndarray | None = None,
) -> None:
    """Write the samples of one field as FITS.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    levels : records of the chains' health, one a noise level (`diagnostics.Level`)
    cards : PROFILE, SOURCE, SEED and CODEHASH of the primary header
    convergence : R-hat and effective sample size a statistic (`diagnostics.convergence_table`)
    trail : (1 + levels, ny, nx), the way of the first chain, where it was kept
    """
    hdus = [
        image_hdu(samples, grid, "SAMPLES", axis="SAMPLE"),
        image_hdu(samples.mean(axis=0), grid, "MEAN"),
        image_hdu(samples.std(axis=0, ddof=1), grid, "STD"),
        fits.BinTableHDU(chain_table(levels), name="CHAIN"),
    ]
    if convergence is not None:
        hdus.append(fits.BinTableHDU(convergence, name="CONVERGENCE"))
    if trail is not None and len(trail):
        hdus.append(image_hdu(trail, grid, "TRAIL", axis="LEVEL"))
    write_fits(path, hdus, cards)


def chain_table(levels: Sequence) -> Table:
    """Diagnostics of chains, one row a noise level."""
    return Table([asdict(level) for level in levels])


def stein_error(chain: Table) -> float | None:
    """Largest departure from Stein's identity over the noise levels whose score is known; None if there are none."""
    departures = np.abs(np.asarray(chain["stein"], float) - 1)
    return float(np.nanmax(departures)) if np.isfinite(departures).any() else None


def load_samples(path: str | Path) -> np.ndarray:
    """Samples of a field, (n, ny, nx).

    Raises
    ------
    BorderError
        If the file is missing, cut short, or holds no samples.
    """
    return read_image(path, "SAMPLES")[0]


def load_trail(path: str | Path) -> np.ndarray:
    """Path of the first chain, (1 + levels, ny, nx): its map at the start and after every noise level.

    Raises
    ------
    BorderError
        If the file is missing, cut short, or it holds no trail.
    """
    return read_image(path, "TRAIL")[0]


def load_chain(path: str | Path) -> Table:
    """Diagnostics of the chains of a field, one row a noise level."""
    return Table.read(path, hdu="CHAIN")


def load_convergence(path: str | Path) -> Table:
    """R-hat and effective sample size of the chains of a field, one row a statistic."""
    return Table.read(path, hdu="CONVERGENCE")
