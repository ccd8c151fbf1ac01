"""`make bench`: cost and accuracy of the parts on this machine, as a table. It changes no file."""

import dataclasses
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from astropy.table import Table
from keras import ops

from analysis.core.paths import DATA, ROOT
from analysis.core.workers import pool_of_processes
from analysis.flatsky.backend import compiled
from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.maps import central_crops
from analysis.flatsky.power import binned_c_ell, crop_power, gaussian_field
from analysis.judge.benchmark import peak_memory_gb, run_alone
from analysis.judge.calibration import BANDS, CutOut, piece_of_field
from analysis.params import CatalogueTable, Params, SampleParams, TableColumns, load_params, stage_rng
from analysis.posterior.diffusion import bridge, descent, evaluations_to_clean
from analysis.posterior.likelihood import renoised
from analysis.posterior.sampler import annealer
from analysis.posterior.wiener import gaussian_posterior_draws
from analysis.prior.files import load_prior
from analysis.prior.score import Prior, shifted_mean
from analysis.simulations.lightcone import convergence_map, simulate_box
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.nbody import evolve, linear_modes
from analysis.simulations.theory import comoving_distance, convergence_c_ell, growth_factors, matter_tables
from analysis.sky import Grid, Observation, load_observation
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.table_formats import open_table

Row = tuple[str, str, str]  # quantity, measured, asked
SAMPLES = 32
ROWS, SIDE_DEG, MIDDLE_DEG = 10_000_000, 10.0, (35.0, -35.0)  # of a survey's catalogue
REPEATS, CHAINS = 5, 8  # of each part of a sample


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    params = load_params()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, seed {params.seed}")
    print(f"{'quantity':58} {'measured':>40}   asked")
    for measure in (simulation_rows, small_mock_rows, survey_rows, field_rows):
        for quantity, measured, asked in measure(params):
            print(f"{quantity:58} {measured:>40}   {asked}", flush=True)


def simulation_rows(params: Params) -> Iterator[Row]:
    """Cost of the theory spectrum, of an N-body box in a process of its own, and of a map."""
    yield "C_ell to ell_max", f"{_seconds(lambda: convergence_c_ell(params.theory)):.1f} s", ""
    with pool_of_processes(1) as pool:
        seconds, memory_gb = pool.submit(box_cost, params).result()
    box = params.simulations.nbody
    name = f"N-body {box.particles}^3, mesh {box.mesh}^3, {box.steps} steps, one core"
    yield name, f"{seconds:.0f} s, {memory_gb:.1f} GB", "30 s, 2.5 GB"

    redshift, share = source_distribution(params.theory.sources)
    small, rng = dataclasses.replace(box, steps=4), stage_rng(params.seed, "bench", "map")
    omega_m, grid = params.theory.omega_m, params.grid
    planes = simulate_box(omega_m, *_matter(params), small, redshift.max(), rng)
    shape = {"pixels": grid.pixels, "pixel_arcmin": grid.pixel_arcmin, "rng": rng}
    distance = comoving_distance(redshift, omega_m)
    seconds = _median_seconds(lambda: convergence_map([planes], distance, share, **shape))
    yield f"a map of {grid.pixels}^2", f"{seconds:.3f} s", "0.25 s"


def box_cost(params: Params) -> tuple[float, float]:
    """CPU seconds to evolve an N-body box, and memory that it takes on top of the imports (GB)."""
    imports_gb = peak_memory_gb()
    box, growth = params.simulations.nbody, growth_factors(params.theory.omega_m)
    lattice = {"box": box.box_mpc_h, "mesh": box.particles}
    modes = linear_modes(*_matter(params), **lattice, rng=stage_rng(params.seed, "bench", "box"))
    start = time.process_time()
    times = {"scale_factors": [1.0], "steps": box.steps, "start_redshift": box.start_redshift}
    list(evolve(modes, box=box.box_mpc_h, growth=growth, mesh=box.mesh, **times))
    return time.process_time() - start, peak_memory_gb() - imports_gb


def _matter(params: Params) -> tuple[np.ndarray, ...]:
    """Wavenumbers and linear power of matter."""
    matter = matter_tables(params.theory)
    return tuple(np.asarray(matter[name]) for name in ("k", "linear"))


