"""Particle-mesh N-body: from the linear power spectrum of a flat universe to the positions of dark matter.

Time is the scale factor a, H0 = 1; lengths are comoving Mpc/h. With E = H/H0 the momentum is p = a^3 E dx/da, and the
force F = -grad phi with laplacian(phi) = 3/2 Omega_m delta, so that dp/da = F / (a^2 E).

Read in order: initial conditions (`linear_modes` to `initial_particles`), `evolve`, and `descended`, which sharpens
halos that the force mesh left too wide.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from analysis.core.progress import progress
from analysis.params import DescentParams
from analysis.simulations.mesh import Array, MeshOps, wavenumbers
from analysis.simulations.theory import Growth, drift_factor, kick_factor

Modes = NDArray[np.complexfloating]


def linear_modes(
    wavenumber: Array,
    power: Array,
    *,
    box: float,
    mesh: int,
    rng: np.random.Generator,
    opposite: bool = False,
) -> Modes:
    """Fourier modes (numpy's normalisation) of the linear density contrast today.

    Every |delta_k|^2 equals its mean, and only the phases are random. A box of opposite phases has the voids of its
    pair where that has the clusters: what the two are off the mean by chance cancels to first order.

    Parameters
    ----------
    wavenumber : (n,), h/Mpc
    power : (n,), (Mpc/h)^3, linear power spectrum today
    box : Mpc/h
    mesh : cells a side
    opposite : whether all modes change their sign

    Source: Angulo & Pontzen 2016 (MNRAS 462 L1).
    """
    modes = scipy.fft.rfftn(rng.standard_normal((mesh,) * 3, np.float32))
    modes /= np.maximum(np.abs(modes), np.finfo(np.float32).tiny)
    kx, ky, kz = wavenumbers(box, mesh)
    k = np.sqrt(kx**2 + ky**2 + kz**2)
    k[0, 0, 0] = wavenumber[0]
    modes *= np.exp(0.5 * np.interp(np.log(k), np.log(wavenumber), np.log(power / box**3))).astype(np.float32)
    modes *= np.float32(-1 if opposite else 1) * np.float32(mesh) ** 3
    modes[0, 0, 0] = 0.0
    return _without_nyquist(modes, mesh)


def _without_nyquist(modes: Modes, mesh: int) -> Modes:
    """The modes, with those at the Nyquist wavenumber set to zero in place."""
    for axis in range(3):
        np.moveaxis(modes, axis, 0)[mesh // 2] = 0.0
    return modes


def displacements(modes: Modes, box: float) -> tuple[Array, Array]:
    """First and second order Lagrangian displacements for growth factors of 1, (mesh, mesh, mesh, 3) each, Mpc/h.

    psi1 = -grad phi1, laplacian(phi1) = delta;
    psi2 = -grad phi2, laplacian(phi2) = sum_{i<j} (phi1,ii phi1,jj - phi1,ij^2).

    Source: Bouchet et al. 1995 (A&A 296 575), eqs. 23-26.
    """
    k = wavenumbers(box, modes.shape[0])
    inverse = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    inverse[0, 0, 0] = 1.0
    inverse = 1.0 / inverse

    def psi(source: Modes) -> Array:
        return np.stack([scipy.fft.irfftn(1j * k[i] * inverse * source) for i in range(3)], axis=-1)

    def tide(i: int, j: int) -> Array:
        return scipy.fft.irfftn(k[i] * k[j] * inverse * modes)

    xx, yy, zz = tide(0, 0), tide(1, 1), tide(2, 2)
    second = xx * yy + (xx + yy) * zz
    for i, j in ((0, 1), (0, 2), (1, 2)):
        second -= tide(i, j) ** 2
    return psi(modes), psi(scipy.fft.rfftn(second))


def initial_particles(
    modes: Modes, box: float, growth: Growth, a: float, *, offset: float = 0.0
) -> tuple[Array, Array]:
    """Positions (Mpc/h) and momenta (H0 Mpc/h) of a particle lattice displaced to second order at `a`, (n, 3) each.

    The lattice starts at `offset` (Mpc/h). Half a cell away from the points of the force mesh, cloud-in-cell weights
    change smoothly with the displacement; on the points they have a kink.
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

    -3/2 Omega_m / k^2, divided by the mean count and the cloud-in-cell windows of deposit and gather, and smoothed by
    exp(-(k / 0.7 k_Nyquist)^4). Without the smoothing the divided windows make the particle lattice break up.
    """
    k_squared, window = _k_squared_and_window(box, mesh, 4, np.float32(particles / mesh**3))
    smoothing = np.exp(-((k_squared * np.float32((box / (0.7 * np.pi * mesh)) ** 2)) ** 2))
    k_squared[0, 0, 0] = np.inf
    return np.float32(-1.5 * omega_m) * smoothing / (k_squared * window)


def _k_squared_and_window(box: float, mesh: int, exponent: int, scale: np.float32) -> tuple[Array, Array]:
    """k^2 of every mode, and `scale` times the cloud-in-cell window sinc(k / 2 k_Nyquist)^exponent of all axes."""
    k_squared, window = 0.0, scale
    for k in wavenumbers(box, mesh):
        k_squared = k_squared + k**2
        window = window * np.sinc(k * np.float32(box / (2 * np.pi * mesh))) ** exponent
    return k_squared, window


def evolve(
    modes: Modes,
    *,
    box: float,
    growth: Growth,
    scale_factors: Sequence[float],
    mesh: int,
    steps: int,
    start_redshift: float,
    ops: MeshOps | None = None,
) -> Iterator[tuple[float, Array]]:
    """Yield each of `scale_factors` with the positions of the particles there, (n, 3), Mpc/h, on arrays of `ops`.

    Leapfrog (kick half a step, drift, kick half a step) from a second-order start to the last scale factor, with
    steps equal in a. Positions inside a step lie on the drift of that step.

    Parameters
    ----------
    modes : rfftn of the linear density contrast today on the particle lattice (`linear_modes`)
    box : Mpc/h
    scale_factors : increasing, not before the start
    mesh : cells a side of the force mesh
    ops : array operations; numba and scipy by default

    Source: Feng et al. 2016 (MNRAS 463 2273).
    """
    ops = ops or MeshOps()
    times = np.linspace(1 / (1 + start_redshift), scale_factors[-1], steps + 1)
    middles = 0.5 * (times[1:] + times[:-1])
    particles = initial_particles(modes, box, growth, times[0], offset=0.5 * box / mesh)
    position, momentum = (ops.array(values) for values in particles)
    kernel = ops.array(greens_function(box, mesh, growth.omega_m, len(position)))
    kicked_to = times[0]
    wanted, advance = list(scale_factors), progress("steps of an N-body box", steps)
    for before, middle, after in zip(times[:-1], middles, times[1:], strict=True):
        potential = ops.irfftn(kernel * ops.rfftn(ops.deposit(position, box, mesh)))
        kick = np.float32(kick_factor(growth, kicked_to, middle, before))
        momentum = momentum + kick * ops.gather(potential, position, box)
        kicked_to = middle
        while wanted and wanted[0] <= after:
            a = wanted.pop(0)
            yield a, ops.moved(position, momentum, drift_factor(growth, before, a, middle), box)
        position = ops.moved(position, momentum, drift_factor(growth, before, after, middle), box)
        advance()


def descent_kernel(box: float, mesh: int, *, settings: DescentParams) -> Array:
    """Filtered potential of a unit source in Fourier space, for `descended`.

    -exp(-(k_long / k)^2) exp(-(k / k_short)^4) / k^2, divided by the cloud-in-cell window of gather. Scales longer
    than 1 / k_long stay as the forces made them. k_short is the Nyquist wavenumber of the mesh: left free, fits
    only increased it until it had no effect.

    Source: Dai, Feng & Seljak 2018 (JCAP 11 009), eqs. 3.1-3.3.
    """
    k_short = np.pi * mesh / box
    k_squared, window = _k_squared_and_window(box, mesh, 2, np.float32(1))
    k_squared[0, 0, 0] = 1.0
    kernel = -np.exp(-np.float32(settings.k_long**2) / k_squared - (k_squared / np.float32(k_short**2)) ** 2)
    kernel /= k_squared * window
    kernel[0, 0, 0] = 0.0
    return kernel


def descended(position: Any, kernel: Any, *, a: float, box: float, settings: DescentParams, ops: MeshOps) -> Any:
    """Particles moved down the gradient of a filtered potential, (n, 3), Mpc/h.

    x -> x - amplitude a^growth grad phi, laplacian(phi) = filtered (1 + delta)^(1/3).

    A particle mesh resolves no force below its cells, so halos come out too wide and power is missing on these scales.
    This step contracts them. The cube root of the density is the source, because with the density itself the largest
    halos would get twice their mass within 0.2 Mpc/h before the power is right. `make descent` fits the settings.

    Parameters
    ----------
    position : (n, 3), Mpc/h
    kernel : of `descent_kernel`, on the mesh of the forces
    a : scale factor

    Source: Dai & Seljak 2021 (PNAS 118 e2020324118), eq. 1.
    """
    mesh = kernel.shape[0]
    density = ops.deposit(position, box, mesh) * np.float32(mesh**3 / len(position))
    potential = ops.irfftn(kernel * ops.rfftn(ops.cbrt(density)))
    return ops.moved(position, ops.gather(potential, position, box), settings.amplitude * a**settings.growth, box)
