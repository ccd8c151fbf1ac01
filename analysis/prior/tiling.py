"""A network on maps larger than memory has room for: window by window, each with a halo as wide as the network looks.

What the network says of a pixel depends on the pixels within its reach alone. A window that is wider by the reach than
what is kept of it, and that begins where the network's coarsest pixels begin, gives what the whole map would give, to
rounding; at a border of the map a window ends where the map does, and is padded there as the map would be. Nothing is
blended where windows meet: there is one map, and one value of each pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import ops

from analysis.core.files import BorderError
from analysis.params import NetworkParams


@dataclass(frozen=True)
class Tiles:
    """Windows that a network sees of a larger map.

    Attributes
    ----------
    window : side of what the network is given at once, pixels
    halo : pixels at each side of it, but for borders of the map, whose values are thrown away
    multiple : of pixels, where windows begin
    """

    window: int
    halo: int
    multiple: int


def network_reach(params: NetworkParams) -> tuple[int, int]:
    """How far a network looks from a pixel, towards the first and towards the last row or column; pixels.

    Followed from the output back to the input: a kernel of 3 adds a pixel of its scale at both sides, and a pixel of a
    coarser scale is two of the finer. How much that is depends on where a pixel lies within one of the coarsest scale:
    the worst place counts.
    """
    reached = [_reached(pixel, params) for pixel in range(2**params.scales)]
    before = max(pixel - low for pixel, (low, _) in enumerate(reached))
    return before, max(high - pixel for pixel, (_, high) in enumerate(reached))


def network_tiles(params: NetworkParams, window: int) -> Tiles:
    """Windows of at most `window` pixels a side for a network.

    Raises
    ------
    BorderError
        If the network normalises by what it finds in a whole map, or nothing of a window would be kept.
    """
    if params.normalisation == "group":
        raise BorderError(
            f"sample.tile_pixels is {window}, but the network has group normalisation, which looks at a whole map; set"
            " it to null, or train a network with train.network.normalisation none or batch"
        )
    multiple, reach = 2**params.scales, max(network_reach(params))
    halo = -(-reach // multiple) * multiple
    if window < 2 * halo + multiple:
        raise BorderError(
            f"sample.tile_pixels is {window}, but the network looks {reach} pixels far to each side: give"
            f" {2 * halo + multiple} at the least, {8 * halo} to waste little, or null for the whole map at once"
        )
    return Tiles(window - window % multiple, halo, multiple)


def tiled(network: Callable, tiles: Tiles) -> Callable:
    """The network as a function of the same arguments, which gives it no more than a window at once.

    Windows follow one upon the other: memory is that of one, whatever the map.

    Returns
    -------
    ([maps (n, ny, nx, c), noise (n, 1)], training=False) -> (n, ny, nx, 1)
        of sides that are multiples of `tiles.multiple`
    """

    def call(inputs, training: bool = False):
        maps, noise = (ops.convert_to_tensor(values) for values in inputs)
        n, ny, nx, channels = maps.shape
        if max(ny, nx) <= tiles.window:
            return network(inputs, training=training)
        (top, rows), (left, columns) = (_windows(side, tiles) for side in (ny, nx))
        corners = np.array([(0, y, x, 0) for y in top for x in left], "int32")
        starts = ops.convert_to_tensor(corners)
        kept = ops.convert_to_tensor(np.array([row[:, None] & column for row in rows for column in columns]))
        shape = (n, rows.shape[1], columns.shape[1], channels + 1)

        def step(number, state):
            window = ops.slice(state, starts[number], shape)
            out = ops.cast(network([window[..., :channels], noise], training=training), state.dtype)
            values = ops.where(kept[number][None, :, :, None], out, window[..., channels:])
            window = ops.concatenate([window[..., :channels], values], axis=-1)
            return number + 1, ops.slice_update(state, starts[number], window)

        # input and output travel in one array: each window waits for the one before, and none are held side by side
        state = ops.concatenate([maps, ops.zeros_like(maps[..., :1])], axis=-1)
        begun = (ops.convert_to_tensor(0, "int32"), state)
        windows = len(corners)  # a tensor of TensorFlow's graphs has no length
        done = ops.while_loop(lambda number, _: number < windows, step, begun, maximum_iterations=windows)
        return done[1][..., channels:]

    return call


def _reached(pixel: int, params: NetworkParams) -> tuple[int, int]:
    """First and last pixel of an endless row of input that an output pixel depends on."""
    blocks = 2 * params.blocks  # two kernels each
    low, high = pixel - 1 - blocks, pixel + 1 + blocks
    for _ in range(params.scales):
        low, high = low // 2 - blocks, high // 2 + blocks
    for _ in range(params.scales):
        low, high = 2 * low - blocks, 2 * high + 1 + blocks
    return low - 1, high + 1


def _windows(side: int, tiles: Tiles) -> tuple[np.ndarray, np.ndarray]:
    """Where windows begin along a side, (n,), and which pixels of each are kept, (n, window)."""
    window = min(side, tiles.window)
    number = 1 if side == window else -(-(side - 2 * tiles.halo) // (window - 2 * tiles.halo))
    starts = np.minimum((window - 2 * tiles.halo) * np.arange(number), side - window)
    pixels = starts[:, None] + np.arange(window)
    first = np.where(starts == 0, 0, starts + tiles.halo)
    last = np.where(starts == side - window, side, starts + window - tiles.halo)
    return starts, (pixels >= first[:, None]) & (pixels < last[:, None])
