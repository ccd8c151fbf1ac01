"""The prior test: samples drawn without any data against held-out maps of the same size."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.flatsky.maps import MapSet, central_crops, crops
from analysis.flatsky.peaks import peak_count_ratio, peak_heights
from analysis.flatsky.power import binned_c_ell, centres
from analysis.judge.metrics import QUANTILES, RUNAWAY, runaway, share_at_bound
from analysis.judge.ranks import bootstrap_error
from analysis.params import Params
from analysis.posterior.diagnostics import Level
from analysis.posterior.diffusion import FINE, descent, prior_draws, reverse_diffusion
from analysis.posterior.samples import chain_table, stein_error
from analysis.prior.score import Prior

PEAK_EDGES = (0.02, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4, np.inf)
POWER_OFF = 0.1  # largest allowed departure of a band power
COUNTS_OFF, DEEPEST_OFF = 0.15, 0.1  # of counts of peaks and minima, and of the mean deepest pixel; 3 errors are added
MINIMUM_EDGES = (0.005, 0.01, 0.015, 0.02, 0.03)
PLANTED, PLANTED_OFF = (0.3, 0.5, 0.7), 2.0  # heights over the training maximum; allowed mean change, over the noise
PLANTED_SIGMA, PLANTED_CORE, PLANTED_MAPS = 0.03, 1.2, 16  # noise that is taken away; pixels; maps a height
BANDS = 8
CROPS_PER_MAP = 4


def prior_test(
    prior: Prior, validation: MapSet, params: Params, *, rng: np.random.Generator
) -> tuple[np.ndarray, list[Level], MapSet, dict]:
    """Draw samples of the prior alone, without data or sampler, and compare them with crops of held-out maps.

    Returns
    -------
    samples : (prior.samples, ny, nx)
    levels : their health on the way down (`diffusion.prior_draws`)
    held_out : the crops, of the samples' size
    health : metrics (`prior_health`, `planted_peaks`), with whether the prior passed
    """
    fall = reverse_diffusion(prior)
    samples, levels = prior_draws(prior, fall, params.prior.samples, rng=rng)
    held_out = held_out_crops(validation, samples.shape[-1], rng=rng)
    chain = chain_table(levels)
    health = prior_health(samples, chain, held_out, prior.highest, prior.pixel_arcmin, rng=rng, margin=prior.margin)
    health |= planted_peaks(prior, fall, held_out.kappa, rng=rng)
    return samples, levels, held_out, health | {"passed": not prior_faults(health)}


def held_out_crops(maps: MapSet, side: int, *, rng: np.random.Generator) -> MapSet:
    """Crops of held-out maps, `CROPS_PER_MAP` of each, with the boxes that they come from.

    Parameters
    ----------
    side : of a crop, pixels
    """
    kappa, box = (np.repeat(values, CROPS_PER_MAP, axis=0) for values in (maps.kappa, maps.box))
    return MapSet(crops(kappa, side, rng=rng), box)


def prior_health(
    samples: np.ndarray,
    chain: Table,
    held_out: MapSet,
    training_max: float,
    pixel_arcmin: float,
    *,
    rng: np.random.Generator,
    margin: int = 0,
) -> dict:
    """Metrics of samples of the prior alone, compared with held-out maps of the same size.

    Parameters
    ----------
    samples : (n, ny, nx)
    chain : diagnostics of their noise levels
    held_out : maps of the same size; maps of one N-body box are correlated
    rng : of the bootstrap over boxes
    margin : pixels along the edges with the Gaussian prior, where peaks and values are not compared
    """
    maps = held_out.kappa
    fundamental = 2 * np.pi / (maps.shape[-1] * np.deg2rad(pixel_arcmin / 60))
    edges = np.geomspace(max(300, 0.99 * fundamental), 0.5 * np.pi / np.deg2rad(pixel_arcmin / 60), BANDS + 1)
    ours, theirs = (binned_c_ell(stack, pixel_arcmin, edges) for stack in (samples, maps))
    ratio = ours.mean(axis=0) / theirs.mean(axis=0)
    scatter = bootstrap_error(lambda chosen: theirs[chosen].mean(axis=0), held_out.box, rng=rng)
    error = ratio * np.hypot(
        ours.std(axis=0, ddof=1) / len(ours) ** 0.5 / ours.mean(axis=0), scatter / theirs.mean(axis=0)
    )
    seen = np.isfinite(ratio)  # on a very small grid some bands have no mode
    inner = [central_crops(stack, maps.shape[-1] - 2 * margin) for stack in (samples, maps)]
    peaks = peak_count_ratio(*inner, PEAK_EDGES)
    minima = peak_count_ratio(-inner[0], -inner[1], MINIMUM_EDGES)
    deepest = [stack.min(axis=(-2, -1)) for stack in inner]
    error_of_deepest = np.hypot(*(values.std(ddof=1) / len(values) ** 0.5 for values in deepest))
    allowed = DEEPEST_OFF * abs(deepest[1].mean()) + 3 * error_of_deepest
    at_bound, at_bound_held_out = (share_at_bound(stack, training_max) for stack in inner)
    highest = np.asarray(chain["highest"])
    beyond = ~(highest <= RUNAWAY * training_max)
    return {
        "n": len(samples),
        "ell": centres(edges)[seen],
        "band_power_ratio": ratio[seen],
        "band_power_ratio_err": error[seen],
        "band_power_max_departure": np.max(np.abs(ratio[seen] - 1)),
        "band_power_excess": np.max((np.abs(ratio[seen] - 1) - 2 * error[seen]) / POWER_OFF),
        "peak_height": PEAK_EDGES[:-1],
        "peak_count_ratio": _or_none(peaks),
        "peak_count_excess": max_excess(*inner, PEAK_EDGES),
        "minimum_depth": MINIMUM_EDGES[:-1],
        "minimum_count_ratio": _or_none(minima),
        "minimum_count_excess": max_excess(-inner[0], -inner[1], MINIMUM_EDGES),
        "deepest": deepest[0].mean(),
        "deepest_held_out": deepest[1].mean(),
        "deepest_excess": float(abs(deepest[0].mean() - deepest[1].mean()) / allowed),
        "quantile": QUANTILES,
        "one_point": np.quantile(inner[0], QUANTILES),
        "one_point_held_out": np.quantile(inner[1], QUANTILES),
        "max_over_training_max": samples.max() / training_max,
        "at_bound": at_bound,
        "at_bound_held_out": at_bound_held_out,
        "at_bound_allowed": at_bound_held_out + 0.01 + 3 * ((at_bound_held_out + 0.01) / len(samples)) ** 0.5,
        "runaway": int(runaway(samples, training_max)),
        "runaway_sigma": float(chain["sigma"][np.argmax(beyond)]) if beyond.any() else None,
        "stein_error": stein_error(chain),
        "level_sigma": np.asarray(chain["sigma"]),
        "level_stein": _or_none(np.asarray(chain["stein"])),
        "level_power": np.asarray(chain["power"]),
    }


def planted_peaks(prior: Prior, fall: Callable, maps: np.ndarray, *, rng: np.random.Generator) -> dict:
    """Metrics of high peaks, planted in held-out maps, given noise and drawn back by the reverse diffusion.

    Peaks as high are too rare for the samples of the prior alone to count them. Noise `PLANTED_SIGMA` leaves such a
    peak measured far better than any prior knows it, so that the draw must keep its height: a tail of peak counts as
    h^-n would move it by n sigma / h noises, less than half of one. A network that lets peaks feed themselves raises it
    at every step, up to the bound.

    Parameters
    ----------
    fall : of `reverse_diffusion`
    maps : (n, ny, nx), held out; the first `PLANTED_MAPS` are used

    Returns
    -------
    the change of the peak's pixel over the noise, mean for each of the heights `PLANTED`, and its largest size
    """
    y, x = np.indices(maps.shape[1:]) - np.array(maps.shape[1:])[:, None, None] // 2
    profile = (1 + (y**2 + x**2) / PLANTED_CORE**2) ** -1.5
    heights = prior.highest * np.array(PLANTED)
    truths = np.concatenate([maps[:PLANTED_MAPS] + height * profile for height in heights]).astype("float32")
    noisy = truths + np.float32(PLANTED_SIGMA) * rng.standard_normal(truths.shape, "float32")
    sigmas = descent(PLANTED_SIGMA, prior.noise_range[0], FINE)
    drawn = np.asarray(fall(noisy, sigmas, end=0.0, rng=rng, advance=lambda: None))
    change = (drawn - truths)[:, maps.shape[1] // 2, maps.shape[2] // 2].reshape(len(heights), -1) / PLANTED_SIGMA
    mean = change.mean(axis=1)
    return {"planted_height": heights, "planted_change": mean, "planted_worst": float(np.max(np.abs(mean)))}


def max_excess(samples: np.ndarray, maps: np.ndarray, edges: Sequence[float]) -> float:
    """Largest departure of peak counts from those of held-out maps, over the allowed `COUNTS_OFF` and 3 Poisson errors.

    All bins pass if it is below 1.
    """
    counts = [np.histogram(peak_heights(stack), edges)[0] for stack in (samples, maps)]
    expected = counts[1] * len(samples) / len(maps)
    poisson = np.sqrt(expected * (1 + len(samples) / len(maps)))
    return float(np.max(np.abs(counts[0] - expected) / (COUNTS_OFF * expected + 3 * np.maximum(poisson, 1))))


def prior_faults(health: Mapping) -> list[str]:
    """What is wrong with the samples of the prior alone; empty if the prior passes.

    They may not run away. Bands may be off by 10 % and 2 errors; counts of peaks and of minima in a bin by 15 % and 3
    errors, the mean deepest pixel by 10 % and 3 errors, and the share of samples that reach the bound by 1 % and 3.
    Planted peaks may change by 2 of the noise that they were given (`planted_peaks`).
    """
    faults = [
        (health["runaway"] or health["runaway_sigma"] is not None, f"a runaway at noise {health['runaway_sigma']}"),
        (health["band_power_excess"] > 1, f"power {health['band_power_max_departure']:.2f} off, above {POWER_OFF}"),
        (health["at_bound"] > health["at_bound_allowed"], f"{100 * health['at_bound']:.0f} % of samples at the bound"),
        (health["peak_count_excess"] > 1, f"peak counts {health['peak_count_excess']:.2f} tolerances off"),
        (health["minimum_count_excess"] > 1, f"counts of minima {health['minimum_count_excess']:.2f} tolerances off"),
        (health["deepest_excess"] > 1, f"the deepest pixel {health['deepest_excess']:.2f} tolerances off"),
        (not health["planted_worst"] <= PLANTED_OFF, f"planted peaks {health['planted_worst']:.1f} noises off"),
    ]
    return [what for wrong, what in faults if wrong]


def prior_verdict(health: Mapping, *, fatal: bool) -> str:
    """One sentence on the outcome of the prior test.

    Raises
    ------
    BorderError
        If the prior fails and `fatal` is true.
    """
    faults = prior_faults(health)
    if not faults:
        return "The prior passes its test."
    told = f"samples of the prior alone are not like the simulations ({'; '.join(faults)})"
    if fatal:
        raise BorderError(
            f"{told}; train longer, on more maps or with a larger network, or set prior.fatal to false to go on"
        )
    return f"THE PRIOR FAILS ITS TEST: {told}."


def _or_none(values: np.ndarray) -> list[float | None]:
    """Numbers, with None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
