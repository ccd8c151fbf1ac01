"""Calibration on small mocks: the ranks of true maps among their posterior samples.

A mock is a cut-out of a simulated map with the noise of a piece of a real field, its margin unobserved. `own` mocks get
their shear from the sampler's own periodic operator, and their margin is drawn anew like that of the training maps, so
that they test prior and sampler only. `sky` mocks have the reduced shear of a wider map, as on the sky. The truths of
`self` mocks are draws of the network's own prior, so that they test the sampler alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scoringrules
from astropy.table import Table

from analysis.flatsky.lensing import reduced_shear, shear_from_convergence
from analysis.flatsky.maps import MapSet, central_crops
from analysis.flatsky.peaks import aperture_mass, peak_heights
from analysis.flatsky.power import binned_c_ell
from analysis.flatsky.statistics import holm
from analysis.judge import ranks
from analysis.judge.metrics import NEAR_BOUND
from analysis.params import stage_rng
from analysis.posterior.wiener import gaussian_posterior_draws
from analysis.prior.score import Prior
from analysis.rivals.baselines import wiener_filter

BANDS = 6
APERTURE_PIXELS = 5.0
SKY_EDGE = 32  # pixels at the edge of a map, whose shear is wrong because the map is not periodic
NOISE_CLASSES = ("deep", "middle", "shallow")
MINIMA = 10
TILT = 0.05  # of the power in a band that samples lack: what the tests should see
STATISTICS = (
    *(f"band_{i}" for i in range(BANDS)),
    "highest_peak",
    "deepest_pixel",
    "deepest_minima",
    *(f"pixel_{name}" for name in NOISE_CLASSES),
    "aperture_random",
    "aperture_peak",
)


@dataclass(frozen=True, eq=False)
class CutOut:
    """A small mock: truth (side, side), shear and weight (2, side, side), and the box of the map it was cut from.

    `reduced` : whether the shear is reduced, as on the sky
    """

    truth: np.ndarray
    gamma: np.ndarray
    weight: np.ndarray
    box: int
    reduced: bool = False


def cut_out(
    maps: MapSet,
    weight: np.ndarray,
    side: int,
    margin: int,
    kind: str,
    *,
    rng: np.random.Generator,
    redrawn: Callable | None = None,
) -> CutOut:
    """One mock with random place, orientation, noise and piece of the field.

    Parameters
    ----------
    maps : held-out maps; all boxes are equally likely
    weight : (2, ny, nx), inverse variance of a real field
    side : of the mock, pixels
    margin : outer pixels left unobserved
    kind : `own` or `sky`
    redrawn : (maps (n, side, side), rng) -> the same with another margin (`prior.margin.gaussian_margin`), for `own`:
        opposite edges of a cut-out do not match, unlike in the prior's maps; None leaves the margin
    """
    box = rng.choice(np.unique(maps.box))
    kappa = np.rot90(maps.kappa[rng.choice(np.flatnonzero(maps.box == box))], rng.integers(4))
    kappa = kappa.T if rng.random() < 0.5 else kappa
    edge = min(SKY_EDGE, (len(kappa) - side) // 2) if kind == "sky" else 0
    y, x = rng.integers(edge, len(kappa) - side + 1 - edge, size=2)
    window = np.s_[..., y : y + side, x : x + side]
    truth = kappa[window]
    if kind == "own":
        truth, shear = truth if redrawn is None else redrawn(truth[None], rng)[0], None
    else:
        shear = reduced_shear(np.asarray(shear_from_convergence(kappa[None]))[0], kappa)[window]
    return under_field(truth, weight, margin, box=int(box), rng=rng, shear=shear, reduced=kind == "sky")


def under_field(
    truth: np.ndarray,
    weight: np.ndarray,
    margin: int,
    *,
    box: int,
    rng: np.random.Generator,
    shear: np.ndarray | None = None,
    reduced: bool = False,
) -> CutOut:
    """A mock of a truth under a random piece of the noise of a field.

    Parameters
    ----------
    truth : (side, side)
    weight : (2, ny, nx), inverse variance of a real field
    margin : outer pixels left unobserved
    shear : (2, side, side), without noise; None for that of the sampler's own periodic operator
    reduced : whether that is the reduced shear
    """
    if shear is None:
        shear = np.asarray(shear_from_convergence(truth[None]))[0]
    piece = piece_of_field(weight, len(truth), margin, rng=rng)
    sigma = np.where(piece > 0, piece, np.inf) ** -0.5
    gamma = np.where(piece > 0, shear + sigma * rng.standard_normal(shear.shape), 0.0)
    return CutOut(truth, gamma.astype("float32"), piece.astype("float32"), box, reduced=reduced)


def piece_of_field(weight: np.ndarray, side: int, margin: int, *, rng: np.random.Generator) -> np.ndarray:
    """A random piece of the weights of a field, (2, side, side), with zero weight in the margin."""
    ranges = []
    for axis in (1, 0):
        seen = np.flatnonzero(weight[0].any(axis=axis))
        low, high = seen[0] - margin, seen[-1] + 1 + margin - side
        ranges.append((max(0, min(low, high)), min(weight.shape[-1] - side, max(low, high))))
    y, x = (rng.integers(low, high + 1) for low, high in ranges)
    piece = np.zeros((2, side, side))
    inner = slice(margin, side - margin)
    piece[:, inner, inner] = weight[:, y : y + side, x : x + side][:, inner, inner]
    return piece


def summaries(mock: CutOut, wiener: np.ndarray, margin: int, pixel_arcmin: float, *, rng: np.random.Generator):
    """A function of maps (..., side, side) that returns every statistic of `STATISTICS`, by name.

    Places are random, or the highest of the Wiener map. They are chosen once, and never from the truth.
    """
    side = len(wiener)
    inner = side - 2 * margin
    nyquist = np.pi / np.deg2rad(pixel_arcmin / 60)
    edges = np.geomspace(max(300, 0.99 * 2 * nyquist / inner), nyquist / 2, BANDS + 1)  # not below the first mode
    seen = np.argwhere(mock.weight[0] > 0)
    by_weight = seen[np.argsort(-mock.weight[0][tuple(seen.T)], kind="stable")]
    pixels = [tuple(rng.choice(third)) for third in np.array_split(by_weight, len(NOISE_CLASSES))]
    somewhere = rng.choice(seen)
    observed = np.where(mock.weight[0] > 0, wiener, -np.inf)
    places = {"random": somewhere, "peak": np.unravel_index(np.argmax(observed), wiener.shape)}

    def measure(maps: np.ndarray) -> dict[str, np.ndarray]:
        middle = central_crops(maps, inner)
        bands = np.nan_to_num(binned_c_ell(middle, pixel_arcmin, edges))  # 0 in a band without modes, on tiny grids
        return (
            {f"band_{i}": bands[..., i] for i in range(BANDS)}
            | {"highest_peak": middle.max(axis=(-2, -1)), "deepest_pixel": middle.min(axis=(-2, -1))}
            | {"deepest_minima": deepest_minima(middle)}
            | {f"pixel_{name}": maps[..., y, x] for name, (y, x) in zip(NOISE_CLASSES, pixels, strict=True)}
            | {f"aperture_{name}": aperture_mass(maps, x, y, APERTURE_PIXELS) for name, (y, x) in places.items()}
        )

    return measure


def deepest_minima(maps: np.ndarray) -> np.ndarray:
    """Mean convergence of the `MINIMA` deepest minima of each map, (...); with the deepest pixel if there are fewer.

    Parameters
    ----------
    maps : (..., ny, nx)
    """
    stack = maps.reshape(-1, *maps.shape[-2:])
    depths = [np.append(np.sort(-peak_heights(-one[None])), one.min())[:MINIMA] for one in stack]
    return np.reshape([found.mean() for found in depths], maps.shape[:-2])


def statistics_moved(mock: CutOut, moved: np.ndarray, prior: Prior, *, rng: np.random.Generator) -> dict[str, float]:
    """Mean change of each statistic from the truth to chains that began there.

    Parameters
    ----------
    moved : (chains, side, side), after some transitions
    """
    wiener = wiener_filter(mock.gamma, mock.weight, prior.power)
    measure = summaries(mock, wiener, prior.margin, prior.pixel_arcmin, rng=rng)
    truth, after = measure(mock.truth), measure(np.asarray(moved, float))
    return {name: float(f"{np.mean(after[name] - truth[name]):.5g}") for name in STATISTICS}


def calibrate_mock(mock: CutOut, samples: np.ndarray, prior: Prior, *, rng: np.random.Generator) -> dict[str, float]:
    """Ranks of one mock's truth among its samples, and the errors of one sample and of their mean.

    Equal `rng` means equal places and Gaussian draws. The reference point of TARP is a draw of the Gaussian posterior,
    which depends on data and chance only.

    Returns
    -------
    dict
        rank by statistic and `tarp`, `mse_one`, `mse_mean`, `box`, `strays`; by statistic also `<name>_truth`,
        `<name>_mean` and `<name>_std` over samples; `proper_scores` of the samples, and of as many draws of the
        Gaussian posterior as `<name>_gaussian`
    """
    wiener = wiener_filter(mock.gamma, mock.weight, prior.power)
    measure = summaries(mock, wiener, prior.margin, prior.pixel_arcmin, rng=rng)
    gaussian = gaussian_posterior_draws(mock.gamma, mock.weight, prior.power, 1, rng=rng)[0]
    truth, drawn = measure(mock.truth), measure(samples)
    seen = mock.weight[0] > 0
    one = np.mean(np.var((samples - mock.truth)[:, seen], axis=-1))
    mean = np.var((samples.mean(axis=0) - mock.truth)[seen])
    found = {name: int(ranks.rank(truth[name], drawn[name])) for name in STATISTICS}
    for name in STATISTICS:
        found |= {
            f"{name}_truth": float(f"{truth[name]:.5g}"),
            f"{name}_mean": float(f"{drawn[name].mean():.5g}"),
            f"{name}_std": float(f"{drawn[name].std(ddof=1):.5g}"),
        }
    rival = gaussian_posterior_draws(mock.gamma, mock.weight, prior.power, len(samples), rng=rng)
    found |= proper_scores(mock.truth[seen], samples[:, seen])
    found |= {f"{name}_gaussian": v for name, v in proper_scores(mock.truth[seen], rival[:, seen]).items()}
    return found | {
        "tarp": ranks.tarp_rank(mock.truth[seen], samples[:, seen], gaussian[seen]),
        "mse_one": float(one),
        "mse_mean": float(mean),
        "strays": strays(samples, mock.truth, prior.highest),
        "box": mock.box,
    }


def proper_scores(truth: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """CRPS, averaged over pixels, and energy score of samples; small is good, and only the true posterior is best.

    Parameters
    ----------
    truth : (pixels,)
    samples : (n, pixels)

    Source: Gneiting & Raftery 2007; unbiased for few samples (`fair`).
    """
    crps = scoringrules.crps_ensemble(truth, samples.T, estimator="fair").mean()
    return {"crps": float(crps), "energy": float(scoringrules.es_ensemble(truth, samples, estimator="fair"))}


def strays(samples: np.ndarray, truth: np.ndarray, highest: float | None) -> int:
    """Number of samples near the bound of the prior although the truth stays below half of it.

    -1 if the truth is higher than that, or the prior has no bound.
    """
    if highest is None or truth.max() > highest / 2:
        return -1
    return int(np.sum(samples.max(axis=(-2, -1)) > NEAR_BOUND * highest))


def calibration_summary(table: Table, n: int, *, seed: int) -> dict:
    """Tests of the ranks of all mocks of one kind.

    Parameters
    ----------
    table : one row a mock
    n : samples a mock
    """
    boxes = np.asarray(table["box"])
    by_statistic = {name: np.asarray(table[name]) for name in STATISTICS}
    p_values = holm({name: ranks.uniformity(values, n) for name, values in by_statistic.items()})
    sharper = holm({name: ranks.tilt_or_width(values, n) for name, values in by_statistic.items()})
    one, mean, tarp = (np.asarray(table[name]) for name in ("mse_one", "mse_mean", "tarp"))

    def error(statistic: Callable) -> float:
        return ranks.bootstrap_error(statistic, boxes, rng=stage_rng(seed, "calibrate", "bootstrap"))

    def covered(level: float) -> Callable:
        return lambda chosen: np.mean([ranks.coverage(v[chosen], n, level) for v in by_statistic.values()])

    def score_ratio(name: str) -> Callable:
        ours, gaussian = (np.asarray(table[column]) for column in (name, f"{name}_gaussian"))
        return lambda chosen: float(ours[chosen].sum() / gaussian[chosen].sum())

    def mse_ratio(chosen: np.ndarray) -> float:
        return float(one[chosen].sum() / mean[chosen].sum() * (n + 1) / (2 * n))

    everything, known = np.arange(len(table)), table["strays"][table["strays"] >= 0]
    return {
        "sbc_min_p_holm": min(p_values.values()),
        "sbc_p_holm": p_values,
        "tilt_or_width_min_p_holm": min(sharper.values()),
        "tilt_or_width_p_holm": sharper,
        "pooled_band_z": ranks.pooled_z(_bands(table), n),
        "power_against_tilt": ranks.powers(_tilts(table), n, tests=len(STATISTICS), found=_bands(table)),
        "mean_rank_by_statistic": {name: float(np.mean(v + 0.5) / (n + 1)) for name, v in by_statistic.items()},
        "truth_over_samples_by_band": {
            f"band_{i}": float(np.mean(table[f"band_{i}_truth"]) / np.mean(table[f"band_{i}_mean"]))
            for i in range(BANDS)
            if np.any(table[f"band_{i}_mean"])
        },
        "tarp_max_deviation": ranks.largest_deviation(tarp, n),
        "tarp_band95": ranks.largest_by_chance(len(table), n, level=0.95),
        "coverage68": covered(0.68)(everything),
        "coverage68_err": error(covered(0.68)),
        "coverage95": covered(0.95)(everything),
        "coverage95_err": error(covered(0.95)),
        "coverage68_by_statistic": {name: ranks.coverage(v, n, 0.68) for name, v in by_statistic.items()},
        "coverage68_by_statistic_err": {
            name: error(lambda chosen, v=v: ranks.coverage(v[chosen], n, 0.68)) for name, v in by_statistic.items()
        },
        "mse_ratio_over_ideal": mse_ratio(everything),
        "mse_ratio_over_ideal_err": error(mse_ratio),
        "crps_over_gaussian": score_ratio("crps")(everything),
        "crps_over_gaussian_err": error(score_ratio("crps")),
        "energy_over_gaussian": score_ratio("energy")(everything),
        "energy_over_gaussian_err": error(score_ratio("energy")),
        "stray_share": float(np.mean(known)) / n if len(known) else None,
        "n_mocks": len(table),
        "n_boxes": len(np.unique(boxes)),
        "n_samples": n,
    }


def _bands(table: Table) -> np.ndarray:
    """Ranks of the band powers, (bands, mocks)."""
    return np.stack([table[f"band_{i}"] for i in range(BANDS)])


def _tilts(table: Table) -> np.ndarray:
    """Truths above samples that have a `TILT` less power than they should, in standard deviations; (bands, mocks).

    A band without modes, on tiny grids, has no tilt.
    """
    mean, std = (np.stack([table[f"band_{i}_{of}"] for i in range(BANDS)]) for of in ("mean", "std"))
    return TILT * np.divide(mean, std, out=np.zeros_like(mean), where=std > 0)


def moved_summary(table: Table) -> dict:
    """How far chains that began at their truths have drifted: an exact sampler keeps the mean of each statistic.

    Returns
    -------
    dict
        `moved_z`, mean change over its error by statistic; `moved_band_ratio`, mean power after over before, and its
        error
    """
    change = {name: np.asarray(table[f"{name}_moved"]) for name in STATISTICS}
    error = {name: values.std(ddof=1) / len(table) ** 0.5 for name, values in change.items()}
    bands = {name: np.mean(table[f"{name}_truth"]) for name in STATISTICS if name.startswith("band_")}
    return {
        "moved_z": {name: float(values.mean() / max(error[name], 1e-30)) for name, values in change.items()},
        "moved_band_ratio": [float(1 + change[name].mean() / truth) for name, truth in bands.items() if truth],
        "moved_band_ratio_err": [float(error[name] / truth) for name, truth in bands.items() if truth],
    }
