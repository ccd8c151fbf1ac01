"""Convergence maps to learn from, as they lie on disk: splits, the box each map comes from, crops and symmetries.

Maps are split into training, validation and test by box: no two of these see the same matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.core.files import BorderError, atomic, read_json, write_json

SPLITS = ("train", "validation", "test")
SCALE = 1 / 64  # of the stored numbers: half precision is finest around one, and convergence around a hundredth


@dataclass(frozen=True, eq=False)
class MapSet:
    """Maps of one split, `kappa` (n, side, side), and the number of the box that each came from, `box` (n,)."""

    kappa: np.ndarray
    box: np.ndarray


def save_maps(maps: Mapping[str, MapSet], folder: str | Path, *, pixel_arcmin: float, about: Mapping) -> None:
    """Write `<split>.npy` in half precision, and `maps.json`: scale, pixels, boxes, and what the maps are.

    Parameters
    ----------
    about : what a reader wants to know besides, such as source, cosmology and redshifts of the sources
    """
    for split, content in maps.items():
        with atomic(Path(folder) / f"{split}.npy") as temporary:
            np.save(temporary, (content.kappa / SCALE).astype(np.float16), allow_pickle=False)
    boxes = {split: content.box.tolist() for split, content in maps.items()}
    write_json(Path(folder) / "maps.json", {"scale": SCALE, "pixel_arcmin": pixel_arcmin, "boxes": boxes, **about})


def load_maps(folder: str | Path, split: str) -> MapSet:
    """Maps of one split, float32.

    Raises
    ------
    BorderError
        If a file is missing, or holds no finite maps.
    """
    path = Path(folder) / f"{split}.npy"
    about = read_json(Path(folder) / "maps.json")
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BorderError(f"{path} cannot be read ({error}); run `dvc repro simulations`") from None
    if stored.ndim != 3 or not np.isfinite(stored).all():
        raise BorderError(
            f"{path} holds no stack of finite maps (shape {stored.shape}); run `dvc repro -f simulations`"
        )
    return MapSet(stored.astype(np.float32) * np.float32(about["scale"]), np.array(about["boxes"][split]))


def crops(maps: np.ndarray, pixels: int, *, rng: np.random.Generator, turned: bool = True) -> np.ndarray:
    """One random crop of each map, under a random one of the eight symmetries of the square, or as it lies.

    Parameters
    ----------
    maps : (n, ny, nx)
    pixels : side of the crop

    Returns
    -------
    (n, pixels, pixels)
    """
    out = np.empty((len(maps), pixels, pixels), maps.dtype)
    for i, kappa in enumerate(maps):
        y, x = (rng.integers(0, side - pixels + 1) for side in kappa.shape)
        crop = kappa[y : y + pixels, x : x + pixels]
        if turned:
            crop = np.rot90(crop, rng.integers(4))
            crop = crop.T if rng.random() < 0.5 else crop
        out[i] = crop
    return out


def central_crops(maps: np.ndarray, pixels: int) -> np.ndarray:
    """The middle `pixels` x `pixels` of each map."""
    y, x = ((side - pixels) // 2 for side in maps.shape[-2:])
    return maps[..., y : y + pixels, x : x + pixels]
