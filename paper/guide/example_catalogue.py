"""A shear catalogue made up behind clusters, of names, units and signs of its own: `python FILE mycat.fits`."""

import sys
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

GALAXIES, SIDE_DEG = 200_000, 1.6
RA_DEG, DEC_DEG = 0.1, -30.0  # of the middle; the field goes across RA = 0
CLUSTERS, EINSTEIN_ARCMIN, CORE_ARCMIN, REACH_ARCMIN = 40, 0.5, 1.0, 6.0
SIGMA_E, RESPONSE, STARS = 0.27, 0.85, 0.02


def catalogue(rng: np.random.Generator) -> Table:
    """Galaxies with the shear of cored isothermal spheres, in the frame (east, north), and some stars without."""
    east, north = 60 * rng.uniform(-SIDE_DEG / 2, SIDE_DEG / 2, (2, GALAXIES))  # arcmin
    star = rng.uniform(size=GALAXIES) < STARS
    shear = np.zeros(GALAXIES, complex)
    for x, y in 60 * rng.uniform(-0.45 * SIDE_DEG, 0.45 * SIDE_DEG, (CLUSTERS, 2)):
        theta, angle = np.hypot(east - x, north - y), np.arctan2(north - y, east - x)
        profile = theta / (theta**2 + CORE_ARCMIN**2) * np.exp(-((theta / REACH_ARCMIN) ** 2))
        shear -= np.where(star, 0, EINSTEIN_ARCMIN / 2 * profile) * np.exp(2j * angle)
    shape = RESPONSE * shear + SIGMA_E * (rng.standard_normal(GALAXIES) + 1j * rng.standard_normal(GALAXIES))
    dec_deg = DEC_DEG + north / 60
    table = Table()
    table["ALPHA"] = np.radians((RA_DEG + east / 60 / np.cos(np.radians(dec_deg))) % 360) * u.rad
    table["DELTA"] = np.radians(dec_deg) * u.rad
    table["eps_a"], table["eps_b"] = shape.real, shape.imag
    table["w"] = rng.uniform(0.5, 1.0, GALAXIES)
    table["star"] = star.astype(np.int16)
    return table


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "mycat.fits")
    catalogue(np.random.default_rng(2020)).write(path, overwrite=True)
    print(f"{path}: {GALAXIES} rows")
