"""Any folder of convergence maps in FITS, NPY or HDF5, of one size and one pixel scale given in params.yaml."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np

from analysis.core.files import BorderError
from analysis.flatsky.maps import SPLITS
from analysis.params import FilesParams, TheoryParams
from analysis.simulations.suites.reading import (
    PublishedMap,
    Suite,
    celestial_arcmin,
    check_scale,
    checked,
    fits_image,
    local,
)

log = logging.getLogger(__name__)

FITS = (".fits", ".fits.gz")
HDF5 = (".hdf5", ".h5")
KNOWN = (*FITS, ".npy", *HDF5)
COSMOLOGY = {}  # not known


@dataclass(frozen=True)
class Place:
    """Where a map is: a file, its number in a stack (None for a file with a single map), and its box."""

    path: Path
    number: int | None
    box: int


def open_suite(params: FilesParams, theory: TheoryParams) -> Suite:
    """The maps of a folder; an array (n, side, side) in NPY or HDF5 is a stack of maps.

    Maps in the same sub-folder share a box, and so do the maps of one stack; any other file is its own box. With
    three boxes or more, no two splits share a box. The cosmology is not known: `theory` should have that of the maps.

    Raises
    ------
    BorderError
        If there is no map, a file cannot be read, or the first map is not square and finite or has another pixel
        scale in its header.
    """
    places = find_places(local(params.folder), params.dataset)
    boxes = places[-1].box + 1
    if boxes < len(SPLITS):
        log.warning(
            "%s has maps of %d box(es), so that validation and test maps share matter with training maps; put the maps"
            " of each box into its own sub-folder, with at least three boxes, to separate them",
            params.folder,
            boxes,
        )
    pixels = len(_load(places[0], params, None))
    about = {"suite": "maps of a folder", "boxes": boxes, "splits_share_boxes": boxes < len(SPLITS)}
    return Suite(params.pixel_arcmin, pixels, about, partial(_read, places, params, pixels))


def find_places(root: Path, dataset: str | None) -> list[Place]:
    """Every map below a folder, box by box, in order of names.

    Raises
    ------
    BorderError
        If the folder is missing or has no maps, or a stack cannot be read.
    """
    if not root.is_dir():
        raise BorderError(f"{root} is not a folder; set simulations.files.folder to one with maps.")
    paths = [path for path in sorted(root.rglob("*")) if path.name.lower().endswith(KNOWN) and path.is_file()]
    paths = [path for path in paths if not path.name.startswith(".")]
    places = []
    for box, (_, found) in enumerate(groupby(paths, key=lambda path: path.relative_to(root).parts[0])):
        for path in found:
            places += [Place(path, number, box) for number in _numbers(path, dataset)]
    if not places:
        raise BorderError(f"{root} has no maps ({', '.join(KNOWN)}); set simulations.files.folder to one that has.")
    return places


def deal(places: list[Place], wanted: Mapping[str, int]) -> dict[str, list[Place]]:
    """Maps of each split: the boxes are shared in proportion to the maps wanted, and evenly used.

    With fewer than three boxes the maps are shared in their order instead.

    Raises
    ------
    BorderError
        If a split gets fewer maps than wanted.
    """
    counts = np.array([wanted[split] for split in SPLITS])
    boxes = places[-1].box + 1
    if boxes < len(SPLITS):
        ends = [0, *np.cumsum(counts)]
        dealt = {split: places[ends[i] : ends[i + 1]] for i, split in enumerate(SPLITS)}
    else:
        first, second = np.rint(boxes * np.cumsum(counts)[:2] / counts.sum()).astype(int)
        first = min(max(first, 1), boxes - 2)
        ends = [0, first, min(max(second, first + 1), boxes - 1), boxes]
        shares = ([place for place in places if ends[i] <= place.box < ends[i + 1]] for i in range(len(SPLITS)))
        dealt = {split: spread(share, wanted[split]) for split, share in zip(SPLITS, shares, strict=True)}
    if any(len(dealt[split]) < wanted[split] for split in SPLITS):
        told = ", ".join(f"{split} has {len(dealt[split])} and needs {wanted[split]}" for split in SPLITS)
        raise BorderError(f"too few maps in {boxes} box(es): {told}; lower simulations.maps or give more maps.")
    return dealt


def spread(places: list[Place], count: int) -> list[Place]:
    """At most `count` maps in their order, taken as evenly as possible from the start of every box."""
    rank = {}
    for _, box in groupby(places, key=lambda place: place.box):
        rank |= {place: number for number, place in enumerate(box)}
    taken = set(sorted(places, key=rank.get)[:count])
    return [place for place in places if place in taken]


def _read(places: list[Place], params: FilesParams, side: int, wanted: Mapping[str, int]) -> Iterator[PublishedMap]:
    """Maps of each split, loaded one after the other."""
    dealt = deal(places, wanted)
    for split in SPLITS:
        for place in dealt[split]:
            yield split, place.box, _load(place, params, side)


def _load(place: Place, params: FilesParams, side: int | None) -> np.ndarray:
    """One checked map."""
    if place.path.name.lower().endswith(FITS):
        kappa, header = fits_image(place.path.read_bytes(), str(place.path))
        remedy = "set simulations.files.pixel_arcmin to that, or correct the header"
        check_scale(params.pixel_arcmin, celestial_arcmin(header), str(place.path), remedy)
        return checked(kappa, str(place.path), side)
    with _stored(place.path, params.dataset) as array:
        if place.number is None:
            return checked(np.array(array), str(place.path), side)
        return checked(np.array(array[place.number]), f"{place.path} [{place.number}]", side)


def _numbers(path: Path, dataset: str | None) -> range | list[None]:
    """Numbers of the maps in a stack, or [None] for a file with a single map."""
    if path.name.lower().endswith(FITS):
        return [None]
    with _stored(path, dataset) as array:
        return range(array.shape[0]) if array.ndim == 3 else [None]


@contextmanager
def _stored(path: Path, dataset: str | None) -> Iterator[np.ndarray | h5py.Dataset]:
    """The array of an NPY or HDF5 file, not yet read; pickled objects are rejected."""
    try:
        if path.name.lower().endswith(HDF5):
            with h5py.File(path, "r") as handle:
                yield _dataset(handle, path, dataset)
        else:
            yield np.lib.format.open_memmap(path, mode="r")
    except BorderError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BorderError(f"{path} cannot be read as an array of numbers ({reason}); make it again.") from error


def _dataset(handle: h5py.File, path: Path, name: str | None) -> h5py.Dataset:
    """The array named by `simulations.files.dataset` in an HDF5 file."""
    found = handle.get(name) if name else None
    if isinstance(found, h5py.Dataset):
        return found
    names = []
    handle.visititems(lambda key, item: names.append(key) if isinstance(item, h5py.Dataset) else None)
    raise BorderError(
        f"{path} has no dataset {name!r} (datasets: {', '.join(names[:8]) or 'none'}); set simulations.files.dataset to"
        " the one that holds the map."
    )
