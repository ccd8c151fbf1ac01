"""Density planes of an N-body box, and convergence maps through them in the Born approximation.

The light cone is filled with copies of periodic boxes. At each distance a box has the age that light from there shows,
and each plane is rotated, reflected and shifted at random.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from analysis.flatsky.power import ARCMIN
from analysis.params import NbodyParams
from analysis.simulations.halos import RADII, core_ratios, largest_halos
from analysis.simulations.mesh import mesh_ops
from analysis.simulations.nbody import descended, descent_kernel, evolve, linear_modes
from analysis.simulations.theory import HUBBLE_DISTANCE_MPC_H, comoving_distance, growth_factors, lensing_efficiency

Array = NDArray[np.floating]

HALO_REDSHIFT, HALOS = 0.3, 120  # where lenses are most efficient; the number of places where halos are looked for


@dataclass(frozen=True)
class Planes:
    """Projected density contrast of a box along its three axes, at the distances of the planes of a light cone.

    `delta` : (axes, planes, pixels, pixels), density contrast averaged over the thickness of a plane;
    `chi_mpc_h` : (planes,), comoving distance of the middle of each plane;
    `a` : (planes,), scale factor there;
    `box_mpc_h` : side and thickness of a plane;
    `omega_m` : matter density;
    `halos` : (halos, 1 + radii), mass in Msun/h of the largest halos at `HALO_REDSHIFT`, and their mass within
    `halos.RADII` on the sky over that of NFW halos.
    """

    delta: Array
    chi_mpc_h: Array
    a: Array
    box_mpc_h: float
    omega_m: float
    halos: Array = field(default_factory=lambda: np.empty((0, 1 + len(RADII))))


def plane_distances(redshift_max: float, box: float, omega_m: float) -> tuple[Array, Array]:
    """Distances (Mpc/h) and scale factors of the middle of each plane up to `redshift_max`, nearest first."""
    planes = max(1, round(comoving_distance(redshift_max, omega_m) / box))
    chi = (np.arange(planes) + 0.5) * box
    redshift = np.linspace(0, 2 * redshift_max + 1, 20001)
    return chi, 1 / (1 + np.interp(chi, comoving_distance(redshift, omega_m), redshift))


@numba.njit(cache=True, nogil=True)
def project(position: Array, axis: int, box: float, pixels: int) -> Array:
    """Density contrast of the particles averaged along an axis of the box, (pixels, pixels), cloud-in-cell.

    Parameters
    ----------
    position : (n, 3), Mpc/h
    axis : 0, 1 or 2; the other two, in cyclic order, become rows and columns
    box : Mpc/h
    pixels : a side
    """
    plane = np.zeros((pixels, pixels), np.float32)
    per_length = pixels / box
    weight = np.float32(pixels**2 / position.shape[0])
    row_axis, column_axis = (axis + 1) % 3, (axis + 2) % 3
    for n in range(position.shape[0]):
        y, x = position[n, row_axis] * per_length, position[n, column_axis] * per_length
        i, j = int(np.floor(y)), int(np.floor(x))
        dy, dx = np.float32(y - i), np.float32(x - j)
        i, j = i % pixels, j % pixels
        i1, j1 = (i + 1) % pixels, (j + 1) % pixels
        plane[i, j] += weight * (np.float32(1) - dy) * (np.float32(1) - dx)
        plane[i, j1] += weight * (np.float32(1) - dy) * dx
        plane[i1, j] += weight * dy * (np.float32(1) - dx)
        plane[i1, j1] += weight * dy * dx
    return plane - np.float32(1)


def compensated(plane: Array) -> Array:
    """A plane (pixels, pixels) without the smoothing of `project` and of the interpolation in `add_plane`, float32.

    Both have the window sinc^2 along each axis. It is divided out, and exp(-(k / k_Nyquist)^8) cuts off the smallest
    scales.
    """
    modes = scipy.fft.rfft2(plane)
    rows, columns = scipy.fft.fftfreq(len(plane))[:, None], scipy.fft.rfftfreq(len(plane))
    window = (np.sinc(rows) * np.sinc(columns)) ** 4
    ending = np.exp(-((4 * (rows**2 + columns**2)) ** 4))
    return scipy.fft.irfft2(modes * (ending / window).astype(np.float32), plane.shape, overwrite_x=True)


def simulate_box(
    omega_m: float,
    wavenumber: Array,
    power: Array,
    settings: NbodyParams,
    redshift_max: float,
    rng: np.random.Generator,
    *,
    opposite: bool = False,
    backend: str = "numba",
) -> Planes:
    """Density planes of one N-body box, from today to `redshift_max`, that of the most distant source.

    Parameters
    ----------
    wavenumber : (n,), h/Mpc
    power : (n,), (Mpc/h)^3, linear matter power spectrum today
    opposite : whether the phases are opposite to those that `rng` draws
    backend : who moves the particles, as `mesh_ops` takes it
    """
    growth, ops = growth_factors(omega_m), mesh_ops(backend)
    box, mesh, pixels, descent = settings.box_mpc_h, settings.mesh, settings.plane_pixels, settings.descent
    chi, times = plane_distances(redshift_max, box, omega_m)
    modes = linear_modes(wavenumber, power, box=box, mesh=settings.particles, rng=rng, opposite=opposite)
    kernel = descent and ops.array(descent_kernel(box, mesh, settings=descent))
    run = {"scale_factors": times[::-1], "steps": settings.steps, "start_redshift": settings.start_redshift}
    snapshots = evolve(modes, box=box, growth=growth, mesh=mesh, **run, ops=ops)
    delta = np.empty((3, len(chi), pixels, pixels), np.float32)
    near = int(np.argmin(np.abs(times[::-1] - 1 / (1 + HALO_REDSHIFT))))
    for index, (a, position) in enumerate(snapshots):
        resolved = position
        if descent:
            position = descended(position, kernel, a=a, box=box, settings=descent, ops=ops)
        position = np.asarray(position)
        for axis in range(3):
            delta[axis, -1 - index] = compensated(project(position, axis, box, pixels))
        if index == near:
            found = list(largest_halos(np.asarray(resolved), box, 1 / a - 1, omega_m, HALOS))
            halos = np.array([[halo.mass, *np.exp(core_ratios(position, halo, box))] for halo in found])
    return Planes(delta, chi, times, box, omega_m, halos.reshape(-1, 1 + len(RADII)))


@numba.njit(cache=True, nogil=True)
def add_plane(kappa: Array, plane: Array, step: Array, corner: Array, points: int) -> None:
    """Add to every pixel of `kappa` the mean of `points`^2 bilinear samples of the periodic `plane`.

    Parameters
    ----------
    kappa : (ny, nx), changed in place
    plane : (pixels, pixels), in units of `kappa`
    step : (2, 2), displacement on the plane (rows, columns; in cells) for one map pixel along rows, columns
    corner : (2,), where the corner of pixel (0, 0) lies on the plane, in cells
    points : samples along a side of a map pixel
    """
    pixels = plane.shape[0]
    weight = np.float32(1 / points**2)
    for row in range(kappa.shape[0]):
        for column in range(kappa.shape[1]):
            total = np.float32(0)
            for m in range(points):
                v = row + (m + 0.5) / points
                for n in range(points):
                    u = column + (n + 0.5) / points
                    y = corner[0] + step[0, 0] * v + step[0, 1] * u
                    x = corner[1] + step[1, 0] * v + step[1, 1] * u
                    i, j = int(np.floor(y)), int(np.floor(x))
                    dy, dx = np.float32(y - i), np.float32(x - j)
                    i, j = i % pixels, j % pixels
                    i1 = i + 1 if i + 1 < pixels else 0
                    j1 = j + 1 if j + 1 < pixels else 0
                    top = plane[i, j] + dx * (plane[i, j1] - plane[i, j])
                    bottom = plane[i1, j] + dx * (plane[i1, j1] - plane[i1, j])
                    total += top + dy * (bottom - top)
            kappa[row, column] += weight * total


def lensing_weights(planes: Planes, source_chi: Array, source_weight: Array) -> Array:
    """Convergence per unit density contrast in each plane, 3/2 Omega_m (H0/c)^2 chi W(chi) / a dchi, (planes,).

    W is the lensing efficiency.

    Source: Bartelmann & Schneider 2001 (Phys. Rep. 340 291), eq. 6.16.
    """
    efficiency = lensing_efficiency(planes.chi_mpc_h, source_chi, source_weight)
    return (
        1.5 * planes.omega_m / HUBBLE_DISTANCE_MPC_H**2
        * planes.chi_mpc_h * efficiency / planes.a * planes.box_mpc_h
    )  # fmt: skip


def convergence_map(
    boxes: Sequence[Planes],
    source_chi: Array,
    source_weight: Array,
    *,
    pixels: int,
    pixel_arcmin: float,
    rng: np.random.Generator,
) -> Array:
    """A convergence map through the planes, (pixels, pixels), float32, dimensionless.

    kappa(theta) = 3/2 Omega_m (H0/c)^2 sum_j chi_j W(chi_j) / a_j delta_j(chi_j R_j theta + shift_j) dchi, with a
    random box, axis, shift, rotation and reflection for every plane. A pixel is the mean of samples that lie closer
    together than the cells of the plane.

    Parameters
    ----------
    boxes : planes of one box or several, at the same distances; each plane of the map comes from one of them
    source_chi : (sources,), Mpc/h
    source_weight : (sources,), fraction of the sources at each distance; sums to 1
    pixels : a side
    """
    kappa = np.zeros((pixels, pixels), np.float32)
    axes, count, cells, _ = boxes[0].delta.shape
    weights = lensing_weights(boxes[0], source_chi, source_weight).astype(np.float32)
    for index in range(count):
        planes, axis, angle = boxes[rng.integers(len(boxes))], rng.integers(axes), rng.uniform(0, 2 * np.pi)
        mirror, corner = rng.choice([-1.0, 1.0]), rng.uniform(0, cells, 2)
        if weights[index] == 0:
            continue
        scale = planes.chi_mpc_h[index] * pixel_arcmin * ARCMIN * cells / planes.box_mpc_h
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        step = scale * turn * np.array([mirror, 1.0])
        part = np.zeros_like(kappa)
        add_plane(part, np.asarray(planes.delta[axis, index], np.float32), step, corner, max(1, int(np.ceil(scale))))
        kappa += weights[index] * part
    return kappa
