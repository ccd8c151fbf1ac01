"""Tables of what was measured: stages, accuracy, checks, calibration, simulations, costs, variants.

In Markdown for README.md; those that the paper shows too are made by whatever turns header and rows into text
(`typeset`), so that the two cannot differ.
"""

import math
from collections.abc import Callable, Mapping

from astropy.table import Table

from analysis.flatsky.maps import SPLITS
from analysis.report.typeset import markdown

FIGURE_OF = {
    "simulations": "simulations",
    "train": "training",
    "sample": "figure2_cosmos",
    "baselines": "posterior_std",
    "calibrate": "calibration",
    "validate": "power_spectra",
    "figures": "figure1_mock",
}
UNMEASURED = "Not measured at this commit: `dvc repro data/benchmark/dvc.yaml` does it."
EVIDENCE_ELL = (300, 3000)  # multipoles between which simulated maps are compared with halofit
SURVEY_DEG2, SURVEY_SAMPLES = 14000, 100  # Euclid's wide survey
SURVEY_EDGE = 2  # of every patch, in margins: the margin itself, and as much where the neighbour's data are missed
METHODS = {
    "kaiser_squires": "Kaiser-Squires, smoothed",
    "wiener": "Wiener filter, exact",
    "sparse": "sparse halos and Gaussian field (MCALens)",
    "deepmass": "direct network (DeepMass)",
    "posterior_median": "posterior median",
    "posterior_mean": "posterior mean",
}


def stage_table(stages: Mapping, times: Mapping[str, Mapping]) -> str:
    """Each stage with its notebook, its figure, and what the last full run took; items of a stage together."""
    rows = []
    for stage, definition in stages.items():
        items = {name: cost for name, cost in times.items() if name == stage or name.startswith(f"{stage}_")}
        notebook = f"[{stage}](notebooks/executed/{next(iter(items), stage)}.ipynb)"
        figure = f"[{FIGURE_OF[stage]}](figures/{FIGURE_OF[stage]}.pdf)" if stage in FIGURE_OF else ""
        desc = definition.get("do", definition)["desc"]
        seconds, memory = _cost(items)
        rows.append([notebook, desc, figure, seconds, memory])
    rows.append(["all", "", "", *_cost({name: cost for name, cost in times.items() if name.split("_")[0] in stages})])
    return markdown(["stage = notebook", "what it makes", "figure", "time [s]", "memory [GB]"], rows)


def accuracy_table(runs: Mapping[str, Mapping], render: Callable = markdown) -> str:
    """Error and correlation of every method on the test mocks, by both conventions, for every run."""
    rows = []
    for profile, metrics in runs.items():
        found = [
            [f"`{profile}`: {name}", *_accuracy(metrics, method, "")]
            for method, name in METHODS.items()
            if method in metrics["accuracy"]  # rivals came later than some releases
        ]
        rows += [
            *found,
            [f"`{profile}`: posterior mean, many samples", *_accuracy(metrics, "posterior_mean", "_infinite")],
        ]
    return render(["method", "RMSE [0.01]", "r", "RMSE in mask [0.01]", "r in mask"], rows)


def _accuracy(metrics: Mapping, method: str, kind: str) -> list[str]:
    """RMSE and r of a method by both conventions, with their errors."""
    found = []
    for convention in ("accuracy", "accuracy_in_mask"):
        values = metrics[convention][method]
        for quantity, scale in (("rmse", 100), ("pearson", 1)):
            value, error = values[f"{quantity}{kind}"], values[f"{quantity}{kind}_err"]
            found.append(f"{scale * value:.3f} ± {scale * error:.3f}")
    return found


def checks_table(runs: Mapping[str, Mapping], render: Callable = markdown) -> str:
    """What was asked, and what was found by every run."""
    found = [_checks(metrics) for metrics in runs.values()]
    rows = [[check, *[values[check][0] for values in found], asked] for check, (_, asked) in found[0].items()]
    return render(["check", *[f"`{profile}`" for profile in runs], "asked"], rows)


