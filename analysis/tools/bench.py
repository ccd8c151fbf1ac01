"""`make bench`: what the parts cost and how exact they are on this machine, as a table. It changes no file."""

import dataclasses
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from analysis.core.files import BorderError, read_json, write_json
from analysis.core.paths import DATA, ROOT
from analysis.core.workers import pool_of_processes
from analysis.params import Params, TheoryParams, load_params, stage_rng
from analysis.tools.survey_cost import survey_rows

Row = tuple[str, str, str]
MASSIVENUS_SPECTRA = "massivenus/mnu0.0_Maps10_PS_theory.npy"
K_EDGES = np.array([0.2, 0.33, 0.54, 0.9, 1.5, 2.5, 4.0, 6.5])  # bins of d ln k = 0.5, h/Mpc


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    params = load_params()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, seed {params.seed}")
    print(f"{'what':58} {'measured':>40}   asked")
    for measure in (
        theory_rows,
        nbody_rows,
        map_rows,
        sampler_rows,
        small_mock_rows,
        worker_rows,
        survey_rows,
        field_rows,
        parts_rows,
        pipeline_rows,
    ):
        for what, measured, asked in measure(params):
            print(f"{what:58} {measured:>40}   {asked}", flush=True)


def theory_rows(params: Params) -> Iterator[Row]:
    """The theory spectrum: time, and distance from CAMB's own lensing sources and from the table of MassiveNuS."""
    from analysis.simulations.theory import convergence_c_ell

    seconds, theory = _timed(lambda: convergence_c_ell(params.theory))
    yield "C_ell to ell_max", f"{seconds:.1f} s", ""
    if params.theory.sources.redshift is not None:
        departure = largest_departure(theory, *camb_source_c_ell(params.theory))
        yield "C_ell / CAMB's sources - 1, ell 100 to 1e4", f"{100 * departure:.2f} %", "1 %"
    try:
        found = f"{100 * largest_departure(theory, *massivenus_c_ell()):.2f} %"
    except BorderError as error:
        found = f"not measured: {error}"
    yield "C_ell / MassiveNuS halofit - 1, ell 200 to 1e4", found, "3 %"


def largest_departure(theory: tuple[np.ndarray, np.ndarray], ell: np.ndarray, c_ell: np.ndarray) -> float:
    """Largest |C_ell / c_ell - 1| of a theory spectrum (its ell, its C_ell) at the multipoles of another."""
    ours = np.exp(np.interp(np.log(ell), np.log(theory[0]), np.log(theory[1])))
    return float(np.abs(ours / c_ell - 1).max())


def massivenus_c_ell() -> tuple[np.ndarray, np.ndarray]:
    """The halofit (Takahashi) spectrum published with MassiveNuS, ell from 200 to 1e4, in sr; row 5 of its table."""
    from analysis.core.download import fetch

    table = np.load(fetch(MASSIVENUS_SPECTRA), allow_pickle=False)
    seen = (table[0] >= 200) & (table[0] <= 10000)
    return table[0][seen], table[5][seen]


def camb_source_c_ell(theory: TheoryParams) -> tuple[np.ndarray, np.ndarray]:
    """CAMB's own spectrum of a lensing source plane, by its Limber integrator: ell from 100 to 1e4, and C_ell in sr."""
    import camb
    from camb.sources import GaussianSourceWindow

    from analysis.simulations.theory import camb_results

    settings = camb_results(theory, np.array([0.0])).Params.copy()
    window = GaussianSourceWindow(redshift=theory.sources.redshift, source_type="lensing", sigma=0.005)
    settings.SourceWindows = [window]
    settings.set_for_lmax(12000, lens_potential_accuracy=2)
    settings.Want_CMB = False
    settings.SourceTerms.limber_windows = True
    ell = np.arange(100, 10001)
    return ell, camb.get_results(settings).get_source_cls_dict(lmax=10000, raw_cl=True)["W1xW1"][ell]


def nbody_rows(params: Params) -> Iterator[Row]:
    """Four boxes: time and memory of one, and their mean power over halofit."""
    with pool_of_processes(min(4, os.cpu_count())) as pool:
        boxes = list(pool.map(_box, [params] * 4, range(4)))
    seconds, gigabytes, ratios = zip(*boxes, strict=True)
    settings = params.simulations.nbody
    name = f"N-body {settings.particles}^3, mesh {settings.mesh}^3, {settings.steps} steps, one core"
    yield name, f"{np.mean(seconds):.0f} s, {max(gigabytes):.1f} GB", "30 s, 2.5 GB"
    edges = " ".join(f"{k:g}" for k in K_EDGES)
    for descent in (0, 1):
        ratio = " ".join(f"{value:.2f}" for value in np.mean(np.array(ratios)[:, descent], axis=0))
        name = "after the descent" if descent else f"P(k) / halofit, 4 boxes, k in {edges}"
        yield name, ratio, "0.95 to 1.05 below 0.9" if descent else ""


