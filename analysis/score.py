"""The prior's score at a noise level: Gaussian theory, plus what the network learnt, by denoising score matching.

A map kappa with white noise of standard deviation sigma added follows p_sigma. Its score, grad log p_sigma, is

    score = -(S + sigma^2)^-1 (kappa - m),   m = c(sigma) f(kappa, Wiener-denoised kappa, sigma).

Without the network, m = 0, it is exact for a Gaussian field of power S. The network f shifts the mean towards which the
Gaussian model shrinks a map: the analytic score plus a neural residual (S + sigma^2)^-1 m. Written so, an error of f
moves samples by no more than itself; as a free residual it would be amplified by S / sigma^2 in modes that no data
hold (seen: the mean of maps off by a third of their rms). The gate c is the rms of the maps, closed smoothly at large
sigma, where the noisy field is Gaussian and theory exact. Remy et al. 2020, eqs. 3, 5 and 6.

Sampling lives on a torus, whose seam no crop of a simulation has: with a network that has seen crops alone, peaks on
the seam grow without bound (seen: kappa of 1.9). So the prior is one of maps whose margin is Gaussian, of power S,
given what the simulation has inside: periodic maps, which can be drawn to learn from (`posterior.gaussian_margin`), and
the network is told where the margin is. A network that fades out at sampling is no prior at all (seen, where the mean
fades: three times the power at the width of the margin; where the denoised map does: a fifth of the variance lost, and
a tenth of the power of the whole map).

The clean map that a noisy one stands for, on average, is no higher than the highest of the training maps: where the
network says so, it is outside what it learnt, and the denoised map is lowered to that bound.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np
from keras import ops

from analysis.backend import filtered
from analysis.files import BorderError, atomic, read_json, write_json
from analysis.network import build_network
from analysis.params import NetworkParams, TrainParams
from analysis.power import load_power, save_power

THEORY_ELL = (100, 300, 1000, 3000, 10000)
SIGNIFICANT = 3.0  # times the rms that the Gaussian model expects
ORIGINAL_SIGMA = 0.2  # spread of the noise levels of Remy et al. 2020


@dataclass(frozen=True)
class Prior:
    """What is known of convergence maps before any data.

    Attributes
    ----------
    power : (ny, nx), pixel variance per mode (orthonormal FFT)
    pixel_arcmin : pixel scale the prior was learnt on, arcmin
    network : residual network, or None for the Gaussian prior alone
    gate_sigma : noise level at which the gate is half closed
    noise_range : smallest and largest noise level of the training
    margin : pixels along the edges of a map that are Gaussian, given those inside
    highest : largest convergence of the training maps, which no mean of clean maps exceeds; None for no bound
    theory : multipoles and C_ell [sr] of the universe it was trained in (`theory_points`), None where not known
    """

    power: np.ndarray
    pixel_arcmin: float
    network: keras.Model | None = None
    gate_sigma: float = 1.0
    noise_range: tuple[float, float] = (0.0, np.inf)
    margin: int = 0
    highest: float | None = None
    theory: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def gaussian_score(kappa, sigma, power):
    """Score of a Gaussian field seen at noise level `sigma`.

    In Fourier space, for a field of power S:  -(S + sigma^2)^-1 kappa.

    Parameters
    ----------
    kappa : (n, ny, nx), dimensionless
        Convergence with added white noise of standard deviation `sigma`.
    sigma : (n,), as `kappa`
    power : (ny, nx), pixel variance per mode (orthonormal FFT)

    Returns
    -------
    (n, ny, nx), 1 / unit of `kappa`

    Source: Remy et al. 2020, eq. 5, convolved with the noise.
    """
    return -filtered(kappa, 1.0 / (ops.cast(power, kappa.dtype) + _per_map(sigma) ** 2))


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
    return ops.sqrt(ops.mean(squared * power / (power + _per_map(sigma) ** 2), axis=(-2, -1)))


def long_waves(shape: tuple[int, int]) -> np.ndarray:
    """The filter B = 1 / k, k at least the fundamental mode, of unit mean square; (ny, nx)."""
    k = np.hypot(*np.meshgrid(*(side * np.fft.fftfreq(side) for side in shape), indexing="ij"))
    waves = 1.0 / np.maximum(k, 1.0)
    return waves / np.sqrt(np.mean(waves**2))


def gate(sigma, power, gate_sigma: float):
    """c(sigma): the rms of the maps, closed as the fourth power beyond `gate_sigma`; (n,)."""
    return ops.sqrt(ops.mean(ops.cast(power, sigma.dtype))) / (1.0 + (sigma / gate_sigma) ** 4)


def inside_margin(shape: tuple[int, int], margin: int) -> np.ndarray:
    """1 for pixels inside the margin, 0 for those in it; (ny, nx)."""
    mask = np.zeros(shape, "float32")
    mask[margin : shape[0] - margin, margin : shape[1] - margin] = 1.0
    return mask


def prior_score(prior: Prior, kappa, sigma, *, training: bool = False):
    """Score of the prior at noise level `sigma`: the Gaussian score, and the network's share if there is one.

    Parameters
    ----------
    kappa : (n, ny, nx), dimensionless
    sigma : (n,), as `kappa`

    Returns
    -------
    (n, ny, nx), 1 / unit of `kappa`

    Source: Remy et al. 2020, eq. 6.
    """
    return gaussian_score(kappa - shifted_mean(prior, kappa, sigma, training=training), sigma, prior.power)


def shifted_mean(prior: Prior, kappa, sigma, *, training: bool = False):
    """The mean m towards which the Gaussian model shrinks a noisy map: the network's share of the score, 0 without one.

    The network sees the map and its Wiener-denoised self, both scaled to order one, the margin, and the noise level.

    Returns
    -------
    (n, ny, nx), as `kappa`
    """
    if prior.network is None:
        return ops.zeros_like(kappa)
    power = ops.cast(prior.power, kappa.dtype)
    variance = ops.mean(power)
    inside = ops.zeros_like(kappa) + inside_margin(tuple(int(side) for side in kappa.shape[-2:]), prior.margin)
    inputs = [kappa / _per_map(ops.sqrt(variance + sigma**2)), wiener_significance(kappa, sigma, power), inside]
    noise = ops.log(sigma / ops.sqrt(variance))[:, None]
    out = prior.network([ops.stack(inputs, axis=-1), noise], training=training)[..., 0]
    mean = _per_map(gate(sigma, power, prior.gate_sigma)) * out
    if prior.highest is None:
        return mean
    clean = denoised(kappa, sigma, gaussian_score(kappa - mean, sigma, power))
    inverse = power / _per_map(sigma) ** 2 + 1.0  # of how much of the mean reaches the denoised map
    return mean - filtered(ops.maximum(clean - prior.highest, 0.0), inverse)


def wiener_significance(kappa, sigma, power):
    """The Wiener-denoised map over the rms that the Gaussian model expects of it; (n, ny, nx)."""
    power = ops.cast(power, kappa.dtype)
    rms = ops.sqrt(ops.mean(power**2 / (power + _per_map(sigma) ** 2), axis=(-2, -1)))
    return denoised(kappa, sigma, gaussian_score(kappa, sigma, power)) / _per_map(rms)


def check_grid(prior: Prior, shape: tuple[int, int], pixel_arcmin: float) -> None:
    """Make sure that a prior belongs to a grid.

    Raises
    ------
    BorderError
        If the grid has another number of pixels or another pixel scale.
    """
    if prior.power.shape != shape or abs(prior.pixel_arcmin / pixel_arcmin - 1) > 1e-6:
        sides = ["x".join(str(side) for side in pixels) for pixels in (prior.power.shape, shape)]
        raise BorderError(
            f"the prior was made for {sides[0]} pixels of {prior.pixel_arcmin:g} arcmin, the observation has {sides[1]}"
            f" of {pixel_arcmin:g}; observe on the prior's grid, or train on the observation's"
        )


def theory_points(ell: np.ndarray, c_ell: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Multipoles and C_ell there, enough to tell one universe from another.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr
    """
    at = [float(value) for value in THEORY_ELL if ell[0] <= value <= ell[-1]]
    return tuple(at), tuple(np.exp(np.interp(np.log(at), np.log(ell), np.log(c_ell))).tolist())


