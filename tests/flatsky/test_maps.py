"""Maps on disk, crops of them, and maps at another pixel scale."""

import json

import numpy as np
import pytest
from messages import rejected

from analysis.core.files import BorderError
from analysis.flatsky.maps import (
    SCALE,
    MapSet,
    central_crops,
    crops,
    crops_per_map,
    load_maps,
    overlap,
    rebinned,
    save_maps,
)

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


# another pixel scale


def kappa_of(number, side=64):
    return np.random.default_rng(number).normal(0, 0.02, (side, side)).astype(np.float32)


def test_an_integer_factor_is_the_mean_of_blocks():
    kappa = kappa_of(0).astype(np.float64)
    expected = kappa.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(rebinned(kappa, 0.4, 0.8, 32)[0], expected, atol=1e-15)


@pytest.mark.parametrize(
    ("native", "ratio", "pixels"), [(64, 64 / 27, 27), (64, 64 / 21, 7), (65, 1.3, 50), (60, 1, 20)]
)
def test_the_mean_is_conserved(native, ratio, pixels):
    kappa = kappa_of(1, native).astype(np.float64) + 1
    out = rebinned(kappa, 0.41, 0.41 * ratio, pixels)
    assert out.shape == (crops_per_map(native, 0.41, 0.41 * ratio, pixels), pixels, pixels)
    assert out.mean() == pytest.approx(kappa.mean(), rel=1e-12)


def test_one_bright_pixel_is_shared_by_area():
    kappa = np.zeros((5, 5))
    kappa[2, 1] = 1
    row, column = np.array([0, 1, 0]), np.array([2 / 3, 1 / 3, 0])  # new pixels of 5/3: edges at 5/3 and 10/3
    np.testing.assert_allclose(rebinned(kappa, 1.0, 5 / 3, 3)[0], np.outer(row, column) * (3 / 5) ** 2, atol=1e-12)
    assert overlap(5, 3, 5 / 3).toarray().sum(axis=1) == pytest.approx(1)


def test_crops_do_not_overlap_and_lie_around_the_centre():
    y, x = np.mgrid[:64, :64].astype(float)
    for axis in (y, x):
        out = rebinned(axis, 1.0, 2.0, 10)
        assert out.shape == (9, 10, 10)
        first = 2 + 0.5 + 2 * np.arange(30)  # 60 of 64 pixels, two left over on each side
        tiles = first.reshape(3, 10)
        for number, crop in enumerate(out):
            expected = tiles[number // 3][:, None] if axis is y else tiles[number % 3]
            np.testing.assert_allclose(crop, np.broadcast_to(expected, (10, 10)), atol=1e-12)


def test_a_ramp_stays_a_ramp_at_any_ratio():
    ratio, pixels = 1.73, 36
    ramp = np.broadcast_to(np.arange(64) + 0.5, (64, 64))
    out = rebinned(ramp, 1.0, ratio, pixels)[0]
    expected = 32 + ratio * (np.arange(pixels) + 0.5 - pixels / 2)
    # the old pixels are steps: a cut through one is off by at most an eighth of a pixel at each end
    np.testing.assert_allclose(out, np.broadcast_to(expected, out.shape), atol=1 / 4 / ratio)
    assert np.abs(out - expected).mean() < 0.05


def test_a_wave_is_damped_by_the_window_of_the_new_pixel():
    ratio, pixels, k = 2.5, 100, 2 * np.pi / 25
    centre = np.arange(250) + 0.5
    wave = np.broadcast_to(np.cos(k * centre) * np.sinc(k / 2 / np.pi), (250, 250))  # seen through the old window
    out = rebinned(wave, 1.0, ratio, pixels)[0]
    new = ratio * (np.arange(pixels) + 0.5)
    amplitude = 2 * np.mean(out * np.cos(k * new))
    assert amplitude == pytest.approx(np.sinc(k * ratio / 2 / np.pi), rel=5e-3)
    assert abs(np.sinc(k * ratio / 2 / np.pi) - np.sinc(k / 2 / np.pi)) > 0.01


def test_a_ratio_next_to_one_is_no_refusal():
    out = rebinned(kappa_of(2), 0.41015625, 0.41, 60)
    assert out.shape == (1, 60, 60)
    assert out.dtype == np.float32


def test_what_does_not_fit_is_told():
    with rejected("0.41 arcmin are too coarse for a grid of 0.2 arcmin", "raise grid.pixel_arcmin"):
        rebinned(kappa_of(0), 0.41, 0.2, 10)
    with rejected(
        "are 25.6 arcmin wide, but 40 pixels of 0.8 arcmin need 32", "map_pixels and mock_pixels to at most 32"
    ):
        rebinned(kappa_of(0), 0.4, 0.8, 40)
    assert crops_per_map(512, 0.41015625, 0.82, 256) == 1
    assert crops_per_map(1024, 0.29296875, 0.82, 160) == 4
    with rejected("need 210.7; lower simulations.map_pixels and mock_pixels to at most 256"):
        crops_per_map(512, 0.41015625, 0.82, 257)
