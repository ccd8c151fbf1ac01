"""What the `validate` stage reports: accuracy on mocks, health of the sampler, clusters of the real field.

Every number of `data/validation/metrics.json` is made here, and `DEFINITIONS` says what each means.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.clusters import stack_snr
from analysis.files import read_json
from analysis.metrics import (
    QUANTILES,
    centres,
    in_mask_pearson,
    in_mask_rmse,
    mean_and_error,
    mean_of_infinitely_many,
    mse_ratio_over_ideal,
    peak_errors,
    pearson_of_infinitely_many,
    ratio_of_rms,
    remy_pearson,
    remy_rmse,
    runaway,
    sampling_variance,
    share_at_bound,
    spectrum_ratio,
)
from analysis.mocks import Mock, mock_observation
from analysis.params import RunParams, stage_rng
from analysis.results import load_result
from analysis.samples import load_chain, load_convergence, load_samples, stein_error

log = logging.getLogger(__name__)

HIGH_PEAK = 0.06
CONVENTIONS = {"accuracy": (remy_rmse, remy_pearson), "accuracy_in_mask": (in_mask_rmse, in_mask_pearson)}

DEFINITIONS = {
    "accuracy.*.rmse": "RMSE over observed pixels, maps less their mean over the whole map (Remy+23); mean over mocks",
    "accuracy.*.pearson": "correlation of masked maps over the whole array (Remy+23), mean over test mocks",
    "accuracy_in_mask.*.rmse": "RMSE over observed pixels, each map less its mean there; mean over test mocks",
    "accuracy_in_mask.*.pearson": "correlation over observed pixels alone, mean over test mocks",
    "accuracy_own.*.rmse": "as accuracy.*.rmse, of mocks whose shear is the sampler's own periodic operator's",
    "accuracy_same.*.rmse": "as accuracy.*.rmse, of the same truths as accuracy_own, with the sky's shear",
    "accuracy_same.*.pearson": "as accuracy.*.pearson, of these",
    "accuracy_own.*.pearson": "as accuracy.*.pearson, of the same mocks",
    "accuracy*.*.*_err": "jackknife error of that mean over test boxes, over mocks where there is one box",
    "accuracy*.posterior_mean.rmse_infinite": "rmse without the noise of a finite number of samples, sqrt(MSE - V/n)",
    "accuracy*.posterior_mean.pearson_infinite": "pearson without that noise, r sqrt(var / (var - V/n))",
    "accuracy*.rmse_ratio_to_wiener": "sqrt(sum MSE_inf of the posterior mean / sum MSE of the Wiener map) over mocks",
    "accuracy*.rmse_ratio_to_wiener_err": "jackknife error over test boxes, over mocks where there is one box",
    "calibration*.sbc_min_p_holm": "smallest of `sbc_p_holm`; below .01 a statistic is not calibrated",
    "calibration*.sbc_p_holm.*": "chance of ranks of the truth at least as uneven as these, chi squared, after Holm",
    "calibration*.tilt_or_width_min_p_holm": "smallest of `tilt_or_width_p_holm`",
    "calibration*.tilt_or_width_p_holm.*": "chance of ranks whose mean or spread is as far off, z-tests, after Holm",
    "calibration*.mean_rank_by_statistic.*": "mean rank of the truth over the number of ranks; 0.5 is exact",
    "calibration*.truth_over_samples_by_band.*": "power of the truths over that of their samples, margin left out",
    "calibration*.tarp_max_deviation": "largest departure of the expected coverage from its level (TARP)",
    "calibration*.tarp_band95": "what that departure stays below in 95 % of calibrated posteriors, this many mocks",
    "calibration*.coverage68": "share of truths in central 68 % intervals, mean over statistics",
    "calibration*.coverage95": "the same of central 95 % intervals",
    "calibration*.coverage68_by_statistic.*": "coverage68 of one statistic",
    "calibration*_err": "standard error, mocks drawn anew by box, one by one where there is one box",
    "calibration*.coverage68_by_statistic_err.*": "standard error, mocks drawn anew by box, one by one if it is one",
    "calibration.code": "digest of the code and parameters of the stage calibrate",
    "code": "digest of the code and parameters of the stage validate",
    "calibration*.mse_ratio_over_ideal": "MSE of one sample over MSE of the mean of n, over 2n/(n+1); 1 is exact",
    "calibration*.stray_share": "share of samples that reach 0.9 of the prior's bound though the truth has not half",
    "calibration*.n_mocks": "small mocks: those of `sky` with the reduced shear of a wider map, else the sampler's own",
    "calibration*.n_boxes": "N-body boxes of their truths, none of which training saw",
    "calibration*.n_samples": "posterior samples a mock",
    "clusters.*.*": "signal to noise of the stack, by map: mean kappa at in-mask clusters less that at random places,"
    " over the scatter of 1000 random stacks",
    "clusters.*.n": "clusters in the stack",
    "cosmos.cluster_stack_snr*": "the stack of the posterior mean: COSMOS, its B-mode run, its Gaussian-prior run",
    "mocks.*.rmse": "in-mask RMSE of the Wiener map of mocks whose shear is: own, of the sampler's periodic operator;"
    " wide, of a map wider than the grid; sky, that and reduced",
    "mocks.*.pearson": "in-mask correlation of the same",
    "mocks.*.coverage68": "share of observed pixels within one standard deviation of the Gaussian posterior",
    "mocks.*.rmse_change": "mean relative change from own, mocks of the same truths and noise",
    "mocks.*.rmse_change_err": "standard error of that mean",
    "mocks.*.coverage68_change": "mean change from own",
    "mocks.pixel.shear_variance_inside": "of a component about its mean over a pixel, by theory",
    "mocks.pixel.over_variance_of_a_galaxy": "that over the variance of one galaxy's shear estimate",
    "observation.*.*": "what the catalogue stage measured of a field",
    "one_point.quantile": "shares of observed pixels below `sample` and `truth`",
    "one_point.sample": "convergence below which that share of pixels lies in posterior samples of the test mocks",
    "one_point.truth": "the same in their true maps",
    "peaks.lowest": "height from which in-mask peaks of the truths count",
    "peaks.n": "such peaks of all test mocks",
    "peaks.rms_error.*": "rms error of a method at these pixels; infinite: without the noise of few samples",
    "prior.band_power_ratio": "power of samples of the prior alone over that of held-out maps, by bins of `ell`",
    "prior.band_power_max_departure": "largest departure of that ratio from 1",
    "prior.band_power_ratio_err": "standard error of that ratio, held-out maps bootstrapped by box",
    "prior.ell": "geometric centres of the bins",
    "prior.n": "samples of the prior alone",
    "prior.max_over_training_max": "highest convergence of samples of the prior alone over that of the training maps",
    "prior.peak_count_ratio": "peaks of samples of the prior alone over those of held-out maps, by `peak_height`",
    "prior.peak_count_excess": "largest departure of a bin of peaks over what is allowed, 15 % and 3 Poisson errors",
    "prior.peak_height": "lower edges of the bins",
    "prior.minimum_count_ratio": "the same of minima, by `minimum_depth` below zero",
    "prior.minimum_depth": "lower edges of the bins",
    "prior.quantile": "shares of pixels below `one_point` and `one_point_held_out`",
    "prior.one_point": "convergence below which that share of pixels of the samples lies, margin left out",
    "prior.one_point_held_out": "the same of held-out maps",
    "prior.runaway_sigma": "noise level at which a sample first exceeded 1.5 times the training maximum; null if none",
    "prior.at_bound": "share of samples of the prior alone that reach 0.9 of the training maximum inside the margin",
    "prior.at_bound_held_out": "the same of held-out maps",
    "prior.at_bound_allowed": "beyond this share a run may not go on: 1 % and 3 Poisson errors above held-out maps'",
    "prior.band_power_excess": "largest departure of that ratio from 1, less two errors, over the 0.1 that is allowed",
    "prior.runaway": "1 if a sample is not finite or exceeds 1.5 times the training maximum",
    "prior.level_sigma": "noise levels of the sampler of the prior alone",
    "prior.level_stein": "E[(kappa - m).score] over -(modes) at each; null where the score is not at hand",
    "prior.level_power": "power of the noisy samples at each over S + sigma^2, in four bands from long waves to short",
    "prior.stein_error": "largest departure of E[(kappa - m).score] from -(modes) over noise levels, relative",
    "sampler.acceptance": "mean share of accepted trajectories, over levels and runs",
    "sampler.evaluations_per_sample": "score evaluations, all passes counted",
    "sampler.rhat_max": "largest rank-normalised R-hat of band powers and highest peak, over runs; 1 if chains agree",
    "sampler.ess_min": "smallest effective number of draws of the same, from sample.further transitions a chain",
    "sampler.runaway": "runs of sample.fields, and test mocks, with a sample beyond 1.5 times the training maximum",
    "sampler.at_bound": "share of samples, of the run with the largest, that reach 0.9 of the training maximum",
    "sampler.at_bound_mocks": "the same of all samples of the test mocks",
    "sampler.at_bound_truths": "the same of their truths",
    "sampler.stein_error": "as prior.stein_error, worst over runs",
    "spread.mse_ratio_over_ideal": "MSE of one sample over MSE of the mean of n, over 2n/(n+1), full-field test mocks",
    "spread.n_mocks": "full-field test mocks",
    "spread.n_samples": "posterior samples of each",
    "simulations.*.*": "number, rms and maximum of the maps of each split",
    "simulations.boxes.*": "N-body boxes of a split, none of which another split sees",
    "simulations.source": "where the maps come from",
    "simulations.ell": "geometric centres of the bins",
    "simulations.c_ell_over_halofit": "mean C_ell of maps of the grid's size over that of such pieces of halofit's sky",
    "simulations.published_over_halofit": "the same of the one public map of MassiveNuS",
    "simulations.skewness_at_1_arcmin.*": "<d^3> / <d^2>^1.5 after a Gaussian of 1 arcmin: mean and scatter of"
    " the maps, the public map's, and how many scatters it lies from the mean",
    "spectrum.ell": "geometric centres of the bins",
    "spectrum.max_departure": "largest departure of that ratio from 1",
    "spectrum.sample_to_truth": "power of masked posterior samples over that of the masked truths",
    "theory.*": "rms of the convergence expected of theory, all multipoles up to theory.ell_max",
    "train.parameters": "weights of the network",
    "train.error_*": "denoising RMSE over the Gaussian score's at that noise level, held-out box, no margin",
}


def sample_mocks(anneal: Callable, mocks: Sequence[Mock], chains: int, *, seed: int) -> np.ndarray:
    """Posterior samples of every mock, (mocks, chains, ny, nx); the mock's name decides its random numbers.

    Parameters
    ----------
    anneal : as `sampler.annealer` returns it
    """
    samples = []
    for mock in mocks:
        log.info("mock %s", mock.name)
        rng = stage_rng(seed, "validate", mock.name)
        samples.append(anneal(mock.observation.gamma, mock.observation.weight, chains, rng=rng)[0])
    return np.stack(samples)


def own_mocks(mocks: Sequence[Mock], *, seed: int) -> list[Mock]:
    """The same truths and noise levels, with noise of their own and the shear of the sampler's periodic operator."""
    own = []
    for mock in mocks:
        rng = stage_rng(seed, "validate", "own", mock.name)
        observed = mock_observation(mock.truth, mock.observation, rng=rng, wide=False, reduced=False)[1]
        own.append(replace(mock, name=f"own_{mock.name}", observation=observed))
    return own


