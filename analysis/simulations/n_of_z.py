"""Redshift distribution of the sources: one plane, a file, or a Smail form."""

import numpy as np

from analysis.core.files import BorderError
from analysis.params import SmailParams, SourcesParams

REDSHIFT_MAX = 20.0


def source_distribution(params: SourcesParams) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts of the sources, increasing and above 0, and the fraction of the sources at each, (n,) each.

    Raises
    ------
    BorderError
        If the file is not two columns of increasing redshifts with non-negative n(z).
    """
    if params.redshift is not None:
        return np.array([params.redshift]), np.array([1.0])
    redshift, density = read_distribution(params.file) if params.file is not None else smail(params.smail)
    share = density * np.gradient(redshift)
    used = (share > 0) & (redshift > 0)
    return redshift[used], share[used] / share[used].sum()


def smail(params: SmailParams, *, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts that hold all but 1e-4 of the sources, and n(z) = z^alpha exp(-(z / z0)^beta), not normalised.

    Source: Smail et al. 1995 (MNRAS 273 277), in the form of Kilbinger 2015, eq. 55.
    """
    redshift = np.linspace(0, params.z0 * 20 ** (1 / params.beta), 20 * points)
    density = redshift**params.alpha * np.exp(-((redshift / params.z0) ** params.beta))
    tail = np.cumsum(density[::-1])[::-1] / density.sum()
    last = redshift[tail > 1e-4][-1]
    nodes = np.linspace(0, last, points + 1)
    return nodes, np.interp(nodes, redshift, density)


def read_distribution(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts and n(z) from a text file of two columns; `#` starts a comment.

    Raises
    ------
    BorderError
        If it cannot be read, or is not a distribution of redshifts.
    """
    remedy = "give two columns, increasing redshifts and non-negative n(z), or set theory.sources.redshift"
    try:
        table = np.loadtxt(path, ndmin=2)
        fault = _fault(table)
    except (OSError, ValueError) as error:
        fault = " ".join(str(error).split()) or "it cannot be read"
    if fault:
        raise BorderError(f"{path} is not a source distribution: {fault}; {remedy}")
    return table[:, 0], table[:, 1]


def _fault(table: np.ndarray) -> str | None:
    """Why a table (rows, columns) is not a source distribution, or None."""
    if table.shape[1] != 2 or len(table) < 2:
        return f"it has {len(table)} rows and {table.shape[1]} columns"
    redshift, density = table.T
    if not np.isfinite(table).all():
        return "it holds values that are not finite"
    if np.any(np.diff(redshift) <= 0):
        row = int(np.argmax(np.diff(redshift) <= 0)) + 2
        return f"row {row} has the redshift {redshift[row - 1]:g} after {redshift[row - 2]:g}"
    if redshift[0] < 0:
        return f"the first redshift is {redshift[0]:g}"
    if redshift[-1] > REDSHIFT_MAX:
        return f"its last redshift is {redshift[-1]:g}, more than {REDSHIFT_MAX:g}: it seems to have another unit"
    if np.any(density < 0):
        return f"n(z) is {density.min():g} at redshift {redshift[np.argmin(density)]:g}"
    if not np.sum(density[redshift > 0]) > 0:
        return "n(z) is zero everywhere"
    return None
