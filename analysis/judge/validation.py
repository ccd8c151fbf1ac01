"""What the `validate` stage reports: accuracy on mocks, health of the sampler, clusters of the real field.

What each number of `data/validation/metrics.json` means is told in `definitions`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.files import read_json
from analysis.flatsky.power import centres
from analysis.flatsky.statistics import mean_and_error, ratio_of_rms
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
from analysis.judge.results import load_result
from analysis.params import RunParams, stage_rng
from analysis.posterior.samples import load_chain, load_convergence, load_samples, stein_error
from analysis.rivals.baselines import mock_baselines
from analysis.simulations.mocks import Mock
from analysis.survey.clusters import stack_snr

HIGH_PEAK = 0.06
CONVENTIONS = {"accuracy": (remy_rmse, remy_pearson), "accuracy_in_mask": (in_mask_rmse, in_mask_pearson)}


def mock_estimates(
    mocks: Sequence[Mock], samples: np.ndarray, power: np.ndarray, smoothing_arcmin: float
) -> dict[str, np.ndarray]:
    """Maps of mocks by the baselines, and the posterior's mean and median, (mocks, ny, nx) each.

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


def by_multipole(mocks: Sequence[Mock], estimates: Mapping[str, np.ndarray], edges: np.ndarray) -> dict:
    """Power of every method's maps over the truths', and their correlation, in bins of multipole, inside the mask.

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
    folder: Path, names: Iterable[str], mocks: Sequence[Mock], mock_samples: np.ndarray, training_max: float
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
        "rivals": "rivals",
        "calibration": "calibration",
    }
    return (
        {
            "observation": {
                name: {key: value for key, value in values.items() if key != "definition"}
                for name, values in observation.items()
            }
        }
        | {stage: read_json(data / folder / "metrics.json") for stage, folder in folders.items()}
        | read_json(data / "clusters" / "metrics.json")
    )