def _checks(metrics: Mapping) -> dict[str, tuple[str, str]]:
    """What was found and what was asked, by check."""
    denoising = [metrics["train"][f"error_{sigma}"] for sigma in ("0.01", "0.02", "0.04", "0.08")]
    ratio, own, same = (
        f"{metrics[kind]['rmse_ratio_to_wiener']:.3f} ± {metrics[kind]['rmse_ratio_to_wiener_err']:.3f}"
        for kind in ("accuracy", "accuracy_own", "accuracy_same")
    )
    errors = [metrics["peaks"]["rms_error"][method] for method in ("posterior_mean_infinite", "wiener")]
    heights = "none" if None in errors else ", ".join(f"{100 * error:.2f}" for error in errors)
    cosmos, spread, prior, stacks, sampler = (
        metrics[key] for key in ("cosmos", "spread", "prior", "clusters", "sampler")
    )
    peaks = " ".join("none" if ratio is None else f"{ratio:.2f}" for ratio in prior["peak_count_ratio"])
    return {
        "denoising RMSE / Gaussian score's at σ = .01, .02, .04, .08": (" ".join(f"{e:.3f}" for e in denoising), "< 1"),
        "full-field mocks, samples of each": (f"{spread['n_mocks']}, {spread['n_samples']}", ""),
        "RMSE of the posterior mean / Wiener filter's, many samples": (ratio, "less 2 errors ≤ 1"),
        "the same, some of the truths: sampler's own shear, sky's": (f"{own}, {same}", ""),
        f"rms error at the truths' peaks ≥ {metrics['peaks']['lowest']} [0.01]: many samples, Wiener": (
            heights,
            "less than Wiener's",
        ),
        "score evaluations a sample": (f"{sampler['evaluations_per_sample']}", "≤ 400"),
        "R-hat of band powers and highest peak, worst run": (f"{sampler['rhat_max']:.2f}", "1"),
        "samples at the bound: worst COSMOS run, mocks (their truths there)": (
            f"{_percent(sampler['at_bound'])}, {_percent(sampler['at_bound_mocks'])}"
            f" ({_percent(sampler['at_bound_truths'])})",
            "as the truths",
        ),
        "MSE ratio / ideal": (f"{spread['mse_ratio_over_ideal']:.3f}", "1"),
        "power of samples / truth, worst band": (f"{metrics['spectrum']['max_departure']:.2f} off", "0"),
        "prior alone: power / held-out maps, worst band": (f"{prior['band_power_max_departure']:.2f} off", "≤ 0.10"),
        "prior alone: samples at the bound (held-out maps there)": (
            f"{_percent(prior['at_bound'])} ({_percent(prior['at_bound_held_out'])})",
            f"≤ {_percent(prior['at_bound_allowed'])}",
        ),
        "prior alone: peaks / held-out maps', from low to high": (peaks, "1"),
        "the same over what is allowed, worst": (f"{prior['peak_count_excess']:.2f}", "≤ 1"),
        "COSMOS: S/N of the stacked X-ray clusters": (f"{cosmos['cluster_stack_snr']:.1f}", "> 5"),
        "the same, sampled with the Gaussian prior": (f"{cosmos['cluster_stack_snr_gaussian']:.1f}", ""),
        "the same, exact Wiener filter": (f"{stacks['cosmos']['wiener']:.1f}", ""),
        "the same, B-mode control": (f"{cosmos['cluster_stack_snr_bmode']:.1f}", "< 2"),
        "bright galaxies: posterior mean": (f"{stacks['cosmos_bright']['posterior_mean']:.1f}", ""),
        "bright galaxies: exact Wiener filter": (f"{stacks['cosmos_bright']['wiener']:.1f}", ""),
    }


def _percent(share: float | None) -> str:
    """A share in percent, or that there is none."""
    return "none" if share is None else f"{100 * share:.2f} %"


