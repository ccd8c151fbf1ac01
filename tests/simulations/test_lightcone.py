"""Density planes and Born maps: lensing weights, conservation, and Limber's spectrum."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.flatsky.power import ARCMIN
from analysis.simulations.lightcone import (
    Planes,
    add_plane,
    compensated,
    convergence_map,
    lensing_weights,
    plane_distances,
    project,
    simulate_box,
)
from analysis.simulations.theory import HUBBLE_DISTANCE_MPC_H, comoving_distance

OMEGA_M, BOX = 0.3, 128.0
ONE = np.ones(1)


def planes_of(delta, redshift_max=1.0):
    """Planes out to a redshift with the same three axes of `delta`, (planes, p, p), given by their number."""
    chi, a = plane_distances(redshift_max, BOX, OMEGA_M)
    delta = np.stack([np.stack([delta(j) for j in range(len(chi))])] * 3).astype(np.float32)
    return Planes(delta, chi, a, BOX, OMEGA_M)


def test_planes_pave_the_way_to_the_sources():
    chi, a = plane_distances(1.0, BOX, OMEGA_M)
    np.testing.assert_allclose(np.diff(chi), BOX)
    assert chi[0] == BOX / 2
    assert chi[-1] < comoving_distance(1.0, OMEGA_M) <= chi[-1] + BOX
    np.testing.assert_allclose(comoving_distance(1 / a - 1, OMEGA_M), chi, rtol=1e-5)


@pytest.mark.parametrize(("axis", "cell"), [(0, (5, 6)), (1, (6, 3)), (2, (3, 5))])
def test_projection_puts_a_particle_into_its_cell(axis, cell):
    plane = project(np.array([[3.0, 5.0, 6.0]], np.float32), axis, 8.0, 8) + 1
    assert plane[cell] == 64
    assert plane.sum() == 64


def test_projection_has_mean_zero():
    position = np.random.default_rng(1).uniform(0, 20, (3000, 3)).astype(np.float32)
    assert project(position, 1, 20.0, 32).mean(dtype=float) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("turn", [np.eye(2), np.array([[0, -1], [1, 0]]), np.array([[-1, 0], [0, 1]])])
def test_a_bright_cell_keeps_its_total(turn):
    """The map covers the plane once, in pixels of 4 x 4 cells."""
    plane = np.zeros((64, 64), np.float32)
    plane[20, 41] = 3
    kappa = np.zeros((16, 16), np.float32)
    add_plane(kappa, plane, 4.0 * turn, np.array([7.3, 60.8]), 4)
    assert 16 * kappa.sum() == pytest.approx(3, rel=1e-5)


def test_a_wave_on_the_plane_is_the_wave_averaged_over_pixels():
    cells, waves, scale, corner = 256, 5, 2.5, np.array([11.3, 201.7])
    plane = np.broadcast_to(np.cos(2 * np.pi * waves * np.arange(cells) / cells), (cells, cells))
    angle = 0.4
    step = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    kappa = np.zeros((20, 30), np.float32)
    add_plane(kappa, plane.astype(np.float32), step, corner, 3)
    row, column = np.indices(kappa.shape) + 0.5
    k = 2 * np.pi * waves / cells
    pixel = np.sinc(k * step[1, 0] / (2 * np.pi)) * np.sinc(k * step[1, 1] / (2 * np.pi))
    exact = pixel * np.cos(k * (corner[1] + step[1, 0] * row + step[1, 1] * column))
    np.testing.assert_allclose(kappa, exact, atol=4e-3)


@pytest.mark.parametrize("waves", [(3, 0), (5, 9), (0, 14)])
def test_a_compensated_plane_shows_a_wave_of_particles_at_its_full_height(waves):
    """Particles follow a wave; after cloud-in-cell, compensation and interpolation the wave is as high as it was."""
    cells, box = 64, 64.0
    points = np.arange(8 * cells) / 8 + 1 / 16
    rows, columns = np.meshgrid(points, points, indexing="ij")
    phase = 2 * np.pi * (waves[0] * rows + waves[1] * columns) / cells
    k = 2 * np.pi * np.array(waves) / cells
    shift = 0.02 * np.sin(phase) / (k @ k)
    position = np.stack([0 * rows, rows + shift * k[0], columns + shift * k[1]], -1).reshape(-1, 3) % box
    plane = compensated(project(position.astype(np.float32), 0, box, cells))
    kappa = np.zeros((512, 512), np.float32)
    add_plane(kappa, plane, 0.125 * np.eye(2), np.zeros(2), 1)
    amplitude = 2 * np.mean(kappa * np.cos(phase))
    assert amplitude == pytest.approx(-0.02, rel=0.02)


def test_sheets_of_constant_density_add_up_to_the_lensing_integral():
    planes = planes_of(lambda j: np.full((16, 16), 0.1))
    source = np.array([comoving_distance(1.0, OMEGA_M)])
    kappa = convergence_map([planes], source, ONE, pixels=8, pixel_arcmin=1.0, rng=np.random.default_rng(2))
    chi = np.linspace(0, source[0], 4001)
    a = 1 / (1 + np.interp(chi, comoving_distance(np.linspace(0, 1.1, 4001), OMEGA_M), np.linspace(0, 1.1, 4001)))
    integrand = 1.5 * OMEGA_M / HUBBLE_DISTANCE_MPC_H**2 * chi * (1 - chi / source) / a
    np.testing.assert_allclose(kappa, 0.1 * np.trapezoid(integrand, chi), rtol=5e-3)


def test_spectrum_of_gaussian_planes_is_limbers_sum():
    cells, pixels, pixel_arcmin, maps = 512, 64, 2.0, 60
    rng = np.random.default_rng(3)
    frequency = np.hypot(np.fft.fftfreq(cells)[:, None], np.fft.rfftfreq(cells)) * cells * 2 * np.pi / BOX
    spectrum = 1 / (1 + frequency**2)

    def gaussian(_):
        modes = np.fft.rfft2(rng.standard_normal((cells, cells)))
        return np.fft.irfft2(modes * np.sqrt(spectrum), (cells, cells)) * cells / BOX

    planes = planes_of(gaussian)
    source = np.array([comoving_distance(1.0, OMEGA_M)])
    side = pixel_arcmin * ARCMIN
    window = np.outer(np.hanning(pixels), np.hanning(pixels))
    drawn = [
        convergence_map([planes], source, ONE, pixels=pixels, pixel_arcmin=pixel_arcmin, rng=rng) for _ in range(maps)
    ]
    periodogram = np.mean([np.abs(np.fft.fft2(m * window)) ** 2 for m in drawn], axis=0)
    ell = 2 * np.pi / side * np.hypot(np.fft.fftfreq(pixels)[:, None], np.fft.fftfreq(pixels))
    band = (ell > 400) & (ell < 1500)
    measured = np.mean(periodogram[band]) * side**2 / np.sum(window**2)
    weights = lensing_weights(planes, source, ONE)
    pixel = (np.sinc(np.fft.fftfreq(pixels))[:, None] * np.sinc(np.fft.fftfreq(pixels))) ** 2
    limber = sum(w**2 / chi**2 / (1 + (ell / chi) ** 2) for w, chi in zip(weights, planes.chi_mpc_h, strict=True))
    assert measured == pytest.approx(np.mean((limber * pixel)[band]), rel=0.08)


@pytest.fixture(scope="module")
def box():
    resolution = {"particles": 16, "mesh": 32, "plane_pixels": 32}
    settings = SimpleNamespace(box_mpc_h=64.0, **resolution, steps=5, start_redshift=9.0, descent=None)
    k = np.geomspace(1e-3, 10, 50)
    power = 2e4 * k / 0.02 / (1 + (k / 0.02) ** 2) ** 1.3

    def make(seed, opposite=False):
        return simulate_box(OMEGA_M, k, power, settings, 0.5, np.random.default_rng(seed), opposite=opposite)

    return make


def test_same_seed_same_planes_and_maps(box):
    first, second = box(4), pickle.loads(pickle.dumps(box(4)))
    assert np.array_equal(first.delta, second.delta)
    assert not np.array_equal(first.delta, box(5).delta)
    source = np.array([comoving_distance(0.5, OMEGA_M)])
    one, two, other = (
        convergence_map([first], source, ONE, pixels=16, pixel_arcmin=1.0, rng=np.random.default_rng(seed))
        for seed in (6, 6, 7)
    )
    assert one.dtype == np.float32
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_each_plane_of_a_map_comes_from_one_box_and_every_box_serves():
    """Every box is of one density: a plane adds one of three heights, and over many maps all occur equally often."""
    source = np.array([comoving_distance(1.0, OMEGA_M)])
    boxes = [planes_of(lambda j, height=height: np.full((8, 8), height)) for height in (0.0, 1.0, 5.0)]
    rng, size = np.random.default_rng(9), {"pixels": 2, "pixel_arcmin": 1.0}
    heights = np.array([convergence_map(boxes, source, ONE, **size, rng=rng)[0, 0] for _ in range(600)])
    weights = lensing_weights(boxes[0], source, ONE)
    scatter = np.sqrt(np.sum(weights**2) * np.var([0, 1, 5]))  # of planes drawn independently; less if shared by a map
    assert heights.mean() == pytest.approx(2 * weights.sum(), abs=4 * scatter / np.sqrt(600))
    assert heights.std() == pytest.approx(scatter, rel=0.12)


def test_a_pair_of_opposite_phases_has_its_voids_where_the_other_has_clusters(box):
    """On 16 Mpc/h, the largest scale of so small a box that has modes enough."""
    one, other, stranger = (
        planes.delta[:, -1].reshape(3, 4, 8, 4, 8).mean(axis=(2, 4)).ravel()
        for planes in (box(4), box(4, opposite=True), box(5))
    )
    assert np.corrcoef(one, other)[0, 1] < -0.45
    assert abs(np.corrcoef(one, stranger)[0, 1]) < 0.3


def test_nearer_planes_are_more_evolved(box):
    planes = box(8)
    assert np.all(np.isfinite(planes.delta))
    assert planes.delta.shape == (3, len(planes.chi_mpc_h), 32, 32)
    coarse = planes.delta.reshape(3, -1, 8, 4, 8, 4).mean(axis=(3, 5))  # without the noise of few particles
    variance = coarse.var(axis=(0, 2, 3))
    assert variance[0] > 1.2 * variance[-1]
    np.testing.assert_allclose(planes.delta.mean((2, 3)), 0, atol=1e-5)
