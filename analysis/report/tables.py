"""Tables that README.md and the paper share: accuracy, checks, calibration, clusters, blind peaks, rival methods.

Each takes metrics, and the function that turns header and rows into text: `typeset.markdown` or `typeset.latex`. So the
tables of README.md and of the paper cannot differ.
"""

from collections.abc import Callable, Mapping

import numpy as np
from astropy.table import Table

from analysis.judge.injection import PUBLISHED
from analysis.judge.ranks import POOLED
from analysis.report.typeset import digits_of, error_of, markdown, number, shown

METHODS = {
    "kaiser_squires": "Kaiser-Squires, smoothed",
    "wiener": "Wiener filter, exact",
    "sparse": "sparse halos and Gaussian field (MCALens)",
    "deepmass": "direct network (DeepMass)",
    "posterior_median": "posterior median",
    "posterior_mean": "posterior mean",
}
DECIDING = (
    "flat ranks, smallest p after correction for their number",
    "mean and spread of ranks (a sharper test), smallest p",
    "mean rank of the truth, six bands of power from long waves",
    "power of truths / samples, six bands",
    "TARP: largest departure (95 % band)",
    "truths in 68 % intervals",
    "MSE of one sample / of the mean, over the ideal",
)  # rows of the table of calibration that README.md shows
KINDS = {
    "sky": "{} with the sky's shear",
    "self": "{} with truths of the network's prior",
    "second": "{} of them by split Gibbs",
    "dps": "{} of them by diffusion posterior sampling",
}  # of small mocks beside those with the sampler's own shear and truths of boxes
RANKS_EXPECTED = 5  # mocks a possible rank that chi squared needs
TOO_FEW = "too few mocks"
BOXES_FOR_AN_ERROR = 4  # errors are taken between boxes


def accuracy_table(runs: Mapping[str, Mapping], render: Callable = markdown) -> str:
    """Error and correlation of every method on the test mocks, by both conventions, for every run.

    Parameters
    ----------
    runs : metrics by profile
    """
    rows = []
    for profile, metrics in runs.items():
        methods = [method for method in METHODS if method in metrics["accuracy"]]  # older releases have no rivals
        rows += [[f"`{profile}`: {METHODS[method]}", *_accuracy(metrics, method)] for method in methods]
        rows.append([f"`{profile}`: posterior mean, many samples", *_accuracy(metrics, "posterior_mean", "_infinite")])
    return render(["method", "RMSE [0.01]", "r", "RMSE in mask [0.01]", "r in mask"], rows)


def _accuracy(metrics: Mapping, method: str, kind: str = "") -> list[str]:
    """RMSE and r of a method by both conventions, with their errors."""
    return [
        shown(metrics, f"{convention}/{method}/{quantity}{kind}", error=True, unit=False)
        for convention in ("accuracy", "accuracy_in_mask")
        for quantity in ("rmse", "pearson")
    ]


def checks_table(runs: Mapping[str, Mapping], render: Callable = markdown) -> str:
    """Checks of every run: the measured and the required value.

    Parameters
    ----------
    runs : metrics by profile
    """
    found = [_checks(metrics) for metrics in runs.values()]
    rows = [[check, *[values[check][0] for values in found], asked] for check, (_, asked) in found[0].items()]
    return render(["check", *[f"`{profile}`" for profile in runs], "asked"], rows)


