"""Tables of results: every method side by side; what samples show of clusters, of injected halos, of blind peaks."""

from collections.abc import Callable, Mapping

import numpy as np
from astropy.table import Table

from analysis.judge.injection import PUBLISHED
from analysis.report.tables import METHODS
from analysis.report.typeset import markdown


def rivals_table(comparison: Table, seconds: Mapping[str, float], render: Callable = markdown) -> str:
    """Every method on the same mocks: errors, power of the longest and the shortest band, peaks, coverage, seconds.

    Parameters
    ----------
    comparison : of `comparison.comparison_table`
    seconds : a map, by method where that was measured
    """

    def told(row, name: str, digits: int, scale: float = 1.0, band: int | None = None) -> str:
        value, error = (row[key] if band is None else row[key][band] for key in (name, f"{name}_err"))
        if not np.isfinite(value):
            return ""
        return f"{scale * value:.{digits}f} ± {scale * error:.{digits}f}"

    rows = []
    for row in comparison:
        label = METHODS.get(row["method"], row["method"])
        cost = f"{seconds[row['method']]:.2f}" if row["method"] in seconds else ""
        power = [told(row, "power_ratio", 2, band=band) for band in (0, -1)]
        errors = [told(row, "rmse", 3, 100), told(row, "pearson", 3)]
        rest = [told(row, "peak_rms", 2, 100), told(row, "coverage68", 1, 100), cost]
        rows.append([label, *errors, *power, *rest])
        if row["method"] == "posterior_mean":
            rows.append([f"{label}, many samples", told(row, "rmse_infinite", 3, 100), *[""] * 6])
    header = ["method", "RMSE [0.01]", "r", "power, longest", "shortest band", "at peaks [0.01]", "68 % cover [%]", "s"]
    return render(header, rows)


def clusters_table(runs: Mapping[str, Mapping], render: Callable = markdown) -> str:
    """How samples show the clusters of every field's list and the injected halos, against chance and B-mode.

    Parameters
    ----------
    runs : metrics of the stage clusters, by profile
    """
    rows = []
    for profile, metrics in runs.items():
        for field, found in metrics["presence"].items():
            share = f"{_percent(found['probability'])} ± {_percent(found['probability_err'])}"
            bmode = "" if found["bmode"] is None else _percent(found["bmode"])
            what = f"`{profile}`, {field}: {found['observed']} observed X-ray clusters of {found['listed']}"
            rows.append([what, "", share, _percent(found["chance"]), bmode])
    for profile, metrics in runs.items():
        halos = metrics["injection"]
        columns = ("mass", "realisations", "snr", "present", "present_err", "chance")
        for mass, n, snr, present, error, chance in zip(*(halos[name] for name in columns), strict=True):
            what = f"`{profile}`, {n} halos of {mass:.1e} solar masses, z = {halos['redshift']:g}"
            rows.append([what, f"{snr:.1f}", f"{_percent(present)} ± {_percent(error)}", _percent(chance), ""])
    for snr, present in zip(PUBLISHED["snr"], PUBLISHED["present"], strict=True):
        rows.append(["the same, Remy et al. 2023", f"{snr:.1f}", _percent(present), "", ""])
    return render(["what", "S/N of aperture mass", "samples that show it", "random places", "B-mode"], rows)


def detection_table(detection: Mapping, render: Callable = markdown) -> str:
    """How pure and complete lists of blind peaks are on mocks, and whether their probabilities are met.

    Parameters
    ----------
    detection : of `detection.detection_summary`
    """
    rows = []
    bins = detection["reliability"]
    for number, level in enumerate(detection["level"]):
        true, error, said = (bins[key][number] for key in ("true", "true_err", "predicted"))
        met = "none" if true is None else f"{true:.2f} ± {error:.2f} ({said:.2f})"
        purity, complete = detection["purity"][number], detection["completeness"][number]
        rows.append([f"≥ {level:g}", f"{detection['listed'][number]}", _share(purity), _share(complete), met])
    header = ["probability of a peak", "places", "purity", "completeness", "true, to the next level (other half says)"]
    return render(header, rows)


def cluster_list(evidence: Table, render: Callable) -> str:
    """Every observed cluster of a list, the most massive first.

    Parameters
    ----------
    evidence : of `detection.run_evidence`
    """
    rows = [
        [
            f"{row['id']}",
            f"{row['ra_deg']:.3f}",
            f"{row['dec_deg']:.3f}",
            f"{row['z']:.2f}",
            f"{row['m500']:.1f}",
            f"{row['r500_arcmin']:.1f}",
            f"{row['probability']:.2f} ± {row['probability_err']:.2f}",
            f"{row['chance']:.2f}",
            f"{row['p_value']:.3f}",
            f"{row['bmode']:.2f}" if np.isfinite(row["bmode"]) else "",
            f"{1e3 * row['mass']:.1f} ± {1e3 * row['mass_std']:.1f}",
            f"{row['snr']:.1f}",
        ]
        for row in evidence[np.asarray(evidence["observed"], bool)]
    ]
    header = ["no.", "RA", "Dec", "z", "M500", "r500", "share", "chance", "p", "B-mode", "aperture mass", "S/N"]
    return render(header, rows)


def faults_table(faults: Mapping, render: Callable = markdown) -> str:
    """How many faults were survived, by kind.

    Parameters
    ----------
    faults : counts of data/released/faults.json, or nothing
    """
    if not faults:
        return "No counts are kept."
    rows = [[kind, f"{n['faults']}", f"{n['survived']}"] for kind, n in faults["kinds"].items()]
    rows.append(["all", f"{faults['faults']}", f"{faults['survived']}"])
    return render(["what was struck", "times", "survived"], rows)


def _percent(share: float | None) -> str:
    """A share in percent, or that there is none."""
    return "none" if share is None else f"{100 * share:.0f} %"


def _share(share: float | None) -> str:
    """A share, or that there is none."""
    return "none" if share is None else f"{share:.2f}"