def calibration_table(released: Mapping, current: Mapping, render: Callable = markdown) -> str:
    """What the ranks of truths say: in the released long run, both kinds of mock, and in the run of this tree."""
    runs = {f"this run, {current['n_mocks']} mocks": current}
    if released:
        longer = released["metrics"]
        runs = {
            f"`reference`, {longer['n_mocks']} mocks": longer,
            f"`reference`, {longer['sky']['n_mocks']} with the sky's shear": longer["sky"],
        } | runs
    rows = [
        [
            "samples that stray up to the bound of the prior",
            *[_percent(m["stray_share"]) for m in runs.values()],
            "",
        ],
        ["N-body boxes of the truths", *[f"{m['n_boxes']}" for m in runs.values()], "≥ 16"],
        ["smallest p of flat ranks, after Holm", *[_p_value(m, "sbc") for m in runs.values()], "≥ 0.01"],
        [
            "the same of their mean or spread, a sharper test",
            *[_p_value(m, "tilt_or_width") for m in runs.values()],
            "",
        ],
        ["mean rank of the truth, six bands of power from long waves", *[_bands(m) for m in runs.values()], "0.5"],
        [
            "TARP: largest departure (95 % band)",
            *[f"{m['tarp_max_deviation']:.3f} ({m['tarp_band95']:.3f})" for m in runs.values()],
            "inside",
        ],
        *[
            [
                f"truths in {level} % intervals",
                *[
                    f"{100 * m[f'coverage{level}']:.1f} ± {100 * m[f'coverage{level}_err']:.1f} %"
                    for m in runs.values()
                ],
                asked,
            ]
            for level, asked in ((68, "65 to 71 %"), (95, ""))
        ],
        [
            "MSE ratio / ideal",
            *[f"{m['mse_ratio_over_ideal']:.3f} ± {m['mse_ratio_over_ideal_err']:.3f}" for m in runs.values()],
            "0.97 to 1.03",
        ],
    ]
    table = render(["check", *runs, "asked"], rows)
    return f"{table}\n\nWarning: {released['warning']}." if released and released["warning"] else table


def _bands(calibration: Mapping) -> str:
    """Mean ranks of the band powers, from long waves to short."""
    ranks = {name: rank for name, rank in calibration["mean_rank_by_statistic"].items() if name.startswith("band_")}
    return " ".join(f"{rank:.2f}" for _, rank in sorted(ranks.items()))


def _p_value(calibration: Mapping, test: str) -> str:
    """The smallest p-value of flat ranks; of less than five mocks a rank chi squared knows nothing."""
    enough = calibration["n_mocks"] >= 5 * (calibration["n_samples"] + 1)
    return f"{calibration[f'{test}_min_p_holm']:.3g}" if enough else "too few mocks"


def simulations_table(metrics: Mapping) -> str:
    """The simulated maps against theory and the public map, and what mocks leave out."""
    maps, mocks = metrics["simulations"], metrics["mocks"]
    skewness, ratio = maps["skewness_at_1_arcmin"], dict(zip(maps["ell"], maps["c_ell_over_halofit"], strict=True))
    low, high = EVIDENCE_ELL
    inner = [value for ell, value in ratio.items() if low < ell < high]
    rows = [
        ["boxes that train / validate / test", " / ".join(str(maps["boxes"][split]) for split in SPLITS), ""],
        [f"C_ell / halofit, ell from {low} to {high}", f"{min(inner):.2f} to {max(inner):.2f}", "0.92 to 1.08"],
        *[[f"C_ell / halofit at ell {ell:.0f}", f"{ratio[ell]:.2f}", asked] for ell, asked in _reached(ratio)],
        ["skewness after 1': mean and scatter of maps", f"{skewness['mean']:.2f} ± {skewness['scatter']:.2f}", ""],
    ]
    if "massivenus" in skewness:
        off = f"{skewness['massivenus']:.2f}, {skewness['massivenus_in_sigma']:+.1f} σ"
        rows.append(["the same of the public MassiveNuS map", off, "within 2 σ"])
    for kind, name in (("wide", "shear of a wider light cone"), ("sky", "and reduced shear")):
        change, error = (100 * mocks[kind][key] for key in ("rmse_change", "rmse_change_err"))
        covered = f"{100 * mocks[kind]['coverage68']:.1f} % in 68 % intervals"
        rows.append([f"mocks, {name}: RMSE of the Wiener map", f"{change:+.2f} ± {error:.2f} %; {covered}", ""])
    covered = f"{100 * mocks['own']['coverage68']:.1f} %"
    rows.append(["mocks with the sampler's own shear: in 68 % intervals (Gaussian prior)", covered, ""])
    pixel = f"{mocks['pixel']['over_variance_of_a_galaxy']:.1e}"
    rows.append(["variance of shear inside a pixel / of one galaxy's shear estimate", pixel, "≪ 1"])
    return markdown(["check", "found", "asked"], rows)


