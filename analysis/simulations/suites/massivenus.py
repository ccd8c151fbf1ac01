"""MassiveNuS, massless fiducial model: 10,000 maps of 3.5 x 3.5 deg through one N-body box, sources at z = 1.

Source: Liu et al. 2018 (JCAP 03 049).
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from analysis.core.files import BorderError, sha256
from analysis.flatsky.maps import SPLITS
from analysis.params import MassivenusParams, TheoryParams
from analysis.simulations.suites.reading import (
    PublishedMap,
    Suite,
    at_hand,
    celestial_arcmin,
    check_scale,
    checked,
    fits_image,
    members,
)

COSMOLOGY = {"h": 0.7, "omega_m": 0.3, "omega_b": 0.0223 / 0.7**2, "a_s": 2.1e-9, "n_s": 0.97}
PIXEL_ARCMIN = 3.5 * 60 / 512
SOURCE_REDSHIFT = 1.0
# the plane of sources at z = 1 (of Maps05, ..., Maps25); a redshift in a file's name must be this one
WANTED = r"(?:^|/)Maps10/(?!\.|WLconv_z(?!1\.00_))[^/]+\.fits$"
ABOUT = {
    "suite": "MassiveNuS, massless fiducial model (Liu et al. 2018)",
    "source_redshift": SOURCE_REDSHIFT,
    "splits_share_boxes": True,
    "approximation": (
        "all maps are random projections of one N-body box: they are pseudo-independent, and maps held out share"
        " matter with maps that train"
    ),
}


def open_suite(params: MassivenusParams, theory: TheoryParams) -> Suite:
    """The suite, from an address, an archive or a folder; an archive must have the size and digest in params.yaml.

    An address is downloaded first, to `data/cache/suites`. Maps come in the archive's order, or by name from a folder,
    those for training first. All are of box 0.

    Raises
    ------
    BorderError
        If the sources of `theory` are not one plane at z = 1, or the archive, the folder or its first map is bad.
    """
    if theory.sources.redshift != SOURCE_REDSHIFT:
        raise BorderError(
            "the maps of massivenus have their sources in one plane at z = 1; set theory.sources.redshift to 1.0, or"
            " use kappatng for other sources (`-S simulations=kappatng`)."
        )
    place = _verified(params)
    _, first = next(_maps(place, None), (None, None))
    if first is None:
        raise BorderError(f"{place} has no FITS files in a folder Maps10; give the suite's archive or its folder.")
    return Suite(PIXEL_ARCMIN, len(first), ABOUT, partial(_read, place, len(first)))


def _verified(params: MassivenusParams) -> Path:
    """The suite's folder, or its archive with the right size and digest."""
    remedy = "set simulations.massivenus.address to the archive, its folder or its address"
    path = at_hand(params.address, remedy, size=params.bytes, digest=params.sha256)
    if path.is_dir() or "://" in params.address:
        return path
    checks = (("bytes", "{} bytes", lambda: path.stat().st_size), ("sha256", "SHA-256 {}", lambda: sha256(path)))
    for key, words, found in checks:
        value, expected = found(), getattr(params, key)
        if value != expected:
            raise BorderError(
                f"{path} has {words.format(value)}, expected {expected}; fetch it again, or correct"
                f" simulations.massivenus.{key}."
            )
    return path


def _read(place: Path, side: int, wanted: Mapping[str, int]) -> Iterator[PublishedMap]:
    """Maps in the order of the archive, which is read no further than needed."""
    splits = [split for split in SPLITS for _ in range(wanted[split])]
    count = 0
    for split, (_, kappa) in zip(splits, _maps(place, side), strict=False):
        yield split, 0, kappa
        count += 1
    if count < len(splits):
        raise BorderError(
            f"{place} has {count} maps, but the splits need {len(splits)}; lower simulations.maps or give the whole"
            " suite."
        )


def _maps(place: Path, side: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and checked convergence of every map of an archive or a folder."""
    for name, content in _files(place) if place.is_dir() else members(place, WANTED):
        kappa, header = fits_image(content, name)
        kappa = checked(kappa, name, side)
        remedy = "give maps as they were published, or read them with `-S simulations=files`"
        check_scale(PIXEL_ARCMIN, _header_arcmin(header, len(kappa)), name, remedy)
        yield name, kappa


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the maps in a folder, by name."""
    for path in sorted(folder.rglob("*.fits")):
        if re.search(WANTED, path.as_posix()):
            yield str(path), path.read_bytes()


def _header_arcmin(header: fits.Header, side: int) -> list[float]:
    """Pixel scales in a header, arcmin: from its WCS, from CD1_1 or CDELT1 alone, or from ANGLE, the map's width."""
    lone = [header[key] for key in ("CD1_1", "CDELT1") if header.get(key, 1) != 1][:1]  # 1 is the default of FITS
    width = [header["ANGLE"] / side] if "ANGLE" in header else []
    return celestial_arcmin(header) or [60 * abs(scale) for scale in lone or width]
