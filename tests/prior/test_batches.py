"""Crops cut out on the device: those that NumPy would cut, decided by batch and epoch, in every orientation."""

import dataclasses

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.flatsky.peaks import highest_peaks
from analysis.params import load_params
from analysis.prior.batches import CropBatches, MapStore

PARAMS = dataclasses.replace(load_params().train, batch=2)
# numbers that half precision holds
MAPS = (np.arange(5 * 24 * 24).reshape(5, 24, 24) % 1999 / 64).astype("float32")


def expected(place, side):
    """The crop that a place means."""
    number, y, x, transposed, flip_y, flip_x = place
    crop = MAPS[number, y : y + side, x : x + side]
    crop = crop.T if transposed else crop
    crop = crop[::-1] if flip_y else crop
    return crop[:, ::-1] if flip_x else crop


def test_the_device_cuts_out_what_a_place_means():
    batches = CropBatches(MAPS, [12, 6], dataclasses.replace(PARAMS, batch=40), seed=1)
    store, turns = MapStore(MAPS), set()
    for side, (places, amplitudes, _) in zip((12, 6), batches[0][0], strict=True):
        found = np.asarray(store(places, amplitudes, side=side))
        assert found.shape == (len(places), side, side)
        np.testing.assert_array_equal(amplitudes, 1)
        for place, crop in zip(places, found, strict=True):
            np.testing.assert_array_equal(crop, expected(place, side))
        turns |= {tuple(place[3:]) for place in places.tolist()}
    assert len(turns) == 8


def test_every_corner_of_a_map_is_reached():
    places = CropBatches(MAPS, [12], dataclasses.replace(PARAMS, batch=2000), seed=2)[0][0][0][0]
    assert [set(places[:, i]) for i in (0, 1, 2)] == [set(range(5)), set(range(13)), set(range(13))]


def test_batch_and_epoch_decide_the_crops():
    first, again, other = (CropBatches(MAPS, [24, 12], PARAMS, seed=seed) for seed in (1, 1, 2))
    places = [batches[3][0][1][0] for batches in (first, again, other)]
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])
    assert not np.array_equal(places[0], first[4][0][1][0])
    first.epoch = 1
    assert not np.array_equal(first[3][0][1][0], places[1])
    assert [len(stack[0]) for stack in first[0][0]] == [2, 8]  # as many pixels of either
    assert len(first) == PARAMS.steps_per_epoch


def test_symmetries_and_amplitudes_are_drawn_where_asked():
    plain = CropBatches(MAPS, [12], dataclasses.replace(PARAMS, batch=400, symmetries=False), seed=1)[0][0][0]
    assert not plain[0][:, 3:].any()
    jittered = CropBatches(MAPS, [12], dataclasses.replace(PARAMS, batch=400, amplitude_jitter=0.2), seed=1)[0][0][0]
    assert abs(np.log(jittered[1]).std() - 0.2) < 0.04
    found = np.asarray(MapStore(np.ones((5, 24, 24), "float32"))(*jittered[:2], side=12))
    np.testing.assert_allclose(found[:, 3, 3], jittered[1], rtol=1e-6)


def spiky():
    """Maps of noise, and two that have a high peak."""
    maps = 0.01 * np.random.default_rng(3).standard_normal((6, 40, 40)).astype("float32")
    maps[1, 9, 30] = maps[4, 20, 12] = 1.0
    return maps


def test_a_share_of_the_crops_holds_a_peak_and_the_weights_leave_every_mean():
    maps, settings = spiky(), dataclasses.replace(PARAMS, batch=30000, margin=3, peak_share=0.4, symmetries=False)
    batches = CropBatches(maps, [16], settings, seed=1)
    assert set(map(tuple, highest_peaks(maps, 2, margin=3))) == {(1, 9, 30), (4, 20, 12)}
    batches.peaks = highest_peaks(maps, 2, margin=3)
    places, _, weights = batches[0][0][0]
    corner = places[:, 1:3]
    held = np.zeros(len(places), bool)
    for number, *peak in batches.peaks:
        inside = ((corner + 3 <= peak) & (np.array(peak) < corner + 13)).all(axis=1)
        held |= inside & (places[:, 0] == number)
    assert held.mean() == pytest.approx(0.4, abs=0.05)  # and those that hold one by chance
    uniform = CropBatches(maps, [16], dataclasses.replace(settings, peak_share=0.0), seed=2)[0][0][0]
    np.testing.assert_array_equal(uniform[2], 1)
    means = {"number of crops": lambda p: p[:, 0] >= 0, "map": lambda p: p[:, 0] == 4, "row": lambda p: p[:, 1] / 24}
    for statistic in means.values():
        ours, theirs = weights * statistic(places), statistic(uniform[0])
        error = np.hypot(ours.std(), theirs.std()) / 30000**0.5
        assert abs(ours.mean() - theirs.mean()) < 4 * error + 1e-6


def test_maps_without_peaks_inside_a_margin_give_uniform_crops():
    batches = CropBatches(MAPS, [24], dataclasses.replace(PARAMS, batch=4), seed=1)
    assert len(batches.peaks) == 0
    np.testing.assert_array_equal(batches[0][0][0][2], 1)


def test_maps_are_no_part_of_a_checkpoint(tmp_path):
    store = MapStore(MAPS)
    kept = {}
    store.save_own_variables(kept)
    assert kept == {}
    store.load_own_variables(kept)


def test_too_many_maps_are_told_in_a_sentence():
    class Vast:
        size = 2**31

    with pytest.raises(BorderError, match=r"2147483648 pixels of training maps are too many: give fewer than 2\^31"):
        MapStore(Vast())
