"""Growth, forces and particles of the N-body simulation against analytic physics and CAMB."""

import dataclasses

import numpy as np
import pytest
import scipy.fft
from scipy.special import hyp2f1

from analysis.params import DescentParams, load_params
from analysis.simulations.mesh import MeshOps, deposit, gather, matter_power, mesh_ops, shell_average, wavenumbers
from analysis.simulations.nbody import (
    descended,
    descent_kernel,
    displacements,
    evolve,
    greens_function,
    initial_particles,
    linear_modes,
)
from analysis.simulations.theory import comoving_distance, drift_factor, growth_factors, kick_factor, matter_tables

OMEGA_M = 0.3
GROWTH = growth_factors(OMEGA_M)
WAVENUMBER = np.geomspace(1e-3, 30, 200)
POWER = 2e4 * WAVENUMBER / 0.02 / (1 + (WAVENUMBER / 0.02) ** 2) ** 1.3


@pytest.fixture(scope="module")
def matter():
    return matter_tables(load_params().theory)


def plane_wave(amplitude, n, axis, mesh):
    """Density contrast amplitude * cos(2 pi n x / box) along an axis, (mesh, mesh, mesh), float32."""
    wave = amplitude * np.cos(2 * np.pi * n * np.arange(mesh) / mesh)
    shape = [mesh if other == axis else 1 for other in range(3)]
    return np.broadcast_to(wave.reshape(shape), (mesh,) * 3).astype(np.float32)


def final_positions(modes, box, mesh, steps=10, start_redshift=9.0, scale_factors=(1.0,)):
    *_, (_, position) = evolve(
        modes,
        box=box,
        growth=GROWTH,
        scale_factors=scale_factors,
        mesh=mesh,
        steps=steps,
        start_redshift=start_redshift,
    )
    return position


