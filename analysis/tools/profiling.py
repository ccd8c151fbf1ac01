"""Where the time of a posterior sample goes: parts of a Gibbs cycle, each timed alone, with and without XLA."""

import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from analysis.flatsky.backend import compiled
from analysis.params import SampleParams
from analysis.posterior.diffusion import bridge, descent
from analysis.posterior.likelihood import renoised
from analysis.prior.score import Prior, shifted_mean

REPEATS = 5
CHAINS = 8
Row = tuple[str, str, str]


def profile_rows(prior: Prior, params: SampleParams) -> Iterator[Row]:
    """Milliseconds a map of every part, and its share of a sample; then the network's share of the score under XLA.

    A sample evaluates the mean once a noise level of every cycle and crosses to the next level twice (predictor and
    corrector) on one draw of noise; data enter once a cycle.
    """
    parts, settings = parts_of_a_cycle(prior), params.gibbs
    rhos = np.geomspace(params.sigma_start, settings.renoise, settings.cycles)
    rhos = np.append(rhos, np.repeat(settings.renoise, settings.last_cycles))
    levels = sum(len(descent(rho, min(settings.sigma_end, rho / 2), settings.spacing)) for rho in rhos)
    calls = {"mean": levels, "bridge": 2 * levels, "data": len(rhos), "noise": levels + 3 * len(rhos)}
    seconds = {name: part_seconds(part) / CHAINS for name, part in parts.items()}
    total = sum(number * seconds[name] for name, number in calls.items())
    backend, side = keras.backend.backend(), prior.power.shape[-1]
    yield f"a sample of {side}^2 by its parts, {backend}", f"{total:.2f} s", ""
    names = {
        "mean": "network's mean, its transforms included",
        "bridge": "from one noise level to the next",
        "data": "pull of the data, and fresh noise",
        "noise": "drawing noise on the host",
    }
    for name, number in calls.items():
        share = f"{1000 * seconds[name]:.2f} ms, {100 * number * seconds[name] / total:.0f} %"
        yield f"  {names[name]}, {number} times", share, ""
    yield "  the network alone, of its mean", f"{1000 * seconds['network']:.2f} ms", ""
    if backend == "tensorflow":
        import tensorflow as tf

        xla = tf.function(_mean(prior), jit_compile=True)
        ratio = part_seconds(lambda: xla(*_noisy(prior))) / (CHAINS * seconds["mean"])
        yield "  network's mean, XLA / graph mode", f"{ratio:.2f} of the time", ""


def parts_of_a_cycle(prior: Prior) -> dict[str, Callable]:
    """Functions without arguments, one a part, on `CHAINS` maps."""
    kappa, sigma = _noisy(prior)
    power, rng = prior.power.astype("float32"), np.random.default_rng(0)
    noise, shear = (rng.standard_normal((CHAINS, *shape, *power.shape), "float32") for shape in ((), (2,)))
    weight = np.full((2, *power.shape), 100.0, "float32")
    inputs = [ops.stack([kappa] * 3, axis=-1), np.zeros((CHAINS, 1), "float32")]
    network, mean = compiled(lambda *maps: prior.network(list(maps))), compiled(_mean(prior))
    cross, split = compiled(bridge), compiled(renoised)
    high, low = np.float32(0.04), np.float32(0.03)
    return {
        "network": lambda: network(*inputs),
        "mean": lambda: mean(kappa, sigma),
        "bridge": lambda: cross(kappa, kappa, high, low, power, noise),
        "data": lambda: split(kappa, low, shear, weight, shear, noise),
        "noise": lambda: rng.standard_normal(kappa.shape, "float32"),
    }


def part_seconds(part: Callable) -> float:
    """Median time of a call, the first one left out, which compiles."""
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        np.asarray(part())
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _mean(prior: Prior) -> Callable:
    """The network's share of the score, as the sampler calls it."""
    return lambda kappa, sigma: shifted_mean(prior, kappa, ops.broadcast_to(sigma, (kappa.shape[0],)))


def _noisy(prior: Prior) -> tuple[np.ndarray, np.float32]:
    """Maps of noise, and their noise level."""
    sigma = np.float32(0.04)
    return sigma * np.random.default_rng(1).standard_normal((CHAINS, *prior.power.shape), "float32"), sigma