def accuracy_table(mocks: Sequence[Mock], estimates: Mapping[str, np.ndarray], samples: np.ndarray) -> Table:
    """Errors of every method on every mock, by both conventions.

    Parameters
    ----------
    mocks : of one mask
    estimates : (mocks, ny, nx) a method
    samples : (mocks, n, ny, nx), of the posterior whose mean is `posterior_mean`

    Returns
    -------
    Table
        `mock`, `box`, `method`, and for either convention `rmse`, `pearson`, and what the mean of infinitely many
        samples would have, `mse_infinite` and `pearson_infinite`: not rmse^2 and pearson for the posterior mean only.
    """
    mask = mocks[0].observation.mask
    rows = []
    for method, maps in estimates.items():
        for mock, kappa, spread in zip(mocks, maps, samples, strict=True):
            row = {"mock": mock.name, "box": mock.box, "method": method}
            for convention, (rmse, pearson) in CONVENTIONS.items():
                error = rmse(kappa, mock.truth, mask)
                row[f"{convention}.rmse"] = error
                row[f"{convention}.pearson"] = pearson(kappa, mock.truth, mask)
                row[f"{convention}.mse_infinite"] = error**2
                row[f"{convention}.pearson_infinite"] = row[f"{convention}.pearson"]
                if method == "posterior_mean":
                    inside = convention == "accuracy_in_mask"
                    variance = sampling_variance(spread, mask, in_mask=inside)
                    row[f"{convention}.mse_infinite"] = mean_of_infinitely_many(error**2, variance, len(spread))
                    seen = kappa[mask] if inside else np.where(mask, kappa - kappa.mean(), 0.0)
                    row[f"{convention}.pearson_infinite"] = pearson_of_infinitely_many(
                        row[f"{convention}.pearson"], np.var(seen), variance * mask.sum() / seen.size, len(spread)
                    )
            rows.append(row)
    return Table(rows)


