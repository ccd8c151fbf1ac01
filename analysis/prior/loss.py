"""Denoising score matching: the loss of the network, and the error of denoised maps."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops
from scipy.stats import norm

from analysis.flatsky.backend import filtered
from analysis.params import TrainParams
from analysis.prior.batches import MapStore
from analysis.prior.margin import with_margin
from analysis.prior.score import Prior, denoised, per_map, prior_score, wiener_significance

SIGNIFICANT, DEEP = 3.0, 0.8  # peaks and voids: times the rms that the Gaussian model expects of a Wiener map
GAUSSIAN_DEPTH = float(norm.pdf(DEEP) - DEEP * norm.sf(DEEP))  # mean of max(-z - DEEP, 0) of a standard normal z
ORIGINAL_SIGMA = 0.2  # standard deviation of the noise levels of Remy et al. 2020


class ScoreMatching(keras.Model):
    """Denoising score matching of one network in priors of several grids, trained by `fit` on crops of clean maps.

    Each map gets its own noise level, log-uniform in the range of the training (or as in the original). The levels of a
    batch are spread evenly over the range, which leaves less of the gradient to chance. The loss of a level is in units
    of the Gaussian model's loss: each level counts the same, and 1 is the loss of theory alone on Gaussian fields.

        loss = mean of  w |r|^2 / e(sigma)^2  and, b times, of  |B r|^2 / e_B(sigma)^2,
        r = u + sigma score(kappa + sigma u),   e and e_B the errors of the Gaussian denoiser, before and after B

    The weight depends only on what the network sees, and B is linear, so the minimum of the loss does not move.

    w = 1 + a max(|z| - 3, 0) + a' max(-z - 0.8, 0), z the Wiener-denoised map over its rms. Peaks are few pixels, but
    an error there is carried on through all cycles of the sampler. Deep voids are smooth, and an error there is seen as
    pixels deeper than any void.

    B is 1 / k, so that each octave of modes counts the same. Long waves are few modes and nearly invisible in the error
    of pixels. No data constrain the longest of them, and an error there adds up over the cycles of the sampler.

    Source: Vincent 2011; Remy et al. 2020, eq. 3.
    """

    def __init__(self, priors: Sequence[Prior], maps: np.ndarray, params: TrainParams, *, seed: int):
        super().__init__()
        self.network, self.store = priors[0].network, MapStore(maps)
        self.priors, self.params = priors, params
        self.noise = keras.random.SeedGenerator(seed)

    def call(self, stacks, training=False):
        """Residuals of crops with new margins and new noise, in one row.

        Parameters
        ----------
        stacks : places, amplitudes (`MapStore`) and weights of the crops for the grid of each prior
        """
        maps = [self._crops(prior, *stack[:2]) for prior, stack in zip(self.priors, stacks, strict=True)]
        return self.residuals(maps, [weights for _, _, weights in stacks], training)

    def _crops(self, prior: Prior, places, amplitudes):
        """Clean maps on the grid of a prior, with a Gaussian margin given the pixels inside."""
        kappa = self.store(places, amplitudes, side=prior.power.shape[-1])
        white = keras.random.normal(ops.shape(kappa), seed=self.noise)
        return with_margin(kappa, filtered(white, prior.power**0.5), prior.power, prior.margin)

    def residuals(self, maps, weights, training=False):
        """Residuals of maps with new noise over the Gaussian model's, times the root of their weights, in one row.

        Parameters
        ----------
        maps : (n, ny, nx) each, clean maps of the grid of each prior
        weights : (n,) each
        """
        counts = [ops.shape(kappa)[0] for kappa in maps]
        levels, parts = self._levels(sum(counts)), []
        for prior, kappa, weight, count in zip(self.priors, maps, weights, counts, strict=True):
            residual = self._residual(prior, kappa, levels[:count], training)
            parts.append(ops.reshape(residual * ops.sqrt(per_map(weight)), (-1,)))
            levels = levels[count:]
        return ops.concatenate(parts)

    def _residual(self, prior: Prior, kappa, sigma, training: bool):
        u = keras.random.normal(ops.shape(kappa), seed=self.noise)
        noisy = kappa + per_map(sigma) * u
        residual = u + per_map(sigma) * prior_score(prior, noisy, sigma, training=training)
        significance = wiener_significance(noisy, sigma, prior.power)
        weight = 1.0 + self.params.peak_weight * ops.maximum(ops.abs(significance) - SIGNIFICANT, 0.0)
        weight = weight + self.params.void_weight * ops.maximum(-significance - DEEP, 0.0)
        parts = [(residual * ops.sqrt(weight), 1.0, np.ones(prior.power.shape))]
        if self.params.long_weight:
            long = long_waves(prior.power.shape)
            parts.append((filtered(residual, ops.cast(long, kappa.dtype)), self.params.long_weight, long))
        # so that the mean over all parts is 1 for the Gaussian model
        share = len(parts) / (1.0 + self.params.void_weight * GAUSSIAN_DEPTH + self.params.long_weight)
        return ops.stack(
            [part * (share * weight) ** 0.5 / self._unit(sigma, prior.power, modes) for part, weight, modes in parts]
        )

    def _unit(self, sigma, power, modes: np.ndarray):
        """The unit of residuals: those of the Gaussian model after a filter, or the noise."""
        if self.params.level_unit == "noise":
            return 1.0
        return per_map(gaussian_error(sigma, power, modes))

    def _levels(self, n):
        """A noise level for each of n maps: quantiles n apart of the distribution, from a random one on."""
        low, high = self.params.sigma_min, self.params.sigma_max
        start, steps = keras.random.uniform((), seed=self.noise), ops.arange(n, dtype="float32")
        quantile = (start + steps / ops.cast(n, "float32")) % 1.0
        if self.params.noise == "half_normal":
            return ops.clip(ORIGINAL_SIGMA * 2**0.5 * ops.erfinv(quantile), low, high)
        return low * (high / low) ** quantile

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean square of the residual."""
        return ops.mean(ops.square(y_pred))


