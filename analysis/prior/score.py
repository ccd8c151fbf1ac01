"""The score of the prior at a noise level: Gaussian theory plus what a network learnt.

A map kappa with white noise of standard deviation sigma added follows p_sigma. Its score, grad log p_sigma, is

    score = -(S + sigma^2)^-1 (kappa - m),   m = t kappa + s f(kappa, Wiener-denoised kappa, sigma).

Without the network, m = 0 and the score is exact for a Gaussian field of power S. The network f moves the mean towards
which the Gaussian model shrinks a map. So the score is the analytic one plus a neural residual (S + sigma^2)^-1 m, and
an error of f moves samples by that error. As a free residual it would be amplified by S / sigma^2 in the modes that no
data constrain. (Remy et al. 2020, eqs. 3, 5 and 6.)

Where maps vary less or more than that model expects, the network says so by a local gain t. In a void, which is
smooth, a negative t damps the noise that looks like structure. At a peak the noisy map is right to within sigma, and a
t near 1 keeps it. If the variance is e^a times that of the model, t tends to 1 - e^-a as the noise falls; so the
network's second output is a, a number of order one, where t itself may be -10. Both t and the scale s fall smoothly to
zero at large sigma, where the noisy field is Gaussian and theory exact (`gate`).

An error of a few percent of a peak of forty sigma is more than a sigma, and feeds itself on the way down. So where a
map stands out by much more than the Gaussian model expects, and by more than the noise, a rule takes over: t is 1 and s
falls to sigma (`local_skip`). There the network has to find the noise, not the peak.

Samples live on a torus, but crops of simulations do not continue across its seam. So the prior is one of maps with a
margin, which is Gaussian of power S given the map inside. Such maps are periodic and can be drawn for the training
(`margin`), and the network is told where the margin is.

After the training, the mean error of each denoised value is measured and taken away (`recalibration`). The clean map
that belongs to a noisy one is on average no higher than the highest training map. Where the network says
so, it is outside what it learnt, and the denoised map is lowered to that bound.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from analysis.core.files import BorderError
from analysis.flatsky.backend import filtered
from analysis.params import NetworkParams, Precision
from analysis.prior.network import build_network
from analysis.prior.recalibration import Recalibration
from analysis.prior.tiling import Tiles, tiled

THEORY_ELL = (100, 300, 1000, 3000, 10000)
SMOOTHEST = -3.0  # smallest logarithm of a local variance over the model's
SKIP_SIGNIFICANCE, SKIP_HEIGHT = 5.0, 2.0  # Wiener map over its rms and over the noise, where t is about 1/2


@dataclass(frozen=True)
class Prior:
    """The prior on convergence maps.

    Attributes
    ----------
    power : (ny, nx), pixel variance per mode (orthonormal FFT)
    pixel_arcmin : pixel scale the prior was learnt on, arcmin
    network : residual network, or None for the Gaussian prior alone
    gate_sigma : noise level at which the gate is half closed
    noise_range : smallest and largest noise level of the training
    margin : pixels along the edges of a map that are Gaussian, given those inside
    gain : whether the network also sees the whitened map and gives a local gain
    skip : whether peaks are kept by the rule of `local_skip`
    highest : largest convergence of the training maps, the bound of denoised maps; None for no bound
    recalibration : of denoised maps, measured after the training; None for none
    theory : multipoles and C_ell [sr] of the universe of the training (`theory_points`); None if not known
    tiles : windows of a larger map that the network sees one by one; None for the whole map
    """

    power: np.ndarray
    pixel_arcmin: float
    network: keras.Model | None = None
    gate_sigma: float = 1.0
    noise_range: tuple[float, float] = (0.0, np.inf)
    margin: int = 0
    gain: bool = False
    skip: bool = False
    highest: float | None = None
    recalibration: Recalibration | None = None
    theory: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    tiles: Tiles | None = None


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
    return -filtered(kappa, 1.0 / (ops.cast(power, kappa.dtype) + per_map(sigma) ** 2))


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
    """The mean m towards which the Gaussian model shrinks a noisy map: the network's part of the score.

    m = (1 - q) (c f + min(1, c / sigma) (1 - e^-a) kappa) + q (kappa + min(c, sigma) f), q the `local_skip`, c the
    `gate` and a at least `SMOOTHEST`. The network (f, a) sees the map and the Wiener-denoised map, both scaled to order
    one, the margin, the map whitened by (S + sigma^2)^-1/2, and the noise level. Then m is moved so that the denoised
    map is recalibrated and keeps its bound. Without a network m is 0.

    Returns
    -------
    (n, ny, nx), as `kappa`
    """
    if prior.network is None:
        return ops.zeros_like(kappa)
    power = ops.cast(prior.power, kappa.dtype)
    variance = ops.mean(power)
    inside = ops.zeros_like(kappa) + inside_margin(tuple(int(side) for side in kappa.shape[-2:]), prior.margin)
    significance = wiener_significance(kappa, sigma, power)
    inputs = [kappa / per_map(ops.sqrt(variance + sigma**2)), significance, inside]
    if prior.gain:
        inputs.append(filtered(kappa, 1.0 / ops.sqrt(power + per_map(sigma) ** 2)))
    noise = ops.log(sigma / ops.sqrt(variance))[:, None]
    network = prior.network if prior.tiles is None else tiled(prior.network, prior.tiles, 1 + prior.gain)
    out = network([ops.stack(inputs, axis=-1), noise], training=training)
    opened = per_map(gate(sigma, power, prior.gate_sigma))
    closed = ops.minimum(opened, per_map(sigma))
    mean = opened * out[..., 0]
    if prior.gain:
        gain = 1.0 - ops.exp(-ops.maximum(out[..., 1], SMOOTHEST))
        mean = mean + closed / per_map(sigma) * gain * kappa
    if prior.skip:
        kept = local_skip(significance, sigma, power)
        mean = (1.0 - kept) * mean + kept * (kappa + closed * out[..., 0])
    if prior.highest is None and prior.recalibration is None:
        return mean
    clean = mended = denoised(kappa, sigma, gaussian_score(kappa - mean, sigma, power))
    if prior.recalibration is not None:
        mended = clean + prior.recalibration.added(clean, sigma, inside, prior.pixel_arcmin)
    if prior.highest is not None:
        mended = ops.minimum(mended, prior.highest)
    inverse = power / per_map(sigma) ** 2 + 1.0  # a change of the mean over its change of the denoised map
    return mean + filtered(mended - clean, inverse)


def wiener_significance(kappa, sigma, power):
    """The Wiener-denoised map over its rms in the Gaussian model, z; (n, ny, nx)."""
    power = ops.cast(power, kappa.dtype)
    return denoised(kappa, sigma, gaussian_score(kappa, sigma, power)) / _wiener_rms(sigma, power)


def local_skip(significance, sigma, power):
    """Share q of a noisy map that is left as it is: q = 1 / (1 + (5 / z)^4 + (2 sigma / d)^4), d the Wiener map.

    Parameters
    ----------
    significance : (n, ny, nx), z, as `wiener_significance` gives it
    sigma : (n,), as the map
    power : (ny, nx), pixel variance per mode

    Returns
    -------
    (n, ny, nx), from 0 to 1
    """
    height = significance * _wiener_rms(sigma, power) / per_map(sigma)
    tiny = 1e-12  # of a map that is zero; its inverse squared, in the derivative, is a number in single precision
    stands_out = [(significance / SKIP_SIGNIFICANCE) ** 4, (height / SKIP_HEIGHT) ** 4]
    return 1.0 / (1.0 + sum(1.0 / (share + tiny) for share in stands_out))


def _wiener_rms(sigma, power):
    """Rms of the Wiener-denoised map of a Gaussian field; (n, 1, 1)."""
    power = ops.cast(power, sigma.dtype)
    return per_map(ops.sqrt(ops.mean(power**2 / (power + per_map(sigma) ** 2), axis=(-2, -1))))


def check_grid(
    prior: Prior, shape: tuple[int, int], pixel_arcmin: float, *, remedy: str = "train on the observation's"
) -> None:
    """Check that a prior is for a grid.

    Parameters
    ----------
    remedy : what to do, other than observing on the prior's grid

    Raises
    ------
    BorderError
        If the grid has another number of pixels or another pixel scale.
    """
    if prior.power.shape != shape or abs(prior.pixel_arcmin / pixel_arcmin - 1) > 1e-6:
        sides = ["x".join(str(side) for side in pixels) for pixels in (prior.power.shape, shape)]
        raise BorderError(
            f"the prior was made for {sides[0]} pixels of {prior.pixel_arcmin:g} arcmin, the observation has {sides[1]}"
            f" of {pixel_arcmin:g}; observe on the prior's grid, or {remedy}"
        )


def theory_points(ell: np.ndarray, c_ell: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A few multipoles and their C_ell, to tell one cosmology from another.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr
    """
    at = [float(value) for value in THEORY_ELL if ell[0] <= value <= ell[-1]]
    return tuple(at), tuple(np.exp(np.interp(np.log(at), np.log(ell), np.log(c_ell))).tolist())


