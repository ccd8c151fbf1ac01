"""Figures of clusters and peaks: those of a list, those put into mocks, those found blind."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from analysis.figures.style import BLACK, BLUE, ORANGE, PAGE, RED, STYLE, caption


def clusters_figure(
    evidence: Table,
    injections: Mapping[str, Mapping],
    published: Mapping[str, tuple[float, ...]],
    detection: Mapping,
    *,
    threshold: float,
    note: str,
) -> Figure:
    """How samples show X-ray clusters by their mass, injected halos by their S/N, and whether blind peaks are true.

    Parameters
    ----------
    evidence : of `clusters.cluster_evidence`, perhaps with clusters that were not observed, or without rows
    injections : of `injection.injection_summary`, by profile
    published : `snr` and `present` of Remy et al. 2023
    detection : of `detection.detection_summary`
    threshold : convergence from which a peak counts
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.36 * PAGE), layout="constrained")
        listed, halos, blind = figure.subplots(1, 3)
        _listed(listed, evidence)
        for (profile, found), color in zip(injections.items(), (BLUE, ORANGE), strict=False):
            label = f"{profile}, {found['realisations'][0]} mocks each"
            halos.errorbar(
                found["snr"], found["present"], found["present_err"], color=color, marker="o", ms=3, label=label
            )
        halos.plot(found["snr"], found["chance"], color="0.5", ls="--", label="random places")
        halos.plot(published["snr"], published["present"], color=RED, marker="s", ms=3, ls="none", label="Remy+23")
        halos.set(xlabel="aperture mass of the halo, S/N", ylabel="share of samples", ylim=(-0.04, 1.04))
        halos.set_title(f"injected halos, z = {found['redshift']:g}")
        halos.legend(loc="center right")
        _reliability(blind, detection)
        caption(figure, f"a sample shows a cluster by a peak of at least {threshold:g} within its radius | {note}")
    return figure


def _listed(axes, evidence: Table) -> None:
    """Probability of a peak at every observed cluster, its error, chance and the B-mode control."""
    seen = evidence[np.asarray(evidence["observed"], bool)]
    mass, probability, error = (np.asarray(seen[name], float) for name in ("m500", "probability", "probability_err"))
    near = np.asarray(seen["z"], float) < 1
    for chosen, color, marker, label in ((near, BLUE, "o", "z < 1"), (~near, ORANGE, "s", "z ≥ 1")):
        axes.errorbar(
            mass[chosen], probability[chosen], error[chosen], color=color, marker=marker, ms=3, ls="none", label=label
        )
    if len(seen):
        axes.axhline(np.mean(seen["chance"]), color="0.5", ls="--", label="random places")
        bmode = np.asarray(seen["bmode"], float)
        if np.isfinite(bmode).any():
            axes.axhline(np.nanmean(bmode), color=RED, ls=":", label="B-mode")
        axes.set_xscale("log")
    axes.set(xlabel=r"$M_{500}$ from X-rays [$10^{13}\,M_\odot$]", ylabel="share of samples", ylim=(-0.04, 1.3))
    axes.set_title(f"{len(seen)} X-ray clusters of COSMOS")
    axes.legend(ncols=2, loc="upper left")


def _reliability(axes, detection: Mapping) -> None:
    """Share of true peaks among places as likely, against what samples not used to find them say; completeness."""
    found = detection["reliability"]
    kept = [number for number, n in enumerate(found["n"]) if n]
    predicted, true, error = (np.array([found[key][i] for i in kept]) for key in ("predicted", "true", "true_err"))
    axes.plot([0, 1], [0, 1], color=BLACK, lw=0.5)
    axes.errorbar(predicted, true, error, color=BLUE, marker="o", ms=3, label="share that is true")
    complete = [value if value is not None else np.nan for value in detection["completeness"]]
    axes.plot(detection["level"], complete, color=ORANGE, marker="s", ms=3, ls="--", label="completeness down to here")
    axes.set(xlabel="probability, by the other half of samples", ylabel="share", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    axes.set_title(f"blind peaks of mocks ({sum(found['n'])} places)")
    axes.legend()
