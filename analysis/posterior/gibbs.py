"""Split Gibbs sampling of the posterior: draw the noisy map from the clean one and the data, denoise it, and repeat.

    z | x, gamma : `likelihood.renoised`;     x | z : the prior's reverse diffusion, from noise level rho to none.

There is no step size, solver or Metropolis ratio. A cycle keeps the share 1 - rho^2 w of a mode that the data see, and
S / (S + rho^2) of one that they do not, so large rho moves far. rho falls from cycle to cycle. Where rho is too large
for the data, each chain sees worse data of its own (`likelihood.added_variance`): every cycle samples an exact
posterior. The last cycles sample the posterior of the data themselves.

Source: Vono, Dobigeon & Chainais 2019 (split Gibbs sampling); Coeurdoux et al. 2024 and Wu et al. 2024 with a diffusion
prior, where the data enter the other draw and the split has a bias of order rho^2.
"""

from collections.abc import Callable

import numpy as np

from analysis.core.progress import within
from analysis.flatsky.backend import compiled
from analysis.params import SampleParams
from analysis.posterior.diagnostics import Level, noisy_power, stein_ratio
from analysis.posterior.diffusion import descent, evaluations_to_clean, reverse_diffusion
from analysis.posterior.likelihood import added_variance, capped_weight, corrected, less_noise, lowest_split, renoised
from analysis.posterior.runner import Sampler
from analysis.posterior.wiener import gaussian_posterior_draws
from analysis.prior.score import Prior, gaussian_score


def gibbs_sampler(prior: Prior, params: SampleParams) -> Callable[..., Sampler]:
    """The split Gibbs sampler of a prior, compiled once for all fields.

    Chains start as exact samples of the Gaussian posterior. Noise of the split falls from `sigma_start` to `renoise` in
    `cycles` cycles (lower if the data are more precise), and stays there for `last_cycles`. Each cycle denoises down to
    `sigma_end` in steps of `spacing`, and from there to none.

    Returns
    -------
    (gamma, weight, chains, *, reduced=0.0) -> Sampler
    """
    power, settings = prior.power.astype("float32"), params.gibbs
    fall, split = reverse_diffusion(prior), compiled(renoised)

    def on_field(gamma: np.ndarray, weight: np.ndarray, chains: int, *, reduced: float = 0.0) -> Sampler:
        lowest = lowest_split(weight, settings.renoise)
        rhos = np.geomspace(params.sigma_start, lowest, settings.cycles)
        rhos = np.append(rhos, np.repeat(lowest, settings.last_cycles))
        ladders = [descent(rho, min(settings.sigma_end, rho / 2), settings.spacing) for rho in rhos]
        evaluations = np.cumsum([evaluations_to_clean(prior, ladder) for ladder in ladders])

        def white(rng: np.random.Generator, *shape: int) -> np.ndarray:
            return rng.standard_normal((*shape, *power.shape), "float32")

        def cycle(kappa, data, number: int, rng: np.random.Generator, advance: Callable):
            rho, ladder, stein = rhos[number], ladders[number], np.nan

            def watch(kappa, sigma, mean):
                nonlocal stein
                if sigma == np.float32(ladder[0]) and not weight.any():  # with data, z has another score
                    stein = stein_ratio(kappa, gaussian_score(kappa - mean, np.full(chains, sigma), power))

            data_noise, noise = white(rng, chains, 2), white(rng, chains)
            noisy = split(kappa, np.float32(rho), data, capped_weight(weight, rho), data_noise, noise)
            clean = fall(noisy, ladder, end=0.0, rng=rng, advance=advance, watch=watch)
            return clean, stein, noisy_power(noisy, rho, power)

        def init(rng: np.random.Generator, advance: Callable) -> dict:
            noise = np.sqrt(added_variance(weight, rhos[0])) * white(rng, chains, 2)
            capped = capped_weight(weight, rhos[0])
            with within(advance, 0):
                kappa = gaussian_posterior_draws(gamma + noise, capped, prior.power, chains, rng=rng)
            return {"kappa": kappa.astype("float32"), "noise": noise}

        def step(state: dict, number: int, rng: np.random.Generator, advance: Callable):
            if number == len(rhos):
                return None
            before, after = (added_variance(weight, rho) for rho in (rhos[max(number - 1, 0)], rhos[number]))
            noise = less_noise(state["noise"], before, after, white(rng, chains, 2))
            data = corrected(gamma, state["kappa"], reduced=reduced) + noise
            kappa, stein, found = cycle(state["kappa"], data, number, rng, advance)
            highest = float(np.max(kappa))
            level = Level(float(rhos[number]), 0.0, 1.0, stein, highest, int(evaluations[number]), found)
            return {"kappa": kappa, "noise": noise}, level

        def samples(state: dict, rng: np.random.Generator, advance: Callable):
            return state["kappa"]

        def further(state: dict, rng: np.random.Generator, advance: Callable):
            data = corrected(gamma, state["kappa"], reduced=reduced)
            kappa = cycle(state["kappa"], data, len(rhos) - 1, rng, advance)[0]
            return {"kappa": kappa}, kappa

        def around(kappa: np.ndarray, rng: np.random.Generator) -> dict:
            return {"kappa": kappa}

        return Sampler(init, step, samples, further, around, evaluations[-1], evaluations_to_clean(prior, ladders[-1]))

    return on_field
