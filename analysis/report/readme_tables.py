"""Tables that only the pages of text have: stages, simulations, costs, variants, released networks and runs."""

import math
from collections.abc import Mapping, Sequence

from astropy.table import Table

from analysis.flatsky.maps import SPLITS
from analysis.report.tables import METHODS
from analysis.report.typeset import markdown, number, shown

FIGURE_OF = {
    "simulations": "simulations",
    "train": "training",
    "sample": "figure2_cosmos",
    "baselines": "posterior_std",
    "calibrate": "calibration",
    "validate": "power_spectra",
    "figures": "figure1_mock",
}
UNMEASURED = "Not measured at this commit; `dvc repro`, or `dvc repro data/benchmark/dvc.yaml` for costs, does it."
EVIDENCE_ELL = (300, 3000)  # multipoles between which the simulated maps are compared with halofit
SURVEY_DEG2, SURVEY_SAMPLES = 14000, 100  # Euclid's wide survey
SURVEY_EDGE = 2  # edge cut from every patch, in margins: the margin, and the strip where neighbouring data are missing


def cost_line(stages: Mapping, times: Mapping[str, Mapping]) -> str:
    """What a whole run took, in a sentence."""
    seconds, memory = _cost(_run(stages, times))
    if not seconds:
        return UNMEASURED
    return (
        f"A run took {int(seconds) / 60:.0f} minutes on 2 cores without anything beside it, and {memory} GB of memory."
    )


def stage_table(stages: Mapping, times: Mapping[str, Mapping]) -> str:
    """Each stage with its notebook, its figure, and the cost of the last full run; items of a stage are added up."""
    rows = []
    for stage, definition in stages.items():
        items = {name: cost for name, cost in times.items() if name == stage or name.startswith(f"{stage}_")}
        notebook = f"[{stage}](../../notebooks/executed/{next(iter(items), stage)}.ipynb)"
        figure = f"[{FIGURE_OF[stage]}](../../figures/{FIGURE_OF[stage]}.pdf)" if stage in FIGURE_OF else ""
        desc = definition.get("do", definition)["desc"]
        seconds, memory = _cost(items)
        rows.append([notebook, desc, figure, seconds, memory])
    rows.append(["all", "", "", *_cost(_run(stages, times))])
    return markdown(["stage = notebook", "what it makes", "figure", "time [s]", "memory [GB]"], rows)