def map_rows(params: Params) -> Iterator[Row]:
    """Time of one convergence map of the grid's size."""
    from analysis.simulations.expansion import comoving_distance
    from analysis.simulations.lightcone import convergence_map, simulate_box
    from analysis.simulations.n_of_z import source_distribution
    from analysis.simulations.theory import matter_tables

    matter, (redshift, share) = matter_tables(params.theory), source_distribution(params.theory.sources)
    rng = stage_rng(params.seed, "bench", "map")
    small = dataclasses.replace(params.simulations.nbody, steps=4, candidates=1)
    k, linear, halofit = (np.asarray(matter[name]) for name in ("k", "linear", "halofit"))
    planes = simulate_box(params.theory.omega_m, k, linear, small, redshift.max(), rng, nonlinear_power=halofit)
    distance = comoving_distance(redshift, params.theory.omega_m)
    pixels, pixel_arcmin = params.grid.pixels, params.grid.pixel_arcmin

    def one() -> np.ndarray:
        return convergence_map(planes, distance, share, pixels=pixels, pixel_arcmin=pixel_arcmin, rng=rng)

    one()
    seconds, _ = _timed(lambda: [one() for _ in range(5)])
    yield f"a map of {pixels}^2", f"{seconds / 5:.3f} s", "0.25 s"


def sampler_rows(params: Params) -> Iterator[Row]:
    """The sampler with the Gaussian prior, under a field's mask, against exact draws and the Wiener map."""
    from analysis.flatsky.power import binned_c_ell, crop_power, multipole_edges
    from analysis.posterior.likelihood import gaussian_posterior_draws
    from analysis.posterior.sampler import annealer
    from analysis.prior.score import Prior
    from analysis.rivals.baselines import wiener_filter
    from analysis.simulations.theory import convergence_c_ell
    from analysis.sky import load_observation

    observation = load_observation(DATA / "observation" / f"{params.mocks.field}.fits")
    grid, gamma, weight, n = observation.grid, observation.gamma, observation.weight, 32
    power = crop_power(*convergence_c_ell(params.theory), grid.shape, grid.pixel_arcmin)
    rng = stage_rng(params.seed, "bench", "sampler")
    prior = Prior(power=power, pixel_arcmin=grid.pixel_arcmin)
    seconds, (samples, levels) = _timed(lambda: annealer(prior, params.sample)(gamma, weight, n, rng=rng))
    exact = gaussian_posterior_draws(gamma, weight, power, 2 * n, rng=rng)
    wiener = wiener_filter(gamma, weight, power)
    edges = multipole_edges(grid.pixels, grid.pixel_arcmin)
    spread, expected = (binned_c_ell(maps - wiener, grid.pixel_arcmin, edges).mean(axis=0) for maps in (samples, exact))
    off = binned_c_ell(samples.mean(axis=0) - wiener, grid.pixel_arcmin, edges) / (expected / n)
    yield f"Gaussian prior, {n} chains", f"{seconds:.0f} s, {levels[-1].evaluations} evaluations", "500 evaluations"
    ratio = " ".join(f"{value:.2f}" for value in spread / expected)
    yield f"  variance / exact, ell {edges[0]:.0f} to {edges[-1]:.0f}", ratio, "1 +- 0.05 + MC error"
    yield "  |mean - Wiener|^2 / its Monte-Carlo expectation", f"{off.min():.2f} to {off.max():.2f}", "about 1"