def denoising_error(
    score: Callable, maps: np.ndarray, sigma: float, *, rng: np.random.Generator, margin: int = 0, batch: int = 8
) -> np.ndarray:
    """Mean square error of denoised maps at one noise level; the noise depends on `rng` alone.

    Parameters
    ----------
    score : (kappa (n, ny, nx), sigma (n,)) -> (n, ny, nx)
    maps : (n, ny, nx), clean
    margin : pixels along the edges that do not count

    Returns
    -------
    (n,), per map, unit of `maps` squared
    """
    errors = []
    for start in range(0, len(maps), batch):
        clean = maps[start : start + batch].astype("float32")
        noisy = clean + sigma * rng.standard_normal(clean.shape).astype("float32")
        level = np.full(len(clean), sigma, "float32")
        error = np.asarray(denoised(noisy, level, score(noisy, level))) - clean
        inner = np.s_[..., margin : error.shape[-2] - margin, margin : error.shape[-1] - margin]
        errors.append(np.mean(error[inner] ** 2, axis=(-2, -1)))
    return np.concatenate(errors)


def gaussian_error(sigma, power, modes: np.ndarray | float = 1.0):
    """Error of the Gaussian denoiser, in units of the noise: sqrt(mean over modes of S / (S + sigma^2)).

    Parameters
    ----------
    sigma : (n,), as the maps
    modes : (ny, nx), a filter of the error

    Returns
    -------
    (n,), between 0 and 1
    """
    power = ops.cast(power, sigma.dtype)
    squared = ops.cast(np.square(modes), sigma.dtype)
    return ops.sqrt(ops.mean(squared * power / (power + per_map(sigma) ** 2), axis=(-2, -1)))


def long_waves(shape: tuple[int, int]) -> np.ndarray:
    """The filter B = 1 / k, k at least the fundamental mode, of unit mean square; (ny, nx)."""
    k = np.hypot(*np.meshgrid(*(side * np.fft.fftfreq(side) for side in shape), indexing="ij"))
    waves = 1.0 / np.maximum(k, 1.0)
    return waves / np.sqrt(np.mean(waves**2))