def denoised(kappa, sigma, score):
    """Mean of the clean map given the noisy one (Tweedie): kappa + sigma^2 score; Remy et al. 2020, eq. 2."""
    return kappa + per_map(sigma) ** 2 * score


def denoised_by(prior: Prior, truth: np.ndarray, sigma: float, *, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A noisy map, and the same map denoised by the Gaussian score and by the prior's.

    Parameters
    ----------
    truth : (ny, nx), on the grid of the prior
    sigma : noise level

    Returns
    -------
    dict
        `noisy`, `Gaussian score` and `hybrid score`, (ny, nx) each
    """
    noisy = (truth + sigma * rng.standard_normal(truth.shape)).astype("float32")[None]
    level = np.full(1, sigma, "float32")
    scores = {
        "Gaussian score": gaussian_score(noisy, level, prior.power),
        "hybrid score": prior_score(prior, noisy, level),
    }
    maps = {title: np.asarray(denoised(noisy, level, score))[0] for title, score in scores.items()}
    return {"noisy": noisy[0]} | maps


def score_network(settings: NetworkParams, precision: Precision = "float32", *, gain: bool) -> keras.Model:
    """A new network of the score: what it sees and gives with and without the local gain (`shifted_mean`)."""
    return build_network(settings, precision, inputs=4 if gain else 3, outputs=2 if gain else 1)


def per_map(values):
    """(n,) -> (n, 1, 1), to multiply maps."""
    return ops.reshape(values, (-1, 1, 1))
