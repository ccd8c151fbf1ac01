"""A network on maps too large for the memory: window by window, each with a halo as wide as the network's reach.

The output at a pixel depends only on pixels within the network's reach. So a window with a halo of that width, which
begins at a multiple of the coarsest pixels, gives the same values as the whole map, to rounding. At a border of the map
the window ends with the map and has the same padding. Nothing is blended: each pixel has one value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import ops

from analysis.core.files import BorderError
from analysis.params import NetworkParams


@dataclass(frozen=True)
class Tiles:
    """Windows of a larger map that a network sees one by one.

    Attributes
    ----------
    window : side of a window, pixels
    halo : width of the edges whose values are not used, except at borders of the map, pixels
    multiple : windows begin at multiples of this many pixels
    """

    window: int
    halo: int
    multiple: int


def network_reach(params: NetworkParams) -> tuple[int, int]:
    """Reach of a network from a pixel, towards the first and towards the last row or column; pixels.

    It is followed from the output back to the input: a kernel of 3 adds one pixel of its scale at both sides, and a
    pixel of a coarser scale is two of the finer. The result is for the place of a pixel with the longest reach.
    """
    reached = [_reached(pixel, params) for pixel in range(2**params.scales)]
    before = max(pixel - low for pixel, (low, _) in enumerate(reached))
    return before, max(high - pixel for pixel, (_, high) in enumerate(reached))


def network_tiles(params: NetworkParams, window: int) -> Tiles:
    """Windows of at most `window` pixels a side for a network.

    Raises
    ------
    BorderError
        If the network normalises by statistics of the whole map, or a window is all halo.
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
            f"sample.tile_pixels is {window}, but the network reaches {reach} pixels to each side; set it"
            f" to at least {2 * halo + multiple}, better {8 * halo}, or to null for the whole map at once"
        )
    return Tiles(window - window % multiple, halo, multiple)


def tiled(network: Callable, tiles: Tiles, outputs: int) -> Callable:
    """A function with the arguments of the network that runs it on one window at a time.

    The memory is that of one window, whatever the size of the map.

    Parameters
    ----------
    outputs : number of maps that the network gives

    Returns
    -------
    ([maps (n, ny, nx, c), noise (n, 1)], training=False) -> (n, ny, nx, outputs)
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
        shape = (n, rows.shape[1], columns.shape[1], channels + outputs)

        def step(number, state):
            window = ops.slice(state, starts[number], shape)
            out = ops.cast(network([window[..., :channels], noise], training=training), state.dtype)
            values = ops.where(kept[number][None, :, :, None], out, window[..., channels:])
            window = ops.concatenate([window[..., :channels], values], axis=-1)
            return number + 1, ops.slice_update(state, starts[number], window)

        # input and output are in one array, so that each window waits for the one before it
        state = ops.concatenate([maps, ops.zeros((n, ny, nx, outputs), maps.dtype)], axis=-1)
        begun = (ops.convert_to_tensor(0, "int32"), state)
        windows = len(corners)  # a tensor of TensorFlow's graphs has no length
        done = ops.while_loop(lambda number, _: number < windows, step, begun, maximum_iterations=windows)
        return done[1][..., channels:]

    return call


def _reached(pixel: int, params: NetworkParams) -> tuple[int, int]:
    """First and last pixel of an infinite row of input on which an output pixel depends."""
    blocks = 2 * params.blocks  # two kernels each
    low, high = pixel - 1 - blocks, pixel + 1 + blocks
    for _ in range(params.scales):
        low, high = low // 2 - blocks, high // 2 + blocks
    for _ in range(params.scales):
        low, high = 2 * low - blocks, 2 * high + 1 + blocks
    return low - 1, high + 1


def _windows(side: int, tiles: Tiles) -> tuple[np.ndarray, np.ndarray]:
    """First pixel of each window along a side, (n,), and which pixels of it are kept, (n, window)."""
    window = min(side, tiles.window)
    number = 1 if side == window else -(-(side - 2 * tiles.halo) // (window - 2 * tiles.halo))
    starts = np.minimum((window - 2 * tiles.halo) * np.arange(number), side - window)
    pixels = starts[:, None] + np.arange(window)
    first = np.where(starts == 0, 0, starts + tiles.halo)
    last = np.where(starts == side - window, side, starts + window - tiles.halo)
    return starts, (pixels >= first[:, None]) & (pixels < last[:, None])
