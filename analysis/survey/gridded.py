"""Shear that is on the grid already: FITS images of shear and weight."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, WcsError

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params import FieldParams
from analysis.sky import Grid, Observation, read_image

LARGEST_OFFSET = 0.1  # of corners of an image and of the grid, pixels


def load_gridded(field: FieldParams, fetch: Callable[[str], Path], grid: Grid) -> tuple[Observation, np.ndarray | None]:
    """The observation of a field whose shear is on the grid already, and the true convergence if it is a mock.

    Shear is in the frame of the pixels: one image with the components on its first or last axis, or one image for each
    component. Images with a celestial WCS must lie where the grid lies; others are centred on the field.

    Parameters
    ----------
    fetch : function of a name, path of a verified file (`download.fetch`), for names that are not paths
    grid : must have as many pixels as the images

    Returns
    -------
    Observation, (ny, nx) or None
        `count` is 1 where observed; the truth is a convergence, dimensionless.

    Raises
    ------
    BorderError
        If an image is unreadable, of another size or place, not finite, or a weight is negative.
    """
    source = field.gridded

    def image(name: str, *, components: bool) -> np.ndarray:
        path = ROOT / name
        values, header = read_image(path if path.is_file() else fetch(name))
        _check_place(name, header, grid)
        return _checked(values.astype(np.float64), name, grid, components)

    if isinstance(source.shear, str):
        shear = image(source.shear, components=True)
    else:
        shear = np.concatenate([image(name, components=False) for name in source.shear])
        if len(shear) != 2:
            raise BorderError(f"{source.shear} hold {len(shear)} components; give one a file, or one file of both.")
    if source.weight is None:
        seen = image(source.mask, components=False)[0] > 0
        weight = np.broadcast_to(seen / source.sigma**2, shear.shape)
    else:
        weight = image(source.weight, components=False)
        if (weight < 0).any() or not weight.any():
            raise BorderError(f"{source.weight} must be at least 0 and not all 0; give inverse variances of the shear.")
        seen = (weight > 0).all(axis=0)
        weight = np.broadcast_to(np.where(seen, weight, 0), shear.shape)
    truth = None if source.truth is None else image(source.truth, components=False)[0]
    shown = (np.where(seen, shear, 0), weight.copy(), seen.astype(np.int64))
    return Observation(*shown, grid, field.title, source.reduced), truth


def _checked(values: np.ndarray, name: str, grid: Grid, components: bool) -> np.ndarray:
    """(2, ny, nx) of shear, (1 or 2, ny, nx) of others, if an image has the size of the grid and is finite."""
    last, first = (*grid.shape, 2), (2, *grid.shape)
    if values.shape not in (last, first) and (components or values.shape != grid.shape):
        sides = [side for side in values.shape if side != grid.pixels and values.shape.count(side) == 2]
        remedy = f"set grid.pixels to {sides[0]}" if sides else "give it with that shape"
        if values.shape == grid.shape:
            remedy = f"give the other component too, as `shear: [{name}, OTHER]`"
        wanted = last if components else grid.shape
        raise BorderError(f"{name} has shape {values.shape}, the grid needs {wanted}; {remedy}.")
    if not np.isfinite(values).all():
        raise BorderError(f"{name} holds values that are not finite; replace them and mask their pixels.")
    if values.ndim == 2:
        return values[None]
    return np.moveaxis(values, -1, 0) if values.shape == last else values


def _check_place(name: str, header: fits.Header, grid: Grid) -> None:
    """Raise if an image has a WCS that is not that of the grid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header, naxis=2)
    except (WcsError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise BorderError(f"{name} has a WCS that cannot be read ({reason}); correct or remove it.") from None
    if not wcs.has_celestial or grid.shape != (header["NAXIS2"], header["NAXIS1"]):
        return
    edge = np.array([0, grid.pixels - 1])
    x, y = (corner.ravel() for corner in np.meshgrid(edge, edge))
    there = np.array(grid.pixel_positions(*wcs.wcs_pix2world(x, y, 0)))
    apart = np.abs(there - [x, y]).max()
    if not apart < LARGEST_OFFSET:
        ra_deg, dec_deg = wcs.wcs_pix2world((grid.pixels - 1) / 2, (grid.pixels - 1) / 2, 0)
        scale = abs(wcs.proj_plane_pixel_scales()[1].to_value("arcmin"))
        raise BorderError(
            f"{name} lies elsewhere than the grid, by up to {apart:.3g} pixels: it is centred at RA {ra_deg:.6f}, Dec"
            f" {dec_deg:.6f} deg with pixels of {scale:.6g} arcmin and {wcs.wcs.ctype[0]}; set center_deg of the field,"
            " grid.pixel_arcmin and grid.projection to that, or resample the image."
        )
