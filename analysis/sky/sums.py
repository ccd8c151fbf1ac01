"""Sums over the galaxies of each pixel, chunk after chunk: the same observation as all galaxies at once give."""

from dataclasses import dataclass, field

import numpy as np

from analysis.sky.grid import Grid
from analysis.sky.observation import Observation, turned_to_grid


@dataclass(eq=False)
class Sums:
    """What is added up of the galaxies of a field; the one record here that changes, by `add`.

    Parameters
    ----------
    grid : Grid
    pixels : (5, ny, nx)
        Galaxies, sum of w, of w^2, of w e1 and of w e2 in the frame of the grid.
    totals : (4,)
        Of all galaxies, those outside the grid too: sums of w, w^2, w^2 e1^2, w^2 e2^2 (e as the sky has it).
    rows : int
        Galaxies, those outside the grid too.
    """

    grid: Grid
    pixels: np.ndarray = field(init=False)
    totals: np.ndarray = field(init=False)
    rows: int = 0

    def __post_init__(self) -> None:
        self.pixels = np.zeros((5, *self.grid.shape))
        self.totals = np.zeros(4)

    def add(
        self, ra_deg: np.ndarray, dec_deg: np.ndarray, e1: np.ndarray, e2: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Add galaxies, given as `bin_catalogue` takes them; which of them lie on the grid, (n,), bool."""
        row, column, inside = self.grid.pixel_indices(ra_deg, dec_deg)
        pixel = (row * self.grid.pixels + column)[inside]
        w = weight[inside]
        components = turned_to_grid(ra_deg[inside], dec_deg[inside], e1[inside], e2[inside], self.grid)
        for total, values in zip(self.pixels, (None, w, w**2, w * components[0], w * components[1]), strict=True):
            total += np.bincount(pixel, values, total.size).reshape(total.shape)
        square = weight**2
        self.totals += [weight.sum(), square.sum(), np.sum(square * e1**2), np.sum(square * e2**2)]
        self.rows += len(weight)
        return inside

    def sigma_e(self) -> np.ndarray:
        """(2,), shape noise of each component, as `shape_noise` defines it."""
        return np.sqrt(self.totals[2:] / self.totals[1])

    def observation(self, calibration: np.ndarray, title: str = "") -> Observation:
        """Weighted mean shear of each pixel, as `bin_catalogue` has it.

        Parameters
        ----------
        calibration : (2,), dimensionless
            Mean ellipticity per unit of shear, by which each component is divided: 1 where e is an estimate of shear.
        title : str
        """
        count, total, square, *ellipticity = self.pixels
        seen = total > 0
        gamma = np.zeros((2, *self.grid.shape))
        inverse_variance = np.zeros_like(gamma)
        for a, sigma_e in enumerate(self.sigma_e()):
            gamma[a][seen] = ellipticity[a][seen] / total[seen] / calibration[a]
            inverse_variance[a][seen] = total[seen] ** 2 / ((sigma_e / calibration[a]) ** 2 * square[seen])
        return Observation(gamma, inverse_variance, count.astype(np.int64), self.grid, title)
