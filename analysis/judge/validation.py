"""Accuracy of every method on mocks, and health of the sampler: the measurements of the stage `validate`.

`definitions.yaml` has the meaning of each number of `data/validation/metrics.json`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import read_json
from analysis.flatsky.power import binned_c_ell, centres
from analysis.flatsky.statistics import jackknife, mean_and_error, ratio_of_rms
from analysis.judge.metrics import (
    QUANTILES,
    correlation_by_band,
    in_mask_pearson,
    in_mask_rmse,
    mean_of_infinitely_many,
    mse_ratio_over_ideal,
    peak_errors,
    pearson_of_infinitely_many,
    remy_pearson,
    remy_rmse,
    runaway,
    sampling_variance,
    share_at_bound,
    spectrum_ratio,
)
from analysis.judge.ranks import coverage, rank
from analysis.posterior.samples import load_chain, load_convergence, load_samples, stein_error
from analysis.rivals.baselines import load_baseline, mock_baselines
from analysis.simulations.mocks import Mock

HIGH_PEAK = 0.06  # convergence from which a peak of a true map counts
CONVENTIONS = {"accuracy": (remy_rmse, remy_pearson), "accuracy_in_mask": (in_mask_rmse, in_mask_pearson)}


def mock_estimates(
    mocks: Sequence[Mock], samples: np.ndarray, power: np.ndarray, smoothing_arcmin: float
) -> dict[str, np.ndarray]:
    """Maps of mocks by the baselines, posterior mean and posterior median, (mocks, ny, nx) each.

    Parameters
    ----------
    samples : (mocks, n, ny, nx), of the posterior
    power : (ny, nx), of the Wiener filter
    smoothing_arcmin : of Kaiser-Squires
    """
    posterior = {"posterior_mean": samples.mean(axis=1), "posterior_median": np.median(samples, axis=1)}
    return mock_baselines(mocks, power, smoothing_arcmin) | posterior


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
        `mock`, `box`, `method`, and for either convention `rmse` and `pearson`, and `mse_infinite` and
        `pearson_infinite` of the mean of infinitely many samples; other methods than the posterior mean repeat theirs.
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
    """Mean errors of each method over mocks with their standard errors, and the ratio to the Wiener filter.

    Parameters
    ----------
    table : of `accuracy_table`
    convention : `accuracy` or `accuracy_in_mask`
    """
    result = {}
    for method in np.unique(table["method"]):
        rows = table[table["method"] == method]
        means = {name: mean_and_error(rows[f"{convention}.{name}"], rows["box"]) for name in ("rmse", "pearson")}
        result[str(method)] = _with_errors(means)
    ours, wiener = (table[table["method"] == method] for method in ("posterior_mean", "wiener"))
    mse = [np.asarray(rows[f"{convention}.mse_infinite"]) for rows in (ours, wiener)]
    infinite = {
        "rmse_infinite": mean_and_error(np.sqrt(np.maximum(mse[0], 0)), ours["box"]),
        "pearson_infinite": mean_and_error(ours[f"{convention}.pearson_infinite"], ours["box"]),
    }
    result["posterior_mean"] |= _with_errors(infinite)
    return result | _with_errors({"rmse_ratio_to_wiener": ratio_of_rms(*mse, ours["box"])})


def own_accuracy(errors: Table, own_errors: Table) -> dict[str, dict]:
    """`accuracy` of mocks with the sampler's own shear, and of the same truths with the sky's.

    Parameters
    ----------
    errors, own_errors : of `accuracy_table`; the mocks of the second are those of `mocks.own_mock`
    """
    truths = [name.removeprefix("own_") for name in own_errors["mock"]]
    same = errors[np.isin(errors["mock"], truths)]
    return {"accuracy_own": accuracy(own_errors, "accuracy"), "accuracy_same": accuracy(same, "accuracy")}


def peak_accuracy(mocks: Sequence[Mock], estimates: Mapping[str, np.ndarray], samples: np.ndarray) -> dict:
    """Error of each method at the in-mask peaks of the true maps that are at least `HIGH_PEAK` high.

    Parameters
    ----------
    mocks : of one mask
    estimates : (mocks, ny, nx) a method
    samples : (mocks, n, ny, nx), of the posterior whose mean is `posterior_mean`
    """
    squares = {method: np.concatenate(_errors_at_peaks(mocks, maps)) ** 2 for method, maps in estimates.items()}
    variance = samples.var(axis=1, ddof=1) / samples.shape[1]
    variance_at_peaks = _errors_at_peaks(mocks, [v + mock.truth for v, mock in zip(variance, mocks, strict=True)])
    squares["posterior_mean_infinite"] = squares["posterior_mean"] - np.concatenate(variance_at_peaks)
    n = len(squares["posterior_mean"])
    rms = {method: float(np.sqrt(max(np.mean(values), 0))) if n else None for method, values in squares.items()}
    return {"lowest": HIGH_PEAK, "n": n, "rms_error": rms}


def comparison_table(
    mocks: Sequence[Mock],
    estimates: Mapping[str, np.ndarray],
    errors: Table,
    *,
    samples: Mapping[str, np.ndarray],
    edges: np.ndarray,
) -> Table:
    """Accuracy of each method on mocks; jackknife errors over boxes, or over mocks if there is one box.

    Parameters
    ----------
    mocks : of one mask
    estimates : (mocks, ny, nx) a method
    errors : `accuracy_table` of the same
    samples : (mocks, n, ny, nx) of the methods that have an error bar
    edges : (n_bins + 1,), multipoles of the bands

    Returns
    -------
    Table
        One row a `method`; each quantity has its error beside it, `<quantity>_err`:
        `rmse` and `pearson` in the metric of Remy et al. 2023, `rmse_infinite` without the noise of few samples,
        `power_ratio` (n_bins,) of masked maps over that of the masked truths, `peak_rms` at the truths' in-mask peaks,
        and `coverage68` of the truths at observed pixels. NaN if it cannot be measured.
    """
    boxes = [mock.box for mock in mocks]
    rows = []
    for method, maps in estimates.items():
        own = errors[errors["method"] == method]
        quantities = {
            "rmse": mean_and_error(own["accuracy.rmse"], boxes),
            "rmse_infinite": mean_and_error(np.sqrt(np.maximum(own["accuracy.mse_infinite"], 0)), boxes),
            "pearson": mean_and_error(own["accuracy.pearson"], boxes),
            "power_ratio": _power_ratio(mocks, maps, edges),
            "peak_rms": _peak_rms(mocks, maps),
            "coverage68": _coverage68(mocks, samples[method]) if method in samples else (np.nan, np.nan),
        }
        rows.append({"method": method} | _with_errors(quantities))
    return Table(rows)


def gaussian_samples(path: Path, wiener: np.ndarray) -> np.ndarray:
    """Gaussian posterior samples of mocks with one mask. Their scatter about the Wiener map is the same for all data.

    Parameters
    ----------
    path : baselines of one of the mocks, with realisations
    wiener : (mocks, ny, nx), of each mock

    Returns
    -------
    (mocks, n, ny, nx)
    """
    return wiener[:, None] + (load_baseline(path, "realisations") - load_baseline(path, "wiener"))


def by_multipole(mocks: Sequence[Mock], estimates: Mapping[str, np.ndarray], edges: np.ndarray) -> dict:
    """Power of each method's masked maps over that of the truths, and their correlation, in bins of multipole.

    Parameters
    ----------
    mocks : of one mask
    estimates : (mocks, ny, nx) a method
    edges : (n_bins + 1,), multipoles
    """
    observation, truths = mocks[0].observation, np.stack([mock.truth for mock in mocks])
    where = (truths, observation.mask, observation.grid.pixel_arcmin, edges)
    return {
        "ell": centres(edges),
        "power_to_truth": {method: spectrum_ratio(maps, *where) for method, maps in estimates.items()},
        "correlation": {method: correlation_by_band(maps, *where) for method, maps in estimates.items()},
    }


def posterior_spread(mocks: Sequence[Mock], samples: np.ndarray, edges: np.ndarray) -> dict:
    """Power, one-point distribution and mean square error of posterior samples of mocks, compared with the truths.

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
    folder: Path, names: Iterable[str], mocks: Sequence[Mock], mock_samples: np.ndarray, training_max: float
) -> dict:
    """Cost and health of the runs of `sample.fields` in a folder of samples; runaways include those of test mocks."""
    truths = np.stack([mock.truth for mock in mocks])
    samples = [load_samples(folder / f"{name}.fits") for name in names]
    chains = [load_chain(folder / f"{name}.fits") for name in names]
    agreement = [load_convergence(folder / f"{name}.fits") for name in names]
    return {
        "evaluations_per_sample": int(chains[0]["evaluations"][-1]),
        "acceptance": np.mean([np.mean(chain["acceptance"]) for chain in chains]),
        "stein_error": max((e for e in map(stein_error, chains) if e is not None), default=None),
        "rhat_max": max(float(np.max(table["rhat"])) for table in agreement),
        "ess_min": min(float(np.min(table["ess"])) for table in agreement),
        "runaway": sum(runaway(maps, training_max) for maps in [*samples, *mock_samples]),
        "at_bound": max(share_at_bound(maps, training_max) for maps in samples),
        "at_bound_mocks": share_at_bound(mock_samples, training_max),
        "at_bound_truths": share_at_bound(truths, training_max),
    }