def denoised(kappa, sigma, score):
    """Mean of the clean map given the noisy one (Tweedie): kappa + sigma^2 score; Remy et al. 2020, eq. 2."""
    return kappa + _per_map(sigma) ** 2 * score


class ScoreMatching(keras.Model):
    """Denoising score matching of one network in priors of several grids, trained by `fit` on clean maps.

    Every map gets its own noise level, log-uniform in the range of the training (or as the original's). The loss of a
    level is measured in units of the Gaussian model's: each level counts the same, and 1 is what theory alone reaches
    on Gaussian fields.

        loss = mean of  w |r|^2 / e(sigma)^2  and, b times, of  |B r|^2 / e_B(sigma)^2,
        r = u + sigma score(kappa + sigma u),   e and e_B the errors of the Gaussian denoiser, before and after B

    The weight depends on nothing but what the network sees, and B is linear: what there is to learn stays the same.

    w = 1 + a max(|z| - 3, 0), z the Wiener-denoised map over its rms. Peaks are few pixels, and an error there is
    carried from cycle to cycle of the sampler (seen with a = 0: peaks of 0.8 that grow threefold).

    B goes as 1 / k, and the modes of every octave count the same. Long waves are few modes, invisible in the error of
    pixels, and no data hold the longest: an error there adds up over cycles (seen with b = 0: a mean that is wrong
    by 0.0003 in each denoised map, and by 0.004 in samples).

    Source: Vincent 2011; Remy et al. 2020, eq. 3.
    """

    def __init__(self, priors: Sequence[Prior], params: TrainParams, *, seed: int):
        super().__init__()
        self.network = priors[0].network
        self.priors, self.params = priors, params
        self.noise = keras.random.SeedGenerator(seed)

    def call(self, stacks, training=False):
        """Residuals of freshly noised maps over the Gaussian model's, times the root of their weights, in one row.

        Parameters
        ----------
        stacks : (n, ny, nx) each, clean maps of the grid of each prior
        """
        return ops.concatenate(
            [
                ops.reshape(self._residual(prior, kappa, training), (-1,))
                for prior, kappa in zip(self.priors, stacks, strict=True)
            ]
        )

    def _residual(self, prior: Prior, kappa, training: bool):
        sigma = self._levels(ops.shape(kappa)[0])
        u = keras.random.normal(ops.shape(kappa), seed=self.noise)
        noisy = kappa + _per_map(sigma) * u
        residual = u + _per_map(sigma) * prior_score(prior, noisy, sigma, training=training)
        excess = ops.maximum(ops.abs(wiener_significance(noisy, sigma, prior.power)) - SIGNIFICANT, 0.0)
        weight = 1.0 + self.params.peak_weight * excess
        parts = [(residual * ops.sqrt(weight), 1.0, np.ones(prior.power.shape))]
        if self.params.long_weight:
            long = long_waves(prior.power.shape)
            parts.append((filtered(residual, ops.cast(long, kappa.dtype)), self.params.long_weight, long))
        share = len(parts) / sum(part[1] for part in parts)  # the mean over all parts is to be 1 for the Gaussian model
        return ops.stack(
            [part * (share * weight) ** 0.5 / self._unit(sigma, prior.power, modes) for part, weight, modes in parts]
        )

    def _unit(self, sigma, power, modes: np.ndarray):
        """What a residual is measured in: the Gaussian model's after a filter, or the noise."""
        if self.params.level_unit == "noise":
            return 1.0
        return _per_map(gaussian_error(sigma, power, modes))

    def _levels(self, n):
        """A noise level for each of n maps."""
        low, high = self.params.sigma_min, self.params.sigma_max
        if self.params.noise == "half_normal":
            return ops.clip(ORIGINAL_SIGMA * ops.abs(keras.random.normal((n,), seed=self.noise)), low, high)
        return ops.exp(keras.random.uniform((n,), np.log(low), np.log(high), seed=self.noise))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean square of the residual."""
        return ops.mean(ops.square(y_pred))


def denoising_error(
    score: Callable, maps: np.ndarray, sigma: float, *, rng: np.random.Generator, margin: int = 0, batch: int = 8
) -> np.ndarray:
    """Mean square error of the denoised maps at one noise level, on noise that only `rng` decides.

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


