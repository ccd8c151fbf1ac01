"""Operations of an N-body run between particles, mesh and Fourier space, and matter power spectra.

The record `MeshOps` holds the operations, so that `nbody` runs on NumPy arrays (numba, scipy) or JAX arrays
(`jax_mesh`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

Array = NDArray[np.floating]


@numba.njit(cache=True, nogil=True)
def deposit(position: Array, box: float, mesh: int) -> Array:
    """Number of particles in each cell, cloud-in-cell, (mesh, mesh, mesh); cell centres lie at index * box / mesh.

    It is serial, so that sums keep their order.

    Parameters
    ----------
    position : (n, 3), Mpc/h
    box : side of the periodic box, Mpc/h
    """
    count = np.zeros((mesh, mesh, mesh), np.float32)
    per_length = mesh / box
    for n in range(position.shape[0]):
        x, y, z = position[n, 0] * per_length, position[n, 1] * per_length, position[n, 2] * per_length
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        dx, dy, dz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
        i, j, k = i % mesh, j % mesh, k % mesh
        i1, j1, k1 = (i + 1) % mesh, (j + 1) % mesh, (k + 1) % mesh
        one = np.float32(1.0)
        count[i, j, k] += (one - dx) * (one - dy) * (one - dz)
        count[i, j, k1] += (one - dx) * (one - dy) * dz
        count[i, j1, k] += (one - dx) * dy * (one - dz)
        count[i, j1, k1] += (one - dx) * dy * dz
        count[i1, j, k] += dx * (one - dy) * (one - dz)
        count[i1, j, k1] += dx * (one - dy) * dz
        count[i1, j1, k] += dx * dy * (one - dz)
        count[i1, j1, k1] += dx * dy * dz
    return count


@numba.njit(cache=True, nogil=True, fastmath=True)  # reordered sums are a third faster, in the same order every run
def gather(potential: Array, position: Array, box: float) -> Array:
    """Minus the gradient of `potential` at the particles, (n, 3): fourth-order differences, cloud-in-cell.

    Parameters
    ----------
    potential : (mesh, mesh, mesh)
    position : (n, 3), Mpc/h
    box : side of the periodic box, Mpc/h
    """
    mesh = potential.shape[0]
    per_length = mesh / box
    force = np.empty(position.shape, np.float32)
    index = np.empty((3, 6), np.int64)
    near = np.empty((3, 2), np.float32)
    slope = np.empty((3, 6), np.float32)
    for n in range(position.shape[0]):
        for axis in range(3):
            x = position[n, axis] * per_length
            cell = int(np.floor(x))
            d = np.float32(x - cell)
            near[axis, 0], near[axis, 1] = np.float32(1.0) - d, d
            left, right = near[axis, 0] * per_length / 12, near[axis, 1] * per_length / 12
            slope[axis, 0], slope[axis, 1], slope[axis, 2] = -left, 8 * left - right, 8 * right
            slope[axis, 3], slope[axis, 4], slope[axis, 5] = -8 * left, left - 8 * right, right
            for m in range(6):
                index[axis, m] = (cell + m - 2) % mesh
        fx = fy = fz = np.float32(0.0)
        for b in range(2):
            for c in range(2):
                weight_x = near[1, b] * near[2, c]
                weight_y = near[0, b] * near[2, c]
                weight_z = near[0, b] * near[1, c]
                for m in range(6):
                    fx += weight_x * slope[0, m] * potential[index[0, m], index[1, 2 + b], index[2, 2 + c]]
                    fy += weight_y * slope[1, m] * potential[index[0, 2 + b], index[1, m], index[2, 2 + c]]
                    fz += weight_z * slope[2, m] * potential[index[0, 2 + b], index[1, 2 + c], index[2, m]]
        force[n, 0], force[n, 1], force[n, 2] = fx, fy, fz
    return force


@numba.njit(cache=True, nogil=True)
def moved(position: Array, momentum: Array, factor: float, box: float) -> Array:
    """Positions after a drift by `factor` times the momentum, wrapped into the box, (n, 3), Mpc/h."""
    out = np.empty_like(position)
    for n in range(position.shape[0]):
        for axis in range(3):
            out[n, axis] = (position[n, axis] + factor * momentum[n, axis]) % box
    return out


def _irfftn(modes: NDArray[np.complexfloating]) -> Array:
    """Inverse transform that may overwrite its input, to save memory."""
    return scipy.fft.irfftn(modes, overwrite_x=True)


@dataclass(frozen=True)
class MeshOps:
    """Deposit, gather, Fourier transforms, drift and cube root on one kind of array; `array` converts from NumPy."""

    deposit: Callable[[Any, float, int], Any] = deposit
    gather: Callable[[Any, Any, float], Any] = gather
    rfftn: Callable[[Any], Any] = scipy.fft.rfftn
    irfftn: Callable[[Any], Any] = _irfftn
    moved: Callable[[Any, Any, float, float], Any] = moved
    cbrt: Callable[[Any], Any] = np.cbrt
    array: Callable[[Array], Any] = np.asarray


def mesh_ops(backend: str) -> MeshOps:
    """Operations on the arrays of a backend, `numba` or `jax`."""
    if backend == "numba":
        return MeshOps()
    from analysis.simulations import jax_mesh

    return jax_mesh.mesh_ops()


def wavenumbers(box: float, mesh: int) -> tuple[Array, Array, Array]:
    """Wavenumbers along the three axes of an `rfftn`, h/Mpc, in shapes that broadcast."""
    full = 2 * np.pi / box * np.fft.fftfreq(mesh, 1 / mesh).astype(np.float32)
    half = 2 * np.pi / box * np.fft.rfftfreq(mesh, 1 / mesh).astype(np.float32)
    return full[:, None, None], full[None, :, None], half[None, None, :]


def shell_average(values: Array, *, box: float, edges: Array) -> Array:
    """Mean of `values`, on the grid of an `rfftn`, over the modes between `edges` (bins + 1, h/Mpc), (bins,)."""
    k = wavenumbers(box, values.shape[0])
    magnitude = np.sqrt(k[0] ** 2 + k[1] ** 2 + k[2] ** 2)
    copies = np.broadcast_to(np.where((k[2] == 0) | (k[2] == k[2].max()), 1.0, 2.0), values.shape)
    total, _ = np.histogram(magnitude, edges, weights=copies * values)
    modes, _ = np.histogram(magnitude, edges, weights=copies)
    return total / modes


def matter_power(position: Array, *, box: float, mesh: int, edges: Array) -> Array:
    """Power spectrum of the particles in bins of wavenumber, (bins,), (Mpc/h)^3, shot noise included.

    The cloud-in-cell window is divided out.

    Parameters
    ----------
    position : (n, 3), Mpc/h
    box : Mpc/h
    edges : (bins + 1,), h/Mpc
    """
    density = deposit(position, box, mesh) * np.float32(mesh**3 / len(position))
    power = np.abs(scipy.fft.rfftn(density)) ** 2 * (box**3 / float(mesh) ** 6)
    for k in wavenumbers(box, mesh):
        power /= np.sinc(k * box / (2 * np.pi * mesh)) ** 4
    return shell_average(power, box=box, edges=edges)