def stage_metrics(data: Path, fields: Sequence[str]) -> dict:
    """Metrics of the stages that run before `validate`.

    Parameters
    ----------
    data : folder of the stages' outputs
    fields : `catalogue.fields`
    """
    observation = {name: read_json(data / "observation" / f"{name}_metrics.json") for name in fields}
    for metrics in observation.values():
        metrics.pop("definition", None)
    stages = ("theory", "simulations", "mocks", "train", "prior", "rivals", "calibration")
    folders = {stage: data / ("score" if stage == "train" else stage) for stage in stages}
    gathered = {stage: read_json(folder / "metrics.json") for stage, folder in folders.items()}
    predictive = {name: read_json(data / "predictive" / f"{name}_metrics.json") for name in fields}
    return (
        {"observation": observation, "predictive": predictive}
        | gathered
        | read_json(data / "clusters" / "metrics.json")
    )


def _with_errors(quantities: Mapping[str, tuple]) -> dict:
    """Each value by its name, and its error by `<name>_err`."""
    named = [((name, value), (f"{name}_err", error)) for name, (value, error) in quantities.items()]
    return dict(pair for pairs in named for pair in pairs)


def _errors_at_peaks(mocks: Sequence[Mock], maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Errors of maps at the in-mask peaks of the truths of at least `HIGH_PEAK`, mock by mock."""
    mask = mocks[0].observation.mask
    return [peak_errors(kappa, mock.truth, mask, lowest=HIGH_PEAK) for kappa, mock in zip(maps, mocks, strict=True)]


def _power_ratio(mocks: Sequence[Mock], maps: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of masked maps over that of the masked truths, summed over mocks, in bands of multipole."""
    observation = mocks[0].observation
    pixel_arcmin = observation.grid.pixel_arcmin
    truths = np.stack([mock.truth for mock in mocks])
    power, true = (binned_c_ell(stack * observation.mask, pixel_arcmin, edges) for stack in (maps, truths))
    return jackknife(lambda chosen: power[chosen].sum(axis=0) / true[chosen].sum(axis=0), [m.box for m in mocks])


def _peak_rms(mocks: Sequence[Mock], maps: np.ndarray) -> tuple[float, float]:
    """Root mean square error at the truths' in-mask peaks of at least `HIGH_PEAK`."""
    found = _errors_at_peaks(mocks, maps)
    squares, numbers = np.array([np.sum(each**2) for each in found]), np.array([len(each) for each in found])

    def rms(chosen: np.ndarray) -> float:
        number = numbers[chosen].sum()
        return float(np.sqrt(squares[chosen].sum() / number)) if number else np.nan

    return jackknife(rms, [mock.box for mock in mocks])


def _coverage68(mocks: Sequence[Mock], samples: np.ndarray) -> tuple[float, float]:
    """Share of observed pixels with the truth in the central 68 % of the samples."""
    mask = mocks[0].observation.mask
    shares = [
        coverage(rank(mock.truth[mask], each[:, mask]), len(each), 0.68)
        for mock, each in zip(mocks, samples, strict=True)
    ]
    return mean_and_error(shares, [mock.box for mock in mocks])