def small_mock_rows(params: Params) -> Iterator[Row]:
    """The sampler on small mocks as those of the calibration, with a Gaussian prior, against exact draws, by cycles."""
    from analysis.flatsky.lensing import shear_from_convergence
    from analysis.flatsky.maps import central_crops
    from analysis.flatsky.power import binned_c_ell, crop_power, gaussian_field
    from analysis.judge.calibration import BANDS, piece_of_field
    from analysis.posterior.likelihood import gaussian_posterior_draws
    from analysis.posterior.sampler import annealer
    from analysis.prior.score import Prior
    from analysis.simulations.theory import convergence_c_ell
    from analysis.sky import load_observation

    weight = load_observation(DATA / "observation" / f"{params.mocks.field}.fits").weight
    side, margin, pixel_arcmin, n = params.train.crop_pixels, params.train.margin, params.grid.pixel_arcmin, 32
    power = crop_power(*convergence_c_ell(params.theory), (side, side), pixel_arcmin)
    prior = Prior(power=power, pixel_arcmin=pixel_arcmin, margin=margin)
    inner, nyquist = side - 2 * margin, np.pi / np.deg2rad(pixel_arcmin / 60)
    edges = np.geomspace(max(300, 0.99 * 2 * nyquist / inner), nyquist / 2, BANDS + 1)
    for cycles in sorted({3, params.sample.gibbs.last_cycles, 8}):
        gibbs = dataclasses.replace(params.sample.gibbs, last_cycles=cycles)
        anneal = annealer(prior, dataclasses.replace(params.sample, gibbs=gibbs))
        rng, found = stage_rng(params.seed, "bench", "small mocks"), []
        for _ in range(n):
            truth = gaussian_field(power, 1, rng=rng).astype("float32")
            piece = piece_of_field(weight, side, margin, rng=rng)
            noise = np.where(piece > 0, piece, np.inf) ** -0.5 * rng.standard_normal(piece.shape)
            gamma = np.where(piece > 0, np.asarray(shear_from_convergence(truth))[0] + noise, 0.0)
            samples = anneal(gamma, piece.astype("float32"), params.calibrate.samples, rng=rng)[0]
            exact = gaussian_posterior_draws(gamma, piece, power, params.calibrate.samples, rng=rng)
            bands = [binned_c_ell(central_crops(maps, inner), pixel_arcmin, edges) for maps in (samples, exact)]
            found.append([np.nan_to_num(band).mean(axis=0) for band in bands])
        ours, theirs = np.array(found).transpose(1, 0, 2)
        ratio = ours.sum(axis=0) / theirs.sum(axis=0)
        error = np.std(ours - ratio * theirs, axis=0) * n**0.5 / theirs.sum(axis=0)
        shown = " ".join(f"{value:.2f}" for value in ratio)
        yield f"{n} small mocks, {cycles} last cycles: power / exact", f"{shown} +- {error.max():.2f}", "1"


def worker_rows(params: Params) -> Iterator[Row]:
    """How much of the time of workers goes to anything but small mocks: starting them, sharing tasks, waiting."""
    from analysis.core.workers import scatter

    n, workers = 64, params.compute.processes or os.cpu_count()
    compute = dataclasses.replace(params.compute, cluster="local", scheduler=None, processes=workers)
    with tempfile.TemporaryDirectory(dir=ROOT / ".work") as folder:
        tasks = {Path(folder) / f"timed_{number:02d}.json": ("own", number) for number in range(n)}
        seconds, _ = _timed(lambda: scatter(timed_mock, tasks, compute, what="small mocks"))
        spent = sum(read_json(path)["seconds"] for path in tasks)
    yield f"{n} small mocks on {workers} workers", f"{seconds:.0f} s", ""
    yield "  of the workers' time, not spent on mocks", f"{100 * (1 - spent / (workers * seconds)):.1f} %", "5 %"


def timed_mock(path: Path, kind: str, number: int) -> None:
    """Calibrate a small mock, and keep how long it took."""
    from analysis.judge.mock_runs import _calibrate

    seconds, _ = _timed(lambda: _calibrate(path.with_name(f"mock_{number}.json"), kind, number))
    write_json(path, {"seconds": seconds})


def field_rows(params: Params) -> Iterator[Row]:
    """The posterior of the field with the network in `data/score`, in a process of its own."""
    from analysis.judge.benchmark import run_alone
    from analysis.judge.calibration import CutOut
    from analysis.sky import load_observation

    observation, n = load_observation(DATA / "observation" / f"{params.mocks.field}.fits"), 32
    if not (DATA / "score" / "network.json").is_file():
        yield f"{observation.title}, {n} samples", "no network in data/score: `dvc repro train`", "180 s, 4 GB"
        return
    unknown = np.zeros(observation.grid.shape)  # a real field has no known truth
    field = CutOut(unknown, observation.gamma, observation.weight, 0)
    cost = run_alone(DATA / "score", field, params.sample, n, seed=params.seed)
    what = f"{observation.title}, {n} samples, {cost.evaluations} evaluations each"
    yield what, f"{cost.seconds:.0f} s, {cost.memory_gb:.1f} GB", "180 s, 4 GB, 400 evaluations"


