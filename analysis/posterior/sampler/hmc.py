"""Annealed Hamiltonian Monte Carlo from scores alone.

A chain walks down a ladder of noise levels. At each it makes a few HMC trajectories of the annealed posterior, with a
mass matrix that whitens the Gaussian posterior; the last level is handed to the reverse diffusion (probability-flow
ODE) of the diffused posterior, which takes the remaining noise away. All chains of a field move as one batch.

A few pilot chains go first and find the leapfrog step of every level; then the steps are frozen.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from keras import ops

from analysis.core.progress import progress, within
from analysis.flatsky.backend import compiled, filtered
from analysis.params import SampleParams
from analysis.posterior.likelihood import annealed_score, diffused_score, gaussian_posterior_draws
from analysis.posterior.sampler.checkpoint import load_state, save_state
from analysis.posterior.sampler.health import Level, Watch, check_finite, noisy_power, report, stein_ratio
from analysis.prior.score import Prior

# Work of a path through three points x_0, x_1, x_2 with forces s_0, s_1, s_2, both interpolated by parabolas:
# sum_ij A_ij s_i . x_j
PAIR_WORK = np.array([[-1 / 2, 2 / 3, -1 / 6], [-2 / 3, 0, 2 / 3], [1 / 6, -2 / 3, 1 / 2]])
PILOT_TRIALS = 4  # trajectories of the pilot chains a level
STEP_CHANGE = (0.5, 1.25)  # a trial divides or multiplies the step by no more


def information_ladder(start: float, end: float, levels: int, power: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Noise levels from `start` down to `end`, as far apart as the annealed Gaussian posteriors differ.

    Equal steps of Fisher-Rao distance: the precision of mode k, M_k(sigma) as in `mass`, changes by the same
    sum over k of (d log M_k)^2 from level to level, so that no step asks more of the chains than another.

    Parameters
    ----------
    power : (ny, nx), pixel variance per mode
    weight : (2, ny, nx), inverse variance

    Returns
    -------
    (levels,)

    Source: Rao 1945, for Gaussian densities of one mean.
    """
    fine = np.geomspace(start, end, 256)
    precision = np.stack([np.log(np.asarray(mass(power, sigma, np.asarray(weight, float)))) for sigma in fine])
    steps = np.sqrt(np.mean(np.diff(precision, axis=0) ** 2, axis=(-2, -1)))
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    ladder = np.exp(np.interp(np.linspace(0, distance[-1], levels), distance, np.log(fine)))
    ladder[[0, -1]] = start, end
    return ladder


def mass(power, sigma, weight):
    """Diagonal of the Gaussian posterior's precision in Fourier space, (ny, nx).

    M_k = 1 / (S_k + sigma^2) + mean over pixels of w / (1 + sigma^2 w); at k = 0, which shear does not know, too much,
    which only shortens the steps of one mode.
    """
    power = ops.cast(power, ops.dtype(weight))
    return 1.0 / (power + sigma**2) + ops.mean(weight / (1.0 + sigma**2 * weight))


def diffused_posterior_mass(power, sigma, weight):
    """The same for the diffused posterior, whose covariance is the clean map's plus sigma^2; (ny, nx)."""
    power = ops.cast(power, ops.dtype(weight))
    return 1.0 / (1.0 / (1.0 / power + ops.mean(weight)) + sigma**2)


