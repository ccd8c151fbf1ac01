"""Denoised maps without the mean error that a network makes at each value.

A denoised pixel is a mean: of all pixels where it is d, the true convergence has to have the mean d. A network that was
trained for minutes or hours comes near, and misses most where there is least to learn from. In the deepest voids its
values are too low, by a tenth of the noise at noise of 0.01, on training maps and on others alike. A sampler follows
them, and its voids are too deep.

So the mean error is measured after the training, by value and by noise level, on training maps with new noise, and is
then added. Two things are left alone. The highest values, since peaks have a rule of their own (`local_skip`). And long
waves: the error of a value says nothing of them, and what is added to a denoised map at noise sigma moves samples by
S / sigma^2 times as much, a factor of 100 for the longest waves of a field.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import ops

from analysis.core.progress import progress
from analysis.flatsky.backend import filtered
from analysis.flatsky.power import ell_grid

LEVELS = 12  # of noise, from the smallest of the training to a third of the largest
SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)  # of pixels, from the lowest, by value
LONG_ARCMIN = 16.0  # of waves of this length, half of what is added remains


@dataclass(frozen=True)
class Recalibration:
    """What is added to denoised pixels, by their value and the noise level: lines between the points of a table.

    One table serves every grid of the same pixels.

    Attributes
    ----------
    sigmas : (n_sigma,), noise levels, ascending; at the last of them nothing is added
    values : (n_sigma, n), denoised convergence, ascending
    shifts : (n_sigma, n), what is added there
    """

    sigmas: np.ndarray
    values: np.ndarray
    shifts: np.ndarray

    def shift(self, clean, sigma):
        """What is added to the pixels of denoised maps, before long waves are taken out.

        Beyond the ends of a table it stays as it is there. Below the lowest noise level it falls with the noise.

        Parameters
        ----------
        clean : (n, ny, nx), the maps
        sigma : (n,), noise levels

        Returns
        -------
        (n, ny, nx)
        """
        level, unit = np.log(self.sigmas), ops.minimum(1.0, sigma / _as(self.sigmas[0], clean))
        passed = ops.clip((ops.log(sigma)[:, None] - _as(level[:-1], clean)) / _as(np.diff(level), clean), 0.0, 1.0)
        values, shifts = (
            _as(table[0], clean) + ops.sum(passed[:, :, None] * _as(np.diff(table, axis=0), clean), axis=1)
            for table in (self.values, self.shifts)
        )  # (n, points) each
        tiny = 1e-12  # between equal values
        slopes = (shifts[:, 1:] - shifts[:, :-1]) / (values[:, 1:] - values[:, :-1] + tiny)
        added = shifts[:, :1, None]
        for left in range(slopes.shape[1]):
            low, high, slope = (of[:, None, None] for of in (values[:, left], values[:, left + 1], slopes[:, left]))
            added = added + slope * (ops.clip(clean, low, high) - low)
        return unit[:, None, None] * added

    def added(self, clean, sigma, inside, pixel_arcmin: float):
        """What is added to denoised maps; arguments as for `shift`.

        Parameters
        ----------
        inside : (ny, nx), 1 for pixels inside the prior's margin, 0 for those in it
        """
        return filtered(inside * self.shift(clean, sigma), _as(short_waves(clean.shape[-2:], pixel_arcmin), clean))


def short_waves(shape: tuple[int, int], pixel_arcmin: float) -> np.ndarray:
    """The filter k^2 / (k^2 + k_0^2), k_0 that of waves of `LONG_ARCMIN`; (ny, nx)."""
    turned = (ell_grid(tuple(map(int, shape)), pixel_arcmin) * LONG_ARCMIN / (360 * 60)) ** 2
    return turned / (turned + 1.0)


def recalibration_of(record: dict[str, list] | None) -> Recalibration | None:
    """A table from a file; None for a network without one.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    if record is None:
        return None
    table = Recalibration(**{name: np.array(rows, "float64") for name, rows in record.items()})
    if (
        not table.shifts.shape == table.values.shape == (len(table.sigmas), table.values.shape[-1])
        or not all(np.isfinite(rows).all() for rows in (table.sigmas, table.values, table.shifts))
        or np.any(np.diff(table.sigmas, prepend=0.0) <= 0)
        or np.any(np.diff(table.values) < 0)
    ):
        raise ValueError("its recalibration is no table of finite numbers with ascending noise levels and values")
    return table


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
    levels = np.geomspace(low, max(high / 3, (low * high) ** 0.5), LEVELS)
    advance = progress("recalibration", LEVELS * len(maps))
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
    return Recalibration(np.append(levels, high), values, shifts)


def _mean_errors(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the denoised pixels in each of `SHARES`, and the mean of what they lack; for the last, nothing.

    The overall mean error is left out. It is a long wave, and too few maps tell it.
    """
    share, error = np.digitize(found, np.quantile(found, SHARES[1:-1])), truth - found
    lacked = np.bincount(share, weights=error - error.mean(), minlength=len(SHARES) - 1)
    errors = lacked / np.maximum(np.bincount(share, minlength=len(lacked)), 1)  # few pixels may leave a share empty
    errors[-1] = 0.0
    return np.quantile(found, (np.array(SHARES[1:]) + SHARES[:-1]) / 2), errors


def _as(values: np.ndarray, like):
    return ops.cast(values, like.dtype)