def small_mock_rows(params: Params) -> Iterator[Row]:
    """Power of samples over exact draws, for small mocks as in the calibration with a Gaussian prior, by cycles."""
    weight = _field(params).weight
    side, margin, pixel_arcmin = params.train.crop_pixels, params.train.margin, params.grid.pixel_arcmin
    power = crop_power(*convergence_c_ell(params.theory), (side, side), pixel_arcmin)
    prior = Prior(power=power, pixel_arcmin=pixel_arcmin, margin=margin)
    inner, nyquist = side - 2 * margin, np.pi / np.deg2rad(pixel_arcmin / 60)
    edges = np.geomspace(max(300, 0.99 * 2 * nyquist / inner), nyquist / 2, BANDS + 1)
    for cycles in sorted({3, params.sample.gibbs.last_cycles, 8}):
        gibbs = dataclasses.replace(params.sample.gibbs, last_cycles=cycles)
        anneal = annealer(prior, dataclasses.replace(params.sample, preset="gibbs", gibbs=gibbs))
        rng, found = stage_rng(params.seed, "bench", "small mocks"), []
        for _ in range(SAMPLES):
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
        error = np.std(ours - ratio * theirs, axis=0) * SAMPLES**0.5 / theirs.sum(axis=0)
        shown = " ".join(f"{value:.2f}" for value in ratio)
        name = f"{SAMPLES} small mocks, {cycles} last cycles: power / exact"
        yield name, f"{shown} +- {error.max():.2f}", "1"


def survey_rows(params: Params) -> Iterator[Row]:
    """Cost to average ten million galaxies with weights, a response and a cut on a grid of 10 x 10 degrees."""
    rng = stage_rng(params.seed, "bench", "survey")
    with tempfile.TemporaryDirectory(dir=ROOT / ".work") as folder:
        columns = {
            "ra": MIDDLE_DEG[0] + rng.uniform(-0.5, 0.5, ROWS) * SIDE_DEG,
            "dec": MIDDLE_DEG[1] + rng.uniform(-0.5, 0.5, ROWS) * SIDE_DEG,
            "e1": rng.normal(0, 0.27, ROWS).astype(np.float32),
            "e2": rng.normal(0, 0.27, ROWS).astype(np.float32),
            "weight": rng.uniform(0.5, 1, ROWS).astype(np.float32),
            "response": rng.normal(0.7, 0.1, ROWS).astype(np.float32),
            "z": rng.uniform(0, 2, ROWS).astype(np.float32),
        }
        for form in ("fits", "parquet"):
            path = Path(folder) / f"survey.{form}"
            Table(columns).write(path, format=form)
            with pool_of_processes(1) as pool:
                seconds, memory_gb = pool.submit(survey_cost, path, params.grid.pixel_arcmin).result()
            yield f"{ROWS} rows of {form}, centre and grid", f"{seconds:.0f} s, {memory_gb:.1f} GB", "60 s, 2 GB"


def survey_cost(path: Path, pixel_arcmin: float) -> tuple[float, float]:
    """Seconds to find the centre of a catalogue and average it on a grid, and memory on top of the imports (GB)."""
    imports_gb = peak_memory_gb()
    names = {name: name for name in ("ra", "dec", "e1", "e2", "weight")}
    entry = CatalogueTable(path=str(path), columns=TableColumns(**names), response="response", cuts="z > 0.3")
    start = time.perf_counter()
    opened = open_table(path, entry)
    shear_from_table(
        opened, entry, Grid(round(60 * SIDE_DEG / pixel_arcmin), pixel_arcmin, *center_of_table(opened, entry))
    )
    return time.perf_counter() - start, peak_memory_gb() - imports_gb