def benchmark_table(metrics: Mapping) -> str:
    """What a sample costs with each sampler on one posterior, and how the cost grows; a sentence where not measured."""
    if not metrics:
        return UNMEASURED
    names = {"gibbs": "split Gibbs (the default)", "hmc": "annealed HMC", "remy2020": "the original's schedule"}
    rows = [
        [
            names[preset],
            f"{cost['evaluations']:,}",
            f"{cost['seconds']:.2f}",
            f"{cost['memory_gb']:.1f}",
            f"{cost['largest_difference']:.1f}",
            f"{metrics['by_side'][preset]['exponent']:.1f}" if preset in metrics["by_side"] else "",
        ]
        for preset, cost in metrics["samplers"].items()
    ]
    header = [
        "sampler",
        "score evaluations a sample",
        "seconds a sample",
        "memory [GB]",
        "largest difference of a band power from Gibbs' [Monte-Carlo errors]",
        "seconds grow as side to the power",
    ]
    return markdown(header, rows)


def survey_table(metrics: Mapping) -> str:
    """What a survey would cost, from the measured times of a sample: patches that overlap by their edges, no GPU."""
    if not metrics:
        return UNMEASURED
    pixel_deg, edge, grown = metrics["pixel_arcmin"] / 60, SURVEY_EDGE * metrics["margin"], metrics["by_side"]["gibbs"]
    rows = []
    for side, seconds, memory in zip(metrics["sides"], grown["seconds"], grown["memory_gb"], strict=True):
        kept = side - 2 * edge
        if kept <= 0:
            continue
        patches = math.ceil(SURVEY_DEG2 / (kept * pixel_deg) ** 2)
        hours = patches * SURVEY_SAMPLES * seconds / 3600
        gigabytes = 4e-9 * patches * SURVEY_SAMPLES * kept**2
        rows.append(
            [
                f"{side * pixel_deg:.1f}° ({side} pixels)",
                f"{kept * pixel_deg:.1f}°",
                f"{patches:,}",
                f"{hours:,.0f}",
                f"{memory:.1f}",
                f"{gigabytes:.0f}",
            ]
        )
    header = ["side of a patch", "kept", "patches", "core hours", "memory of a core [GB]", "samples [GB]"]
    return markdown(header, rows)


def ablation_table(variants: Table | None) -> str:
    """What each choice of network and training is worth, the best first; a sentence where not measured."""
    if variants is None:
        return "Not measured at this commit: `make ablation` does it."
    levels = [name for name in variants.colnames if name.startswith("error_")]
    rows = [
        [
            row["row"],
            f"{row['steps']}",
            f"{row['parameters']:,}",
            f"{row['mean_error']:.4f}",
            *[f"{row[level]:.3f}" for level in levels],
            f"{row['band_power_max_departure']:.2f}",
            f"{row['peak_count_excess']:.2f}",
            _percent(row["at_bound"]),
        ]
        for row in variants
    ]
    header = [
        "variant",
        "steps",
        "weights",
        "mean error",
        *[f"σ = {level.removeprefix('error_')}" for level in levels],
        "prior: worst band off by",
        "peaks over what is allowed",
        "at the bound",
    ]
    return markdown(header, rows)


def _reached(ratio: Mapping[float, float]) -> list[tuple[float, str]]:
    """Multipoles about 6000, where the maps reach so far, and what is asked there."""
    return [(ell, "≥ 0.5") for ell in ratio if 5500 < ell < 6500]


def _cost(times: Mapping[str, Mapping]) -> tuple[str, str]:
    """Sum of the wall times and largest memory, as text; blanks where nothing was measured."""
    if not times:
        return "", ""
    seconds = sum(cost["wall_s"] for cost in times.values())
    return f"{seconds:.0f}", f"{max(cost['peak_memory_gb'] for cost in times.values()):.1f}"