def _checks(metrics: Mapping) -> dict[str, tuple[str, str]]:
    """Measured and required value of each check."""

    def of(path: str, **options) -> str:
        return shown(metrics, path, **options)

    peaks, heights = "peaks/rms_error", ("posterior_mean_infinite", "wiener")
    known = None not in [metrics["peaks"]["rms_error"][method] for method in heights]
    at_peaks = ", ".join(of(f"{peaks}/{method}", unit=False) for method in heights) if known else "none"
    ratios = range(len(metrics["prior"]["peak_count_ratio"]))
    return {
        "denoising RMSE / Gaussian score's at σ = .01, .02, .04, .08": (
            " ".join(of(f"train/error_{sigma}") for sigma in ("0.01", "0.02", "0.04", "0.08")),
            "< 1",
        ),
        "full-field mocks, samples of each": (f"{of('spread/n_mocks')}, {of('spread/n_samples')}", ""),
        "RMSE of the posterior mean / Wiener filter's, many samples": (
            of("accuracy/rmse_ratio_to_wiener", error=True),
            "less 2 errors ≤ 1",
        ),
        "the same, some of the truths: sampler's own shear, sky's": (
            ", ".join(of(f"accuracy_{kind}/rmse_ratio_to_wiener", error=True) for kind in ("own", "same")),
            "",
        ),
        f"rms error at the truths' peaks ≥ {of('peaks/lowest')} [0.01]: many samples, Wiener": (
            at_peaks,
            "less than Wiener's",
        ),
        "score evaluations a sample": (of("sampler/evaluations_per_sample"), "≤ 400"),
        "R-hat of band powers and highest peak, worst run": (of("sampler/rhat_max"), "1"),
        "samples at the bound: worst COSMOS run, mocks (their truths there)": (
            f"{of('sampler/at_bound')}, {of('sampler/at_bound_mocks')} ({of('sampler/at_bound_truths')})",
            "as the truths",
        ),
        "MSE of one sample / of the mean, over the ideal": (of("spread/mse_ratio_over_ideal"), "1"),
        "power of samples / truth, worst band": (f"{of('spectrum/max_departure')} off", "0"),
        "prior alone: power / held-out maps, worst band": (f"{of('prior/band_power_max_departure')} off", "≤ 0.10"),
        "prior alone: samples at the bound (held-out maps there)": (
            f"{of('prior/at_bound')} ({of('prior/at_bound_held_out')})",
            f"≤ {of('prior/at_bound_allowed')}",
        ),
        "prior alone: peaks / held-out maps', from low to high": (
            " ".join(of(f"prior/peak_count_ratio/{position}") for position in ratios),
            "1",
        ),
        "the same over what is allowed, worst": (of("prior/peak_count_excess"), "≤ 1"),
        "COSMOS: S/N of the stacked X-ray clusters": (of("cosmos/cluster_stack_snr"), "> 5"),
        "the same, sampled with the Gaussian prior": (of("cosmos/cluster_stack_snr_gaussian"), ""),
        "the same, exact Wiener filter": (of("clusters/cosmos/wiener"), ""),
        "the same, B-mode control": (of("cosmos/cluster_stack_snr_bmode"), "< 2"),
        "bright galaxies: posterior mean": (of("clusters/cosmos_bright/posterior_mean"), ""),
        "bright galaxies: exact Wiener filter": (of("clusters/cosmos_bright/wiener"), ""),
    }


def calibration_table(released: Mapping, current: Mapping, render: Callable = markdown, *, short: bool = False) -> str:
    """Tests of the ranks of true maps: the released long run with both kinds of mock, and the current run.

    Parameters
    ----------
    released : `results.released_calibration`, empty without one
    current : metrics of the stage calibrate
    short : the rows `DECIDING` alone, without the warning
    """
    runs = {f"this run, {current['n_mocks']} mocks": current}
    if released:
        longer = released["metrics"]
        kinds = [kind for kind in (["sky"] if short else KINDS) if kind in longer]  # older releases have fewer
        runs = {
            f"`reference`, {longer['n_mocks']} mocks": longer,
            **{KINDS[kind].format(longer[kind]["n_mocks"]): longer[kind] for kind in kinds},
        } | runs
    checks = {
        "samples that stray up to the bound of the prior": (lambda m: _rank_test(m, "stray_share"), ""),
        "N-body boxes of the truths": (lambda m: _rank_test(m, "n_boxes"), "≥ 16"),
        "flat ranks, smallest p after correction for their number": (lambda m: _p_value(m, "sbc"), "≥ 0.01"),
        "mean and spread of ranks (a sharper test), smallest p": (lambda m: _p_value(m, "tilt_or_width"), "≥ 0.01"),
        "pooled rank of all bands: departure over its error": (
            lambda m: _rank_test(m, "pooled_band_z") if _enough(m) else TOO_FEW,
            f"below {POOLED:g}",
        ),
        "chance that these three find 5 % too little power in the samples": (_powers, ""),
        "mean rank of the truth, six bands of power from long waves": (_bands("mean_rank_by_statistic"), "0.5"),
        "mean rank of its highest peak, deepest pixel, ten deepest minima": (_extremes, "0.5"),
        "power of truths / samples, six bands": (_bands("truth_over_samples_by_band"), "1"),
        "power of annealed HMC's samples / these, on the same mocks": (_agreement, "0.98 to 1.02"),
        "TARP: largest departure (95 % band)": (
            lambda m: f"{_rank_test(m, 'tarp_max_deviation')} ({_rank_test(m, 'tarp_band95')})",
            "inside",
        ),
        "truths in 68 % intervals": (lambda m: _rank_test(m, "coverage68", error=True), "65 to 71 %"),
        "truths in 95 % intervals": (lambda m: _rank_test(m, "coverage95", error=True), ""),
        "MSE of one sample / of the mean, over the ideal": (
            lambda m: _rank_test(m, "mse_ratio_over_ideal", error=True),
            "0.97 to 1.03",
        ),
        "CRPS / that of exact draws under the Gaussian prior": (
            lambda m: _rank_test(m, "crps_over_gaussian", error=True),
            "below 1",
        ),
        "energy score, the same": (lambda m: _rank_test(m, "energy_over_gaussian", error=True), "below 1"),
    }
    chosen = DECIDING if short else checks
    rows = [[check, *map(checks[check][0], runs.values()), checks[check][1]] for check in chosen]
    table = render(["check", *runs, "asked"], rows)
    return f"{table}\n\nWarning: {released['warning']}." if released and released["warning"] and not short else table