def _run(stages: Mapping, times: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """Costs of the stages of the default run, by stage or item."""
    return {name: cost for name, cost in times.items() if name.split("_")[0] in stages}


def _cost(times: Mapping[str, Mapping]) -> tuple[str, str]:
    """Sum of the wall times and largest memory, as text; blank if nothing was measured."""
    if not times:
        return "", ""
    seconds = sum(cost["wall_s"] for cost in times.values())
    return f"{seconds:.0f}", f"{max(cost['peak_memory_gb'] for cost in times.values()):.1f}"


def simulations_table(metrics: Mapping) -> str:
    """The simulated maps against theory and the public map, and how mocks differ from the sky."""
    maps = metrics["simulations"]
    ratio = dict(zip(maps["ell"], maps["c_ell_over_halofit"], strict=True))
    low, high = EVIDENCE_ELL
    mean, scatter = (shown(metrics, f"simulations/skewness_at_1_arcmin/{name}") for name in ("mean", "scatter"))
    rows = [
        ["boxes that train / validate / test", " / ".join(str(maps["boxes"][split]) for split in SPLITS), ""],
        [
            f"C_ell / halofit, ell from {low} to {high}",
            " to ".join(f"{value:.2f}" for value in halofit_range(maps)),
            "0.92 to 1.08",
        ],
        *[
            [f"C_ell / halofit at ell {ell:.0f}", f"{value:.2f}", "≥ 0.5"]
            for ell, value in ratio.items()
            if 5500 < ell < 6500
        ],
        ["skewness after 1': mean and scatter of maps", f"{mean} ± {scatter}", ""],
    ]
    if "massivenus" in maps["skewness_at_1_arcmin"]:
        public = "simulations/skewness_at_1_arcmin/massivenus"
        off = f"{shown(metrics, public)}, {shown(metrics, f'{public}_in_sigma', digits='+.1f')} σ"
        rows.append(["the same of the public MassiveNuS map", off, "within 2 σ"])
    rows.append(["skewness after 1' to 8' / theory", _row(maps["skewness_over_theory"]), ""])
    if "halos_over_tinker" in maps:
        masses = ", ".join(f"{mass:.0e}" for mass in maps["halo_mass"])
        counted = zip(maps["halos_over_tinker"], maps["halos_over_tinker_err"], strict=True)
        halos = ", ".join(f"{ratio:.2f} ± {error:.2f}" for ratio, error in counted)
        rows.append([f"halos above {masses} Msun/h / mass function", halos, ""])
        mean, highest = (_row(maps["core_mass_over_nfw"][name]) for name in ("mean", "highest"))
        rows.append(["mass of their cores / NFW, mean (highest)", f"{mean} ({highest})", ""])
        density, power = (shown(metrics, f"simulations/missing_mean/{name}") for name in ("rms", "of_power"))
        rows.append(["density that every box lacks, and power with it (rms)", f"{density}, {power}", ""])
    for kind, name in (("wide", "shear of a wider light cone"), ("sky", "and reduced shear")):
        change = shown(metrics, f"mocks/{kind}/rmse_change", error=True)
        covered = f"{shown(metrics, f'mocks/{kind}/coverage68')} in 68 % intervals"
        rows.append([f"mocks, {name}: RMSE of the Wiener map", f"{change}; {covered}", ""])
    covered = shown(metrics, "mocks/own/coverage68")
    rows.append(["mocks with the sampler's own shear: in 68 % intervals (Gaussian prior)", covered, ""])
    pixel = shown(metrics, "mocks/pixel/over_variance_of_a_galaxy")
    rows.append(["variance of shear inside a pixel / of one galaxy's shear estimate", pixel, "≪ 1"])
    return markdown(["check", "found", "asked"], rows)


def _row(values: Sequence[float]) -> str:
    """Numbers of two digits."""
    return " ".join(f"{value:.2f}" for value in values)


def halofit_range(simulations: Mapping) -> tuple[float, float]:
    """Smallest and largest C_ell of the simulated maps over halofit's, between the multipoles `EVIDENCE_ELL`."""
    low, high = EVIDENCE_ELL
    pairs = zip(simulations["ell"], simulations["c_ell_over_halofit"], strict=True)
    compared = [ratio for ell, ratio in pairs if low < ell < high]
    return min(compared), max(compared)


def predictive_table(metrics: Mapping) -> str:
    """Each field beside mocks of the simulated universe under its noise: statistics, and the amplitude it asks for."""
    names = {
        "e_minus_b": "E- less B-mode power",
        "correlation": "shear correlation",
        "peaks": "peaks",
        "skewness": "skewness",
    }
    fields = metrics.get("predictive", {})
    if not fields:
        return UNMEASURED
    rows = [
        [about, *(f"{found['ratio'][name]:.2f} ({found['p_value'][name]:.2f})" for found in fields.values())]
        for name, about in names.items()
    ]
    amplitudes = [f"{found['amplitude']:.2f} ± {found['amplitude_err']:.2f}" for found in fields.values()]
    ranks = [f"{100 * found['amplitude_rank']:.0f} %" for found in fields.values()]
    rows += [["amplitude of the convergence", *amplitudes], ["mocks of a smaller amplitude", *ranks]]
    return markdown(["field / mocks, in the mean (p-value)", *(f"`{name}`" for name in fields)], rows)


def benchmark_table(metrics: Mapping) -> str:
    """Cost of a sample with each sampler on one posterior, and its growth with the map; a sentence if not measured."""
    if not metrics:
        return UNMEASURED
    names = {
        "gibbs": "split Gibbs",
        "hmc": "annealed HMC, with a softened likelihood",
        "remy2020": "the original's schedule",
    }
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
    """Cost of sampling a survey in overlapping patches, from the measured time of a sample, without a GPU."""
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
    """Variants of network and training, the best first; a sentence if not measured."""
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
            number(row["at_bound"], ".2%"),
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


def others_table(beside: Table | None) -> str:
    """Maps of the bright galaxies beside the public sparse map of them; a sentence if not measured."""
    if beside is None:
        return "Not measured at this commit: `make glimpse` does it."
    bands = [name for name in beside.colnames if name.startswith("ell_")]
    labels = METHODS | {"glimpse": "public map (GLIMPSE)", "chance": "posterior mean, public map turned (rms)"}
    rows = [
        [
            labels[row["map"]],
            number(row["snr"], ".1f") if row["map"] != "chance" else "",
            *[number(row[band], ".2f") for band in bands],
        ]
        for row in beside
        if row["map"] != "glimpse"
    ]
    public = next(row for row in beside if row["map"] == "glimpse")
    rows.append([labels["glimpse"], number(public["snr"], ".1f"), *[""] * len(bands)])
    multipoles = [" to ".join(band.split("_")[1:]) for band in bands]
    return markdown(["map", "S/N of the clusters", *[f"ℓ {each}" for each in multipoles]], rows)


def suites_table(found: Mapping) -> str:
    """Mocks with truths of others, by suite and prior (`tools.suites`); a sentence if not measured."""
    if not found:
        return "Not measured at this commit: `python -m analysis suites` does it."
    n = found["samples"]
    header = ["truths (maps)", "spectrum of the prior", "RMSE / Wiener", "of infinitely many samples", "inside 68 %"]
    header += ["highest pixel, rank", "deepest", "power of truths / samples, from long waves"]
    rows = [
        [
            f"{row['name'].replace('_', ' ')} ({row['maps']})",
            row["prior"],
            number(row["ratio"], ".3f"),
            number(row["ratio_infinite"], ".3f"),
            number(row["coverage68"], ".1%"),
            *[number(row[name] / n, ".2f") for name in ("rank_highest", "rank_deepest")],
            " ".join(number(value, ".2f") for value in row["power_ratio"]),
        ]
        for row in found["suites"]
    ]
    return markdown(header, rows)


def weaker_table(found: Mapping) -> str:
    """COSMOS under the prior as it is and with the short waves of the suites (`tools.suites`)."""
    if not found:
        return "Not measured at this commit: `python -m analysis suites` does it."
    field = found["field"]
    bands = {k: " ".join(number(value, ".2f") for value in field[k]) for k in ("correlation", "power_ratio")}
    snr = "; ".join(number(field["snr"][name], ".1f") for name in field["highest"])
    rows = [
        ["power of samples, weaker / as trained, from long waves", bands["power_ratio"]],
        ["correlation of the two means", bands["correlation"]],
        [
            "their difference / standard deviation of samples",
            f"{field['difference']:.2f}, chance {field['chance']:.2f}",
        ],
        ["S/N of the stacked clusters, as trained; weaker", snr],
        ["highest pixel of the mean", "; ".join(number(value, ".3f") for value in field["highest"].values())],
    ]
    return markdown(["COSMOS, two priors", "found"], rows)


def networks_table(networks: Mapping[str, Mapping]) -> str:
    """Released networks: the grid of each, and the cost of its training."""
    rows = []
    for profile, network in networks.items():
        grid = f"{network['pixels']}², {network['pixel_arcmin']:.2g}'"
        cost = ["not recorded"] * 4
        if "seconds" in network:
            kind = f"{network['hardware']}, {network['backend']}, {network['precision']}"
            cost = [f"{network['weights']:,}", f"{network['steps']:,}", f"{network['seconds'] / 60:.0f}", kind]
        rows.append([f"`{profile}`", grid, *cost])
    return markdown(["profile", "grid", "weights", "steps", "training [min]", "trained on"], rows)


def runs_table(runs: Mapping[str, Sequence[Mapping]]) -> str:
    """Fields sampled with released networks: errors where the truth is known, S/N of the stacked clusters.

    Parameters
    ----------
    runs : results kept by `draw --keep`, by profile
    """
    rows = []
    for profile, run in ((profile, run) for profile, kept in runs.items() for run in kept):
        accuracy, stacks = run.get("accuracy", {}), run.get("cluster_stack_snr", {})
        for method in (method for method in METHODS if method in accuracy or method in stacks):
            snr = f"{stacks[method]:.1f}" if method in stacks else ""
            rows.append([f"`{profile}`", run["title"], METHODS[method], *_errors(accuracy.get(method)), snr])
            if method == "posterior_mean" and method in accuracy:
                many = f"posterior mean, many samples (of {run['samples']})"
                rows.append([f"`{profile}`", run["title"], many, *_errors(accuracy[method], "_infinite"), ""])
    header = ["network", "field", "method", "RMSE [0.01]", "r", "RMSE in mask [0.01]", "r in mask", "stack S/N"]
    return markdown(header, rows)


def _errors(row: Mapping | None, infinite: str = "") -> list[str]:
    """RMSE and correlation of a method by both conventions, blank where the truth is unknown."""
    if row is None:
        return [""] * 4
    cells = []
    for convention in ("accuracy", "accuracy_in_mask"):
        rmse = max(row[f"{convention}.mse_infinite"], 0) ** 0.5 if infinite else row[f"{convention}.rmse"]
        cells += [f"{100 * rmse:.3f}", f"{row[f'{convention}.pearson{infinite}']:.3f}"]
    return cells
