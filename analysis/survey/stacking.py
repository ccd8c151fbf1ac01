"""Tangential and cross shear around places: what mass at a place does to shapes around it, and what nothing does.

Tangential shear is positive around mass. Cross shear, at 45 degrees to it, has no cause in lensing. Places count by the
pixel that holds them, as galaxies do; positions x (along columns) and y (along rows) are 0-based.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io.registry import IORegistryError
from astropy.table import Table
from scipy.signal import fftconvolve

from analysis.core.files import BorderError

NAMES = {"ra_deg": ("ra_deg", "ra"), "dec_deg": ("dec_deg", "dec")}  # of columns of a list, in any case of letters


@dataclass(frozen=True, eq=False)
class Rings:
    """Sums over rings around every pixel.

    Attributes
    ----------
    shear : (bins, ny, nx), sum of weight times tangential shear + i cross shear
    weight : (bins, ny, nx), sum of weights
    radius_arcmin : (bins,), mean distance of a ring's pixels
    """

    shear: np.ndarray
    weight: np.ndarray
    radius_arcmin: np.ndarray


def ring_sums(gamma: np.ndarray, weight: np.ndarray, edges_arcmin: Sequence[float], pixel_arcmin: float) -> Rings:
    """Shear in rings around every pixel of a grid; the pixel in the middle, which has no direction, is in none.

    gamma_t + i gamma_x = -(gamma_1 + i gamma_2) exp(-2 i phi), phi the polar angle about the middle. Each pixel counts
    by the mean weight of its components.

    Parameters
    ----------
    gamma, weight : (2, ny, nx), shear in the frame of the grid and its inverse variance
    edges_arcmin : (bins + 1,), of the rings

    Raises
    ------
    BorderError
        If a ring holds no pixel.
    """
    reach = int(edges_arcmin[-1] / pixel_arcmin)
    offsets = np.arange(-reach, reach + 1)
    distance = pixel_arcmin * np.hypot(offsets[:, None], offsets)
    turn = -np.exp(-2j * np.arctan2(offsets[:, None], offsets))
    total, sums, weights, radii = weight.mean(axis=0), [], [], []
    for inner, outer in pairwise(edges_arcmin):
        ring = (distance >= inner) & (distance < outer) & (distance > 0)
        if not ring.any():
            raise BorderError(
                f"nulls.rings_arcmin: no pixel of {pixel_arcmin:g} arcmin lies {inner:g} to {outer:g} arcmin from"
                " another; give wider rings"
            )
        # a ring looks the same from the other side, so that to convolve is to correlate
        sums.append(fftconvolve(total * (gamma[0] + 1j * gamma[1]), ring * turn, mode="same"))
        found = fftconvolve(total, ring.astype(float), mode="same")
        weights.append(np.where(found > 1e-9 * total.max(), found, 0.0))
        radii.append(distance[ring].mean())
    return Rings(np.array(sums), np.array(weights), np.array(radii))


def stacked_shear(rings: Rings, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean tangential and cross shear around places.

    Parameters
    ----------
    x, y : (..., n), pixels

    Returns
    -------
    (..., 2, bins), dimensionless; NaN in a ring in which no place has a pixel of any weight
    """
    row, column = (np.floor(np.asarray(at) + 0.5).astype(int) for at in (y, x))
    weight = rings.weight[:, row, column].sum(axis=-1)
    shear = rings.shear[:, row, column].sum(axis=-1)
    mean = np.stack([shear.real, shear.imag]) / np.where(weight > 0, weight, np.nan)
    return np.moveaxis(mean, (0, 1), (-2, -1))


def read_places(path: str | Path) -> Table:
    """A list of places on the sky, as ECSV or CSV: columns `ra` and `dec` (or `ra_deg`, `dec_deg`), degrees.

    Where ECSV gives a column another unit of angle, it is turned to degrees.

    Returns
    -------
    Table
        `ra_deg`, `dec_deg` (deg)

    Raises
    ------
    BorderError
        If the file is missing or no such table, lacks a column, or a place is none.
    """
    form = {"format": "ascii.ecsv"} if Path(path).suffix == ".ecsv" else {"format": "ascii.csv", "comment": "#"}
    try:
        table = Table.read(Path(path).read_text(encoding="utf-8").splitlines(), guess=False, **form)
        columns = {name.lower(): table[name] for name in table.colnames}
        found = Table()
        for name, known in NAMES.items():
            column = columns[next(spelt for spelt in known if spelt in columns)]
            values = np.ma.filled(np.ma.asarray(column, float), np.nan)
            found[name] = u.Quantity(values, column.unit or u.deg).to_value(u.deg)
    except FileNotFoundError as error:
        raise BorderError(f"{path} does not exist; give nulls.positions a list that does, or take it out.") from error
    except StopIteration as error:
        raise BorderError(
            f"{path} has no column {' or '.join(known)} (columns: {', '.join(table.colnames)}); name them ra and dec."
        ) from error
    except (ValueError, TypeError, IndexError, IORegistryError, u.UnitConversionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BorderError(f"{path} cannot be read as a table of numbers ({reason}); give ECSV or CSV.") from error
    bad = ~(np.isfinite(found["ra_deg"]) & (np.abs(found["dec_deg"]) <= 90))
    if len(found) == 0 or bad.any():
        what = f"no place in row {np.flatnonzero(bad)[0]}" if bad.any() else "no rows"
        raise BorderError(f"{path} has {what} (of {len(found)}); give finite RA and Dec in degrees.")
    return found