def accuracy(table: Table, convention: str) -> dict:
    """Means over mocks of an `accuracy_table`, their errors, and the ratio to the Wiener filter.

    Parameters
    ----------
    convention : `accuracy` or `accuracy_in_mask`
    """
    result = {}
    for method in np.unique(table["method"]):
        rows = table[table["method"] == method]
        result[str(method)] = {}
        for quantity in ("rmse", "pearson"):
            mean, error = mean_and_error(rows[f"{convention}.{quantity}"], rows["box"])
            result[str(method)] |= {quantity: mean, f"{quantity}_err": error}
    ours, wiener = (table[table["method"] == method] for method in ("posterior_mean", "wiener"))
    mse = [np.asarray(rows[f"{convention}.mse_infinite"]) for rows in (ours, wiener)]
    infinite, error = mean_and_error(np.sqrt(np.maximum(mse[0], 0)), ours["box"])
    result["posterior_mean"] |= {"rmse_infinite": infinite, "rmse_infinite_err": error}
    infinite, error = mean_and_error(ours[f"{convention}.pearson_infinite"], ours["box"])
    result["posterior_mean"] |= {"pearson_infinite": infinite, "pearson_infinite_err": error}
    ratio, error = ratio_of_rms(*mse, ours["box"])
    return result | {"rmse_ratio_to_wiener": ratio, "rmse_ratio_to_wiener_err": error}


