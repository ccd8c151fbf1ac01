"""The sampler of Remy et al. 2020, for comparison: its schedule, mass matrix and Metropolis ratio.

The likelihood is softened by the noise level, N(gamma; P kappa, 1/w + sigma^2). This is the posterior only in the limit
sigma -> 0: at any other level it is not the posterior blurred by sigma, and maps carry the difference along.

Chains start at the Kaiser-Squires map with white noise of standard deviation 1 and take HMC steps of three leapfrogs
with identity mass. The noise level falls by 2 percent after at least ten accepted steps, for 6000 steps. The ratio of
probabilities comes from scores along the straight line between both ends, by Simpson's rule. The reverse diffusion
(probability flow) removes the noise that is left.

Source: Remy et al. 2020, section 3.3, and the code published with it.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from keras import ops

from analysis.flatsky.backend import compiled
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.params import SampleParams
from analysis.posterior.diagnostics import Level, check_finite, noisy_power, stein_ratio
from analysis.posterior.runner import Sampler
from analysis.prior.score import Prior, prior_score

SIGMA_START = 1.0
STEP = 0.013  # at sigma_start; falls as the root of the noise level
LEAPFROG_STEPS = 3
RATIO = 0.98  # of successive noise levels
ACCEPTED = 10  # steps before a level is left
STEPS = 6000
ODE_STEPS = 10
# Simpson's rule of four intervals: positions on the chord, and their weights
CHORD = np.linspace(0, 1, 9)
SIMPSON = np.array([1, 4, 2, 4, 2, 4, 2, 4, 1]) / 24
EVALUATIONS_A_STEP = LEAPFROG_STEPS + len(CHORD) - 1  # both ends of the chord are shared; the original has about 19


def likelihood_score(kappa, sigma, gamma, weight):
    """Score of the softened likelihood: P^T [ w / (1 + sigma^2 w) (gamma - P kappa) ].

    Parameters
    ----------
    kappa : (n, ny, nx), dimensionless
    sigma : scalar, as `kappa`
    gamma : (2, ny, nx), dimensionless
    weight : (2, ny, nx), inverse variance of `gamma`; 0 where nothing was observed

    Returns
    -------
    (n, ny, nx), 1 / unit of `kappa`

    Source: Remy et al. 2020, eq. 4; Remy et al. 2023, eq. 17.
    """
    softened = weight / (1.0 + sigma**2 * weight)
    return convergence_from_shear(softened * (gamma - shear_from_convergence(kappa)))


def reverse_diffusion(score: Callable, kappa, sigmas: np.ndarray):
    """Maps without noise, along the probability flow from the first noise level.

    d kappa / d sigma = -sigma score(kappa, sigma), by Heun's second-order steps down to the last level; from there to
    zero by one step in sigma^2, kappa + sigma^2 score / 2.

    Source: Song et al. 2021, eq. 13; Karras et al. 2022, algorithm 1; Remy et al. 2020, section 3.3.
    """
    for high, low in pairwise(sigmas):
        slope = -high * score(kappa, high)
        guess = kappa + (low - high) * slope
        kappa = kappa + 0.5 * (low - high) * (slope - low * score(guess, low))
    return kappa + 0.5 * sigmas[-1] ** 2 * score(kappa, sigmas[-1])


def remy2020_sampler(prior: Prior, params: SampleParams, *, steps: int = STEPS) -> Callable[..., Sampler]:
    """The original's sampler of a prior. `steps` shortens it, for tests.

    Returns
    -------
    (gamma, weight, chains, *, reduced=0.0) -> Sampler
        `reduced` changes nothing: the original takes galaxies to show the shear itself
    """

    def score(kappa, sigma, gamma, weight):
        levels = ops.broadcast_to(sigma, (kappa.shape[0],))
        return prior_score(prior, kappa, levels) + likelihood_score(kappa, sigma, gamma, weight)

    score_of, transition = compiled(score), compiled(_transition(score))

    def on_field(gamma: np.ndarray, weight: np.ndarray, chains: int, *, reduced: float = 0.0) -> Sampler:
        def move(kappa, sigma: float, rng: np.random.Generator, advance: Callable):
            step = np.float32(STEP * (sigma / SIGMA_START) ** 0.5)
            white, uniform = rng.standard_normal(kappa.shape, "float32"), rng.random(chains, "float32")
            advance(EVALUATIONS_A_STEP)
            return transition(kappa, white, uniform, step, np.float32(sigma), gamma, weight)

        def init(rng: np.random.Generator, advance: Callable) -> dict:
            kappa = np.asarray(convergence_from_shear(gamma))[None] + SIGMA_START * rng.standard_normal(
                (chains, *prior.power.shape), "float32"
            )
            check_finite(score_of(kappa, np.float32(SIGMA_START), gamma, weight), SIGMA_START)
            return {"kappa": kappa, "sigma": SIGMA_START, "done": 0}

        def step(state: dict, number: int, rng: np.random.Generator, advance: Callable):
            kappa, sigma, done = state["kappa"], float(state["sigma"]), int(state["done"])
            accepted, tried = np.zeros(chains), 0
            while done + tried < steps and not (tried and accepted.min() >= ACCEPTED):
                kappa, taken = move(kappa, sigma, rng, advance)
                accepted, tried = accepted + np.asarray(taken), tried + 1
            if tried == 0:
                return None
            stein = stein_ratio(kappa, score_of(kappa, np.float32(sigma), gamma, weight))
            share, highest, found = np.mean(accepted) / tried, np.max(kappa), noisy_power(kappa, sigma, prior.power)
            evaluations = (done + tried) * EVALUATIONS_A_STEP
            level = Level(sigma, STEP, float(share), stein, float(highest), evaluations, found)
            return {"kappa": kappa, "sigma": max(sigma * RATIO, params.sigma_final), "done": done + tried}, level

        def samples(state: dict, rng: np.random.Generator, advance: Callable):
            def score_at(kappa, sigma):
                return score_of(kappa, np.float32(sigma), gamma, weight)

            return reverse_diffusion(score_at, state["kappa"], _tail(float(state["sigma"]), params.sigma_final))

        def further(state: dict, rng: np.random.Generator, advance: Callable):
            kappa, _ = move(state["kappa"], float(state["sigma"]), rng, advance)
            return state | {"kappa": kappa}, kappa

        def around(kappa: np.ndarray, rng: np.random.Generator) -> dict:
            noise = params.sigma_final * rng.standard_normal(kappa.shape, "float32")
            return {"kappa": kappa + noise, "sigma": params.sigma_final, "done": steps}

        return Sampler(init, step, samples, further, around, steps * EVALUATIONS_A_STEP, EVALUATIONS_A_STEP)

    return on_field


def _tail(sigma: float, end: float) -> np.ndarray:
    """Noise levels of the reverse diffusion; one level where the chains came all the way."""
    return np.array([sigma]) if sigma <= end else np.geomspace(sigma, end, ODE_STEPS + 1)


def _transition(score: Callable) -> Callable:
    """Three leapfrogs and the ratio along the chord, with the noise level and the data as arguments."""

    def transition(kappa, white, uniform, step, sigma, gamma, weight):
        def force_at(x):
            return score(x, sigma, gamma, weight)

        start = force = force_at(kappa)
        end, momentum = kappa, white
        for _ in range(LEAPFROG_STEPS):
            momentum = momentum + 0.5 * step * force
            end = end + step * momentum
            force = force_at(end)
            momentum = momentum + 0.5 * step * force
        chord = end - kappa
        inner = [force_at(kappa + np.float32(t) * chord) for t in CHORD[1:-1]]
        mean_force = sum(np.float32(w) * f for w, f in zip(SIMPSON, [start, *inner, force], strict=True))
        work = ops.sum(mean_force * chord, axis=(-2, -1))
        kinetic = 0.5 * ops.sum(white**2 - momentum**2, axis=(-2, -1))
        accepted = ops.log(uniform) < work + kinetic
        return ops.where(accepted[:, None, None], end, kappa), accepted

    return transition
