"""Peaks and apertures of convergence maps: heights, counts, and how often posterior samples show a cluster.

A peak is a pixel that none of its eight neighbours exceeds. Positions x (along columns) and y (along rows) are 0-based,
as `Grid.pixel_positions` gives them; radii are in pixels.
"""

from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from scipy.ndimage import distance_transform_edt, maximum_filter
from scipy.spatial import KDTree


def aperture_mass(kappa: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Aperture mass around a place: convergence under a compensated filter, (...), dimensionless.

    M = sum kappa U,  U(t) = 9 / (pi R^2) (1 - t^2) (1/3 - t^2),  t = r/R < 1, corrected to sum to exactly zero.
    A disc of convergence 1 and radius a R gives 3 a^2 (1 - a^2)^2.

    Parameters
    ----------
    kappa : (..., ny, nx), dimensionless
    x, y : float, pixels
    radius : float, pixels
        Outer radius R of the filter. Near an edge the filter is cut and corrected on the pixels that are left.

    Source: Schneider et al. 1998, MNRAS 296, 873, eq. 3.12 with l = 1.
    """
    rows, columns, filter_ = _aperture(kappa.shape[-2:], x, y, radius)
    return kappa[..., rows, columns] @ filter_


def aperture_noise(weight: np.ndarray, x: float, y: float, radius: float) -> float:
    """Standard deviation of the aperture mass of the Kaiser-Squires map, from the noise of the shear.

    M = <U, P^T gamma> = <P U, gamma> is linear in the shear, so  sigma^2 = sum (P U)^2 / w  over observed pixels.

    Parameters
    ----------
    weight : (2, ny, nx), inverse variance of the shear; 0 = unobserved, where Kaiser-Squires sets the shear to zero
    x, y, radius : float, pixels
    """
    from analysis.flatsky.lensing import shear_from_convergence  # loads TensorFlow, which peaks alone do not need

    rows, columns, filter_ = _aperture(weight.shape[-2:], x, y, radius)
    field = np.zeros(weight.shape[-2:])
    field[rows, columns] = filter_
    response = np.asarray(shear_from_convergence(field[None]))[0]
    seen = weight > 0
    return float(np.sqrt(np.sum(response[seen] ** 2 / weight[seen])))


def peak_heights(maps: np.ndarray) -> np.ndarray:
    """Heights of all peaks of maps (n, ny, nx) that do not lie on an edge, (n_peaks,)."""
    highest = maximum_filter(maps, size=(1, 3, 3))
    inner = (slice(None), slice(1, -1), slice(1, -1))
    return maps[inner][maps[inner] == highest[inner]]


def highest_peaks(maps: np.ndarray, number: int, *, margin: int) -> np.ndarray:
    """Map, row and column of the highest peaks of maps (n, ny, nx), at least `margin` pixels from the edges; (m, 3)."""
    inside = np.s_[:, margin : maps.shape[-2] - margin, margin : maps.shape[-1] - margin]
    places = np.argwhere(maps[inside] == _highest_around(maps)[inside])
    heights = maps[inside][tuple(places.T)]
    return places[np.argsort(heights)[::-1][:number]] + [0, margin, margin]


def peak_count_ratio(samples: np.ndarray, maps: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Mean number of peaks in samples over that in simulated maps, by height; NaN where the maps have none.

    Parameters
    ----------
    samples : (n, ny, nx)
    maps : (m, ny, nx)
    edges : (n_bins + 1,), heights, dimensionless
    """
    counts = [np.histogram(peak_heights(stack), edges)[0] / len(stack) for stack in (samples, maps)]
    return np.divide(counts[0], counts[1], out=np.full(len(counts[0]), np.nan), where=counts[1] > 0)


def peak_height(samples: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Height of the highest peak within `radius` of a place, (...); -inf without a peak.

    Parameters
    ----------
    samples : (..., ny, nx), dimensionless
    x, y, radius : float, pixels
    """
    rows, columns, _ = _disc(samples.shape[-2:], x, y, radius + np.sqrt(2))
    window = samples[..., rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    peaks = window == _highest_around(window)
    rows_near, columns_near, _ = _disc(samples.shape[-2:], x, y, radius)
    near = (..., rows_near - rows.min(), columns_near - columns.min())
    return np.where(peaks[near], window[near], -np.inf).max(axis=-1)


def peak_places(kappa: np.ndarray, *, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y of the peaks of a map (ny, nx) that are at least as high as `threshold`."""
    y, x = np.nonzero((kappa == _highest_around(kappa)) & (kappa >= threshold))
    return x.astype(float), y.astype(float)


def nearest_peak(samples: np.ndarray, x: np.ndarray, y: np.ndarray, *, threshold: float) -> np.ndarray:
    """Distance from each place to the nearest peak of at least `threshold`, (n, n_places), pixels.

    Infinite in a map without such a peak.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    x, y : (n_places,), pixels
    """
    places = np.column_stack([x, y])
    distances = np.full((len(samples), len(places)), np.inf)
    for row, kappa in zip(distances, samples, strict=True):
        peaks = np.column_stack(peak_places(kappa, threshold=threshold))
        if len(peaks) and len(places):
            row[:] = KDTree(peaks).query(places)[0]
    return distances


def presence(
    samples: np.ndarray, x: np.ndarray, y: np.ndarray, *, radius: float | np.ndarray, threshold: float
) -> np.ndarray:
    """Fraction of samples with a peak of at least `threshold` within `radius` of each place, (n_places,), 0 to 1.

    At random places it is the rate of chance detections.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    x, y : (n_places,), pixels
    radius : pixels, one for all places or one for each
    threshold : float, dimensionless
    """
    return np.mean(nearest_peak(samples, x, y, threshold=threshold) <= radius, axis=0)


def presence_map(samples: np.ndarray, *, radius: float, threshold: float) -> np.ndarray:
    """`presence` at every pixel of samples (n, ny, nx), (ny, nx), 0 to 1."""
    total = np.zeros(samples.shape[-2:])
    for kappa in samples:
        free = np.ones(kappa.shape, bool)
        x, y = peak_places(kappa, threshold=threshold)
        free[y.astype(int), x.astype(int)] = False
        if len(x):
            total += distance_transform_edt(free) <= radius
    return total / len(samples)


def blind_peaks(samples: np.ndarray, mask: np.ndarray, *, radius: float, threshold: float, lowest: float) -> Table:
    """Places where samples agree on a peak, the likeliest first, found from the samples alone.

    The first is the observed pixel of highest `presence` (among equals, of highest mean). Each next is the highest
    pixel whose disc does not overlap the disc of a place found before.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    mask : (ny, nx), True where observed
    radius : of a disc, pixels
    threshold : height from which a peak counts
    lowest : smallest presence of a place in the table

    Returns
    -------
    Table of `x`, `y` (pixels) and `probability`
    """
    probability = presence_map(samples, radius=radius, threshold=threshold)
    mean = samples.mean(axis=0)
    # presence has steps of 1/n, and the mean decides within a step
    order = probability + (mean - mean.min()) / (np.ptp(mean) + 1e-9) / (2 * len(samples))
    order = np.where(mask & (probability >= lowest), order, -np.inf)
    rows, columns = np.indices(mask.shape)
    found = []
    while np.isfinite(order).any():
        y, x = np.unravel_index(np.argmax(order), order.shape)
        found.append((float(x), float(y), float(probability[y, x])))
        order[np.hypot(columns - x, rows - y) <= 2 * radius] = -np.inf
    return Table(rows=found or None, names=("x", "y", "probability"), dtype=(float, float, float))


def matched(x: np.ndarray, y: np.ndarray, true_x: np.ndarray, true_y: np.ndarray, *, radius: float) -> np.ndarray:
    """For each place in turn, the index of the nearest true place within `radius` that is still free, or -1."""
    free, chosen = np.ones(len(true_x), bool), np.full(len(x), -1)
    for number, place in enumerate(zip(x, y, strict=True)):
        distance = np.where(free, np.hypot(true_x - place[0], true_y - place[1]), np.inf)
        if len(distance) and distance.min() <= radius:
            chosen[number] = np.argmin(distance)
            free[chosen[number]] = False
    return chosen


def _aperture(shape: tuple[int, int], x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of an aperture, and the filter there."""
    rows, columns, distance = _disc(shape, x, y, radius)
    t_squared = (distance / radius) ** 2
    filter_ = 9 / (np.pi * radius**2) * (1 - t_squared) * (1 / 3 - t_squared)
    return rows, columns, filter_ - filter_.mean()


def _highest_around(maps: np.ndarray) -> np.ndarray:
    """The highest value among each pixel and its eight neighbours."""
    return maximum_filter(maps, size=3, axes=(-2, -1), mode="constant", cval=-np.inf)


def _disc(shape: tuple[int, int], x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and distances of the pixels whose centres lie within `radius` of a place, or its own pixel."""
    rows, columns = np.indices(shape)
    distance = np.hypot(columns - x, rows - y)
    return (*(near := np.nonzero(distance <= max(radius, np.sqrt(0.5)))), distance[near])
