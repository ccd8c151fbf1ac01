"""The operations of `mesh` in JAX, compiled for whatever device it finds: the maps can be made next to the training.

Sums into cells have no fixed order on a GPU: two runs agree to rounding, not bit by bit.
"""

from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

from analysis.simulations.nbody.mesh import MeshOps

STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))  # fourth-order first derivative, over the cell


def mesh_ops() -> MeshOps:
    """The operations, on JAX arrays in single precision."""
    return MeshOps(deposit, gather, jax.jit(jnp.fft.rfftn), jax.jit(jnp.fft.irfftn), moved, jnp.cbrt, jnp.asarray)


def _cells(position: Any, per_length: float) -> tuple[Any, Any]:
    """Cell below each particle along each axis, and the way to the next one as a fraction."""
    x = position * per_length
    cell = jnp.floor(x)
    return cell.astype(jnp.int32), x - cell


@partial(jax.jit, static_argnums=(1, 2))
def deposit(position: Any, box: float, mesh: int) -> Any:
    """Counts of particles in cells, cloud-in-cell; as `mesh.deposit`."""
    cell, way = _cells(position, mesh / box)
    count = jnp.zeros((mesh,) * 3, jnp.float32)
    for corner in product((0, 1), repeat=3):
        share = jnp.prod(jnp.where(jnp.array(corner) == 1, way, 1 - way), axis=1)
        count = count.at[tuple(((cell + jnp.array(corner)) % mesh).T)].add(share)
    return count


@partial(jax.jit, static_argnums=2)
def gather(potential: Any, position: Any, box: float) -> Any:
    """Minus the gradient of `potential` at the particles; as `mesh.gather`."""
    mesh = potential.shape[0]
    cell, way = _cells(position, mesh / box)
    slopes = [
        sum(-weight * mesh / box * jnp.roll(potential, -step, axis) for step, weight in STENCIL) for axis in range(3)
    ]
    force = jnp.zeros_like(position)
    for corner in product((0, 1), repeat=3):
        share = jnp.prod(jnp.where(jnp.array(corner) == 1, way, 1 - way), axis=1)
        index = tuple(((cell + jnp.array(corner)) % mesh).T)
        force = force + share[:, None] * jnp.stack([slope[index] for slope in slopes], axis=1)
    return force


@partial(jax.jit, static_argnums=3)
def moved(position: Any, momentum: Any, factor: float, box: float) -> Any:
    """Positions after a drift, wrapped into the box; as `mesh.moved`."""
    return jnp.mod(position + jnp.float32(factor) * momentum, jnp.float32(box))
