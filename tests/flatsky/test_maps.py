"""Maps on disk, and crops of them."""

import json

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.flatsky.maps import SCALE, MapSet, central_crops, crops, load_maps, save_maps

ABOUT = {"pixel_arcmin": 0.82, "about": {"source": "test"}}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    maps = {split: MapSet(0.02 * rng.standard_normal((3, 16, 16)), np.arange(3)) for split in ("train", "test")}
    save_maps(maps, tmp_path, **ABOUT)
    return tmp_path, maps


def test_maps_come_back_as_they_were_to_half_precision(folder):
    path, maps = folder
    for split, content in maps.items():
        loaded = load_maps(path, split)
        assert loaded.kappa.dtype == np.float32
        np.testing.assert_allclose(loaded.kappa, content.kappa, rtol=2**-11, atol=SCALE * 2**-24)
        assert loaded.box.tolist() == [0, 1, 2]
    assert np.load(path / "train.npy").dtype == np.float16
    about = json.loads((path / "maps.json").read_text())
    assert (about["scale"], about["pixel_arcmin"], about["source"]) == (SCALE, 0.82, "test")


def test_stored_numbers_are_far_from_the_limits_of_half_precision():
    assert np.finfo(np.float16).tiny / 2**3 < 1e-6 / SCALE
    assert np.finfo(np.float16).max > 100.0 / SCALE


@pytest.mark.parametrize("damage", ["cut", "absent", "nan", "flat"])
def test_damaged_maps_are_told_in_a_sentence(folder, damage):
    path, _ = folder
    file = path / "train.npy"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "absent":
        file.unlink()
    else:
        np.save(file, np.full((3, 16, 16), np.nan, np.float16) if damage == "nan" else np.zeros(3, np.float16))
    with pytest.raises(BorderError, match=r"train\.npy.*dvc repro") as caught:
        load_maps(path, "train")
    assert "\n" not in str(caught.value)


def test_crops_are_pieces_of_the_maps_under_all_eight_symmetries():
    kappa = np.arange(36.0).reshape(1, 6, 6)
    drawn = crops(np.repeat(kappa, 1500, axis=0), 4, rng=np.random.default_rng(2))
    symmetries = {tuple(np.rot90(piece, n).ravel()) for piece in (kappa[0], kappa[0].T) for n in range(4)}
    assert len(symmetries) == 8
    pieces = {
        tuple(np.rot90(square, n).ravel())
        for y in range(3)
        for x in range(3)
        for square in (kappa[0, y : y + 4, x : x + 4], kappa[0, y : y + 4, x : x + 4].T)
        for n in range(4)
    }
    found = {tuple(crop.ravel()) for crop in drawn}
    assert found <= pieces
    assert len(found) == len(pieces) == 72
    as_they_lie = crops(np.repeat(kappa, 200, axis=0), 4, rng=np.random.default_rng(2), turned=False)
    assert len({tuple(crop.ravel()) for crop in as_they_lie}) == 9


def test_central_crop_is_the_middle():
    kappa = np.arange(36).reshape(1, 6, 6)
    np.testing.assert_array_equal(central_crops(kappa, 2), kappa[:, 2:4, 2:4])