def test_growth_in_a_universe_of_matter_is_the_scale_factor():
    growth, a = growth_factors(1.0), np.array([0.01, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(growth.first(np.log(a)), a, rtol=1e-6)
    np.testing.assert_allclose(growth.second(np.log(a)), 3 / 7 * a**2, rtol=1e-6)
    np.testing.assert_allclose(growth.first_momentum(np.log(a)), a**1.5, rtol=1e-6)
    np.testing.assert_allclose(growth.second_momentum(np.log(a)), 6 / 7 * a**2.5, rtol=1e-6)


def test_growth_with_a_cosmological_constant_is_the_hypergeometric_function():
    a = np.array([0.05, 0.2, 0.5, 0.8, 1.0])
    exact = a * hyp2f1(1 / 3, 1, 11 / 6, -(a**3) * (1 - OMEGA_M) / OMEGA_M)
    np.testing.assert_allclose(GROWTH.first(np.log(a)), exact / exact[-1], rtol=1e-6)


def test_comoving_distance_in_a_universe_of_matter():
    z = np.array([0.1, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(comoving_distance(z, 1.0), 2 * 2997.92458 * (1 - (1 + z) ** -0.5), rtol=1e-5)


def test_kick_and_drift_factors_in_a_universe_of_matter():
    growth = growth_factors(1.0)
    assert drift_factor(growth, 0.2, 0.3, 0.25) == pytest.approx(0.1 / 0.25**1.5, rel=1e-5)
    assert kick_factor(growth, 0.2, 0.3, 0.25) == pytest.approx((0.3**1.5 - 0.2**1.5) / (1.5 * 0.25), rel=1e-5)


def test_deposit_puts_a_particle_into_its_cell():
    count = deposit(np.array([[3.0, 5.0, 7.0]], np.float32), 8.0, 8)
    assert count[3, 5, 7] == 1
    assert count.sum() == 1


def test_deposit_shares_a_particle_between_cells_across_the_border():
    count = deposit(np.array([[7.75, 0.0, 2.0]], np.float32), 8.0, 8)
    assert count[7, 0, 2] == pytest.approx(0.25)
    assert count[0, 0, 2] == pytest.approx(0.75)


def test_deposit_conserves_mass():
    position = np.random.default_rng(1).uniform(0, 50, (5000, 3)).astype(np.float32)
    assert deposit(position, 50.0, 16).sum(dtype=float) == pytest.approx(5000, rel=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_force_of_a_plane_wave(axis):
    box, mesh, n = 64.0, 32, 2
    k = 2 * np.pi * n / box
    count = 1 + plane_wave(0.1, n, axis, mesh)
    modes = greens_function(box, mesh, OMEGA_M, mesh**3) * scipy.fft.rfftn(count)
    potential = scipy.fft.irfftn(modes)
    lattice = np.stack(np.meshgrid(*[np.arange(mesh) * box / mesh] * 3, indexing="ij"), -1).reshape(-1, 3)
    force = gather(potential, lattice.astype(np.float32), box)
    exact = np.zeros_like(force)
    exact[:, axis] = -1.5 * OMEGA_M * 0.1 / k * np.sin(k * lattice[:, axis]) / np.sinc(n / mesh) ** 4
    np.testing.assert_allclose(force, exact, atol=2e-3 * np.abs(exact).max())


def test_forces_between_particles_sum_to_zero():
    box, mesh = 50.0, 32
    position = (np.random.default_rng(2).uniform(0, box, (4000, 3)) ** 2 / box).astype(np.float32)
    modes = greens_function(box, mesh, OMEGA_M, 4000) * scipy.fft.rfftn(deposit(position, box, mesh))
    force = gather(scipy.fft.irfftn(modes), position, box).astype(float)
    assert np.all(np.abs(force.sum(0)) < 1e-5 * np.abs(force).sum(0))


def test_modes_have_exactly_the_power_asked_for():
    box, mesh = 200.0, 16
    modes = linear_modes(WAVENUMBER, POWER, box=box, mesh=mesh, rng=np.random.default_rng(3))
    k = np.sqrt(sum(axis**2 for axis in wavenumbers(box, mesh)))
    inside = np.abs(modes) > 0
    expected = np.exp(np.interp(np.log(k[inside]), np.log(WAVENUMBER), np.log(POWER)))
    np.testing.assert_allclose(np.abs(modes[inside]) ** 2 * box**3 / mesh**6, expected, rtol=1e-4)
    assert inside.sum() == 15 * 15 * 8 - 1
    np.testing.assert_allclose(scipy.fft.rfftn(scipy.fft.irfftn(modes)), modes, atol=1e-5 * np.abs(modes).max())


def test_second_order_displacement_of_crossed_waves():
    box, mesh, n, amplitude = 60.0, 16, 1, 0.2
    k = 2 * np.pi * n / box
    modes = scipy.fft.rfftn(plane_wave(amplitude, n, 0, mesh) + plane_wave(amplitude, n, 1, mesh))
    first, second = displacements(modes, box)
    x = np.arange(mesh) * box / mesh
    exact_first = -amplitude / k * np.sin(k * x)
    exact = -(amplitude**2) / (2 * k) * np.sin(k * x)[:, None] * np.cos(k * x)
    np.testing.assert_allclose(first[:, 0, 0, 0], exact_first, atol=1e-4 * amplitude / k)
    np.testing.assert_allclose(second[:, :, 0, 0], exact, atol=1e-4 * amplitude**2 / k)
    np.testing.assert_allclose(second[:, :, 0, 1], exact.T, atol=1e-4 * amplitude**2 / k)


def test_a_wave_along_the_diagonal_has_no_second_order():
    x = 2 * np.pi * np.arange(16) / 16
    density = np.broadcast_to(np.cos(x[:, None, None] + x[:, None]), (16,) * 3).astype(np.float32)
    first, second = displacements(scipy.fft.rfftn(density), 60.0)
    assert np.abs(second).max() < 1e-5 * np.abs(first).max()


def test_a_plane_wave_follows_zeldovich_until_it_breaks():
    box, particles, n, amplitude = 64.0, 32, 1, 0.5
    modes = scipy.fft.rfftn(plane_wave(amplitude, n, 2, particles))
    k = 2 * np.pi * n / box
    lattice = (np.arange(particles) + 0.25) * box / particles
    position = final_positions(modes, box, 64, steps=8).reshape(particles, particles, particles, 3)
    # the wave's crest lies on the first particle
    moved = -amplitude / k * np.sin(k * (lattice - lattice[0]))
    np.testing.assert_allclose(position[3, 4, :, 2] - lattice, moved, atol=0.015 * amplitude / k)
    np.testing.assert_allclose(position[:, 4, 3, 0], lattice, atol=1e-3)


def test_large_scales_grow_linearly():
    box, mesh = 500.0, 32
    faint = 1e-4 * POWER
    modes = linear_modes(WAVENUMBER, faint, box=box, mesh=mesh, rng=np.random.default_rng(5))
    edges = np.array([0.011, 0.03, 0.06])
    target = shell_average(np.abs(modes) ** 2 * box**3 / mesh**6, box=box, edges=edges)
    snapshots = evolve(
        modes,
        box=box,
        growth=GROWTH,
        scale_factors=[0.5, 1.0],
        mesh=2 * mesh,
        steps=10,
        start_redshift=9.0,
    )
    for a, position in snapshots:
        power = matter_power(position, box=box, mesh=2 * mesh, edges=edges)
        np.testing.assert_allclose(power / target, GROWTH.first(np.log(a)) ** 2, rtol=0.02)


def test_start_is_displaced_by_both_orders():
    box = 100.0
    modes = linear_modes(WAVENUMBER, POWER, box=box, mesh=16, rng=np.random.default_rng(6))
    first, second = (psi.reshape(-1, 3) for psi in displacements(modes, box))
    position, momentum = initial_particles(modes, box, GROWTH, 0.1)
    lattice = np.stack(np.meshgrid(*[np.arange(16) * box / 16] * 3, indexing="ij"), -1).reshape(-1, 3)
    moved = (position - lattice + box / 2) % box - box / 2
    ln_a = np.log(0.1)
    np.testing.assert_allclose(moved, GROWTH.first(ln_a) * first + GROWTH.second(ln_a) * second, atol=1e-4)
    before, after = (initial_particles(modes, box, GROWTH, a)[0] for a in (0.098, 0.102))
    velocity = ((after - before + box / 2) % box - box / 2) / 0.004
    exact = 0.1**3 * np.sqrt(OMEGA_M / 0.1**3 + 1 - OMEGA_M) * velocity
    np.testing.assert_allclose(momentum, exact, atol=2e-3 * np.abs(exact).max())


def test_same_seed_same_bits():
    def run(seed, scale_factors):
        modes = linear_modes(WAVENUMBER, POWER, box=64.0, mesh=16, rng=np.random.default_rng(seed))
        return final_positions(modes, 64.0, 32, scale_factors=scale_factors)

    first = run(7, (1.0,))
    assert np.array_equal(first, run(7, (1.0,)))
    assert np.array_equal(first, run(7, (0.3, 0.55, 1.0))), "snapshots on the way must not change the run"
    assert not np.array_equal(first, run(8, (1.0,)))


def test_power_of_scattered_particles_is_shot_noise():
    position = np.random.default_rng(9).uniform(0, 100, (20000, 3)).astype(np.float32)
    bins = {"box": 100.0, "mesh": 32, "edges": np.array([0.1, 0.4])}
    noise = 100.0**3 / 20000
    assert matter_power(position, **bins)[0] == pytest.approx(noise, rel=0.1)


def test_opposite_phases_change_every_sign_and_no_amplitude():
    settings = {"box": 96.0, "mesh": 16}
    one, other = (
        linear_modes(WAVENUMBER, POWER, **settings, rng=np.random.default_rng(10), opposite=opposite)
        for opposite in (False, True)
    )
    np.testing.assert_array_equal(other, -one)


def test_nonlinear_power_is_that_of_halofit(matter):
    """A pair of boxes of 128 Mpc/h with an eighth of the default's particles; resolution costs 2 and 6 per cent."""
    box, particles, mesh = 128.0, 64, 128
    k, linear, halofit = (np.asarray(matter[name]) for name in ("k", "linear", "halofit"))
    edges = np.array([0.2, 0.33, 0.544, 0.897])
    powers = []
    for opposite in (False, True):
        modes = linear_modes(k, linear, box=box, mesh=particles, rng=np.random.default_rng(11), opposite=opposite)
        position = final_positions(modes, box, mesh, steps=20)
        powers.append(matter_power(position, box=box, mesh=mesh, edges=edges))
    magnitude = np.sqrt(sum(axis**2 for axis in wavenumbers(box, mesh)))
    expected = np.exp(np.interp(np.log(np.maximum(magnitude, k[0])), np.log(k), np.log(halofit)))
    np.testing.assert_allclose(np.mean(powers, axis=0) / shell_average(expected, box=box, edges=edges), 1, atol=0.1)


DESCENT = DescentParams(amplitude=0.3, growth=1.0, k_long=0.3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_descent_moves_particles_towards_the_crests_of_its_scales(axis):
    """On a faint plane wave: amplitude a / 3k sin(k x) through both filters, as (1 + d)^(1/3) is 1 + d / 3."""
    box, mesh, n, a = 64.0, 32, 4, 0.5
    k = 2 * np.pi * n / box
    kernel = descent_kernel(box, mesh, settings=DESCENT)
    cells = np.stack(np.meshgrid(*[np.arange(mesh) * box / mesh] * 3, indexing="ij"), -1).reshape(-1, 3)
    ops = MeshOps(deposit=lambda *_: 1 + plane_wave(0.02, n, axis, mesh))
    moved = descended(cells.astype(np.float32), kernel, a=a, box=box, settings=DESCENT, ops=ops) - cells
    moved = (moved + box / 2) % box - box / 2
    filters = np.exp(-((0.3 / k) ** 2) - (2 * n / mesh) ** 4) / np.sinc(n / mesh) ** 2
    exact = np.zeros_like(moved)
    exact[:, axis] = -0.3 * a / 3 * 0.02 / k * np.sin(k * cells[:, axis]) * filters
    np.testing.assert_allclose(moved, exact, atol=0.02 * np.abs(exact).max())


def test_descent_leaves_large_scales():
    box, mesh = 64.0, 32
    modes = linear_modes(WAVENUMBER, POWER, box=box, mesh=16, rng=np.random.default_rng(12))
    position = final_positions(modes, box, mesh)
    strong = dataclasses.replace(DESCENT, amplitude=1.0, k_long=0.45)
    kernel = descent_kernel(box, mesh, settings=strong)
    after = descended(position, kernel, a=1.0, box=box, settings=strong, ops=MeshOps())
    edges = np.array([0.09, 0.2, 1.0, 1.5])
    before, sharp = (matter_power(p, box=box, mesh=mesh, edges=edges) for p in (position, after))
    assert sharp[0] / before[0] == pytest.approx(1, abs=0.02)
    assert sharp[2] / before[2] > 1.03


def test_jax_moves_particles_as_numba_does():
    box, mesh = 64.0, 32
    modes = linear_modes(WAVENUMBER, POWER, box=box, mesh=16, rng=np.random.default_rng(13))
    kernel = descent_kernel(box, mesh, settings=DESCENT)
    edges = np.array([0.09, 0.2, 0.4, 0.8, 1.5])
    powers = []
    for backend in ("numba", "jax"):
        ops = mesh_ops(backend)
        run = {"box": box, "growth": GROWTH, "mesh": mesh, "steps": 10, "start_redshift": 9.0}
        (_, position), *_ = evolve(modes, **run, scale_factors=[1.0], ops=ops)
        sharp = descended(position, ops.array(kernel), a=1.0, box=box, settings=DESCENT, ops=ops)
        powers += [matter_power(np.asarray(p), box=box, mesh=mesh, edges=edges) for p in (position, sharp)]
    np.testing.assert_allclose(powers[2], powers[0], rtol=1e-3)
    np.testing.assert_allclose(powers[3], powers[1], rtol=1e-3)
    assert np.all(np.abs(powers[1] / powers[0] - 1)[2:] > 5e-3), "the descent must do something to be compared"


def test_jax_deposits_and_gathers_as_numba_does():
    rng = np.random.default_rng(14)
    position = rng.uniform(0, 50, (500, 3)).astype(np.float32)
    potential = rng.standard_normal((16, 16, 16)).astype(np.float32)
    ours, theirs = (mesh_ops(backend) for backend in ("numba", "jax"))
    np.testing.assert_allclose(theirs.deposit(position, 50.0, 16), ours.deposit(position, 50.0, 16), atol=1e-5)
    force = ours.gather(potential, position, 50.0)
    np.testing.assert_allclose(theirs.gather(potential, position, 50.0), force, atol=1e-5 * np.abs(force).max())