def field_rows(params: Params) -> Iterator[Row]:
    """Cost of the field's posterior with the network in `data/score`, and the share of each part of a sample."""
    observation = _field(params)
    if not (DATA / "score" / "network.json").is_file():
        yield f"{observation.title}, {SAMPLES} samples", "no network in data/score: `dvc repro train`", "180 s, 4 GB"
        return
    unknown = np.zeros(observation.grid.shape)  # the truth of a real field
    field = CutOut(unknown, observation.gamma, observation.weight, 0)
    cost = run_alone(DATA / "score", field, params.sample, SAMPLES, seed=params.seed)
    name = f"{observation.title}, {SAMPLES} samples, {cost.evaluations} evaluations each"
    yield name, f"{cost.seconds:.0f} s, {cost.memory_gb:.1f} GB", "180 s, 4 GB, 400 evaluations"
    yield from part_rows(load_prior(DATA / "score"), params.sample)


def part_rows(prior: Prior, params: SampleParams) -> Iterator[Row]:
    """Milliseconds a map of every part of a Gibbs sample, and its share of a sample.

    A sample evaluates the network's mean once a noise level of every cycle, and once more at its end, for local noise
    (`diffusion.local_noise`, whose filters are not counted here). It crosses to the next level twice
    (predictor and corrector) with one draw of noise; the data enter once a cycle.
    """
    parts, settings = sample_parts(prior), params.gibbs
    rhos = np.geomspace(params.sigma_start, settings.renoise, settings.cycles)
    rhos = np.append(rhos, np.repeat(settings.renoise, settings.last_cycles))
    ladders = [descent(rho, min(settings.sigma_end, rho / 2), settings.spacing) for rho in rhos]
    levels = sum(map(len, ladders))
    calls = {
        "network's mean, its transforms included": sum(evaluations_to_clean(prior, ladder) for ladder in ladders),
        "from one noise level to the next": 2 * levels,
        "pull of the data, and fresh noise": len(rhos),
        "drawing noise on the host": levels + 3 * len(rhos),
    }
    seconds = {name: _median_seconds(part) / CHAINS for name, part in parts.items()}
    total = sum(number * seconds[name] for name, number in calls.items())
    side, backend = prior.power.shape[-1], keras.backend.backend()
    yield f"a sample of {side}^2 by its parts, {backend}", f"{total:.2f} s", ""
    for name, number in calls.items():
        share = f"{1000 * seconds[name]:.2f} ms, {100 * number * seconds[name] / total:.0f} %"
        yield f"  {name}, {number} times", share, ""
    yield "  the network alone, of its mean", f"{1000 * seconds['network alone']:.2f} ms", ""


def sample_parts(prior: Prior) -> dict[str, Callable]:
    """Functions without arguments, one for each part of a sample, on `CHAINS` maps of noise."""
    rng, power, high, low = np.random.default_rng(1), prior.power.astype("float32"), np.float32(0.04), np.float32(0.03)
    kappa = high * rng.standard_normal((CHAINS, *power.shape), "float32")
    noise, shear = (rng.standard_normal((CHAINS, *shape, *power.shape), "float32") for shape in ((), (2,)))
    weight, sigma = np.full((2, *power.shape), 100.0, "float32"), np.full(CHAINS, high)
    inputs = [ops.stack([kappa] * prior.network.inputs[0].shape[-1], axis=-1), np.zeros((CHAINS, 1), "float32")]
    network = compiled(lambda *maps: prior.network(list(maps)))
    mean = compiled(lambda kappa, sigma: shifted_mean(prior, kappa, sigma))
    cross, split = compiled(bridge), compiled(renoised)
    return {
        "network's mean, its transforms included": lambda: mean(kappa, sigma),
        "from one noise level to the next": lambda: cross(kappa, kappa, high, low, power, noise),
        "pull of the data, and fresh noise": lambda: split(kappa, low, shear, weight, shear, noise),
        "drawing noise on the host": lambda: rng.standard_normal(kappa.shape, "float32"),
        "network alone": lambda: network(*inputs),
    }


def _field(params: Params) -> Observation:
    """The observation whose mask and noise the mocks have."""
    return load_observation(DATA / "observation" / f"{params.mocks.field}.fits")


def _seconds(function: Callable) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    np.asarray(function())
    return time.perf_counter() - start


def _median_seconds(function: Callable) -> float:
    """Median seconds of a call, without the first call, which compiles."""
    return float(np.median([_seconds(function) for _ in range(1 + REPEATS)][1:]))
