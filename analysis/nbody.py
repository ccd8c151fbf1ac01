"""Particle-mesh N-body: from the linear power spectrum of a flat universe to the positions of dark matter.

Time is the scale factor a, H0 = 1; lengths are comoving Mpc/h. With E = H/H0 the momentum is p = a^3 E dx/da,
and the force F = -grad phi with laplacian(phi) = 3/2 Omega_m delta, so that dp/da = F / (a^2 E).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from analysis.expansion import Growth, drift_factor, kick_factor

Array = NDArray[np.floating]


@numba.njit(cache=True, nogil=True)
def deposit(position: Array, box: float, mesh: int) -> Array:
    """Counts of particles in cells, cloud-in-cell (serial: the sums keep their order).

    Parameters
    ----------
    position : (n, 3), Mpc/h
    box : side of the periodic box, Mpc/h

    Returns
    -------
    (mesh, mesh, mesh), particles a cell; cell centres at index * box / mesh
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


@numba.njit(cache=True, nogil=True)
def gather(potential: Array, position: Array, box: float) -> Array:
    """Minus the gradient of `potential` at the particles: fourth-order differences, cloud-in-cell.

    Parameters
    ----------
    potential : (mesh, mesh, mesh)
    position : (n, 3), Mpc/h
    box : side of the periodic box, Mpc/h

    Returns
    -------
    (n, 3), unit of `potential` / (Mpc/h)
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


def _rfftn(field: Array) -> NDArray[np.complexfloating]:
    return scipy.fft.rfftn(field)


def _irfftn(modes: NDArray[np.complexfloating]) -> Array:
    return scipy.fft.irfftn(modes, overwrite_x=True)


@dataclass(frozen=True)
class MeshOps:
    """The four operations between particles, mesh and Fourier space that a simulation spends its time in."""

    deposit: Callable[[Array, float, int], Array] = deposit
    gather: Callable[[Array, Array, float], Array] = gather
    rfftn: Callable[[Array], NDArray[np.complexfloating]] = _rfftn
    irfftn: Callable[[NDArray[np.complexfloating]], Array] = _irfftn


def wavenumbers(box: float, mesh: int) -> tuple[Array, Array, Array]:
    """Wavenumbers along the three axes of an `rfftn`, shaped to broadcast, h/Mpc."""
    full = 2 * np.pi / box * np.fft.fftfreq(mesh, 1 / mesh).astype(np.float32)
    half = 2 * np.pi / box * np.fft.rfftfreq(mesh, 1 / mesh).astype(np.float32)
    return full[:, None, None], full[None, :, None], half[None, None, :]


def linear_modes(
    wavenumber: Array,
    power: Array,
    *,
    box: float,
    mesh: int,
    rng: np.random.Generator,
    fixed_amplitude: bool = True,
) -> NDArray[np.complexfloating]:
    """Fourier modes (numpy's normalisation) of the linear density contrast today.

    With `fixed_amplitude` every |delta_k|^2 equals its mean and only the phases are random.

    Parameters
    ----------
    wavenumber : (n,), h/Mpc
    power : (n,), (Mpc/h)^3, linear power spectrum today
    box : Mpc/h
    mesh : cells a side

    Source: Angulo & Pontzen 2016 (MNRAS 462 L1).
    """
    modes = scipy.fft.rfftn(rng.standard_normal((mesh,) * 3, np.float32))
    if fixed_amplitude:
        modes /= np.maximum(np.abs(modes), np.finfo(np.float32).tiny)
    else:
        modes *= mesh**-1.5
    kx, ky, kz = wavenumbers(box, mesh)
    k = np.sqrt(kx**2 + ky**2 + kz**2)
    k[0, 0, 0] = wavenumber[0]
    modes *= np.exp(0.5 * np.interp(np.log(k), np.log(wavenumber), np.log(power / box**3))).astype(np.float32)
    modes *= np.float32(mesh) ** 3
    modes[0, 0, 0] = 0.0
    for axis in range(3):
        np.moveaxis(modes, axis, 0)[mesh // 2] = 0.0
    return modes


def displacements(modes: NDArray[np.complexfloating], box: float) -> tuple[Array, Array]:
    """First and second order Lagrangian displacements for growth factors of 1, on the lattice.

    psi1 = -grad phi1, laplacian(phi1) = delta;
    psi2 = -grad phi2, laplacian(phi2) = sum_{i<j} (phi1,ii phi1,jj - phi1,ij^2).

    Returns
    -------
    two arrays (mesh, mesh, mesh, 3), Mpc/h

    Source: Bouchet et al. 1995 (A&A 296 575), eqs. 23-26.
    """
    k = wavenumbers(box, modes.shape[0])
    inverse = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    inverse[0, 0, 0] = 1.0
    inverse = 1.0 / inverse

    def psi(source: NDArray[np.complexfloating]) -> Array:
        return np.stack([scipy.fft.irfftn(1j * k[i] * inverse * source) for i in range(3)], axis=-1)

    def tide(i: int, j: int) -> Array:
        return scipy.fft.irfftn(k[i] * k[j] * inverse * modes)

    xx, yy, zz = tide(0, 0), tide(1, 1), tide(2, 2)
    second = xx * yy + (xx + yy) * zz
    for i, j in ((0, 1), (0, 2), (1, 2)):
        second -= tide(i, j) ** 2
    return psi(modes), psi(scipy.fft.rfftn(second))


def initial_particles(
    modes: NDArray[np.complexfloating], box: float, growth: Growth, a: float, *, offset: float = 0.0
) -> tuple[Array, Array]:
    """Positions (Mpc/h) and momenta (H0 Mpc/h) of a lattice of particles displaced to second order at `a`.

    The lattice starts at `offset` (Mpc/h): half a cell off the points of the force mesh the weights of
    cloud-in-cell change smoothly with the displacement, on them they have a kink.
    """
    particles = modes.shape[0]
    first, second = displacements(modes, box)
    ln_a = np.log(a)
    momentum = growth.first_momentum(ln_a) * first + growth.second_momentum(ln_a) * second
    position = growth.first(ln_a) * first + growth.second(ln_a) * second
    lattice = np.arange(particles) * (box / particles) + offset
    for axis in range(3):
        position[..., axis] += np.expand_dims(lattice, [other for other in range(3) if other != axis])
    position = np.mod(position.reshape(-1, 3), box).astype(np.float32)
    return position, momentum.reshape(-1, 3).astype(np.float32)


def greens_function(box: float, mesh: int, omega_m: float, particles: int) -> Array:
    """Potential of unit density contrast in Fourier space, for counts in cells of `particles` in total.

    -3/2 Omega_m / k^2, over the mean count and the cloud-in-cell windows of deposit and gather, and smoothed by
    exp(-(k / 0.7 k_Nyquist)^4): without it the divided windows let the lattice of particles break up.
    """
    k_squared, window = 0.0, np.float32(particles / mesh**3)
    for k in wavenumbers(box, mesh):
        k_squared = k_squared + k**2
        window = window * np.sinc(k * np.float32(box / (2 * np.pi * mesh))) ** 4
    smoothing = np.exp(-((k_squared * np.float32((box / (0.7 * np.pi * mesh)) ** 2)) ** 2))
    k_squared[0, 0, 0] = np.inf
    return np.float32(-1.5 * omega_m) * smoothing / (k_squared * window)


@numba.njit(cache=True, nogil=True)
def moved(position: Array, momentum: Array, factor: float, box: float) -> Array:
    """Positions after a drift, wrapped into the box, (n, 3), Mpc/h."""
    out = np.empty_like(position)
    for n in range(position.shape[0]):
        for axis in range(3):
            out[n, axis] = (position[n, axis] + factor * momentum[n, axis]) % box
    return out


def evolve(
    modes: NDArray[np.complexfloating],
    *,
    box: float,
    growth: Growth,
    scale_factors: Sequence[float],
    mesh: int,
    steps: int,
    start_redshift: float,
    ops: MeshOps | None = None,
) -> Iterator[tuple[float, Array]]:
    """Positions of the particles at each of `scale_factors`.

    Leapfrog (kick half a step, drift, kick half a step), steps equal in a, from a second-order start to the
    last scale factor asked for; positions inside a step lie on the drift of that step.

    Parameters
    ----------
    modes : rfftn of the linear density contrast today on the particle lattice (`linear_modes`)
    box : Mpc/h
    scale_factors : increasing, not before the start
    mesh : cells a side of the force mesh

    Yields
    ------
    scale factor, positions (n, 3) in Mpc/h

    Source: Feng et al. 2016 (MNRAS 463 2273).
    """
    ops = ops or MeshOps()
    times = np.linspace(1 / (1 + start_redshift), scale_factors[-1], steps + 1)
    middles = 0.5 * (times[1:] + times[:-1])
    position, momentum = initial_particles(modes, box, growth, times[0], offset=0.5 * box / mesh)
    kernel = greens_function(box, mesh, growth.omega_m, len(position))
    kicked_to = times[0]
    wanted = list(scale_factors)
    for now, middle, after in zip(times[:-1], middles, times[1:], strict=True):
        potential = ops.irfftn(kernel * ops.rfftn(ops.deposit(position, box, mesh)))
        momentum += np.float32(kick_factor(growth, kicked_to, middle, now)) * ops.gather(potential, position, box)
        kicked_to = middle
        while wanted and wanted[0] <= after:
            a = wanted.pop(0)
            yield a, moved(position, momentum, drift_factor(growth, now, a, middle), box)
        position = moved(position, momentum, drift_factor(growth, now, after, middle), box)


def shell_average(values: Array, *, box: float, edges: Array) -> Array:
    """Mean over all modes between `edges` (bins + 1, h/Mpc) of `values`, on the grid of an `rfftn`, (bins,)."""
    k = wavenumbers(box, values.shape[0])
    magnitude = np.sqrt(k[0] ** 2 + k[1] ** 2 + k[2] ** 2)
    copies = np.broadcast_to(np.where((k[2] == 0) | (k[2] == k[2].max()), 1.0, 2.0), values.shape)
    total, _ = np.histogram(magnitude, edges, weights=copies * values)
    modes, _ = np.histogram(magnitude, edges, weights=copies)
    return total / modes


def matter_power(position: Array, *, box: float, mesh: int, edges: Array, subtract_shot_noise: bool = False) -> Array:
    """Power spectrum of the particles in bins of wavenumber, the cloud-in-cell window divided out.

    Parameters
    ----------
    position : (n, 3), Mpc/h
    box : Mpc/h
    edges : (bins + 1,), h/Mpc

    Returns
    -------
    (bins,), (Mpc/h)^3
    """
    density = deposit(position, box, mesh) * np.float32(mesh**3 / len(position))
    power = np.abs(scipy.fft.rfftn(density)) ** 2 * (box**3 / float(mesh) ** 6)
    for k in wavenumbers(box, mesh):
        power /= np.sinc(k * box / (2 * np.pi * mesh)) ** 4
    shot_noise = box**3 / len(position) if subtract_shot_noise else 0.0
    return shell_average(power, box=box, edges=edges) - shot_noise


def coarse_modes(modes: NDArray[np.complexfloating], mesh: int) -> NDArray[np.complexfloating]:
    """The part of `modes` that a lattice of `mesh` particles a side carries."""
    kept = np.r_[0 : mesh // 2, -(mesh // 2) : 0]
    coarse = modes[np.ix_(kept, kept, np.arange(mesh // 2 + 1))] * np.float32((mesh / modes.shape[0]) ** 3)
    for axis in range(3):
        np.moveaxis(coarse, axis, 0)[mesh // 2] = 0.0
    return coarse


def representative_modes(
    wavenumber: Array,
    power: Array,
    nonlinear_power: Array,
    *,
    box: float,
    mesh: int,
    growth: Growth,
    candidates: int,
    rng: np.random.Generator,
) -> NDArray[np.complexfloating]:
    """Linear modes whose evolved power today is the closest to the mean expected, of several drawn.

    Few waves as long as the box decide whether all of it clusters more or less than the universe does: even
    at fixed amplitude the power of 128 Mpc/h boxes scatters by 8 per cent for k > 0.2 h/Mpc. A run of
    half the resolution ranks them to better than half a per cent, at a twentieth of the cost.

    Parameters
    ----------
    wavenumber : (n,), h/Mpc
    power, nonlinear_power : (n,), (Mpc/h)^3, today
    candidates : phases drawn; 1 takes the first as it comes

    Source: the practice of Vogelsberger et al. 2014 (MNRAS 444 1518) and Pillepich et al. 2018 (MNRAS 475 648).
    """
    edges, coarse = np.geomspace(max(0.2, 2 * np.pi / box), 0.6, 3), mesh // 2
    magnitude = np.sqrt(sum(k**2 for k in wavenumbers(box, mesh)))
    expected = np.exp(
        np.interp(np.log(np.maximum(magnitude, wavenumber[0])), np.log(wavenumber), np.log(nonlinear_power))
    )
    expected = shell_average(expected, box=box, edges=edges)
    best, best_departure = None, np.inf
    for child in rng.spawn(candidates):
        modes = linear_modes(wavenumber, power, box=box, mesh=mesh, rng=child)
        if candidates == 1:
            return modes
        trial = evolve(
            coarse_modes(modes, coarse),
            box=box, growth=growth, scale_factors=[1.0], mesh=mesh, steps=15, start_redshift=9.0,
        )  # fmt: skip
        measured = matter_power(next(trial)[1], box=box, mesh=mesh, edges=edges)
        departure = abs(np.mean(np.log(measured / expected)))
        if departure < best_departure:
            best, best_departure = modes, departure
    return best
