"""Diffusion posterior sampling, for comparison: the prior's reverse diffusion, pulled towards the data.

The likelihood of a noisy map is taken to be that of its denoised map d(z), N(gamma; P d(z), 1/w), as if nothing were
uncertain about the map given z. Its score at noise level sigma is

    J^T P^T w (gamma - P d(z)),   J the derivative of d at z,

one backward pass through the network. It is too large wherever the prior leaves the map uncertain: samples fit the
noise of the data and are too much alike. For a Gaussian prior the variance falls to half of the exact one where the
data are good. There is no transition that keeps a posterior; each sample is drawn anew.

Source: Chung et al. 2023, eq. 11 and algorithm 1, with the step of the reverse diffusion in place of a tuned one.
"""

from collections.abc import Callable

import numpy as np
from keras import ops

from analysis.flatsky.backend import compiled, pulled_back
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.flatsky.power import gaussian_field
from analysis.params import SampleParams
from analysis.posterior.diagnostics import Level, check_finite, noisy_power
from analysis.posterior.likelihood import corrected
from analysis.posterior.runner import Sampler
from analysis.prior.score import Prior, denoised, prior_score

LEVELS = 200  # noise levels, evenly spaced in their cube root
EVALUATIONS_A_LEVEL = 3  # forward, and a backward pass at the cost of two


def levels_of(prior: Prior, start: float, end: float) -> np.ndarray:
    """Noise levels from the largest of the training, or `start` without a network, down to `end`, (LEVELS,)."""
    high = prior.noise_range[1] if np.isfinite(prior.noise_range[1]) else start
    return np.linspace(np.cbrt(high), np.cbrt(end), LEVELS) ** 3


def dps_sampler(prior: Prior, params: SampleParams) -> Callable[..., Sampler]:
    """Diffusion posterior sampling with a prior, compiled once for all fields.

    Returns
    -------
    (gamma, weight, chains, *, reduced=0.0) -> Sampler
    """
    power, sigmas = prior.power.astype("float32"), levels_of(prior, params.sigma_start, params.sigma_final)

    def lower(kappa, high, low, gamma, weight, white):
        def clean_of(noisy):
            sigma = ops.broadcast_to(high, (noisy.shape[0],))
            return denoised(noisy, sigma, prior_score(prior, noisy, sigma))

        def pull(clean):
            return convergence_from_shear(weight * (gamma - shear_from_convergence(clean)))

        clean, score = pulled_back(clean_of, kappa, pull)
        kept = (low / high) ** 2
        drawn = clean + kept * (kappa - clean) + low * ops.sqrt(1.0 - kept) * white
        return drawn + (high**2 - low**2) * score, clean

    moved = compiled(lower)

    def on_field(gamma: np.ndarray, weight: np.ndarray, chains: int, *, reduced: float = 0.0) -> Sampler:
        def init(rng: np.random.Generator, advance: Callable) -> dict:
            noisy = gaussian_field(power + sigmas[0] ** 2, chains, rng=rng).astype("float32")
            return {"kappa": noisy, "clean": np.zeros_like(noisy)}

        def step(state: dict, number: int, rng: np.random.Generator, advance: Callable):
            if number == len(sigmas):
                return None
            high, low = sigmas[number], sigmas[number + 1] if number + 1 < len(sigmas) else 0.0
            white = rng.standard_normal((chains, *power.shape), "float32")
            data = corrected(gamma, state["clean"], reduced=reduced)
            before = state["kappa"]
            kappa, clean = moved(before, np.float32(high), np.float32(low), data, weight, white)
            check_finite(kappa, high)
            advance(EVALUATIONS_A_LEVEL)
            evaluations = EVALUATIONS_A_LEVEL * (number + 1)
            found, highest = noisy_power(before, high, power), float(np.max(clean))
            return {"kappa": kappa, "clean": clean}, Level(float(high), 0.0, 1.0, np.nan, highest, evaluations, found)

        def samples(state: dict, rng: np.random.Generator, advance: Callable):
            return state["kappa"]

        def further(state: dict, rng: np.random.Generator, advance: Callable):
            fresh = init(rng, advance)
            for number in range(len(sigmas)):
                fresh, _ = step(fresh, number, rng, advance)
            return state, fresh["kappa"]

        def around(kappa: np.ndarray, rng: np.random.Generator) -> dict:
            return {"kappa": kappa, "clean": kappa}

        total = EVALUATIONS_A_LEVEL * len(sigmas)
        return Sampler(init, step, samples, further, around, total, total)

    return on_field
