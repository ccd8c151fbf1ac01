"""The shear observed on a grid, and how galaxies are averaged in its pixels."""

from dataclasses import dataclass, field, replace

import numpy as np

from analysis.sky.grid import Grid


@dataclass(frozen=True, eq=False)
class Observation:
    """Shear observed on a grid.

    Parameters
    ----------
    gamma : (2, ny, nx), dimensionless, mean shear of each pixel in the frame of the grid; 0 where unobserved
    weight : (2, ny, nx), dimensionless, inverse variance of `gamma`; 0 = unobserved
    count : (ny, nx), number of galaxies
    reduced : whether `gamma` is what galaxies show, the reduced shear gamma / (1 - kappa)
    """

    gamma: np.ndarray
    weight: np.ndarray
    count: np.ndarray
    grid: Grid
    title: str = ""
    reduced: bool = False

    @property
    def mask(self) -> np.ndarray:
        """(ny, nx), True where the shear is observed."""
        return np.all(self.weight > 0, axis=0)


@dataclass(eq=False)
class PixelSums:
    """Sums over the galaxies of each pixel; `add` changes them, so that a table may be larger than the memory.

    Parameters
    ----------
    pixels : (7, ny, nx)
        Number of galaxies, sum of w, of w^2, and of w e in the frame of the grid: first both components that e1 of
        the sky gives there, then both that e2 gives. They are kept apart because each has its own calibration.
    totals : (4,)
        Sums of w, w^2, w^2 e1^2, w^2 e2^2 over all galaxies (e in the frame of the sky), also those outside the grid.
    rows : int
        Number of galaxies, also those outside the grid.
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
        """Add galaxies, given as to `bin_catalogue`; returns (n,) bool, True for those on the grid."""
        row, column, inside = self.grid.pixel_indices(ra_deg, dec_deg)
        pixel = (row * self.grid.pixels + column)[inside]
        w = weight[inside]
        sky = ra_deg[inside], dec_deg[inside]
        zero = np.zeros(len(w))
        from_e1 = turned_to_grid(*sky, w * e1[inside], zero, self.grid)
        from_e2 = turned_to_grid(*sky, zero, w * e2[inside], self.grid)
        for total, values in zip(self.pixels, (None, w, w**2, *from_e1, *from_e2), strict=True):
            total += np.bincount(pixel, values, total.size).reshape(total.shape)
        square = weight**2
        self.totals += [weight.sum(), square.sum(), np.sum(square * e1**2), np.sum(square * e2**2)]
        self.rows += len(weight)
        return inside

    def sigma_e(self) -> np.ndarray:
        """(2,), shape noise of e1 and e2: sigma_e^2 = sum(w^2 e^2) / sum(w^2) over all galaxies."""
        return np.sqrt(self.totals[2:] / self.totals[1])

    def observation(self, calibration: tuple[float, float] | np.ndarray = (1.0, 1.0), title: str = "") -> Observation:
        """Weighted mean shear of each pixel, with its inverse variance (formulae in `bin_catalogue`).

        Parameters
        ----------
        calibration : (2,), dimensionless
            Mean ellipticity per unit of shear, which divides e1 and e2 before they are turned into the frame of the
            grid; 1 where e is an estimate of shear.
        """
        count, total, square = self.pixels[:3]
        ellipticity = self.pixels[3:5] / calibration[0] + self.pixels[5:] / calibration[1]
        seen = total > 0
        gamma = np.zeros((2, *self.grid.shape))
        inverse_variance = np.zeros_like(gamma)
        for a, sigma_e in enumerate(self.sigma_e()):
            gamma[a][seen] = ellipticity[a][seen] / total[seen]
            inverse_variance[a][seen] = total[seen] ** 2 / ((sigma_e / calibration[a]) ** 2 * square[seen])
        return Observation(gamma, inverse_variance, count.astype(np.int64), self.grid, title, reduced=True)


def bin_catalogue(
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    e1: np.ndarray,
    e2: np.ndarray,
    weight: np.ndarray,
    *,
    grid: Grid,
    title: str = "",
) -> Observation:
    """Weighted mean shear of the galaxies in each pixel.

    gamma = sum(w e) / sum(w), of variance sigma_e^2 sum(w^2) / (sum w)^2.

    Parameters
    ----------
    ra_deg, dec_deg : (n_gal,), deg
    e1, e2 : (n_gal,), dimensionless, shear estimates in the frame (west, north)
    weight : (n_gal,), dimensionless, lensing weights; only their ratios matter
    grid : galaxies outside it count for the shape noise alone

    Returns
    -------
    Observation
        float64; pixels without galaxies, or of zero total weight, are unobserved.
    """
    sums = PixelSums(grid)
    sums.add(ra_deg, dec_deg, e1, e2, weight)
    return sums.observation(title=title)


def turned_to_grid(
    ra_deg: np.ndarray, dec_deg: np.ndarray, e1: np.ndarray, e2: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Ellipticities in the frame of the grid, from the frame (west, north) of each galaxy.

    On a CAR grid columns run with RA, a mirror image: e2 changes sign, and north is along the columns everywhere. On a
    TAN grid local north leans by an angle a (counter-clockwise from +y), and e turns by 2a.
    """
    if grid.projection == "CAR":
        return e1, -e2
    step_deg = np.where(dec_deg < 89.9, 1e-4, -1e-4)
    x, y = grid.pixel_positions(ra_deg, dec_deg)
    x_north, y_north = grid.pixel_positions(ra_deg, dec_deg + step_deg)
    angle = np.arctan2(-(x_north - x) * np.sign(step_deg), (y_north - y) * np.sign(step_deg))
    turned = (e1 + 1j * e2) * np.exp(2j * angle)
    return turned.real, turned.imag


def rotate_shear(observation: Observation, degrees: float) -> Observation:
    """The observation with every shear turned: gamma exp(2 i angle).

    At 45 degrees E-modes become B-modes, which lensing does not make: a control. Turned shear is reduced by no map.

    Parameters
    ----------
    degrees : angle by which the shape of each galaxy turns, counter-clockwise in the frame of the grid
    """
    cosine, sine = np.cos(np.deg2rad(2 * degrees)), np.sin(np.deg2rad(2 * degrees))
    gamma1, gamma2 = observation.gamma
    gamma = np.stack([cosine * gamma1 - sine * gamma2, sine * gamma1 + cosine * gamma2])
    seen = observation.mask
    variance1, variance2 = 1 / np.where(seen, observation.weight, 1)
    variance = np.stack([cosine**2 * variance1 + sine**2 * variance2, sine**2 * variance1 + cosine**2 * variance2])
    kind = observation.gamma.dtype
    weight = np.where(seen, 1 / variance, 0).astype(kind)
    return replace(observation, gamma=gamma.astype(kind), weight=weight, reduced=observation.reduced and degrees == 0)
