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
    pixels : (7, ny, nx)
        Galaxies, sum of w, of w^2, and of w e in the frame of the grid: both components of what e1 of the sky makes
        there, and both of what e2 makes. They are apart since each is calibrated as the sky has it.
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
        self.pixels = np.zeros((7, *self.grid.shape))
        self.totals = np.zeros(4)

    def add(
        self, ra_deg: np.ndarray, dec_deg: np.ndarray, e1: np.ndarray, e2: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Add galaxies, given as `bin_catalogue` takes them; which of them lie on the grid, (n,), bool."""
        row, column, inside = self.grid.pixel_indices(ra_deg, dec_deg)
        pixel = (row * self.grid.pixels + column)[inside]
        w = weight[inside]
        sky = ra_deg[inside], dec_deg[inside]
        nothing = np.zeros(len(w))
        of_e1 = turned_to_grid(*sky, w * e1[inside], nothing, self.grid)
        of_e2 = turned_to_grid(*sky, nothing, w * e2[inside], self.grid)
        for total, values in zip(self.pixels, (None, w, w**2, *of_e1, *of_e2), strict=True):
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
            Mean ellipticity per unit of shear, by which each component of the sky is divided before it is turned: 1
            where e is an estimate of shear.
        title : str
        """
        count, total, square = self.pixels[:3]
        ellipticity = self.pixels[3:5] / calibration[0] + self.pixels[5:] / calibration[1]
        seen = total > 0
        gamma = np.zeros((2, *self.grid.shape))
        inverse_variance = np.zeros_like(gamma)
        for a, sigma_e in enumerate(self.sigma_e()):
            gamma[a][seen] = ellipticity[a][seen] / total[seen]
            inverse_variance[a][seen] = total[seen] ** 2 / ((sigma_e / calibration[a]) ** 2 * square[seen])
        return Observation(gamma, inverse_variance, count.astype(np.int64), self.grid, title)
