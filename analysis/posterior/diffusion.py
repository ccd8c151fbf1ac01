"""The prior's reverse diffusion: from a map at one noise level to a lower one, or to none.

A step takes the prior to be Gaussian about the network's mean m. The bridge between two noise levels is then one
multiplication in Fourier space, exact for a Gaussian prior however far apart the levels are. The change of m on the way
is followed to second order, by a predictor and a corrector that share one evaluation of the network.

Levels are evenly spaced in the cube root of the noise. Whether a peak forms is decided at noise of its height; levels
evenly spaced in the logarithm spend most steps at lower noise.

The noise that such a step draws has the power of the Gaussian prior everywhere. True maps are smoother than that in
voids, and rougher at peaks. What a step does wrong the next ones mend, as their means see it, but nothing mends the
last one: with this noise alone it makes the deepest pixel of a map too deep by a third of its scatter. But the denoiser
says how clean maps vary about the denoised one: given the noisy map, their covariance is sigma^2 J, where J is the
derivative of the denoised map. So the last step draws noise of this covariance, to first order in the derivative of m,
for one more evaluation of the network (`local_noise`).
"""

from collections.abc import Callable

import numpy as np
from keras import ops

from analysis.flatsky.backend import compiled, filtered
from analysis.flatsky.power import gaussian_field
from analysis.posterior.diagnostics import Level, noisy_power, report, stein_ratio
from analysis.prior.score import Prior, gaussian_score, shifted_mean

FINE = 0.014  # convergence^(1/3), half of the samplers' spacing
KEPT = 0.25  # share S / (S + sigma^2) of every wave, from which the last step draws local noise
PROBE = 0.3  # a map is moved by as much of the noise that would be drawn, to find the derivative of m


def descent(start: float, end: float, spacing: float) -> np.ndarray:
    """Noise levels from `start` down to `end`, their cube roots about `spacing` apart; at least two.

    Source: Karras et al. 2022, eq. 5, with the exponent 3.
    """
    high, low = np.cbrt([start, end])
    return np.linspace(high, low, max(2, 1 + round((high - low) / spacing))) ** 3


def descend(mean_of: Callable, draw: Callable, kappa, sigmas: np.ndarray, *, end: float = 0.0):
    """Maps at noise level `end`, by reverse diffusion from the first of `sigmas`.

    Parameters
    ----------
    mean_of : (kappa, sigma) -> (n, ny, nx), the network's mean
    draw : (kappa, seen, high, low) -> (mean -> kappa at noise level `low`), with the same noise for every mean; `seen`
        holds the map that the network saw, before the corrector, and its mean there
    kappa : (n, ny, nx), at noise level `sigmas[0]`
    end : below the last of `sigmas`; 0 for clean maps

    Each step first uses the mean halfway, extrapolated from the step before. It is repeated with the same noise once
    the network has been evaluated at the new map.

    Source: Lu et al. 2022 (DPM-Solver++, 2M) for the predictor; Xue et al. 2023 (SA-Solver) for the corrector.
    """
    steps = np.log(sigmas[:-1] / sigmas[1:])
    if end > 0:
        steps = np.append(steps, np.log(sigmas[-1] / end))
    before = arrive = None
    for number, high in enumerate(sigmas):
        last = number == len(sigmas) - 1
        mean = ahead = mean_of(kappa, np.float32(high))
        seen = kappa, mean
        if before is not None:
            kappa = arrive(0.5 * (before + mean))
            if number < len(steps):
                ahead = mean + np.float32(0.5 * steps[number] / steps[number - 1]) * (mean - before)
        arrive, before = draw(kappa, seen, np.float32(high), np.float32(end if last else sigmas[number + 1])), mean
        kappa = arrive(ahead)
    return kappa


def reverse_diffusion(prior: Prior) -> Callable:
    """A function that takes maps to a lower noise level by the reverse diffusion of a prior, compiled once.

    Returns
    -------
    (kappa, sigmas, *, end, rng, advance, watch) -> (n, ny, nx)
        as `descend`; `advance()` follows each evaluation of the network, and `watch(kappa, sigma, mean)` its outcome
    """
    power = prior.power.astype("float32")
    mean_of = compiled(lambda kappa, sigma: shifted_mean(prior, kappa, ops.broadcast_to(sigma, (kappa.shape[0],))))
    bridged, probed, localised = compiled(bridge), compiled(probe), compiled(local_noise)

    def fall(
        kappa,
        sigmas: np.ndarray,
        *,
        end: float,
        rng: np.random.Generator,
        advance: Callable,
        watch: Callable | None = None,
    ):
        def draw(kappa, seen, high, low):
            noise = rng.standard_normal(kappa.shape, "float32")
            if low > 0 or not is_local(prior, high):
                return lambda mean: bridged(kappa, mean, high, low, power, noise)
            at, mean_there = seen
            moved = mean_of(at + probed(noise, high, power), high)
            advance()
            local = localised(moved - mean_there, high, power)
            return lambda mean: bridged(kappa, mean, high, low, power, noise) + local

        def counted_mean(kappa, sigma):
            mean = mean_of(kappa, sigma)
            advance()
            if watch is not None:
                watch(kappa, sigma, mean)
            return mean

        return descend(counted_mean, draw, kappa, sigmas, end=end)

    return fall


