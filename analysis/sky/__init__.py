"""The sky and its pixels: a grid with its WCS, a catalogue of galaxies, and the shear observed on the grid.

Conventions, decided here and nowhere else. Rows run with Dec, upward. On a TAN grid columns run against RA (east
is left), on a CAR grid with RA, as in the maps of Remy et al. 2020. Catalogue ellipticities are in the frame
(west, north): e1 > 0 along a parallel, e2 > 0 along the diagonal from south-east to north-west. Shear on a grid is
in the frame of its pixels (x along columns, y along rows), so that `lensing` needs no knowledge of the sky.
"""

from analysis.sky.center import robust_center
from analysis.sky.grid import Grid, field_grid
from analysis.sky.images import (
    grid_from_header,
    image_hdu,
    load_observation,
    load_truth,
    read_image,
    save_observation,
    write_fits,
)
from analysis.sky.observation import Observation, bin_catalogue, rotate_shear, shape_noise, turned_to_grid
from analysis.sky.sums import Sums

__all__ = [
    "Grid",
    "Observation",
    "Sums",
    "bin_catalogue",
    "field_grid",
    "grid_from_header",
    "image_hdu",
    "load_observation",
    "load_truth",
    "read_image",
    "robust_center",
    "rotate_shear",
    "save_observation",
    "shape_noise",
    "turned_to_grid",
    "write_fits",
]
