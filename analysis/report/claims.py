"""The first tables of README.md: the claims of the paper with verdicts, and each method's error on mocks."""

import math
from collections.abc import Mapping, Sequence

from analysis.report.tables import METHODS
from analysis.report.typeset import error_of, found, markdown, number, shown

ORIGINAL_EVALUATIONS = 1.1e5  # of the score, for a sample, by the original's schedule
DECISIVE = 0.8  # power that a test needs for its silence to count
BRIGHT_RUNS = {"cosmos_bright_many": "annealed HMC", "cosmos_bright_gibbs": "split Gibbs"}  # of `reference`
HEAP_RUNS = {
    "cosmos_bright": "bright galaxies, annealed HMC",
    **{name: f"bright galaxies, {sampler}" for name, sampler in BRIGHT_RUNS.items()},
    "cosmos": "all galaxies, annealed HMC",
    "cosmos_many": "all galaxies, annealed HMC",
}  # in the table of heaps, of each profile that has them


def found_table(metrics: Mapping, longer: Mapping) -> str:
    """The claims of Remy et al. 2020, what was measured, and the verdict that follows from the numbers.

    Parameters
    ----------
    metrics : data/validation/metrics.json of the default run
    longer : metrics of the stage clusters of the released long run; may be empty
    """

    def of(path: str, **options) -> str:
        return shown(metrics, path, **options)

    ratio, ratio_err = (metrics["accuracy"][f"rmse_ratio_to_wiener{end}"] for end in ("", "_err"))
    rivals = [method for method in METHODS if method in metrics["accuracy"] and not method.startswith("posterior")]
    others = ", ".join(f"{of(f'accuracy/{method}/rmse', unit=False)} ({METHODS[method]})" for method in rivals)
    seen = metrics["presence"]["cosmos"]
    many = {label: longer["bimodality"].get(name) for name, label in BRIGHT_RUNS.items() if longer}
    many = {f"`reference`, {label}": found for label, found in many.items() if found}
    heaps = many or {"": metrics["bimodality"]["cosmos_bright"]}
    evaluations = metrics["sampler"]["evaluations_per_sample"]
    off = number(metrics["prior"]["band_power_max_departure"], ".0%")
    rows = [
        [
            "samples look like maps of simulations",
            f"without data, power within {off} of held-out maps in every band;"
            " peaks, minima and deepest pixels within what their number allows",
            "reproduced" if metrics["prior"]["passed"] else "not reproduced",
        ],
        [
            "the posterior mean beats the Wiener filter",
            f"on mocks, RMSE {of('accuracy/rmse_ratio_to_wiener', error=True)} of the exact filter's",
            "reproduced" if ratio + 2 * ratio_err < 1 else "not reproduced",
        ],
        [
            "a map of higher quality than by other methods",
            f"on mocks, RMSE [0.01] {of('accuracy/posterior_mean/rmse_infinite', unit=False)}, against"
            f" {others}; on COSMOS, S/N of the stacked clusters {of('cosmos/cluster_stack_snr')}"
            f" (Wiener filter {of('clusters/cosmos/wiener')})",
            best_verdict(metrics, rivals),
        ],
        [
            "samples show known clusters",
            f"{number(seen['probability'], '.0%', seen['probability_err'])} of samples at a cluster,"
            f" {number(seen['chance'], '.0%')} at a random place",
            "reproduced" if seen["probability"] - 3 * seen["probability_err"] > seen["chance"] else "not reproduced",
        ],
        [
            "bright galaxies: the posterior is bimodal at a massive cluster",
            "; ".join(heaps_told(label, found) for label, found in heaps.items()),
            heaps_verdict(list(heaps.values())),
        ],
        [
            f"{ORIGINAL_EVALUATIONS:,.0f} evaluations of the network for a sample",
            f"{evaluations}; a second sampler gives the same mean of COSMOS, to"
            f" {metrics['agreement']['cosmos']['mean_difference_rms']:.1f} of its Monte-Carlo error",
            "cheaper" if evaluations < ORIGINAL_EVALUATIONS else "as dear",
        ],
    ]
    return markdown(["the paper says", "found here, with the network of `make repro`", "verdict"], rows)


def best_verdict(metrics: Mapping, rivals: Sequence[str]) -> str:
    """Whether the posterior mean of many samples has a smaller RMSE than each rival, by two errors of both."""
    path = "accuracy/posterior_mean/rmse_infinite"
    paths = [f"accuracy/{method}/rmse" for method in rivals]
    ahead = [found(metrics, rival) - found(metrics, path) for rival in paths]
    errors = [math.hypot(error_of(metrics, rival), error_of(metrics, path)) for rival in paths]
    if all(gain > 2 * error for gain, error in zip(ahead, errors, strict=True)):
        return "reproduced on mocks"
    return "undecided, best within the errors" if min(ahead) > 0 else "not reproduced"


def heaps_told(label: str, heaps: Mapping) -> str:
    """What samples of one run say of two heaps at clusters."""
    told = (
        f"{number(heaps['central_present'], '.0%')} of {heaps['n']} samples have a peak at the central cluster"
        f" (z = {heaps['central_redshift']:.2f}); dip test there: p = {heaps['central_p_value']:.2g}, power"
        f" {number(heaps['power'], '.0%')}; smallest p of {heaps['clusters']} clusters, corrected:"
        f" {heaps['min_p_holm']:.2g}"
    )
    return f"{label}: {told}" if label else told


def heaps_table(runs: Mapping[str, Mapping]) -> str:
    """Whether samples fall into two heaps at clusters, one row for each run.

    Parameters
    ----------
    runs : metrics of the stage clusters by profile
    """
    header = ["samples of COSMOS", "number", "with a peak at the central cluster", "dip test there, p"]
    header += ["power", "smallest p of all clusters, corrected"]
    rows = [
        [
            f"`{profile}`, {label}",
            f"{found['n']}",
            number(found["central_present"], ".0%"),
            f"{found['central_p_value']:.2g}",
            number(found["power"], ".0%"),
            f"{found['min_p_holm']:.2g}",
        ]
        for profile, metrics in runs.items()
        for name, label in HEAP_RUNS.items()
        if "central_present" in (found := metrics["bimodality"].get(name, {}))
    ]
    return markdown(header, rows)


def heaps_verdict(heaps: Sequence[Mapping]) -> str:
    """Whether samples of each run fall into two heaps at the central cluster, by dip tests at 5 %."""
    two = [each["central_p_value"] < 0.05 for each in heaps]
    if any(two):
        return "reproduced" if all(two) else "undecided, samplers differ"
    return (
        "undecided: no equal heaps"
        if all(each["power"] >= DECISIVE for each in heaps)
        else "undecided, too few samples"
    )


def summary_table(metrics: Mapping) -> str:
    """RMSE and correlation of each method on the mocks, one row each; of the posterior mean with many samples."""
    rows = []
    for method in (method for method in METHODS if method in metrics["accuracy"] and method != "posterior_median"):
        many = "_infinite" if method == "posterior_mean" else ""
        label = METHODS[method] + (", many samples" if many else "")
        paths = [f"accuracy/{method}/{name}{many}" for name in ("rmse", "pearson")]
        rows.append([label, *(shown(metrics, path, error=True, unit=False) for path in paths)])
    return markdown(["method", "RMSE [0.01]", "correlation"], rows)