def _rank_test(calibration: Mapping, name: str, *, error: bool = False, digits: str = "") -> str:
    """A metric of the stage calibrate as text; a dash where an older release has none, few boxes tell no error."""
    if name.partition("/")[0] not in calibration:
        return "-"
    told = error and calibration["n_boxes"] >= BOXES_FOR_AN_ERROR
    return shown({"calibration": calibration}, f"calibration/{name}", error=told, digits=digits)


def _powers(calibration: Mapping) -> str:
    """Power of the tests of ranks against a tilt; a dash where an older release has none."""
    if not _enough(calibration):
        return TOO_FEW
    found = calibration.get("power_against_tilt", {})
    return ", ".join(f"{found[name]:.2f}" for name in ("chi_squared", "mean_or_spread", "pooled")) if found else "-"


def _bands(name: str) -> Callable[[Mapping], str]:
    """A metric of every band, from long waves to short, of the calibration it is asked of."""
    return lambda calibration: " ".join(
        _rank_test(calibration, f"{name}/{band}") for band in sorted(calibration[name]) if band.startswith("band_")
    )


def _extremes(calibration: Mapping) -> str:
    """Mean ranks of highest peak, deepest pixel and deepest minima; a dash for those that an older release lacks."""
    ranks = calibration["mean_rank_by_statistic"]
    return " ".join(
        _rank_test(calibration, f"mean_rank_by_statistic/{name}") if name in ranks else "-"
        for name in ("highest_peak", "deepest_pixel", "deepest_minima")
    )


def _agreement(calibration: Mapping) -> str:
    """Power of samples by band over that of these, where mocks were sampled twice."""
    if "agreement" not in calibration:
        return ""
    found = calibration["agreement"]
    return ", ".join(
        number(value, ".3f", error) for value, error in zip(found["band_ratio"], found["band_ratio_err"], strict=True)
    )


def _p_value(calibration: Mapping, test: str) -> str:
    """The smallest p-value of flat ranks."""
    return _rank_test(calibration, f"{test}_min_p_holm", digits=".3g") if _enough(calibration) else TOO_FEW


def _enough(calibration: Mapping) -> bool:
    """Whether there are mocks enough for tests of ranks to mean something."""
    return calibration["n_mocks"] >= RANKS_EXPECTED * (calibration["n_samples"] + 1)


def rivals_table(comparison: Table, seconds: Mapping[str, float], render: Callable = markdown) -> str:
    """Every method on the same mocks: errors, power of the longest and the shortest band, peaks, coverage, seconds.

    Parameters
    ----------
    comparison : of `validation.comparison_table`
    seconds : a map, by method where that was measured
    """

    def told(row, column: str, metric: str, band: int | None = None) -> str:
        value, error = (row[key] if band is None else row[key][band] for key in (column, f"{column}_err"))
        return number(value, digits_of(metric), error, unit=False) if np.isfinite(value) else ""

    rows = []
    for row in comparison:
        method, label = row["method"], METHODS.get(row["method"], row["method"])
        rows.append(
            [
                label,
                told(row, "rmse", f"accuracy/{method}/rmse"),
                told(row, "pearson", f"accuracy/{method}/pearson"),
                *[told(row, "power_ratio", f"by_multipole/power_to_truth/{method}", band) for band in (0, -1)],
                told(row, "peak_rms", f"peaks/rms_error/{method}"),
                told(row, "coverage68", "calibration/coverage68"),
                f"{seconds[method]:.2f}" if method in seconds else "",
            ]
        )
        if method == "posterior_mean":
            many = told(row, "rmse_infinite", "accuracy/posterior_mean/rmse_infinite")
            rows.append([f"{label}, many samples", many, *[""] * 6])
    header = ["method", "RMSE [0.01]", "r", "power, longest", "shortest band", "at peaks [0.01]", "68 % cover [%]", "s"]
    return render(header, rows)


