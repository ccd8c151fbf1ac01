"""Split Gibbs sampling of the posterior: let the data and fresh noise move the map, denoise it, and again.

Let z be the clean map x with white noise rho. Where rho^2 P^T w P < 1, the data can be made to speak through z while
the posterior of x stays what it is, with no approximation:

    z | x, gamma  ~  N( x + rho^2 P^T w (gamma - P x),  rho^2 (1 - rho^2 P^T w P) )
    x | z         ~  p(x) N(z; x, rho^2),      the reverse diffusion of the prior alone, from z

Alternating the two draws is a Gibbs sampler without step size, solver or Metropolis ratio. (With A = P^T w P and f(z) a
Gaussian of precision A (1 - rho^2 A)^-1 about the same data, blurring f by rho gives back the likelihood of x; so
p(x) N(z; x, rho^2) f(z) has the posterior as its margin in x, and the conditional of z above.)

A cycle forgets all but 1 - rho^2 w of a mode that the data hold, and all but S / (S + rho^2) of one that they do not:
large rho moves far. So rho falls from cycle to cycle, and where rho is too large for the data each chain is shown worse
data, the shear with noise of its own added until its weight is `SHARE` / rho^2. Every cycle leaves a posterior as it
is: the first ones that of worse data, the last ones that of the data themselves. (The weight alone lowered, without the
noise, is a tempered posterior: its samples have too little power, and chains carry that along; seen: a tenth at the
end.)

Denoising. A step of the reverse diffusion takes the prior to be Gaussian about the network's mean m: the bridge between
two noise levels is then one multiplication in Fourier space, exact for a Gaussian prior however far apart they are.
How m moves on the way is followed to second order, by a predictor and a corrector of the same evaluation.

Steps are even in the cube root of the noise level: whether a peak is there is decided at noise as high as the peak,
and steps even in its logarithm spend themselves below (seen: 8 % too little power, a third of the highest peaks lost).

Source: Vono, Dobigeon & Chainais 2019 (split Gibbs sampling); Coeurdoux et al. 2024 and Wu et al. 2024 with a diffusion
prior, where the data enter the other draw and the split costs a bias of order rho^2.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from keras import ops

from analysis.core.progress import progress, within
from analysis.flatsky.backend import compiled, filtered
from analysis.flatsky.kernel import kaiser_squires_kernel
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.params import SampleParams
from analysis.posterior.likelihood import gaussian_posterior_draws
from analysis.posterior.sampler.checkpoint import load_state, save_state
from analysis.posterior.sampler.health import Level, Watch, noisy_power, report, stein_ratio
from analysis.prior.score import Prior, gaussian_score, shifted_mean

SHARE = 0.9  # rho^2 w at most; the split exists below 1


def gibbs_sampler(prior: Prior, params: SampleParams) -> Callable:
    """The split Gibbs sampler of a prior, compiled once for every field that it is run on.

    Chains start as exact samples of the Gaussian posterior. Noise of the split falls from `sigma_start` to `renoise` in
    `cycles` cycles, lower where the data ask for it, and stays there for `last_cycles`; every cycle denoises down to
    `sigma_end` in steps of `spacing`, and from there to none.

    Returns
    -------
    as `sampler.annealer` does
    """
    power, settings = prior.power.astype("float32"), params.gibbs
    mean_of = compiled(lambda kappa, sigma: shifted_mean(prior, kappa, ops.broadcast_to(sigma, (kappa.shape[0],))))
    step, split = compiled(bridge), compiled(renoised)

    def anneal(gamma, weight, chains, *, rng, further=0, watch: Watch = None, resume: Path | None = None):
        gamma, weight = np.asarray(gamma, "float32"), np.asarray(weight, "float32")
        lowest = min(settings.renoise, (SHARE / max(weight.max(), 1e-9)) ** 0.5)
        rhos = np.geomspace(params.sigma_start, lowest, settings.cycles)
        rhos = np.append(rhos, np.repeat(lowest, settings.last_cycles))
        ladders = [descent(rho, min(settings.sigma_end, rho / 2), settings.spacing) for rho in rhos]

        def white(*shape: int) -> np.ndarray:
            return rng.standard_normal((*shape, *power.shape), "float32")

        def draw(kappa, high, low):
            noise = white(chains)
            return lambda mean: step(kappa, mean, high, low, power, noise)

        def cycle(kappa, data, rho: float, ladder: np.ndarray):
            stein = np.nan

            def watched_mean(kappa, sigma):
                nonlocal stein
                mean = mean_of(kappa, sigma)
                advance()
                if sigma == np.float32(ladder[0]) and not weight.any():  # with data, z has a score of its own
                    stein = stein_ratio(kappa, gaussian_score(kappa - mean, np.full(chains, sigma), power))
                return mean

            noisy = split(kappa, np.float32(rho), data, capped_weight(weight, rho), white(chains, 2), white(chains))
            return descend(watched_mean, draw, noisy, ladder), stein, noisy_power(noisy, rho, power)

        state, lengths = load_state(resume, rng), [len(ladder) for ladder in ladders]
        levels = [] if state is None else state[0]
        advance = progress("chains", sum(lengths) + further * lengths[-1], done=sum(lengths[: len(levels)]))
        if state is None:
            noise = np.sqrt(added_variance(weight, rhos[0])) * white(chains, 2)
            with within(advance, 0):
                kappa = gaussian_posterior_draws(
                    gamma + noise, capped_weight(weight, rhos[0]), prior.power, chains, rng=rng
                ).astype("float32")
            trail = np.asarray(kappa)[:1]
        else:
            kappa, noise, trail = (state[1][name] for name in ("kappa", "noise", "trail"))
        for number in range(len(levels), len(rhos)):
            rho, before = rhos[number], added_variance(weight, rhos[max(number - 1, 0)])
            noise = less_noise(noise, before, added_variance(weight, rho), white(chains, 2))
            kappa, stein, found = cycle(kappa, gamma + noise, rho, ladders[number])
            evaluations = sum(lengths[: number + 1])
            level = Level(float(rho), 0.0, 1.0, stein, float(np.max(kappa)), evaluations, found)
            levels.append(report(level, number + 1, len(rhos)))
            trail = np.concatenate([trail, np.asarray(kappa)[:1]])
            save_state(resume, rng, levels, kappa=kappa, noise=noise, trail=trail)
        samples = np.asarray(kappa)
        for _ in range(further):
            kappa = cycle(kappa, gamma, rhos[-1], ladders[-1])[0]
            watch(np.asarray(kappa))
        return samples, levels

    return anneal


def capped_weight(weight: np.ndarray, rho: float) -> np.ndarray:
    """Inverse variance of data that a split of noise `rho` can hold: at most `SHARE` / rho^2."""
    return np.minimum(weight, np.float32(SHARE / rho**2))


def added_variance(weight: np.ndarray, rho: float) -> np.ndarray:
    """Noise that takes data from their weight to what a split of noise `rho` can hold, as variance; 0 where it can."""
    capped = capped_weight(weight, rho)
    lowered, variance = capped < weight, np.zeros_like(weight)
    variance[lowered] = 1 / capped[lowered] - 1 / weight[lowered]
    return variance


def less_noise(noise: np.ndarray, before: np.ndarray, after: np.ndarray, white: np.ndarray) -> np.ndarray:
    """The same noise at the lower variance `after`: as if what it was made of were taken away again (Brownian bridge).

    Parameters
    ----------
    noise : (n, 2, ny, nx), of variance `before` (2, ny, nx)
    white : (n, 2, ny, nx), standard normal
    """
    kept = np.divide(after, before, out=np.zeros_like(before), where=before > 0)
    return kept * noise + np.sqrt(after * (1 - kept)) * white


def descent(start: float, end: float, spacing: float) -> np.ndarray:
    """Noise levels from `start` down to `end`, their cube roots about `spacing` apart; two at the least.

    Source: Karras et al. 2022, eq. 5, with the exponent 3.
    """
    high, low = np.cbrt([start, end])
    return np.linspace(high, low, max(2, 1 + round((high - low) / spacing))) ** 3


def descend(mean_of: Callable, draw: Callable, kappa, sigmas: np.ndarray):
    """Reverse diffusion from the first noise level to none, one evaluation of the network a level.

    Parameters
    ----------
    mean_of : (kappa, sigma) -> (n, ny, nx), the network's mean
    draw : (kappa, high, low) -> (mean -> kappa at noise level `low`), of one draw of noise for every mean
    kappa : (n, ny, nx), at noise level `sigmas[0]`

    A step is made with the mean halfway, extrapolated from the step before, and made again, on the same noise, once
    the network has seen where it led.

    Source: Lu et al. 2022 (DPM-Solver++, 2M) for the predictor; Xue et al. 2023 (SA-Solver) for the corrector.
    """
    steps = np.log(sigmas[:-1] / sigmas[1:])
    before = arrive = None
    for number, high in enumerate(sigmas):
        last = number == len(sigmas) - 1
        mean = ahead = mean_of(kappa, np.float32(high))
        if before is not None:
            kappa = arrive(0.5 * (before + mean))
            if not last:
                ahead = mean + np.float32(0.5 * steps[number] / steps[number - 1]) * (mean - before)
        arrive, before = draw(kappa, np.float32(high), np.float32(0.0 if last else sigmas[number + 1])), mean
        kappa = arrive(ahead)
    return kappa


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


def renoised(kappa, rho, gamma, weight, data_noise, noise):
    """Draw z given the clean map and the data: what the data pull, and noise where and as far as they leave it.

    Parameters
    ----------
    kappa : (n, ny, nx), clean
    rho : scalar with rho^2 max(w) < 1
    gamma : (2, ny, nx), or (n, 2, ny, nx) where chains have data of their own
    weight : (2, ny, nx)
    data_noise : (n, 2, ny, nx), standard normal
    noise : (n, ny, nx), standard normal; its modes that no shear shows are used

    Returns
    -------
    (n, ny, nx)
    """
    pull = convergence_from_shear(weight * (gamma - shear_from_convergence(kappa)))
    seen = convergence_from_shear(ops.sqrt(1.0 - rho**2 * weight) * data_noise)
    p1, p2 = kaiser_squires_kernel(int(kappa.shape[-2]), int(kappa.shape[-1]))
    unseen = np.sqrt(np.maximum(1.0 - p1**2 - p2**2, 0.0))
    return kappa + rho**2 * pull + rho * (seen + filtered(noise, ops.cast(unseen, kappa.dtype)))
