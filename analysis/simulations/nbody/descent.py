"""Descent down a potential: halos that the force mesh left too wide contract to the profile they should have.

A particle mesh resolves no force below its cells, so halos come out puffed up and power is missing from a
few cells' length downwards. One more displacement of the particles, along the gradient of a potential of these scales
alone, puts it back. The potential's source is the cube root of the density: with the density itself the largest halos
contract to twice the mass that they should have within 0.2 Mpc/h before the power is right, for what
is missing of a halo grows slower than its mass. The few numbers were fitted once (`descent_fit`) and stand in
params.yaml.
"""

from typing import Any, Protocol

import numpy as np

from analysis.simulations.nbody.mesh import Array, MeshOps, wavenumbers


class DescentSettings(Protocol):
    """What `descended` wants to know: `simulations.nbody.descent` of params.yaml has it."""

    amplitude: float
    growth: float
    k_long: float


def descent_kernel(box: float, mesh: int, *, settings: DescentSettings) -> Array:
    """Filtered potential of a unit source in Fourier space.

    -exp(-(k_long / k)^2) exp(-(k / k_short)^4) / k^2, over the cloud-in-cell window of gather. What is longer than
    1 / k_long stays as the forces made it; k_short is the mesh's Nyquist wavenumber, for fits left free to choose it
    only ever took it away.

    Source: Dai, Feng & Seljak 2018 (JCAP 11 009), eqs. 3.1-3.3.
    """
    k_squared, window = 0.0, np.float32(1)
    k_short = np.pi * mesh / box
    for k in wavenumbers(box, mesh):
        k_squared = k_squared + k**2
        window = window * np.sinc(k * np.float32(box / (2 * np.pi * mesh))) ** 2
    k_squared[0, 0, 0] = 1.0
    kernel = -np.exp(-np.float32(settings.k_long**2) / k_squared - (k_squared / np.float32(k_short**2)) ** 2)
    kernel /= k_squared * window
    kernel[0, 0, 0] = 0.0
    return kernel


def descended(position: Any, kernel: Any, *, a: float, box: float, settings: DescentSettings, ops: MeshOps) -> Any:
    """Particles moved down the gradient of a filtered potential.

    x -> x - amplitude a^growth grad phi, laplacian(phi) = filtered (1 + delta)^(1/3).

    Parameters
    ----------
    position : (n, 3), Mpc/h
    kernel : of `descent_kernel`, on the mesh of the forces
    a : scale factor

    Returns
    -------
    (n, 3), Mpc/h

    Source: Dai & Seljak 2021 (PNAS 118 e2020324118), eq. 1.
    """
    mesh = kernel.shape[0]
    density = ops.deposit(position, box, mesh) * np.float32(mesh**3 / len(position))
    potential = ops.irfftn(kernel * ops.rfftn(ops.cbrt(density)))
    return ops.moved(position, ops.gather(potential, position, box), settings.amplitude * a**settings.growth, box)
