"""Denoised maps that are on average right, whatever value they show.

A denoised pixel is a mean: of all pixels where it is d, the true convergence has to have the mean d. A network that was
trained for minutes or hours comes near, and misses most where there is least to learn from: in deep voids its values
are too low by a few tenths of the noise, on training maps and on others alike. A sampler follows them, and its voids
are too deep.

So the mean error is measured after the training, by value and by noise level, on training maps with new noise, and is
then added. This can only lower the mean square error: of all functions of the denoised value, the mean of the truths is
the one with the least. The highest values are left as they are: they are few, and peaks have a rule of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import ops

from analysis.core.progress import progress

LEVELS = 12  # of noise, from the smallest of the training to a third of the largest
SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)  # of pixels, from the lowest, by value


@dataclass(frozen=True)
class Recalibration:
    """What is added to denoised pixels, by their value and the noise level: lines between the points of a table.

    Attributes
    ----------
    sigmas : (n_sigma,), noise levels, ascending; at the last of them nothing is added
    values : (n_sigma, n), denoised convergence, ascending
    shifts : (n_sigma, n), what is added there
    """

    sigmas: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    shifts: tuple[tuple[float, ...], ...]

    def shift(self, clean, sigma):
        """What is added to denoised maps.

        Parameters
        ----------
        clean : (n, ny, nx), the maps
        sigma : (n,), noise levels

        Returns
        -------
        (n, ny, nx)
        """
        level, tables = np.log(self.sigmas), (np.array(self.values), np.array(self.shifts))
        passed = ops.clip((ops.log(sigma)[:, None] - _as(level[:-1], clean)) / _as(np.diff(level), clean), 0.0, 1.0)
        values, shifts = (_as(rows[0], clean) + passed @ _as(np.diff(rows, axis=0), clean) for rows in tables)  # (n, k)
        added = shifts[:, :1, None]
        for left in range(values.shape[1] - 1):
            low, high = (values[:, place, None, None] for place in (left, left + 1))
            rise = shifts[:, left + 1, None, None] - shifts[:, left, None, None]
            added = added + rise * ops.clip((clean - low) / (high - low), 0.0, 1.0)
        return added


def recalibration_of(record: dict[str, list] | None) -> Recalibration | None:
    """A table as JSON keeps it; None for a network without one."""
    return None if record is None else Recalibration(**record)


def measured(
    denoise: Callable, maps: np.ndarray, noise_range: tuple[float, float], *, margin: int, rng: np.random.Generator
) -> Recalibration:
    """The mean error of denoised maps by value and noise level.

    Parameters
    ----------
    denoise : (noisy (1, ny, nx), sigma (1,)) -> (1, ny, nx)
    maps : (n, ny, nx), clean training maps
    noise_range : smallest and largest noise level of the training
    margin : pixels along the edges that do not count
    """
    low, high = noise_range
    levels, advance = np.geomspace(low, high / 3, LEVELS), progress("recalibration", LEVELS * len(maps))
    inner = np.s_[:, margin : maps.shape[-2] - margin, margin : maps.shape[-1] - margin]
    truth, table = maps[inner].reshape(-1), []
    for sigma in levels:
        found = []
        for kappa in maps:
            noisy = (kappa + sigma * rng.standard_normal(kappa.shape)).astype("float32")[None]
            found.append(np.asarray(denoise(noisy, np.full(1, sigma, "float32")))[inner].reshape(-1))
            advance()
        table.append(_mean_errors(np.concatenate(found), truth))
    values, shifts = np.swapaxes([*table, (table[-1][0], 0.0 * table[-1][1])], 0, 1)
    return Recalibration(tuple([*levels.tolist(), high]), _rows(values), _rows(shifts))


def _mean_errors(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of denoised pixels and of what they lack, for the shares of pixels in `SHARES`; for the last, nothing.

    They lack nothing on the whole: the mean of some dozens of maps is a matter of their longest waves.
    """
    share = np.digitize(found, np.quantile(found, SHARES[1:-1]))
    numbers = np.bincount(share)
    lacked = truth - found - np.mean(truth - found)
    values, errors = (np.bincount(share, weights=weights) / numbers for weights in (found, lacked))
    errors[-1] = 0.0
    return values, errors


def _rows(table: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, table.tolist()))


def _as(values: np.ndarray, like):
    return ops.cast(values, like.dtype)