def is_local(prior: Prior, sigma: float) -> bool:
    """Whether a last step from a noise level draws local noise: the Gaussian model keeps a share `KEPT` of every wave.

    Below that share, the expansion to first order is too bold.
    """
    lowest = float(np.min(prior.power))
    return prior.network is not None and lowest >= KEPT * (lowest + float(sigma) ** 2)


def evaluations_to_clean(prior: Prior, sigmas: np.ndarray) -> int:
    """Evaluations of the network on the way down `sigmas`, and from the last of them to clean maps."""
    return len(sigmas) + is_local(prior, sigmas[-1])


def prior_draws(prior: Prior, fall: Callable, n: int, *, rng: np.random.Generator) -> tuple[np.ndarray, list[Level]]:
    """Maps from the prior itself: no data, no sampler, and steps finer than a sampler's.

    They start at the largest noise level of the training, where the prior is Gaussian, and end at the smallest.

    Parameters
    ----------
    fall : of `reverse_diffusion`

    Returns
    -------
    maps : (n, ny, nx), float32
    levels : their health at each noise level
    """
    low, high = prior.noise_range
    power, levels = prior.power.astype("float32"), []

    def watch(kappa, sigma, mean):
        score = np.asarray(gaussian_score(kappa - mean, np.full(n, sigma), power))
        stein = stein_ratio(kappa, score) if n > 1 else np.nan
        highest = float(np.max(kappa + sigma**2 * score))  # of the denoised maps
        level = Level(float(sigma), 0.0, 1.0, stein, highest, len(levels) + 1, noisy_power(kappa, float(sigma), power))
        levels.append(report(level, len(levels)))

    start = gaussian_field(prior.power + high**2, n, rng=rng).astype("float32")
    sigmas = descent(high, low, FINE)
    return np.asarray(fall(start, sigmas, end=0.0, rng=rng, advance=lambda: None, watch=watch)), levels


def bridge(kappa, mean, high, low, power, noise):
    """A draw at noise level `low` given the map at the higher level `high`, for a Gaussian prior N(mean, S).

    Its mean is  m + (S + low^2) / (S + high^2) (kappa - m),  its power  (S + low^2) (high^2 - low^2) / (S + high^2).

    Parameters
    ----------
    kappa, mean : (n, ny, nx)
    high, low : scalars, low < high
    power : (ny, nx), pixel variance per mode
    noise : (n, ny, nx), standard normal

    Returns
    -------
    (n, ny, nx)
    """
    upper, lower = power + high**2, power + low**2
    spread = ops.sqrt(lower * (high**2 - low**2) / upper)
    return mean + filtered(kappa - mean, lower / upper) + filtered(noise, spread)


def probe(noise, sigma, power):
    """How a map is moved to find the derivative of the network's mean, for `local_noise`; (n, ny, nx).

    Parameters
    ----------
    noise : (n, ny, nx), standard normal, the same as for `bridge`
    sigma : scalar
    power : (ny, nx), pixel variance per mode
    """
    return filtered(noise, PROBE * sigma * ops.sqrt((power + sigma**2) / power))


def local_noise(change, sigma, power):
    """What the last draw of `bridge` lacks where maps vary less, or more, than the Gaussian prior; (n, ny, nx).

    With G = S / (S + sigma^2) and M the derivative of the mean m, the denoised map has the derivative
    J = G + (1 - G) M, and the clean map given the noisy one the covariance sigma^2 J. The noise

        sigma [G^1/2 + (1 - G) M G^-1/2 / 2] n      has that covariance

    to first order in M. The first term is in `bridge`; this is the second, with M from a finite difference.

    Parameters
    ----------
    change : (n, ny, nx), of the mean, where the map is moved by `probe`
    sigma, power : as for `probe`

    Source: Efron 2011 and Meng et al. 2021 for the covariance from the derivative (Tweedie's formula, second order).
    """
    return filtered(change, sigma**2 / (power + sigma**2) / (2 * PROBE))
