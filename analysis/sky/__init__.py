"""The sky and its pixels: a grid with its WCS, galaxies averaged in its pixels, and maps as FITS files.

Read `grid` first, then `observation` (the record, the binning of galaxies, where e2 changes sign), `images` (FITS) and
`footprint` (middle and area of a field).

Conventions, decided here and nowhere else: rows run with Dec, upward. On a TAN grid columns run against RA (east is
left), on a CAR grid with RA, as in the maps of Remy et al. 2020. Catalogue ellipticities are in the frame (west,
north): e1 > 0 along a parallel, e2 > 0 along the diagonal from south-east to north-west. Shear on a grid is in the
frame of its pixels (x along columns, y along rows), so that `flatsky.lensing` needs to know nothing of the sky.
"""

from analysis.sky.footprint import robust_center
from analysis.sky.grid import Grid, field_grid, pixels_at, training_command
from analysis.sky.images import (
    grid_from_header,
    image_hdu,
    load_observation,
    load_truth,
    read_image,
    save_observation,
    write_fits,
)
from analysis.sky.observation import Observation, PixelSums, bin_catalogue, rotate_shear, turned_to_grid

__all__ = [
    "Grid",
    "Observation",
    "PixelSums",
    "bin_catalogue",
    "field_grid",
    "grid_from_header",
    "image_hdu",
    "load_observation",
    "load_truth",
    "pixels_at",
    "read_image",
    "robust_center",
    "rotate_shear",
    "save_observation",
    "training_command",
    "turned_to_grid",
    "write_fits",
]
