"""Conjugate gradients for batches of maps."""

from collections.abc import Callable

import numpy as np
from keras import ops


def conjugate_gradients(operator: Callable, preconditioner: Callable, target, *, iterations: int, tolerance=0.0):
    """Solve operator(x) = target for a batch of maps, each on its own.

    Parameters
    ----------
    operator, preconditioner : symmetric and positive on maps (n, ny, nx)
    target : (n, ny, nx)
    iterations : largest number of steps
    tolerance : stop when every residual is below this share of its target (in the preconditioner's norm)

    Source: Hestenes & Stiefel 1952.
    """
    state = _first_direction(preconditioner, target)
    return _more_steps(operator, preconditioner, state, state[-1], iterations=iterations, tolerance=tolerance)[0]


def _first_direction(preconditioner: Callable, target):
    """Where conjugate gradients begin: x = 0, its residual, the first direction, and the norm of the residual."""
    z = preconditioner(target)
    return ops.zeros_like(target), target, z, _dot(target, z)


def _more_steps(operator: Callable, preconditioner: Callable, state, start, *, iterations: int, tolerance: float):
    """The state after so many more steps of conjugate gradients, or fewer where `tolerance` is met before.

    `start` : norm of the first residual
    """
    tiny = np.finfo(ops.dtype(start)).tiny

    def unfinished(x, residual, direction, rz):
        return ops.any(rz > tolerance**2 * start)

    def step(x, residual, direction, rz):
        product = operator(direction)
        length = rz / ops.maximum(_dot(direction, product), tiny)
        residual = residual - length * product
        z = preconditioner(residual)
        rz_new = _dot(residual, z)
        return x + length * direction, residual, z + rz_new / ops.maximum(rz, tiny) * direction, rz_new

    return ops.while_loop(unfinished, step, state, maximum_iterations=iterations)


def _dot(a, b):
    """Inner product of each pair of maps, (n, 1, 1)."""
    return ops.sum(a * b, axis=(-2, -1), keepdims=True)
