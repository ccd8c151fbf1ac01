"""Annealed Hamiltonian Monte Carlo from scores alone.

A chain walks down a ladder of noise levels. At each it makes a few HMC trajectories of the annealed posterior, with a
mass matrix that whitens the Gaussian posterior; the last level is handed to the reverse diffusion (probability-flow
ODE) of the diffused posterior, which takes the remaining noise away. All chains of a field move as one batch.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from keras import ops

from analysis.backend import compiled, filtered
from analysis.params import SampleParams
from analysis.posterior import annealed_score, diffused_score, gaussian_posterior_draws
from analysis.score import Prior

log = logging.getLogger(__name__)

# Work of a path through three points x_0, x_1, x_2 with forces s_0, s_1, s_2, both interpolated by parabolas:
# sum_ij A_ij s_i . x_j
PAIR_WORK = np.array([[-1 / 2, 2 / 3, -1 / 6], [-2 / 3, 0, 2 / 3], [1 / 6, -2 / 3, 1 / 2]])


@dataclass(frozen=True)
class Level:
    """Health of the chains at one noise level (one row of the CHAIN table).

    Attributes
    ----------
    sigma : noise level
    step : leapfrog step, in units of the mass matrix
    acceptance : share of trajectories accepted
    stein : E[(kappa - mean) . score] / -(number of modes), 1 in equilibrium
    highest : largest convergence in any chain
    evaluations : score evaluations so far, per chain
    """

    sigma: float
    step: float
    acceptance: float
    stein: float
    highest: float
    evaluations: int


def noise_ladder(start: float, end: float, ratio: float) -> np.ndarray:
    """Noise levels from `start` down to exactly `end`, each about `ratio` times the one before."""
    steps = max(1, round(np.log(end / start) / np.log(ratio)))
    return np.geomspace(start, end, steps + 1)


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
    accepted : (n,), True where the proposal was taken
    """
    momentum = filtered(white, ops.sqrt(mass))
    end, end_force, end_momentum, work = trajectory(score, kappa, force, momentum, step, mass, steps=steps)
    log_ratio = work + _kinetic(momentum, mass) - _kinetic(end_momentum, mass)
    accepted = ops.log(uniform) < log_ratio
    taken = accepted[:, None, None]
    return ops.where(taken, end, kappa), ops.where(taken, end_force, force), accepted


def reverse_diffusion(score: Callable, kappa, sigmas: np.ndarray):
    """Carry maps from the first noise level to the last along the probability flow.

    d kappa / d sigma = -sigma score(kappa, sigma), by Heun's second-order steps.

    Source: Song et al. 2021, eq. 13; Karras et al. 2022, algorithm 1.
    """
    for high, low in pairwise(sigmas):
        slope = -high * score(kappa, high)
        guess = kappa + (low - high) * slope
        kappa = kappa + 0.5 * (low - high) * (slope - low * score(guess, low))
    return kappa


def annealer(prior: Prior, params: SampleParams) -> Callable:
    """The annealed sampler of a prior, compiled once for every field that it is run on.

    Chains start as exact samples of the annealed posterior under the Gaussian prior at the top of the ladder, where
    the prior is nearly Gaussian. The last `diffused_levels` of the ladder sample the diffused posterior, from which the
    reverse diffusion is exact for a Gaussian prior; it ends at `sigma_final`.

    Returns
    -------
    anneal(gamma, weight, chains, *, rng) -> (samples, levels)
        gamma, weight : (2, ny, nx), shear and its inverse variance; weights of zero sample the prior
        chains : number of samples, one a chain
        rng : decides every number drawn
        samples : (chains, ny, nx), float32
        levels : one record a noise level, the last for the reverse diffusion
    """
    ladder = noise_ladder(params.sigma_start, params.sigma_end, params.ladder_ratio).astype("float32")
    tail = np.geomspace(ladder[-1], params.sigma_final, params.ode_steps + 1).astype("float32")

    def annealed(kappa, sigma, gamma, weight):
        return annealed_score(prior, kappa, sigma, gamma, weight)

    def diffused(kappa, sigma, gamma, weight):
        return diffused_score(prior, kappa, sigma, gamma, weight, iterations=params.solver_iterations)

    # compiled once a family; noise level and data are arguments
    families = [
        (compiled(score), compiled(_transition(score, mass_of, prior.power, params.leapfrog_steps)))
        for score, mass_of in ((annealed, mass), (diffused, diffused_posterior_mass))
    ]

    def anneal(gamma, weight, chains: int, *, rng: np.random.Generator) -> tuple[np.ndarray, list[Level]]:
        kappa = _start(prior, gamma, weight, ladder[0], chains, rng)
        data = (np.asarray(gamma, "float32"), np.asarray(weight, "float32"))
        levels, evaluations = [], 0
        for number, sigma in enumerate(ladder):
            score, transition = families[number >= len(ladder) - params.diffused_levels]
            force, accepted = score(kappa, sigma, *data), []
            for _ in range(params.trajectories):
                white = rng.standard_normal(kappa.shape, "float32")
                uniform = rng.random(chains, "float32")
                jittered = np.float32(params.step * rng.uniform(0.8, 1.0))
                kappa, force, taken = transition(kappa, force, white, uniform, jittered, sigma, *data)
                accepted.append(np.asarray(taken))
            evaluations += 1 + params.trajectories * params.leapfrog_steps
            levels.append(_level(sigma, params.step, np.mean(accepted), kappa, force, evaluations))
            _report(levels[-1], number + 1, len(ladder))
        score = families[1][0]
        kappa = reverse_diffusion(lambda x, sigma: score(x, sigma, *data), kappa, tail)
        evaluations += 2 * params.ode_steps + 1  # one more for the diagnostics
        levels.append(_level(tail[-1], 0.0, 1.0, kappa, score(kappa, tail[-1], *data), evaluations))
        _report(levels[-1], "reverse diffusion", len(ladder))
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


def _report(level: Level, number, count: int) -> None:
    """One line of the log a noise level."""
    log.info(
        "level %s/%s: sigma %.4f, acceptance %.2f, Stein %.3f, highest kappa %.3f, %d evaluations",
        number, count, level.sigma, level.acceptance, level.stein, level.highest, level.evaluations,
    )  # fmt: skip


def _level(sigma, step, acceptance, kappa, force, evaluations) -> Level:
    """Diagnostics of one noise level."""
    kappa, force = np.asarray(kappa, float), np.asarray(force, float)
    centred = kappa - kappa.mean(axis=0)
    # chains centred on their own mean lose one part in their number
    bessel = len(kappa) / (len(kappa) - 1)
    stein = -np.sum(centred * force, axis=(-2, -1)).mean() * bessel / kappa[0].size
    return Level(float(sigma), float(step), float(acceptance), float(stein), float(kappa.max()), evaluations)


def _kinetic(momentum, mass):
    """Kinetic energy p^T M^-1 p / 2 of each chain, (n,)."""
    return 0.5 * ops.sum(momentum * filtered(momentum, 1.0 / mass), axis=(-2, -1))
