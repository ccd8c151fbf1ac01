"""Cost of a posterior sample: all samplers on one posterior with one network, and growth with the map.

Each run has its own process, so that the peak memory of the process is that of the run.
"""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from analysis.core.files import atomic
from analysis.core.workers import pool_of_processes
from analysis.flatsky.maps import MapSet, central_crops
from analysis.flatsky.power import binned_c_ell, multipole_edges, resampled_power
from analysis.judge.calibration import CutOut, cut_out
from analysis.params import Params, SampleParams, stage_rng
from analysis.posterior.sampler import annealer
from analysis.prior.files import load_prior
from analysis.prior.score import Prior

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Cost:
    """One run of a sampler.

    Attributes
    ----------
    evaluations : of the score, for one sample
    seconds : of the run, without compilation
    memory_gb : peak of its process
    acceptance : mean over noise levels
    bands : (chains, n_bins), power of the samples inside the margin, sr
    """

    evaluations: int
    seconds: float
    memory_gb: float
    acceptance: float
    bands: np.ndarray


def run_preset(
    folder: Path, maps: MapSet, weight: np.ndarray, params: Params, work: Path, side: int, preset: str, chains: int
) -> Cost:
    """Cost of one sampler with the network of a folder, on a mock of `side` pixels that is the same for all samplers.

    Each chain ends as one independent sample. A first run compiles the functions and is not counted; the original's
    schedule does without it, since compilation is a thousandth of its run.

    Parameters
    ----------
    maps, weight : for `benchmark_mock`
    work : folder that stores the cost; a stored cost is not measured again, since the original's schedule takes an hour
    """
    path = work / f"{preset}_{side}_{chains}.npz"
    if path.is_file():
        return load_cost(path)
    margin = load_prior(folder).margin
    mock = benchmark_mock(maps, weight, side, margin, rng=stage_rng(params.seed, "benchmark", str(side)))
    cost = run_alone(folder, mock, replace(params.sample, preset=preset), chains, seed=params.seed)
    save_cost(path, cost)
    log.info("%s, %d pixels a side, %d chains: %.1f s", preset, side, chains, cost.seconds)
    return cost


def save_cost(path: Path, cost: Cost) -> None:
    """Write a cost whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **asdict(cost))


def load_cost(path: Path) -> Cost:
    """Read what `save_cost` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        return Cost(**{name: kept[name] if name == "bands" else kept[name].item() for name in kept})


def run_alone(folder: Path, mock: CutOut, params: SampleParams, chains: int, *, seed: int) -> Cost:
    """`run_sampler` in a process of its own."""
    with pool_of_processes(1) as pool:
        return pool.submit(run_sampler, folder, mock, params, chains, seed=seed).result()


def run_sampler(folder: Path, mock: CutOut, params: SampleParams, chains: int, *, seed: int) -> Cost:
    """Sample a mock with the network of a folder."""
    side = len(mock.truth)
    prior = on_grid(load_prior(folder), side)
    anneal = annealer(prior, params)
    if params.preset != "remy2020":
        anneal(mock.gamma, mock.weight, chains, rng=np.random.default_rng(seed))
    start = time.perf_counter()
    samples, levels = anneal(mock.gamma, mock.weight, chains, rng=np.random.default_rng(seed))
    seconds, inner = time.perf_counter() - start, side - 2 * prior.margin
    return Cost(
        evaluations=levels[-1].evaluations,
        seconds=seconds,
        memory_gb=peak_memory_gb(),
        acceptance=float(np.mean([level.acceptance for level in levels])),
        bands=binned_c_ell(
            central_crops(samples, inner), prior.pixel_arcmin, multipole_edges(inner, prior.pixel_arcmin)
        ),
    )


def peak_memory_gb() -> float:
    """Highest memory of this process so far, without that of its parent."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20
    return psutil.Process().memory_info().rss / 2**30


def on_grid(prior: Prior, side: int) -> Prior:
    """The prior on a grid of another size with the same pixel scale."""
    return replace(prior, power=resampled_power(prior.power, side).astype("float32"))


def benchmark_mock(maps: MapSet, weight: np.ndarray, side: int, margin: int, *, rng: np.random.Generator) -> CutOut:
    """A mock with the sampler's own shear; it is a mosaic of maps if they are smaller than `side`."""
    tiles = -(-side // maps.kappa.shape[-1])
    chosen = rng.choice(len(maps.kappa), size=(tiles, tiles))
    mosaic = np.block([[maps.kappa[i] for i in row] for row in chosen])
    repeats = -(-side // weight.shape[-1])
    weight = np.tile(weight, (1, repeats, repeats))
    return cut_out(MapSet(mosaic[None], np.zeros(1, int)), weight, side, margin, "own", rng=rng)


def agreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of the mean band powers of two samplers over its Monte-Carlo error, (n_bins,)."""
    error = np.sqrt(one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other))
    return (one.mean(axis=0) - other.mean(axis=0)) / error


def comparison(runs: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    """Cost of a sample by each sampler, and largest difference of its band powers from the first sampler's.

    The difference is in Monte-Carlo errors.

    Parameters
    ----------
    runs : costs by sampler, on one posterior with the same number of chains
    """
    first = next(iter(runs.values()))
    return {
        name: {
            "evaluations": cost.evaluations,
            "seconds": cost.seconds / len(cost.bands),
            "memory_gb": cost.memory_gb,
            "acceptance": cost.acceptance,
            "largest_difference": 0.0 if cost is first else float(np.abs(agreement(cost.bands, first.bands)).max()),
        }
        for name, cost in runs.items()
    }


def growth(sides: Sequence[int], costs: Sequence[Cost]) -> dict[str, float | list[float]]:
    """Cost of a sample on maps of several sides, and the exponent of its time."""
    seconds = [cost.seconds / len(cost.bands) for cost in costs]
    return {
        "seconds": seconds,
        "memory_gb": [cost.memory_gb for cost in costs],
        "acceptance": [cost.acceptance for cost in costs],
        "exponent": scaling(sides, seconds),
    }


def scaling(sides: Sequence[int], seconds: Sequence[float]) -> float:
    """Exponent a of seconds ~ side^a, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sides), np.log(seconds), 1)[0])
