"""Leapfrog through time, and the phases worth evolving."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.core.progress import progress, within
from analysis.simulations.expansion import Growth, drift_factor, kick_factor
from analysis.simulations.nbody.initial import coarse_modes, initial_particles, linear_modes
from analysis.simulations.nbody.mesh import Array, MeshOps, matter_power, shell_average, wavenumbers

TRIAL_PARTICLES = 64  # a side, of the runs that rank phases


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
    ops : the arithmetic; numba and scipy by default

    Yields
    ------
    scale factor, positions (n, 3) in Mpc/h, on the arrays of `ops`

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
    64 particles a side ranks them to better than half a per cent, at a twentieth of the cost or less.

    Parameters
    ----------
    wavenumber : (n,), h/Mpc
    power, nonlinear_power : (n,), (Mpc/h)^3, today
    candidates : phases drawn; 1 takes the first as it comes

    Source: the practice of Vogelsberger et al. 2014 (MNRAS 444 1518) and Pillepich et al. 2018 (MNRAS 475 648).
    """
    edges, coarse = np.geomspace(max(0.2, 2 * np.pi / box), 0.6, 3), min(mesh // 2, TRIAL_PARTICLES)
    magnitude = np.sqrt(sum(k**2 for k in wavenumbers(box, mesh)))
    expected = np.exp(
        np.interp(np.log(np.maximum(magnitude, wavenumber[0])), np.log(wavenumber), np.log(nonlinear_power))
    )
    expected = shell_average(expected, box=box, edges=edges)
    best, best_departure, advance = None, np.inf, progress("phases of an N-body box", candidates)
    for child in rng.spawn(candidates):
        modes = linear_modes(wavenumber, power, box=box, mesh=mesh, rng=child)
        if candidates == 1:
            return modes
        trial = evolve(
            coarse_modes(modes, coarse),
            box=box, growth=growth, scale_factors=[1.0], mesh=2 * coarse, steps=15, start_redshift=9.0,
        )  # fmt: skip
        with within(advance):
            position = next(trial)[1]
        measured = matter_power(position, box=box, mesh=2 * coarse, edges=edges)
        departure = abs(np.mean(np.log(measured / expected)))
        if departure < best_departure:
            best, best_departure = modes, departure
    return best
