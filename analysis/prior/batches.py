"""Batches of random crops of the training maps. The maps stay on the device; a batch holds only places.

High peaks are rare, and a sampler that is wrong about them makes them grow. So a share of the crops is drawn around one
of the highest peaks, and each crop has a weight, its probability among uniform crops over that among these. The loss
has the same mean as with uniform crops, and less scatter where peaks are.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from analysis.core.files import BorderError
from analysis.flatsky.maps import SCALE
from analysis.flatsky.peaks import highest_peaks
from analysis.params import TrainParams

SYMMETRIES = 3  # a transposition and two flips make the eight symmetries of the square


class MapStore(keras.layers.Layer):
    """The training maps on the device, in half precision as on disk. They are not saved with a network."""

    def __init__(self, maps: np.ndarray):
        super().__init__(trainable=False)
        if maps.size >= 2**31:
            raise BorderError(f"{maps.size} pixels of training maps are too many: give fewer than 2^31 (2,147,483,648)")
        self.side = maps.shape[-1]
        stored = (maps / SCALE).astype("float16").reshape(-1)
        self.maps = self.add_weight(
            shape=stored.shape, dtype="float16", trainable=False, name="maps", initializer="zeros"
        )
        self.maps.assign(
            stored
        )  # as an initialiser the maps would be compiled into the program where devices share them

    def call(self, places, amplitudes, *, side: int):
        """Crops of `side` pixels.

        Parameters
        ----------
        places : (n, 6), number of the map, row and column of the corner, and 1 if transposed, flipped in y, in x
        amplitudes : (n,), factors of the maps

        Returns
        -------
        (n, side, side), float32
        """
        chosen, y, x, transposed, flip_y, flip_x = (places[:, i, None, None] for i in range(6))
        along = ops.arange(side, dtype=places.dtype)
        rows, columns = along[None, :, None], along[None, None, :]
        rows = ops.where(flip_y > 0, side - 1 - rows, rows)
        columns = ops.where(flip_x > 0, side - 1 - columns, columns)
        rows, columns = ops.where(transposed > 0, columns, rows), ops.where(transposed > 0, rows, columns)
        pixels = (chosen * self.side + y + rows) * self.side + x + columns
        return ops.cast(ops.take(self.maps, pixels), "float32") * SCALE * amplitudes[:, None, None]

    def save_own_variables(self, store) -> None:
        """Save nothing: the maps are there when training continues."""

    def load_own_variables(self, store) -> None:
        """Load nothing, as above."""


def stack_sizes(sides: Sequence[int], batch: int) -> list[int]:
    """Number of crops of each side in a batch: `batch` of the first side, about as many pixels of each other side."""
    return [batch * max(1, round((sides[0] / side) ** 2)) for side in sides]


class CropBatches(keras.utils.PyDataset):
    """Places of random crops of the training maps, fixed by the seed and the numbers of epoch and batch.

    A batch holds places, amplitudes and weights of a stack of crops for each grid (`stack_sizes`).

    Parameters
    ----------
    maps : (n, side, side)
    sides : of the crops for each grid
    """

    def __init__(self, maps: np.ndarray, sides: Sequence[int], params: TrainParams, *, seed: int):
        super().__init__()
        self.maps, self.map_side, self.sides, self.params, self.seed = len(maps), maps.shape[-1], sides, params, seed
        self.peaks = highest_peaks(maps, len(maps), margin=params.margin)
        self.share = params.peak_share if len(self.peaks) else 0.0
        self.epoch = 0

    def __len__(self) -> int:
        return self.params.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...]]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        numbers = stack_sizes(self.sides, self.params.batch)
        return (tuple(self._stack(*stack, rng) for stack in zip(self.sides, numbers, strict=True)),)

    def _stack(self, side: int, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        chosen = rng.integers(self.maps, size=(number, 1))
        corner = rng.integers(self.map_side - side + 1, size=(number, 2))
        around = rng.random(number) < self.share
        if around.any():
            peaks = self.peaks[rng.integers(len(self.peaks), size=around.sum())]
            chosen[around] = peaks[:, :1]
            low, high = self._corners(peaks[:, 1:], side)
            corner[around] = rng.integers(low, high + 1)
        turned = rng.integers(2, size=(number, SYMMETRIES)) * self.params.symmetries
        scatter = self.params.amplitude_jitter * rng.standard_normal(number)
        places = np.concatenate([chosen, corner, turned], axis=1).astype("int32")
        return places, np.exp(scatter).astype("float32"), self.weights(places, side)

    def weights(self, places: np.ndarray, side: int) -> np.ndarray:
        """Probability of crops among uniform ones over that among those of the batches, (n,), float32."""
        low, high = self._corners(self.peaks[:, 1:], side)
        of_peak = 1.0 / np.prod(high - low + 1, axis=1)
        corner = places[:, None, 1:3]
        holds = (places[:, :1] == self.peaks[:, 0]) & ((low <= corner) & (corner <= high)).all(axis=-1)
        uniform = 1.0 / (self.maps * (self.map_side - side + 1) ** 2)
        around = (holds * of_peak).sum(axis=1) / max(len(self.peaks), 1)
        return (1.0 / (1.0 - self.share + self.share * around / uniform)).astype("float32")

    def _corners(self, peaks: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """First and last corner, (n, 2) each, of the crops that hold peaks (n, 2) inside their margin."""
        margin = self.params.margin
        return np.maximum(peaks - side + margin + 1, 0), np.minimum(peaks - margin, self.map_side - side)