def clusters_table(runs: Mapping[str, Mapping], render: Callable = markdown) -> str:
    """Share of samples that show the clusters of each field and the injected halos, beside random places and B-modes.

    Parameters
    ----------
    runs : metrics of the stage clusters, by profile
    """
    rows = []
    for profile, metrics in runs.items():
        for field, found in metrics["presence"].items():
            at = f"presence/{field}"
            bmode = "" if found["bmode"] is None else shown(metrics, f"{at}/bmode")
            what = f"`{profile}`, {field}: {found['observed']} observed X-ray clusters of {found['listed']}"
            rows.append([what, "", _share(metrics, f"{at}/probability"), shown(metrics, f"{at}/chance"), bmode])
    for profile, metrics in runs.items():
        halos = metrics["injection"]
        for i, n in enumerate(halos["realisations"]):
            mass = shown(metrics, f"injection/mass/{i}")
            what = f"`{profile}`, {n} halos of {mass} solar masses, z = {halos['redshift']:g}"
            snr, chance = (shown(metrics, f"injection/{name}/{i}") for name in ("snr", "chance"))
            rows.append([what, snr, _share(metrics, f"injection/present/{i}"), chance, ""])
    for snr, present in zip(PUBLISHED["snr"], PUBLISHED["present"], strict=True):
        cells = number(snr, digits_of("injection/snr")), number(present, digits_of("injection/present"))
        rows.append(["the same, Remy et al. 2023", *cells, "", ""])
    return render(["what", "S/N of aperture mass", "samples that show it", "random places", "B-mode"], rows)


def detection_table(detection: Mapping, render: Callable = markdown) -> str:
    """Purity and completeness of the blind peaks of mocks, and whether their probabilities are right.

    Parameters
    ----------
    detection : of `detection.detection_summary`
    """
    metrics, rows = {"detection": detection}, []
    for i, level in enumerate(detection["level"]):
        known = detection["reliability"]["true"][i] is not None
        predicted = shown(metrics, f"detection/reliability/predicted/{i}")
        met = f"{shown(metrics, f'detection/reliability/true/{i}', error=True)} ({predicted})" if known else "none"
        purity, complete = (shown(metrics, f"detection/{name}/{i}") for name in ("purity", "completeness"))
        rows.append([f"≥ {level:g}", f"{detection['listed'][i]}", purity, complete, met])
    header = ["probability of a peak", "places", "purity", "completeness", "true, to the next level (other half says)"]
    return render(header, rows)


def cluster_list(evidence: Table, render: Callable) -> str:
    """Every observed cluster of a list, the most massive first.

    Parameters
    ----------
    evidence : of `detection.run_evidence`
    """
    columns = {
        "no.": lambda row: f"{row['id']}",
        "RA": lambda row: f"{row['ra_deg']:.3f}",
        "Dec": lambda row: f"{row['dec_deg']:.3f}",
        "z": lambda row: f"{row['z']:.2f}",
        "M500": lambda row: f"{row['m500']:.1f}",
        "r500": lambda row: f"{row['r500_arcmin']:.1f}",
        "share": lambda row: number(row["probability"], ".2f", row["probability_err"]),
        "chance": lambda row: f"{row['chance']:.2f}",
        "p": lambda row: f"{row['p_value']:.3f}",
        "B-mode": lambda row: f"{row['bmode']:.2f}" if np.isfinite(row["bmode"]) else "",
        "aperture mass": lambda row: number(1e3 * row["mass"], ".1f", 1e3 * row["mass_std"]),
        "S/N": lambda row: f"{row['snr']:.1f}",
    }
    seen = evidence[np.asarray(evidence["observed"], bool)]
    return render(list(columns), [[tell(row) for tell in columns.values()] for row in seen])


def _share(metrics: Mapping, path: str) -> str:
    """A share and its error, both with a percent sign; `none` for None."""
    return f"{shown(metrics, path)} ± {number(error_of(metrics, path), digits_of(path))}"
