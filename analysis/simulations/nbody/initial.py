"""Initial conditions: linear modes, Lagrangian displacements to second order, the particles they move."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from analysis.simulations.expansion import Growth
from analysis.simulations.nbody.mesh import Array, wavenumbers


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


def coarse_modes(modes: NDArray[np.complexfloating], mesh: int) -> NDArray[np.complexfloating]:
    """The part of `modes` that a lattice of `mesh` particles a side carries."""
    kept = np.r_[0 : mesh // 2, -(mesh // 2) : 0]
    coarse = modes[np.ix_(kept, kept, np.arange(mesh // 2 + 1))] * np.float32((mesh / modes.shape[0]) ** 3)
    for axis in range(3):
        np.moveaxis(coarse, axis, 0)[mesh // 2] = 0.0
    return coarse
