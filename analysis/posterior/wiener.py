"""The exact posterior under a Gaussian prior: its mean is the Wiener map, its draws are constrained realisations."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from keras import ops

from analysis.core.progress import progress
from analysis.flatsky.backend import compiled, conjugate_gradients, filtered, first_state, more_steps
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence

ITERATIONS, TOLERANCE = 500, 1e-8  # of conjugate gradients
STEPS_AT_ONCE = 20  # of conjugate gradients, a divisor of their number


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
    """`gaussian_posterior_solve` for NumPy arrays, compiled once per shape, in double precision if the backend has it.

    The compiled loop returns every `STEPS_AT_ONCE` steps to report its progress; this does not change the result.
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
        return x + filtered(data_precision(filtered(x, root), weight), root)

    def preconditioner(x):
        return filtered(x, 1.0 / (1.0 + root**2 * ops.mean(weight)))

    return operator, preconditioner


def data_precision(kappa, weight):
    """Precision of the data applied to maps: P^T w P kappa.

    Parameters
    ----------
    kappa : (n, ny, nx)
    weight : (2, ny, nx), inverse variance
    """
    return convergence_from_shear(weight * shear_from_convergence(kappa))