def peak_accuracy(mocks: Sequence[Mock], estimates: Mapping[str, np.ndarray], samples: np.ndarray) -> dict:
    """Error of each method at the peaks of the truths; in-mask peaks of at least `HIGH_PEAK`.

    Parameters
    ----------
    mocks : of one mask
    estimates : (mocks, ny, nx) a method
    samples : (mocks, n, ny, nx), of the posterior whose mean is `posterior_mean`
    """
    mask = mocks[0].observation.mask

    def at_peaks(maps: Sequence[np.ndarray]) -> np.ndarray:
        errors = [peak_errors(one, mock.truth, mask, lowest=HIGH_PEAK) for one, mock in zip(maps, mocks, strict=True)]
        return np.concatenate(errors)

    squares = {method: at_peaks(maps) ** 2 for method, maps in estimates.items()}
    variance = samples.var(axis=1, ddof=1) / samples.shape[1]
    squares["posterior_mean_infinite"] = squares["posterior_mean"] - at_peaks(
        [one + mock.truth for one, mock in zip(variance, mocks, strict=True)]
    )
    n = len(squares["posterior_mean"])
    rms = {method: float(np.sqrt(max(np.mean(values), 0))) if n else None for method, values in squares.items()}
    return {"lowest": HIGH_PEAK, "n": n, "rms_error": rms}


def posterior_spread(mocks: Sequence[Mock], samples: np.ndarray, edges: np.ndarray) -> dict:
    """Whether posterior samples of mocks are as rough as the truths, as skewed, and as far from them as they should.

    Parameters
    ----------
    mocks : of one mask
    samples : (mocks, n, ny, nx)
    edges : (n_bins + 1,), multipoles
    """
    observation = mocks[0].observation
    mask, truths = observation.mask, np.stack([mock.truth for mock in mocks])
    ratio = spectrum_ratio(samples, truths, mask, observation.grid.pixel_arcmin, edges)
    return {
        "spectrum": {"ell": centres(edges), "sample_to_truth": ratio, "max_departure": np.max(np.abs(ratio - 1))},
        "one_point": {
            "quantile": QUANTILES,
            "sample": np.quantile(samples[..., mask], QUANTILES),
            "truth": np.quantile(truths[..., mask], QUANTILES),
        },
        "spread": {
            "mse_ratio_over_ideal": mse_ratio_over_ideal(samples, truths, mask),
            "n_mocks": len(mocks),
            "n_samples": samples.shape[1],
        },
    }