def parts_rows(params: Params) -> Iterator[Row]:
    """Where the time of a sample goes, with the network in `data/score`."""
    from analysis.prior.score import load_prior
    from analysis.tools.profiling import profile_rows

    if (DATA / "score" / "network.json").is_file():
        yield from profile_rows(load_prior(DATA / "score"), params.sample)


def pipeline_rows(params: Params) -> Iterator[Row]:
    """The whole pipeline as last run, how long a second `dvc repro` takes, and what was reached."""
    kept = sorted((DATA / "timings").glob("*.json"))
    times = [read_json(path) for path in kept if path.stem != "benchmark"]  # which a plain `dvc repro` leaves alone
    total, most = sum(t["wall_s"] for t in times), max(t["peak_memory_gb"] for t in times)
    yield "all stages, as last run", f"{total / 60:.1f} min, {most:.1f} GB", "17 min, 8 GB"
    current = subprocess.run(["dvc", "status", "--quiet"], cwd=ROOT, check=False).returncode == 0
    if current:  # else it would run stages
        seconds, _ = _timed(lambda: subprocess.run(["dvc", "repro"], cwd=ROOT, capture_output=True, check=True))
    yield "a second dvc repro", f"{seconds:.1f} s" if current else "the pipeline is not up to date", "3 s"
    metrics = read_json(DATA / "validation" / "metrics.json")
    ratio, error = (metrics["accuracy"][f"rmse_ratio_to_wiener{suffix}"] for suffix in ("", "_err"))
    yield "RMSE of the posterior mean / Wiener filter", f"{ratio:.3f} +- {error:.3f}", "less 2 errors at most 1"
    worst = max(value for key, value in metrics["train"].items() if 0.01 <= _level(key) <= 0.08)
    yield "denoising RMSE / Gaussian, worst of 0.01 to 0.08", f"{worst:.3f}", "below 1"
    for suffix, name in (("", "COSMOS"), ("_bmode", "B-mode"), ("_gaussian", "Gaussian prior")):
        asked = {"": "above 5", "_bmode": "below 2"}.get(suffix, "")
        yield f"cluster stack S/N, {name}", f"{metrics['cosmos'][f'cluster_stack_snr{suffix}']:.1f}", asked


def _box(params: Params, number: int) -> tuple[float, float, list[np.ndarray]]:
    """One box: CPU seconds to evolve it, peak memory (GB), power over halofit in `K_EDGES` before and after descent."""
    from analysis.simulations.expansion import growth_factors
    from analysis.simulations.mesh import MeshOps
    from analysis.simulations.nbody import descended, descent_kernel, evolve, representative_modes
    from analysis.simulations.theory import matter_tables
    from analysis.tools.descent_fit import projected_power

    settings, matter, growth = (
        params.simulations.nbody,
        matter_tables(params.theory),
        growth_factors(params.theory.omega_m),
    )
    box, mesh, descent = settings.box_mpc_h, settings.mesh, settings.descent
    k, linear, halofit = (np.asarray(matter[name]) for name in ("k", "linear", "halofit"))
    rng = stage_rng(params.seed, "bench", f"box {number}")
    phases = {"box": box, "mesh": settings.particles, "growth": growth, "candidates": settings.candidates, "rng": rng}
    modes = representative_modes(k, linear, halofit, **phases)
    start = time.process_time()
    times = {"scale_factors": [1.0], "steps": settings.steps, "start_redshift": settings.start_redshift}
    ((_, position),) = evolve(modes, box=box, growth=growth, mesh=mesh, **times)
    seconds = time.process_time() - start
    kernel = descent_kernel(box, mesh, settings=descent)
    sharp = descended(position, kernel, a=1.0, box=box, settings=descent, ops=MeshOps())
    bands = [np.linspace(low, high, 40) for low, high in pairwise(K_EDGES)]
    theory = np.array([np.average(np.exp(np.interp(np.log(b), np.log(k), np.log(halofit))), weights=b) for b in bands])
    ratios = [projected_power(p, box, settings.plane_pixels, K_EDGES) / theory for p in (position, sharp)]
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return seconds, memory, ratios


def _timed(function: Callable) -> tuple[float, object]:
    """Seconds that a call took, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _level(key: str) -> float:
    """Noise level of a metric `error_<sigma>`, 0 for any other."""
    return float(key.removeprefix("error_")) if key.startswith("error_") else 0.0
