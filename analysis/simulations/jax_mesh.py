"""The operations of `mesh` in JAX, compiled for the device that JAX finds.

On a GPU sums into cells have no fixed order, so two runs agree to rounding, not bit by bit.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

from analysis.simulations.mesh import MeshOps

STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))  # fourth-order first derivative, over the cell


def mesh_ops() -> MeshOps:
    """Operations on JAX arrays in single precision."""
    return MeshOps(deposit, gather, jax.jit(jnp.fft.rfftn), jax.jit(jnp.fft.irfftn), moved, jnp.cbrt, jnp.asarray)


def _cells(position: Any, per_length: float) -> tuple[Any, Any]:
    """Cell below each particle along each axis, and the distance from it in cells."""
    x = position * per_length
    cell = jnp.floor(x)
    return cell.astype(jnp.int32), x - cell


def _corners(cell: Any, distance: Any, mesh: int) -> Iterator[tuple[tuple, Any]]:
    """Index and cloud-in-cell weight of each of the eight cells around every particle."""
    for corner in product((0, 1), repeat=3):
        weight = jnp.prod(jnp.where(jnp.array(corner) == 1, distance, 1 - distance), axis=1)
        yield tuple(((cell + jnp.array(corner)) % mesh).T), weight


@partial(jax.jit, static_argnums=(1, 2))
def deposit(position: Any, box: float, mesh: int) -> Any:
    """Number of particles in each cell, as `mesh.deposit`."""
    count = jnp.zeros((mesh,) * 3, jnp.float32)
    for index, weight in _corners(*_cells(position, mesh / box), mesh):
        count = count.at[index].add(weight)
    return count


@partial(jax.jit, static_argnums=2)
def gather(potential: Any, position: Any, box: float) -> Any:
    """Minus the gradient of `potential` at the particles, like `mesh.gather`."""
    mesh = potential.shape[0]
    slopes = [
        sum(-weight * mesh / box * jnp.roll(potential, -step, axis) for step, weight in STENCIL) for axis in range(3)
    ]
    force = jnp.zeros_like(position)
    for index, weight in _corners(*_cells(position, mesh / box), mesh):
        force = force + weight[:, None] * jnp.stack([slope[index] for slope in slopes], axis=1)
    return force


@partial(jax.jit, static_argnums=3)
def moved(position: Any, momentum: Any, factor: float, box: float) -> Any:
    """Positions after a drift, as `mesh.moved`."""
    return jnp.mod(position + jnp.float32(factor) * momentum, jnp.float32(box))