def trajectory(score: Callable, kappa, force, momentum, step, mass, *, steps: int):
    """One leapfrog trajectory, and the work the score did along it.

    Parameters
    ----------
    score : kappa (n, ny, nx) -> (n, ny, nx)
    kappa, force : (n, ny, nx), the start and its score
    momentum : (n, ny, nx), with covariance `mass`
    step : scalar or (n, 1, 1), in whitened units
    mass : (ny, nx), in Fourier space
    steps : even

    Returns
    -------
    kappa, force, momentum, work : the end, and int score . dkappa, (n,)

    Source: Duane et al. 1987; Remy et al. 2023, section 4.3, for Metropolis ratios from scores.
    """
    a = ops.cast(PAIR_WORK, kappa.dtype)

    def leap(kappa, force, momentum):
        momentum = momentum + 0.5 * step * force
        kappa = kappa + step * filtered(momentum, 1.0 / mass)
        force = score(kappa)
        return kappa, force, momentum + 0.5 * step * force

    def pair(kappa, force, momentum, work):
        kappa1, force1, momentum = leap(kappa, force, momentum)
        kappa2, force2, momentum = leap(kappa1, force1, momentum)
        # displacements from the first point: the rows of A sum to zero, and differences lose no digits
        first, second = kappa1 - kappa, kappa2 - kappa
        for i, f in enumerate((force, force1, force2)):
            work = work + ops.sum(f * (a[i, 1] * first + a[i, 2] * second), axis=(-2, -1))
        return kappa2, force2, momentum, work

    start = (kappa, force, momentum, ops.zeros_like(kappa[:, 0, 0]))
    return ops.fori_loop(0, steps // 2, lambda _, state: pair(*state), start)


def hmc_step(score: Callable, kappa, force, white, uniform, step, mass, *, steps: int):
    """One HMC transition of a batch of chains.

    Parameters
    ----------
    white : (n, ny, nx), standard normal, becomes the momentum
    uniform : (n,), in (0, 1)

    Returns
    -------
    kappa, force : (n, ny, nx)
    chance : (n,), with which the proposal was taken
    """
    momentum = filtered(white, ops.sqrt(mass))
    end, end_force, end_momentum, work = trajectory(score, kappa, force, momentum, step, mass, steps=steps)
    log_ratio = work + _kinetic(momentum, mass) - _kinetic(end_momentum, mass)
    accepted = ops.log(uniform) < log_ratio
    taken = accepted[:, None, None]
    return ops.where(taken, end, kappa), ops.where(taken, end_force, force), ops.exp(ops.minimum(log_ratio, 0.0))


def reverse_diffusion(score: Callable, kappa, sigmas: np.ndarray):
    """Carry maps from the first noise level to none along the probability flow.

    d kappa / d sigma = -sigma score(kappa, sigma), by Heun's second-order steps down to the last level; from there to
    zero by one step in sigma^2, kappa + sigma^2 score / 2.

    Source: Song et al. 2021, eq. 13; Karras et al. 2022, algorithm 1; Remy et al. 2020, section 3.3.
    """
    for high, low in pairwise(sigmas):
        slope = -high * score(kappa, high)
        guess = kappa + (low - high) * slope
        kappa = kappa + 0.5 * (low - high) * (slope - low * score(guess, low))
    return kappa + 0.5 * sigmas[-1] ** 2 * score(kappa, sigmas[-1])


def hmc_sampler(prior: Prior, params: SampleParams) -> Callable:
    """The annealed sampler of a prior, compiled once for every field that it is run on.

    Chains start as exact samples of the annealed posterior under the Gaussian prior at the top of the ladder, where
    the prior is nearly Gaussian. The last `diffused_levels` of the ladder sample the diffused posterior, from which the
    reverse diffusion is exact for a Gaussian prior; it ends at `sigma_final`.

    Returns
    -------
    as `sampler.annealer` does
    """
    settings = params.hmc
    tail = np.geomspace(settings.sigma_end, params.sigma_final, settings.ode_steps + 1).astype("float32")

    def annealed(kappa, sigma, gamma, weight):
        return annealed_score(prior, kappa, sigma, gamma, weight)

    def diffused(kappa, sigma, gamma, weight):
        return diffused_score(prior, kappa, sigma, gamma, weight, iterations=settings.solver_iterations)

    # compiled once a family; noise level and data are arguments
    families = [
        (compiled(score), compiled(_transition(score, mass_of, prior.power, settings.leapfrog_steps)))
        for score, mass_of in ((annealed, mass), (diffused, diffused_posterior_mass))
    ]

    def family(number: int) -> tuple[Callable, Callable]:
        return families[number >= settings.levels - settings.diffused_levels]

    def move(number: int, kappa, force, sigma, step: float, data, rng, advance: Callable):
        white, uniform = rng.standard_normal(kappa.shape, "float32"), rng.random(len(kappa), "float32")
        jittered = np.float32(step * rng.uniform(0.8, 1.0))
        kappa, force, chance = family(number)[1](kappa, force, white, uniform, jittered, sigma, *data)
        advance(len(white) * settings.leapfrog_steps)
        return kappa, force, float(np.mean(chance))

    def pilot(ladder, data, rng, advance: Callable) -> list[float]:
        """The step of each level at which pilot chains accept as many proposals as they should."""
        with within(advance, 0):
            kappa, step, steps = _start(prior, *data, ladder[0], settings.pilot_chains, rng), settings.step, []
        for number, sigma in enumerate(ladder):
            force = family(number)[0](kappa, sigma, *data)
            check_finite(force, sigma)  # or no proposal would ever be accepted
            for _ in range(PILOT_TRIALS):
                kappa, force, chance = move(number, kappa, force, sigma, step, data, rng, advance)
                # sd of the energy's error goes as step^2, and 1 - acceptance with it
                wanted = np.sqrt((1 - settings.acceptance) / max(1 - chance, 1e-3))
                step = min(step * float(np.clip(wanted, *STEP_CHANGE)), longest)
            steps.append(step)
        return steps

    longest = np.pi / 2 / settings.leapfrog_steps  # beyond it a trajectory comes back
    pilot_evaluations = settings.levels * (1 + PILOT_TRIALS * settings.leapfrog_steps) * settings.pilot_chains

    def anneal(gamma, weight, chains, *, rng, further=0, watch: Watch = None, resume: Path | None = None):
        data = (np.asarray(gamma, "float32"), np.asarray(weight, "float32"))
        ladder = information_ladder(params.sigma_start, settings.sigma_end, settings.levels, prior.power, weight)
        ladder = ladder.astype("float32")
        state = load_state(resume, rng)
        a_level = 1 + settings.trajectories * settings.leapfrog_steps
        after = 2 * settings.ode_steps + 1 + further * settings.leapfrog_steps
        total = pilot_evaluations + chains * (len(ladder) * a_level + after)
        done = 0 if state is None else pilot_evaluations + chains * len(state[0]) * a_level
        advance = progress("chains", total, done=done)
        if state is None:
            levels, steps, force = [], pilot(ladder, data, rng, advance), None
            with within(advance, 0):
                kappa = _start(prior, gamma, weight, ladder[0], chains, rng)
        else:
            levels, (kappa, force, steps) = state[0], (state[1][name] for name in ("kappa", "force", "steps"))
        for number in range(len(levels), len(ladder)):
            sigma, step = ladder[number], float(steps[number])
            force, chances = family(number)[0](kappa, sigma, *data), []
            for _ in range(settings.trajectories):
                kappa, force, chance = move(number, kappa, force, sigma, step, data, rng, advance)
                chances.append(chance)
            evaluations = round(pilot_evaluations / chains) + (number + 1) * a_level
            stein, found = stein_ratio(kappa, force), noisy_power(kappa, sigma, prior.power)
            level = Level(float(sigma), step, float(np.mean(chances)), stein, float(np.max(kappa)), evaluations, found)
            levels.append(report(level, number + 1, len(ladder)))
            save_state(resume, rng, levels, kappa=kappa, force=force, steps=steps)
        score, equilibrium = families[1][0], (kappa, force)

        def counted_score(x, sigma):
            advance(chains)
            return score(x, sigma, *data)

        kappa = reverse_diffusion(counted_score, kappa, tail)
        evaluations = levels[-1].evaluations + 2 * settings.ode_steps + 1
        found = noisy_power(kappa, 0.0, prior.power)
        last = Level(float(tail[-1]), 0.0, 1.0, np.nan, float(np.max(kappa)), evaluations, found)
        levels.append(report(last, "reverse diffusion", len(ladder)))
        for _ in range(further):
            *equilibrium, _ = move(len(ladder) - 1, *equilibrium, ladder[-1], float(steps[-1]), data, rng, advance)
            watch(np.asarray(equilibrium[0]))
        return np.asarray(kappa), levels

    return anneal


def _start(prior: Prior, gamma, weight, sigma, chains: int, rng: np.random.Generator):
    """Exact samples of the annealed posterior under the Gaussian prior."""
    softened = weight / (1 + sigma**2 * weight)
    return gaussian_posterior_draws(gamma, softened, prior.power + sigma**2, chains, rng=rng).astype("float32")


def _transition(score: Callable, mass_of: Callable, power, steps: int) -> Callable:
    """An HMC transition with the noise level and the data as arguments, to be compiled."""

    def transition(kappa, force, white, uniform, step, sigma, gamma, weight):
        def at_level(x):
            return score(x, sigma, gamma, weight)

        whitening = mass_of(power, sigma, weight)
        return hmc_step(at_level, kappa, force, white, uniform, step, whitening, steps=steps)

    return transition


def _kinetic(momentum, mass):
    """Kinetic energy p^T M^-1 p / 2 of each chain, (n,)."""
    return 0.5 * ops.sum(momentum * filtered(momentum, 1.0 / mass), axis=(-2, -1))
