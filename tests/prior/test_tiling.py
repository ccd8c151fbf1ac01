"""A network given a map in windows: the same values as of the whole map, and never more than a window at once."""

import dataclasses

import numpy as np
import pytest
from small_prior import POWER, SETTINGS, shifted

from analysis.core.files import BorderError
from analysis.flatsky.backend import compiled
from analysis.flatsky.power import resampled_power
from analysis.params import load_params
from analysis.prior.files import load_prior, save_prior
from analysis.prior.network import build_network
from analysis.prior.score import Prior, prior_score, score_network
from analysis.prior.tiling import Tiles, network_reach, network_tiles, tiled

THIN = dataclasses.replace(SETTINGS, widths=[4, 4, 4])


def settings(scales, blocks, **others):
    return dataclasses.replace(SETTINGS, widths=[4] * (scales + 1), blocks=blocks, **others)


@pytest.mark.parametrize(("scales", "blocks"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1)])
def test_no_network_looks_further_than_its_reach_nor_less_far(scales, blocks):
    """A pixel of an empty map is set, at every place within one of the coarsest scale: how far off does it show?"""
    before, after = network_reach(settings(scales, blocks))
    step = 2**scales
    middle = -(-(max(before, after) + step) // step) * step
    network = build_network(settings(scales, blocks))
    rng = np.random.default_rng(1)
    network.set_weights([w if w.ndim == 1 else rng.normal(0, 0.5, w.shape) for w in network.get_weights()])
    maps = np.zeros((step, 2 * middle, 2 * middle, 3), "float32")
    places = middle + np.arange(step)
    maps[np.arange(step), places, places] = 1.0
    shown = np.asarray(network([maps, np.zeros((step, 1), "float32")]))[..., 0] != 0
    for along in (1, 2):
        lines = shown.any(axis=along)
        first = lines.argmax(axis=1)
        last = lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
        assert (max(last - places), max(places - first)) == (before, after)


def test_the_reach_of_networks_in_use():
    quick = load_params().train.network
    assert network_reach(quick) == network_reach(settings(3, 1))
    assert network_tiles(quick, 512).halo % 8 == 0
    assert network_tiles(quick, 515).window == 512


CASES = [
    (settings(1, 1), (64, 64)),
    (settings(2, 1), (96, 132)),
    (settings(2, 1, skips="concatenate", conditioning="channel", normalisation="batch"), (76, 24)),
    (settings(1, 2, spectral_norm=True), (24, 90)),
]


@pytest.mark.parametrize(("network_settings", "shape"), CASES)
@pytest.mark.parametrize(("more", "outputs"), [(4, 1), (12, 2)])
def test_windows_give_what_the_whole_map_gives(network_settings, shape, more, outputs):
    rng = np.random.default_rng(2)
    network = build_network(network_settings, outputs=outputs)
    network.set_weights([np.abs(w) + 0.1 * rng.random(w.shape) for w in network.get_weights()])
    halo = network_tiles(network_settings, 1000).halo
    tiles = network_tiles(network_settings, 2 * halo + 2**network_settings.scales + more)
    assert tiles.window < max(shape)
    inputs = [rng.standard_normal((2, *shape, 3)).astype("float32"), np.array([[-1.0], [0.5]], "float32")]
    whole = np.asarray(network(inputs))
    found = np.asarray(compiled(tiled(network, tiles, outputs))(inputs))
    assert np.std(whole) > 0
    assert np.abs(found - whole).max() < 1e-5 * np.abs(whole).max()


def test_a_halo_that_is_too_narrow_shows():
    network = shifted(Prior(POWER, 0.82, build_network(THIN))).network
    inputs = [np.random.default_rng(3).standard_normal((1, 96, 96, 3)).astype("float32"), np.zeros((1, 1), "float32")]
    whole, tiles = np.asarray(network(inputs)), network_tiles(THIN, 64)
    narrow = np.asarray(tiled(network, Tiles(tiles.window, tiles.halo - 12, tiles.multiple), 1)(inputs))
    assert np.abs(narrow - whole).max() > 1e-4 * np.abs(whole).max()


def test_the_network_never_sees_more_than_a_window():
    seen = []

    def network(inputs, training):
        seen.append(tuple(inputs[0].shape))
        return inputs[0][..., :1]

    maps = np.random.default_rng(4).standard_normal((2, 40, 72, 3)).astype("float32")
    out = np.asarray(tiled(network, Tiles(32, 8, 4), 1)([maps, np.zeros((2, 1), "float32")]))
    np.testing.assert_array_equal(out, maps[..., :1])
    assert set(seen) == {(2, 32, 32, 3)}
    seen.clear()
    tiled(network, Tiles(80, 8, 4), 1)([maps, np.zeros((2, 1), "float32")])
    assert seen == [(2, 40, 72, 3)]


def test_the_score_of_a_prior_in_tiles(tmp_path):
    power = resampled_power(POWER, 96).astype("float32")
    one = Prior(power, 0.82, score_network(THIN, gain=True), 1.0, (0.002, 1.0), margin=4, gain=True, highest=0.1)
    save_prior(shifted(one), THIN, tmp_path)
    kappa = 0.05 * np.random.default_rng(5).standard_normal((2, 96, 96)).astype("float32")
    sigma = np.array([0.02, 0.2], "float32")
    least = 2 * network_tiles(THIN, 1000).halo + 4
    whole = np.asarray(prior_score(load_prior(tmp_path), kappa, sigma))
    gaussian = np.asarray(prior_score(dataclasses.replace(one, network=None), kappa, sigma))
    found = np.asarray(prior_score(load_prior(tmp_path, tile_pixels=least + 12), kappa, sigma))
    assert np.abs(whole - gaussian).max() > 1e-3 * np.abs(whole).max()
    np.testing.assert_allclose(found, whole, atol=1e-5 * np.abs(whole).max())
    with pytest.raises(BorderError, match=rf"tile_pixels is {least - 1}, .* set it to at least {least}"):
        load_prior(tmp_path, tile_pixels=least - 1)


def test_a_network_that_looks_at_a_whole_map_is_refused():
    with pytest.raises(BorderError, match="group normalisation"):
        network_tiles(dataclasses.replace(THIN, normalisation="group"), 512)
