"""Any folder of convergence maps: FITS, NPY or HDF5, of one size and one stated pixel scale."""

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
from analysis.simulations.suites import archive, images
from analysis.simulations.suites.records import NativeMap, Suite

log = logging.getLogger(__name__)

FITS = (".fits", ".fits.gz")
HDF5 = (".hdf5", ".h5")
KNOWN = (*FITS, ".npy", *HDF5)


@dataclass(frozen=True)
class Place:
    """Where a map lies: a file, its number in a stack (None for a file that is one map), and its box."""

    path: Path
    number: int | None
    box: int


def folder(params: FilesParams, theory: TheoryParams) -> Suite:
    """Maps of a folder; a three-dimensional array, (n, side, side), in NPY or HDF5 is a stack of maps.

    Maps below the same sub-folder share a box, and so do those of one stack; any other file is a box of its own.
    From three boxes on no two splits share one. The cosmology is not known: that of `theory` should be theirs.

    Raises
    ------
    BorderError
        If there is no map, a file cannot be read, or the first map is not square and finite, or its header gives
        another pixel scale.
    """
    places = find_places(archive.local(params.folder), params.dataset)
    boxes = places[-1].box + 1
    if boxes < len(SPLITS):
        log.warning(
            "%s has maps of %d box(es), so that those held out share matter with those that train; put the maps of"
            " each box into a sub-folder, three or more, to keep them apart",
            params.folder,
            boxes,
        )
    pixels = len(_load(places[0], params, None))
    about = {"suite": "maps of a folder", "boxes": boxes, "splits_share_boxes": boxes < len(SPLITS)}
    return Suite(params.pixel_arcmin, pixels, {}, about, partial(_read, places, params, pixels))


def find_places(root: Path, dataset: str | None) -> list[Place]:
    """Every map below a folder, box by box, by name.

    Raises
    ------
    BorderError
        If the folder is missing, holds none, or one of its stacks cannot be read.
    """
    if not root.is_dir():
        raise BorderError(f"{root} is no folder; set simulations.files.folder to one that holds maps.")
    paths = [path for path in sorted(root.rglob("*")) if path.name.lower().endswith(KNOWN) and path.is_file()]
    paths = [path for path in paths if not path.name.startswith(".")]
    places = []
    for box, (_, found) in enumerate(groupby(paths, key=lambda path: path.relative_to(root).parts[0])):
        for path in found:
            places += [Place(path, number, box) for number in _numbers(path, dataset)]
    if not places:
        raise BorderError(f"{root} holds no maps ({', '.join(KNOWN)}); set simulations.files.folder to one that does.")
    return places


def deal(places: list[Place], wanted: Mapping[str, int]) -> dict[str, list[Place]]:
    """Maps of each split: boxes in their order, shared in proportion to what is wanted, and evenly used.

    With fewer boxes than splits the maps are shared by their order instead.

    Raises
    ------
    BorderError
        If a split gets fewer maps than it wants.
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
        told = ", ".join(f"{split} has {len(dealt[split])} and wants {wanted[split]}" for split in SPLITS)
        raise BorderError(f"too few maps in {boxes} box(es): {told}; lower simulations.maps or give more maps.")
    return dealt


def spread(places: list[Place], count: int) -> list[Place]:
    """The first maps of every box, as many of each as possible, up to `count` in all; in their order."""
    rank = {}
    for _, box in groupby(places, key=lambda place: place.box):
        rank |= {place: number for number, place in enumerate(box)}
    taken = set(sorted(places, key=rank.get)[:count])
    return [place for place in places if place in taken]


def _read(places: list[Place], params: FilesParams, side: int, wanted: Mapping[str, int]) -> Iterator[NativeMap]:
    """Maps of each split, loaded one after the other."""
    dealt = deal(places, wanted)
    for split in SPLITS:
        for place in dealt[split]:
            yield split, place.box, _load(place, params, side)


def _load(place: Place, params: FilesParams, side: int | None) -> np.ndarray:
    """One map, checked."""
    if place.path.name.lower().endswith(FITS):
        kappa, header = images.fits_image(place.path.read_bytes(), str(place.path))
        remedy = "set simulations.files.pixel_arcmin to that, or correct the header"
        images.check_scale(params.pixel_arcmin, images.celestial_arcmin(header), str(place.path), remedy)
        return images.checked(kappa, str(place.path), side)
    with _stored(place.path, params.dataset) as array:
        if place.number is None:
            return images.checked(np.array(array), str(place.path), side)
        return images.checked(np.array(array[place.number]), f"{place.path} [{place.number}]", side)


def _numbers(path: Path, dataset: str | None) -> range | list[None]:
    """Numbers of the maps in a stack; one None for a file that is one map."""
    if path.name.lower().endswith(FITS):
        return [None]
    with _stored(path, dataset) as array:
        return range(array.shape[0]) if array.ndim == 3 else [None]


@contextmanager
def _stored(path: Path, dataset: str | None) -> Iterator[np.ndarray | h5py.Dataset]:
    """The array of an NPY or HDF5 file, not yet read; pickled objects are refused."""
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
    """The array of an HDF5 file that `simulations.files.dataset` names."""
    found = handle.get(name) if name else None
    if isinstance(found, h5py.Dataset):
        return found
    names = []
    handle.visititems(lambda key, item: names.append(key) if isinstance(item, h5py.Dataset) else None)
    raise BorderError(
        f"{path} has no dataset {name!r} (datasets: {', '.join(names[:8]) or 'none'}); set simulations.files.dataset to"
        " the one that holds the map."
    )
