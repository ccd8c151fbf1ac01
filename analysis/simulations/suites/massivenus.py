"""MassiveNuS, massless fiducial model: 10,000 maps of 3.5 x 3.5 deg through one N-body box, sources at z = 1.

Source: Liu et al. 2018 (JCAP 03 049).
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from analysis.core.download import download
from analysis.core.files import BorderError, sha256
from analysis.flatsky.maps import SPLITS
from analysis.params import MassivenusParams, TheoryParams
from analysis.simulations.suites import archive, images
from analysis.simulations.suites.records import NativeMap, Suite

COSMOLOGY = {"h": 0.7, "omega_m": 0.3, "omega_b": 0.0223 / 0.7**2, "a_s": 2.1e-9, "n_s": 0.97}
PIXEL_ARCMIN = 3.5 * 60 / 512
SOURCE_REDSHIFT = 1.0
# of several planes of sources (Maps05, ..., Maps25) the one at z = 1; names that state a redshift must state this one
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


def massivenus(params: MassivenusParams, theory: TheoryParams) -> Suite:
    """The suite, from an address, an archive or a folder; an archive must have the stated size and digest.

    An address is downloaded first, into `data/cache/suites`. Maps come in the archive's order (a folder's: by name),
    those that train first; every one is of box 0.

    Raises
    ------
    BorderError
        If the sources of `theory` are not one plane at z = 1, or the archive, the folder or its first map is bad.
    """
    if theory.sources.redshift != SOURCE_REDSHIFT:
        raise BorderError(
            "the maps of massivenus have their sources in one plane at z = 1; set theory.sources.redshift to 1.0, or"
            " take other sources from kappatng (`-S simulations=kappatng`)."
        )
    place = _at_hand(params)
    _, first = next(_maps(place, None), (None, None))
    if first is None:
        raise BorderError(f"{place} holds no FITS files in a folder Maps10; give the suite's archive or its folder.")
    return Suite(PIXEL_ARCMIN, len(first), COSMOLOGY, ABOUT, partial(_read, place, len(first)))


def _at_hand(params: MassivenusParams) -> Path:
    """The suite's folder, or its archive, whose digest is right."""
    if archive.is_remote(params.address):
        path = archive.cached(params.address)
        return download(params.address, path, size=params.bytes, digest=params.sha256)
    path = archive.local(params.address)
    if path.is_dir():
        return path
    if not path.is_file():
        raise BorderError(
            f"{path} does not exist; set simulations.massivenus.address to the archive, its folder or its address."
        )
    found = path.stat().st_size
    if found != params.bytes:
        raise BorderError(
            f"{path} has {found} bytes, expected {params.bytes}; fetch it again, or correct"
            " simulations.massivenus.bytes."
        )
    found = sha256(path)
    if found != params.sha256:
        raise BorderError(
            f"{path} has SHA-256 {found}, expected {params.sha256}; fetch it again, or correct"
            " simulations.massivenus.sha256."
        )
    return path


def _read(place: Path, side: int, wanted: Mapping[str, int]) -> Iterator[NativeMap]:
    """Maps in the order of the archive, which is left as soon as there are enough."""
    splits = [split for split in SPLITS for _ in range(wanted[split])]
    count = 0
    for split, (_, kappa) in zip(splits, _maps(place, side), strict=False):
        yield split, 0, kappa
        count += 1
    if count < len(splits):
        raise BorderError(
            f"{place} holds {count} maps, but the splits want {len(splits)}; lower simulations.maps or give the whole"
            " suite."
        )


def _maps(place: Path, side: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and convergence of every map of an archive or a folder, checked."""
    for name, content in _files(place) if place.is_dir() else archive.members(place, WANTED):
        kappa, header = images.fits_image(content, name)
        checked = images.checked(kappa, name, side)
        remedy = "give maps as they were published, or take them by `-S simulations=files`"
        images.check_scale(PIXEL_ARCMIN, _header_arcmin(header, len(checked)), name, remedy)
        yield name, checked


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of a folder that are maps, by name."""
    for path in sorted(folder.rglob("*.fits")):
        if re.search(WANTED, path.as_posix()):
            yield str(path), path.read_bytes()


def _header_arcmin(header: fits.Header, side: int) -> list[float]:
    """Pixel scales that a header gives: by its WCS, by a lone CD1_1 or CDELT1, or by ANGLE, the map's width; deg."""
    lone = [header[key] for key in ("CD1_1", "CDELT1") if header.get(key, 1) != 1][:1]  # 1 stands for nothing stated
    width = [header["ANGLE"] / side] if "ANGLE" in header else []
    return images.celestial_arcmin(header) or [60 * abs(scale) for scale in lone or width]