def save_prior(
    prior: Prior, settings: NetworkParams, folder: str | Path, *, crops: Mapping[int, np.ndarray] = MappingProxyType({})
) -> None:
    """Write a prior: `network.weights.h5`, its settings in `network.json` and the spectrum in `power.npy`.

    Parameters
    ----------
    crops : spectra of smaller grids, by their side in pixels, each in `power_<side>.npy`
    """
    folder = Path(folder)
    record = {
        "network": asdict(settings),
        "pixel_arcmin": prior.pixel_arcmin,
        "gate_sigma": prior.gate_sigma,
        "margin": prior.margin,
        "noise_range": list(prior.noise_range),
        "highest": prior.highest,
        "theory": prior.theory,
    }
    write_json(folder / "network.json", record)
    save_power(prior.power, folder / "power.npy")
    for side, power in crops.items():
        save_power(power, folder / f"power_{side}.npy")
    with atomic(folder / "network.weights.h5") as temporary:
        prior.network.save_weights(temporary)


def load_prior(folder: str | Path, *, side: int | None = None) -> Prior:
    """The prior that `save_prior` wrote; it needs nothing but its folder.

    Parameters
    ----------
    side : of a smaller grid, pixels; the grid of the training where left out

    Raises
    ------
    BorderError
        If a file is missing or damaged, or the weights are not those of the network described beside them.
    """
    folder = Path(folder)
    record = read_json(folder / "network.json")
    try:
        network = build_network(NetworkParams(**record["network"]))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns of weights that it leaves as they were
            network.load_weights(folder / "network.weights.h5")
        return Prior(
            power=load_power(folder / ("power.npy" if side is None else f"power_{side}.npy")),
            pixel_arcmin=record["pixel_arcmin"],
            network=network,
            gate_sigma=record["gate_sigma"],
            margin=record["margin"],
            noise_range=tuple(record["noise_range"]),
            highest=record["highest"],
            theory=record["theory"],
        )
    except (OSError, KeyError, TypeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise BorderError(
            f"{folder} holds no whole prior ({reason}); make it again with `dvc repro -f train`"
        ) from error


def _per_map(values):
    """(n,) -> (n, 1, 1), to multiply maps."""
    return ops.reshape(values, (-1, 1, 1))
