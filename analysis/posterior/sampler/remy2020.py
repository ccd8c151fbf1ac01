"""The original's own sampler, for comparison on the same posterior: its schedule, mass matrix and Metropolis ratio.

Chains start at the Kaiser-Squires map with white noise of standard deviation 1 and take HMC steps of three leapfrogs
with identity mass; the noise level falls by 2 percent after ten accepted steps at the least, for 6000 steps. The ratio
of probabilities comes from scores along the straight line between both ends, by Simpson's rule. What noise is left at
the end is taken away by the reverse diffusion.

Source: Remy et al. 2020, section 3.3, and the code published with it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from keras import ops

from analysis.core.progress import progress
from analysis.flatsky.backend import compiled
from analysis.flatsky.lensing import convergence_from_shear
from analysis.params import SampleParams
from analysis.posterior.likelihood import annealed_score
from analysis.posterior.sampler.checkpoint import load_state, save_state
from analysis.posterior.sampler.health import Level, Watch, check_finite, noisy_power, report, stein_ratio
from analysis.posterior.sampler.hmc import reverse_diffusion
from analysis.prior.score import Prior

SIGMA_START = 1.0
STEP = 0.013  # at sigma_start; falls as the root of the noise level
LEAPFROG_STEPS = 3
RATIO = 0.98
ACCEPTED = 10  # before a level is left
STEPS = 6000
# Simpson's rule of four intervals: where on the chord, and with what weight
CHORD = np.linspace(0, 1, 9)
SIMPSON = np.array([1, 4, 2, 4, 2, 4, 2, 4, 1]) / 24
EVALUATIONS_A_STEP = LEAPFROG_STEPS + len(CHORD) - 1  # both ends of the chord are shared; the original has about 19


def remy2020_sampler(prior: Prior, params: SampleParams, *, steps: int = STEPS) -> Callable:
    """The original's sampler of a prior. `steps` shortens it, for tests.

    Returns
    -------
    as `sampler.annealer` does
    """

    def score(kappa, sigma, gamma, weight):
        return annealed_score(prior, kappa, sigma, gamma, weight)

    force_of, transition = compiled(score), compiled(_transition(score))

    def anneal(gamma, weight, chains, *, rng, further=0, watch: Watch = None, resume: Path | None = None):
        data = (np.asarray(gamma, "float32"), np.asarray(weight, "float32"))
        state = load_state(resume, rng)
        if state is None:
            kappa = np.asarray(convergence_from_shear(data[0]))[None] + SIGMA_START * rng.standard_normal(
                (chains, *prior.power.shape), "float32"
            )
            levels, sigma, done = [], SIGMA_START, 0
            check_finite(force_of(kappa, np.float32(sigma), *data), sigma)  # a score that is not is never accepted
        else:
            levels, kappa, (sigma, done) = state[0], state[1]["kappa"], (state[1][n].item() for n in ("sigma", "done"))
        accepted, tried, advance = np.zeros(chains), 0, progress("chains", steps + further, done=done)

        def move(kappa):
            step = np.float32(STEP * (sigma / SIGMA_START) ** 0.5)
            white, uniform = rng.standard_normal(kappa.shape, "float32"), rng.random(chains, "float32")
            advance()
            return transition(kappa, white, uniform, step, np.float32(sigma), *data)

        for number in range(done + 1, steps + 1):
            kappa, taken = move(kappa)
            accepted, tried = accepted + np.asarray(taken), tried + 1
            if accepted.min() >= ACCEPTED or number == steps:
                stein = stein_ratio(kappa, force_of(kappa, np.float32(sigma), *data))
                share = float(np.mean(accepted) / tried)
                highest, found = float(np.max(kappa)), noisy_power(kappa, sigma, prior.power)
                level = Level(sigma, STEP, share, stein, highest, number * EVALUATIONS_A_STEP, found)
                levels.append(report(level, f"step {number}", steps))
                accepted, tried = np.zeros(chains), 0
                sigma = max(sigma * RATIO, params.sigma_final)
                save_state(resume, rng, levels, kappa=kappa, sigma=sigma, done=number)
        samples = np.asarray(
            reverse_diffusion(lambda x, level: force_of(x, np.float32(level), *data), kappa, _tail(sigma, params))
        )
        for _ in range(further):
            kappa, _ = move(kappa)
            watch(np.asarray(kappa))
        return samples, levels

    return anneal


def _tail(sigma: float, params: SampleParams) -> np.ndarray:
    """Noise levels of the reverse diffusion, none where the chains came all the way."""
    if sigma <= params.sigma_final:
        return np.array([sigma])
    return np.geomspace(sigma, params.sigma_final, params.hmc.ode_steps + 1)


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
