"""Where galaxies lie on the sphere: middle, area and cells of a field, also across RA = 0 and at a pole."""

import numpy as np

WIDEST_DEG = 60.0  # a field has a middle if half of its galaxies lie within this distance of it
STEPS = 50
KEPT = 3.0  # times the median distance: galaxies farther away do not count


def robust_center(ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[float, float] | None:
    """RA and Dec (deg) of the middle of galaxies; None if they lie all over the sky.

    The geometric median of the directions (Weiszfeld's iteration), then the mean direction of all galaxies within
    `KEPT` times the median distance from it: a few rows far away do not move it.

    Parameters
    ----------
    ra_deg, dec_deg : (n,), deg
        At least one galaxy.
    """
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    directions = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
    middle = directions.mean(axis=0)
    for _ in range(STEPS):
        near = 1 / np.maximum(np.linalg.norm(directions - middle, axis=1), 1e-9)
        middle = near @ directions / near.sum()
    if not np.linalg.norm(middle) > 0:
        return None
    middle /= np.linalg.norm(middle)
    distance = np.linalg.norm(directions - middle, axis=1)
    typical = np.median(distance)
    if typical > 2 * np.sin(np.deg2rad(WIDEST_DEG / 2)):
        return None
    x, y, z = directions[distance <= KEPT * typical + 1e-9].mean(axis=0)
    return float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def occupied_deg2(ra_deg: np.ndarray, dec_deg: np.ndarray, *, fewest: float = 12.0) -> float:
    """Approximate area that galaxies cover, deg^2: the area of all cells of equal size that hold a galaxy.

    Parameters
    ----------
    ra_deg, dec_deg : (n,), deg
        At least one galaxy.
    fewest : float
        Cells are made smaller until fewer galaxies than this would lie in an average cell.
    """
    side, cells = 16.0, len(np.unique(cell_numbers(ra_deg, dec_deg, 16.0)))
    while side > 1e-6:
        finer = len(np.unique(cell_numbers(ra_deg, dec_deg, side / 2)))
        if len(ra_deg) / finer < fewest:
            break
        side, cells = side / 2, finer
    return cells * side**2


def cell_numbers(ra_deg: np.ndarray, dec_deg: np.ndarray, side_deg: float) -> np.ndarray:
    """(n,), int64: number of the cell that holds each position; bands of Dec are cut into cells of `side_deg`."""
    band = np.floor((dec_deg + 90) / side_deg)
    width = np.cos(np.deg2rad(np.clip((band + 0.5) * side_deg - 90, -90, 90)))
    along = np.floor((np.asarray(ra_deg) % 360) * np.maximum(width, 1e-6) / side_deg)
    return (band * 2.0**31 + along).astype(np.int64)
