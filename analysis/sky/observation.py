"""Galaxies averaged in pixels: the shear observed, its weight, and how many galaxies gave it."""

from dataclasses import dataclass, replace

import numpy as np

from analysis.sky.grid import Grid


@dataclass(frozen=True, eq=False)
class Observation:
    """Shear observed on a grid.

    Parameters
    ----------
    gamma : (2, ny, nx), dimensionless
        Mean shear of each pixel in the frame of the grid; 0 where unobserved.
    weight : (2, ny, nx), dimensionless
        Inverse variance of `gamma`; 0 = unobserved.
    count : (ny, nx), galaxies
    grid : Grid
    title : str
    """

    gamma: np.ndarray
    weight: np.ndarray
    count: np.ndarray
    grid: Grid
    title: str = ""

    @property
    def mask(self) -> np.ndarray:
        """(ny, nx), True where the shear is observed."""
        return (self.weight > 0).all(axis=0)


def shape_noise(e1: np.ndarray, e2: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Shape noise of each component: sigma_e^2 = sum(w^2 e^2) / sum(w^2).

    Returns
    -------
    (2,), dimensionless
        Standard deviation of the components e1 and e2.
    """
    square = weight**2
    return np.sqrt([np.sum(square * e**2) / np.sum(square) for e in (e1, e2)])


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
    e1, e2 : (n_gal,), dimensionless
        Shear estimates, in the frame (west, north).
    weight : (n_gal,), dimensionless
        Lensing weights; only their ratios matter.
    grid : Grid
        Galaxies outside it are left out.
    title : str
        What the observation is called.

    Returns
    -------
    Observation
        float64; pixels without galaxies, or of zero total weight, are unobserved.
    """
    row, column, inside = grid.pixel_indices(ra_deg, dec_deg)
    pixel = (row * grid.pixels + column)[inside]
    kept = weight[inside]
    count, total, square = (_pixel_sums(pixel, values, grid) for values in (None, kept, kept**2))
    seen = total > 0
    components = turned_to_grid(ra_deg[inside], dec_deg[inside], e1[inside], e2[inside], grid)
    gamma = np.zeros((2, *grid.shape))
    inverse_variance = np.zeros_like(gamma)
    for a, sigma_e in enumerate(shape_noise(e1, e2, weight)):
        gamma[a][seen] = _pixel_sums(pixel, kept * components[a], grid)[seen] / total[seen]
        inverse_variance[a][seen] = total[seen] ** 2 / (sigma_e**2 * square[seen])
    return Observation(gamma, inverse_variance, count, grid, title)


def _pixel_sums(pixel: np.ndarray, values: np.ndarray | None, grid: Grid) -> np.ndarray:
    """Sum of `values` over the galaxies of each pixel, in their order; their number where `values` is None."""
    return np.bincount(pixel, values, grid.pixels**2).reshape(grid.shape)


def turned_to_grid(
    ra_deg: np.ndarray, dec_deg: np.ndarray, e1: np.ndarray, e2: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Ellipticities in the frame of the grid, from the frame (west, north) of each galaxy.

    Where columns run with RA the frame is a mirror image: e2 changes sign. Where local north leans by an angle a
    (counter-clockwise from +y), e turns by 2a. On a CAR grid north is along the rows everywhere.
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

    At 45 degrees E-modes become B-modes, which lensing does not make: a control.

    Parameters
    ----------
    observation : Observation
    degrees : float
        Angle by which the shape of each galaxy turns, counter-clockwise in the frame of the grid, deg.
    """
    cosine, sine = np.cos(np.deg2rad(2 * degrees)), np.sin(np.deg2rad(2 * degrees))
    gamma1, gamma2 = observation.gamma
    gamma = np.stack([cosine * gamma1 - sine * gamma2, sine * gamma1 + cosine * gamma2])
    seen = observation.mask
    variance1, variance2 = 1 / np.where(seen, observation.weight, 1)
    variance = np.stack([cosine**2 * variance1 + sine**2 * variance2, sine**2 * variance1 + cosine**2 * variance2])
    kind = observation.gamma.dtype
    return replace(observation, gamma=gamma.astype(kind), weight=np.where(seen, 1 / variance, 0).astype(kind))
