"""Posterior samples on disk: SAMPLES, MEAN, STD, and the table CHAIN of diagnostics a noise level."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from analysis.sky import Grid, image_hdu, read_image, write_fits


def save_samples(
    path: str | Path, samples: np.ndarray, levels: Sequence, grid: Grid, *, cards: Mapping[str, object]
) -> None:
    """Write the samples of one field as FITS.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    levels : records of the chains' health, one a noise level (`sampler.Level`)
    cards : PROFILE, SOURCE, SEED and CODEHASH of the primary header
    """
    hdus = [
        image_hdu(samples, grid, "SAMPLES", axis="SAMPLE"),
        image_hdu(samples.mean(axis=0), grid, "MEAN"),
        image_hdu(samples.std(axis=0, ddof=1), grid, "STD"),
        fits.BinTableHDU(chain_table(levels), name="CHAIN"),
    ]
    write_fits(path, hdus, cards)


def chain_table(levels: Sequence) -> Table:
    """Diagnostics of chains, one row a noise level."""
    return Table([asdict(level) for level in levels])


def load_samples(path: str | Path) -> np.ndarray:
    """Samples of a field, (n, ny, nx).

    Raises
    ------
    BorderError
        If the file is missing, cut short, or holds no samples.
    """
    return read_image(path, "SAMPLES")[0]


def load_chain(path: str | Path) -> Table:
    """Diagnostics of the chains of a field, one row a noise level; the last is the reverse diffusion's."""
    return Table.read(path, hdu="CHAIN")
