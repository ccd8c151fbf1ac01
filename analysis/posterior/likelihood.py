"""The posterior's score at a noise level: prior score plus the score of what the data say.

Two families of posteriors lead from a smooth one at large sigma to the posterior itself at sigma = 0:

* annealed (the paper's): the likelihood is softened by the noise level, N(gamma; P kappa, 1/w + sigma^2). Cheap, but
  not the posterior blurred by sigma: only its limit is right.
* diffused: the posterior of the clean map, blurred by sigma. Exact at every sigma for a Gaussian prior, which is what
  the reverse diffusion that ends a chain asks for; for another prior, exact but for the non-Gaussian part of the
  covariance of the clean map given the noisy one.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from keras import ops

from analysis.core.progress import progress
from analysis.flatsky.backend import compiled, conjugate_gradients, filtered, first_state, more_steps
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence
from analysis.prior.score import Prior, denoised, prior_score

ITERATIONS, TOLERANCE = 500, 1e-8  # of conjugate gradients for the Gaussian posterior
STEPS_AT_ONCE = 20  # of conjugate gradients, a divisor of their number


def likelihood_score(kappa, sigma, gamma, weight):
    """Score of the annealed likelihood: P^T [ w / (1 + sigma^2 w) (gamma - P kappa) ].

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


def diffused_likelihood_score(clean, sigma, gamma, weight, power, *, iterations: int):
    """Score of the data given a noisy map, the clean map being uncertain as under a Gaussian prior.

    (1 + sigma^2 (S^-1 + P^T w P))^-1  P^T w (gamma - P clean),  by conjugate gradients. It is the difference between
    denoising with and without the data, over sigma^2 (Tweedie), exactly so for a Gaussian prior of power S.

    Parameters
    ----------
    clean : (n, ny, nx), mean of the clean map given the noisy one
    sigma : scalar, as `clean`
    power : (ny, nx), pixel variance per mode
    iterations : of conjugate gradients; the condition number is about 1 + sigma^2 max(w)

    Returns
    -------
    (n, ny, nx), 1 / unit of `clean`
    """
    power = ops.cast(power, clean.dtype)

    def operator(x):
        return x + sigma**2 * (filtered(x, 1.0 / power) + _data_precision(x, weight))

    def preconditioner(x):
        return filtered(x, 1.0 / (1.0 + sigma**2 * (1.0 / power + ops.mean(weight))))

    pull = convergence_from_shear(weight * (gamma - shear_from_convergence(clean)))
    return conjugate_gradients(operator, preconditioner, pull, iterations=iterations)


def annealed_score(prior: Prior, kappa, sigma, gamma, weight):
    """Score of the annealed posterior at noise level `sigma` (a scalar); (n, ny, nx)."""
    levels = ops.broadcast_to(sigma, (kappa.shape[0],))
    return prior_score(prior, kappa, levels) + likelihood_score(kappa, sigma, gamma, weight)


def diffused_score(prior: Prior, kappa, sigma, gamma, weight, *, iterations: int):
    """Score of the diffused posterior at noise level `sigma` (a scalar); (n, ny, nx)."""
    levels = ops.broadcast_to(sigma, (kappa.shape[0],))
    score = prior_score(prior, kappa, levels)
    clean = denoised(kappa, levels, score)
    return score + diffused_likelihood_score(clean, sigma, gamma, weight, prior.power, iterations=iterations)


def gaussian_posterior_solve(target, weight, power, *, iterations: int = ITERATIONS, tolerance: float = TOLERANCE):
    """(S^-1 + P^T w P)^-1 target: the Wiener map where target = P^T w gamma.

    Solved as S^1/2 (1 + S^1/2 P^T w P S^1/2)^-1 S^1/2, so that modes without power are no harm.

    Parameters
    ----------
    target : (n, ny, nx)
    weight : (2, ny, nx), inverse variance
    power : (ny, nx), pixel variance per mode
    """
    root = _root(power, target)
    whitened = conjugate_gradients(
        *_whitened_system(root, weight), filtered(target, root), iterations=iterations, tolerance=tolerance
    )
    return filtered(whitened, root)


def gaussian_posterior_mean(target: np.ndarray, weight: np.ndarray, power: np.ndarray) -> np.ndarray:
    """`gaussian_posterior_solve` of arrays, compiled once a shape and in double precision where the backend has it.

    It comes back from the compiled loop every `STEPS_AT_ONCE` steps to tell its progress; the bits are the same.
    """
    target, weight, power = (np.asarray(values, float) for values in (target, weight, power))
    begin, go_on, end = _compiled_solve()
    state, told, advance = begin(target, weight, power), 0.0, progress("conjugate gradients", 1.0)
    start = state[-1]
    for _ in range(ITERATIONS // STEPS_AT_ONCE):
        state = go_on(state, start, weight, power)
        left = np.max(np.asarray(state[-1]) / np.maximum(np.asarray(start), np.finfo(np.float32).tiny))
        if left <= TOLERANCE**2:
            break
        share = max(told, float(np.log(left) / np.log(TOLERANCE**2)))
        advance(share - told)
        told = share
    return np.asarray(end(state[0], power))


def gaussian_posterior_draws(gamma, weight, power, n: int, *, rng: np.random.Generator) -> np.ndarray:
    """Constrained realisations: `n` exact samples of the posterior under a Gaussian prior.

    The Wiener solution of the data's pull plus noise with the covariance S^-1 + P^T w P.

    Parameters
    ----------
    gamma : (2, ny, nx), or (n, 2, ny, nx) where each sample has data of its own
    weight : (2, ny, nx)
    power : (ny, nx), pixel variance per mode

    Returns
    -------
    (n, ny, nx), float64

    Source: Hoffman & Ribak 1991.
    """
    gamma, weight, power = (np.asarray(values, float) for values in (gamma, weight, power))
    data_noise = rng.standard_normal((n, *weight.shape)) * np.sqrt(weight)
    prior_noise = filtered(rng.standard_normal((n, *power.shape)), 1.0 / np.sqrt(power))
    pull = convergence_from_shear(weight * gamma + data_noise) + prior_noise
    return gaussian_posterior_mean(pull, weight, power)


@lru_cache(maxsize=1)
def _compiled_solve() -> tuple[Callable, Callable, Callable]:
    """`gaussian_posterior_solve` in parts: its begin, more steps, and its end.

    Compiled here and not when this module is imported: that would choose the backend's device.
    """

    def begin(target, weight, power):
        root = _root(power, target)
        return first_state(_whitened_system(root, weight)[1], filtered(target, root))

    def go_on(state, start, weight, power):
        system = _whitened_system(_root(power, start), weight)
        return more_steps(*system, state, start, iterations=STEPS_AT_ONCE, tolerance=TOLERANCE)

    return compiled(begin), compiled(go_on), compiled(lambda x, power: filtered(x, _root(power, x)))


def _root(power, like):
    """Square root of the power, in the precision of `like`."""
    return ops.sqrt(ops.cast(power, ops.dtype(like)))


def _whitened_system(root, weight) -> tuple[Callable, Callable]:
    """Operator 1 + S^1/2 P^T w P S^1/2 and its preconditioner, `root` being S^1/2."""

    def operator(x):
        return x + filtered(_data_precision(filtered(x, root), weight), root)

    def preconditioner(x):
        return filtered(x, 1.0 / (1.0 + root**2 * ops.mean(weight)))

    return operator, preconditioner


def _data_precision(kappa, weight):
    """P^T w P kappa."""
    return convergence_from_shear(weight * shear_from_convergence(kappa))
