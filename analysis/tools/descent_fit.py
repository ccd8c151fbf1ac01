"""`make descent`: fit of the descent that gives N-body boxes the power of halofit and halos with NFW profiles.

Done once for each resolution of the N-body simulation; copy the printed numbers to `simulations.nbody.descent`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.fft
from scipy.optimize import minimize

from analysis.params import DescentParams, NbodyParams, Params, TheoryParams, load_params, stage_rng
from analysis.simulations.halos import RADII, Halo, core_ratios, largest_halos
from analysis.simulations.lightcone import project
from analysis.simulations.mesh import Array, mesh_ops
from analysis.simulations.nbody import descended, descent_kernel, evolve, linear_modes
from analysis.simulations.theory import camb_results, growth_factors, matter_tables

REDSHIFTS = np.array([0.0, 0.25, 0.7])
K_EDGES = np.array([0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0])  # h/Mpc
FITTED = slice(1, 8)  # bands that a descent changes and that boxes of 128 Mpc/h resolve
BOXES, HALOS = 2, 12  # number of boxes, and of the largest halos in each
EVALUATIONS = 32


@dataclass(frozen=True)
class Snapshot:
    """Positions (n, 3) in a box at a redshift, and its largest halos."""

    redshift: float
    position: Array
    halos: tuple[Halo, ...]


def main() -> None:
    """Fit the descent for the N-body settings in params.yaml, and print it with the resulting power and halos."""
    params = load_params()
    settings, halofit = params.simulations.nbody, halofit_bands(params.theory)
    boxes = [snapshot for number in range(BOXES) for snapshot in snapshots(params, number)]
    best = fitted(boxes, settings, halofit)
    print(" ".join(f"{key}: {value:.3g}" for key, value in dataclasses.asdict(best).items()))
    print(f"P(k) / halofit, k from {K_EDGES[0]} to {K_EDGES[-1]} h/Mpc; mass of halos / NFW within {RADII} Mpc/h")
    for name, descent in (("no descent", None), ("descent", best)):
        for z, (power, cores) in departures(boxes, settings, descent, halofit).items():
            shown = (" ".join(f"{value:.2f}" for value in np.exp(values)) for values in (power, cores))
            print(f"{name:10}  z = {z:<4g} {' ; '.join(shown)}")


def halofit_bands(theory: TheoryParams) -> dict[float, Array]:
    """Halofit matter power averaged over the two-dimensional modes of each band, by redshift, (Mpc/h)^3."""
    matter = camb_results(theory, REDSHIFTS).get_matter_power_interpolator(nonlinear=True)
    bands = [np.linspace(low, high, 40) for low, high in pairwise(K_EDGES)]
    return {z: np.array([np.average(matter.P(z, k), weights=k) for k in bands]) for z in REDSHIFTS}


def snapshots(params: Params, number: int) -> Iterator[Snapshot]:
    """A box at each redshift."""
    settings, matter = params.simulations.nbody, matter_tables(params.theory)
    growth, box = growth_factors(params.theory.omega_m), settings.box_mpc_h
    modes = linear_modes(
        *(np.asarray(matter[name]) for name in ("k", "linear")),
        box=box,
        mesh=settings.particles,
        rng=stage_rng(params.seed, "descent", f"pair {number // 2}"),
        opposite=number % 2 == 1,
    )
    times = {"scale_factors": 1 / (1 + REDSHIFTS[::-1]), "start_redshift": settings.start_redshift}
    for a, position in evolve(modes, box=box, growth=growth, mesh=settings.mesh, steps=settings.steps, **times):
        z = round(1 / a - 1, 6)
        yield Snapshot(z, position, tuple(largest_halos(position, box, z, params.theory.omega_m, HALOS)))


def fitted(boxes: Sequence[Snapshot], settings: NbodyParams, halofit: Mapping[float, Array]) -> DescentParams:
    """The descent whose power and halos are closest to halofit and NFW, in the mean square of the logarithm."""
    cell = settings.box_mpc_h / settings.mesh
    start = np.array([np.log(0.35), np.log(0.9 / cell), -0.4])

    def descent(x: Array) -> DescentParams:
        amplitude, k_long = np.exp(x[:2]).tolist()
        return DescentParams(amplitude=amplitude, growth=float(x[2]), k_long=k_long)

    def loss(x: Array) -> float:
        found = departures(boxes, settings, descent(x), halofit).values()
        value = float(np.mean([np.mean(power[FITTED] ** 2) + np.mean(cores**2) for power, cores in found]))
        print(f"  {value:.5f} at {descent(x)}", flush=True)
        return value

    simplex = start + np.vstack([np.zeros(3), np.diag([0.3, 0.2, 0.5])])
    options = {"maxfev": EVALUATIONS, "initial_simplex": simplex, "fatol": 1e-4, "xatol": 1e-2}
    return descent(minimize(loss, start, method="Nelder-Mead", options=options).x)


def departures(
    boxes: Sequence[Snapshot],
    settings: NbodyParams,
    descent: DescentParams | None,
    halofit: Mapping[float, Array],
) -> dict[float, tuple[Array, Array]]:
    """By redshift the mean logarithm of power over halofit's in each band, and of masses over NFW's in `RADII`."""
    box, ops = settings.box_mpc_h, mesh_ops("numba")
    kernel = descent and descent_kernel(box, settings.mesh, settings=descent)
    found: dict[float, list] = {z: [] for z in halofit}
    for snapshot in boxes:
        position, z = snapshot.position, snapshot.redshift
        if descent:
            position = descended(position, kernel, a=1 / (1 + z), box=box, settings=descent, ops=ops)
        power = projected_power(position, box, settings.plane_pixels, K_EDGES) / halofit[z]
        cores = np.mean([core_ratios(position, halo, box) for halo in snapshot.halos], axis=0)
        found[z].append((np.log(power), cores))
    return {z: tuple(np.mean(part, axis=0) for part in zip(*values, strict=True)) for z, values in found.items()}


def projected_power(position: Array, box: float, pixels: int, edges: Array) -> Array:
    """Matter power of a box in bands of wavenumber, without the window of the pixels, (bands,), (Mpc/h)^3.

    Measured on projections along the three axes, which hold the modes at right angles to the axis: planes can be finer
    than a mesh in three dimensions.
    """
    rows, columns = np.fft.fftfreq(pixels)[:, None], np.fft.rfftfreq(pixels)
    k = 2 * np.pi * pixels / box * np.hypot(rows, columns)
    window = (np.sinc(rows) * np.sinc(columns)) ** 4
    copies = np.broadcast_to(np.where((columns == 0) | (columns == 0.5), 1.0, 2.0), k.shape)
    modes, _ = np.histogram(k, edges, weights=copies)
    total = 0.0
    for axis in range(3):
        power = np.abs(scipy.fft.rfft2(project(position, axis, box, pixels))) ** 2 / window
        total = total + np.histogram(k, edges, weights=copies * power)[0]
    return total / (3 * modes) * box**3 / pixels**4