def sampler_health(
    folder: Path, names: Sequence[str], mocks: Sequence[Mock], mock_samples: np.ndarray, training_max: float
) -> dict:
    """Cost and health of the runs of `sample.fields` whose samples a folder holds; runaways of the test mocks too."""
    truths = np.stack([mock.truth for mock in mocks])
    samples = [load_samples(folder / f"{name}.fits") for name in names]
    chains = [load_chain(folder / f"{name}.fits") for name in names]
    agreement = [load_convergence(folder / f"{name}.fits") for name in names]
    return {
        "evaluations_per_sample": int(max(chain["evaluations"][-1] for chain in chains)),
        "acceptance": np.mean([np.mean(chain["acceptance"]) for chain in chains]),
        "stein_error": max((e for e in map(stein_error, chains) if e is not None), default=None),
        "rhat_max": max(float(np.max(table["rhat"])) for table in agreement),
        "ess_min": min(float(np.min(table["ess"])) for table in agreement),
        "runaway": sum(runaway(maps, training_max) for maps in [*samples, *mock_samples]),
        "at_bound": max(share_at_bound(maps, training_max) for maps in samples),
        "at_bound_mocks": share_at_bound(mock_samples, training_max),
        "at_bound_truths": share_at_bound(truths, training_max),
    }


def cluster_stacks(maps: Mapping[str, np.ndarray], placed: Table, mask: np.ndarray, *, seed: int) -> dict:
    """Signal to noise of the stack of a field's clusters in several maps, at the same random places.

    Parameters
    ----------
    maps : (ny, nx) each, by name
    placed : in-mask clusters, as `clusters_on_grid` gives them
    """
    x, y = np.asarray(placed["x"]), np.asarray(placed["y"])
    stacks = {
        name: stack_snr(kappa, x, y, mask, rng=stage_rng(seed, "validate", "clusters")) for name, kappa in maps.items()
    }
    return stacks | {"n": len(placed)}


def field_stacks(root: Path, runs: Mapping[str, RunParams], *, redshift_max: float, seed: int) -> dict:
    """The cluster stacks of every run on a field with clusters, by name; those of the COSMOS runs also as `cosmos`.

    Parameters
    ----------
    root : folder of the project, which holds `data/`
    runs : `sample.fields`
    redshift_max : clusters at or beyond it are left out
    """
    stacks = {}
    for name, run in runs.items():
        result = load_result(root, name, run)
        placed = result.clusters[np.asarray(result.clusters["z"]) < redshift_max]
        if len(placed) == 0:
            continue
        maps = {
            "posterior_mean": result.samples.mean(axis=0),
            "kaiser_squires": result.kaiser_squires,
            "wiener": result.wiener,
        }
        stacks[name] = cluster_stacks(maps, placed, result.observation.mask, seed=seed)
    headline = {"": "cosmos", "_bmode": "cosmos_bmode", "_gaussian": "cosmos_gaussian"}
    return {
        "clusters": stacks,
        "cosmos": {
            f"cluster_stack_snr{suffix}": stacks[name]["posterior_mean"]
            for suffix, name in headline.items()
            if name in stacks
        },
    }


def stage_metrics(data: Path, fields: Sequence[str]) -> dict:
    """What the stages before this one measured.

    Parameters
    ----------
    data : folder of the stages' outputs
    fields : `catalogue.fields`
    """
    observation = {name: read_json(data / "observation" / f"{name}_metrics.json") for name in fields}
    folders = {
        "theory": "theory",
        "simulations": "simulations",
        "mocks": "mocks",
        "train": "score",
        "prior": "prior",
        "calibration": "calibration",
    }
    return {
        "observation": {
            name: {key: value for key, value in values.items() if key != "definition"}
            for name, values in observation.items()
        }
    } | {stage: read_json(data / folder / "metrics.json") for stage, folder in folders.items()}


def definitions(metrics: Mapping) -> dict[str, str]:
    """What each metric means: for every dotted key, the entry of `DEFINITIONS` whose pattern fits it most closely.

    Raises
    ------
    KeyError
        If a metric has no definition.
    """
    found = {}
    for key in _dotted(metrics):
        fitting = [pattern for pattern in DEFINITIONS if fnmatchcase(key, pattern)]
        if not fitting:
            raise KeyError(f"the metric {key} has no definition; add one to DEFINITIONS in analysis/validation.py")
        found[key] = DEFINITIONS[max(fitting, key=lambda pattern: len(pattern.replace("*", "")))]
    return found


def _dotted(metrics: Mapping, prefix: str = "") -> list[str]:
    """Keys of nested mappings, joined by dots."""
    keys = []
    for key, value in metrics.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return keys
