"""Figures of results: power spectra, calibration by ranks, clusters and blind peaks in samples."""

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from scipy.stats import binom

from analysis.figures.style import BLACK, BLUE, GREEN, ORANGE, PAGE, RED, multipoles, page
from analysis.judge import ranks

COVERAGE = ("coverage68_by_statistic", "coverage68_by_statistic_err")


def spectra_figure(
    ell: np.ndarray,
    spectra: Mapping[str, np.ndarray],
    samples: np.ndarray,
    ratios: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    note: str,
) -> Figure:
    """Power spectra of the maps of a mock, and power of samples over that of true maps.

    Parameters
    ----------
    ell : (n,), centres of the bins
    spectra : (n,), sr, by label; the truth's first
    samples : (m, n), sr, of each posterior sample
    ratios : (ell, ratio) by label
    """
    factor = ell * (ell + 1) / (2 * np.pi)
    with page(0.4 * PAGE, note) as figure:
        left, right = figure.subplots(1, 2)
        band = np.quantile(samples, (0.16, 0.84), axis=0) * factor
        left.fill_between(ell, *band, color=ORANGE, alpha=0.3, lw=0, label="posterior samples, 68 %")
        left.loglog(ell, samples.mean(axis=0) * factor, color=ORANGE, label="posterior samples, mean")
        styles = zip((BLACK, BLUE, GREEN, RED), ("-", "--", "-.", ":"), strict=True)
        for (label, values), (color, dashes) in zip(spectra.items(), styles, strict=False):
            left.loglog(ell, values * factor, color=color, ls=dashes, label=label)
        left.set(xlabel=r"multipole $\ell$", ylabel=r"$\ell(\ell+1) C_\ell / 2\pi$", title="one mock, inside the mask")
        left.legend()
        multipoles(left, ell)
        for (label, (at, ratio)), color, marker in zip(ratios.items(), (ORANGE, BLUE), "os", strict=False):
            right.semilogx(at, ratio, color=color, marker=marker, ms=3, label=label)
        right.axhline(1, color=BLACK, lw=0.5)
        right.axhspan(0.9, 1.1, color="0.9", lw=0)
        right.set(xlabel=r"multipole $\ell$", ylabel="power / power of true maps", title="10 % band in grey")
        right.legend()
        multipoles(right, ell)
    return figure


def information_figure(
    ell: np.ndarray,
    c_ell: np.ndarray,
    noise: Mapping[str, float],
    found: Mapping[str, Mapping],
    labels: Mapping[str, str],
    *,
    note: str,
) -> Figure:
    """Signal over noise by multipole, and correlation and power of the maps of mocks against the truth.

    Parameters
    ----------
    ell, c_ell : (n,), theory, sr
    noise : white noise of a field, sr, by label
    found : `validation.by_multipole`
    labels : by method, those to be drawn
    """
    shown = (ell >= 100) & (ell <= 1.2 * max(found["ell"]))
    styles = dict(
        zip(labels, ((BLACK, "s", ":"), (BLUE, "^", "--"), (ORANGE, "o", "-"), (GREEN, "D", "-.")), strict=False)
    )
    with page(0.36 * PAGE, note) as figure:
        signal, correlation, power = figure.subplots(1, 3)
        for (label, level), color in zip(noise.items(), (BLUE, ORANGE), strict=False):
            signal.loglog(ell[shown], c_ell[shown] / level, color=color, label=label)
        signal.axhline(1, color=BLACK, lw=0.5)
        signal.set(xlabel=r"multipole $\ell$", ylabel="signal power / noise power", title="halofit over shape noise")
        for axes, key, title in (
            (correlation, "correlation", "correlation with the truth"),
            (power, "power_to_truth", "power / power of the truth"),
        ):
            for method, label in labels.items():
                color, marker, dashes = styles[method]
                axes.semilogx(
                    found["ell"], found[key][method], color=color, marker=marker, ms=3, ls=dashes, label=label
                )
            axes.set(xlabel=r"multipole $\ell$", title=title, ylim=(0, 1.25 if key == "power_to_truth" else 1.02))
        for axes, at in ((signal, ell[shown]), (correlation, found["ell"]), (power, found["ell"])):
            multipoles(axes, np.asarray(at))
        for axes in (signal, power):
            axes.legend()
    return figure


def calibration_figure(tables: Mapping[str, Table], metrics: Mapping, *, note: str) -> Figure:
    """Rank histograms of every statistic, expected coverage of the whole map, and coverage of 68 % intervals.

    Parameters
    ----------
    tables : of mocks by kind (`own`, `sky`, and `self` if it was run), a rank by statistic and `tarp`
    metrics : of `calibration.calibration_summary`, those of the other kinds under their names
    note : one line that says which run this is
    """
    statistics = [name for name in tables["own"].colnames if name in metrics["coverage68_by_statistic"]]
    n = metrics["n_samples"]
    kinds = {
        "own": (BLUE, "o", "own shear"),
        "sky": (ORANGE, "s", "sky's shear"),
        "self": (GREEN, "^", "truths of the prior"),
    }
    kinds = {kind: style for kind, style in kinds.items() if kind in tables}
    with page(0.8 * PAGE, f"ranks of truths among {n} samples; grey: 99 % of flat histograms | {note}") as figure:
        grid = figure.add_gridspec(4, 6)
        low, high = binom.ppf((0.005, 0.995), len(tables["own"]), 1 / (n + 1))
        for number, name in enumerate(statistics):
            axis = figure.add_subplot(grid[divmod(number, 4)])
            counts = np.bincount(np.asarray(tables["own"][name]), minlength=n + 1)
            axis.axhspan(low, high, color="0.9", lw=0)
            axis.stairs(counts, np.arange(n + 2) - 0.5, color=BLUE)
            axis.set(ylim=(0, 1.3 * max(high, counts.max())), xticks=(0, n), title=name.replace("_", " "))
        levels = np.arange(1, n + 1) / (n + 1)
        tarp = figure.add_subplot(grid[:2, 4:])
        tarp.axhspan(-metrics["tarp_band95"], metrics["tarp_band95"], color="0.9", lw=0)
        for kind, (color, marker, label) in kinds.items():
            departure = ranks.expected_coverage(np.asarray(tables[kind]["tarp"]), n) - levels
            tarp.plot(levels, departure, color=color, marker=marker, ms=3, label=f"{label}, {len(tables[kind])} mocks")
        tarp.axhline(0, color=BLACK, lw=0.5)
        tarp.set(xlabel="level", ylabel="expected coverage - level", title="TARP; 95 % band in grey")
        tarp.legend()
        covered = figure.add_subplot(grid[2:, 4:])
        covered.axhspan(0.65, 0.71, color="0.9", lw=0)
        for shift, (kind, (color, marker, _)) in zip((-0.2, 0.0, 0.2), kinds.items(), strict=False):
            of = metrics if kind == "own" else metrics[kind]
            shares, errors = ([of[key][name] for name in statistics] for key in COVERAGE)
            covered.errorbar(
                np.arange(len(statistics)) + shift, shares, errors, color=color, marker=marker, ms=2.5, ls=""
            )
        covered.axhline(0.68, color=BLACK, lw=0.5)
        covered.set(xlabel="statistic, in that order", ylabel="in 68 % intervals", xticks=())
    return figure


def clusters_figure(
    evidence: Table,
    injections: Mapping[str, Mapping],
    published: Mapping[str, tuple[float, ...]],
    detection: Mapping,
    *,
    threshold: float,
    note: str,
) -> Figure:
    """X-ray clusters by mass and injected halos by S/N in samples, and the share of blind peaks that are true.

    Parameters
    ----------
    evidence : of `detection.run_evidence`, perhaps without rows
    injections : of `injection.injection_summary`, by profile
    published : `snr` and `present` of Remy et al. 2023
    detection : of `detection.detection_summary`
    threshold : convergence from which a peak counts
    """
    note = f"a sample shows a cluster by a peak of at least {threshold:g} within its radius | {note}"
    with page(0.36 * PAGE, note) as figure:
        listed, halos, blind = figure.subplots(1, 3)
        _listed(listed, evidence)
        for (profile, found), color in zip(injections.items(), (BLUE, ORANGE), strict=False):
            label = f"{profile}, {found['realisations'][0]} mocks each"
            halos.errorbar(
                found["snr"], found["present"], found["present_err"], color=color, marker="o", ms=3, label=label
            )
        halos.plot(found["snr"], found["chance"], color="0.5", ls="--", label="random places")
        halos.plot(published["snr"], published["present"], color=RED, marker="s", ms=3, ls="none", label="Remy+23")
        halos.set(xlabel="aperture mass of the halo, S/N", ylabel="share of samples", ylim=(-0.04, 1.5))
        halos.set_title(f"injected halos, z = {found['redshift']:g}")
        halos.legend(loc="upper left")
        _reliability(blind, detection)
    return figure


def _listed(axes, evidence: Table) -> None:
    """Draw the probability of a peak at every observed cluster, its error, the chance rate and the B-mode control."""
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
    """Draw the share of true peaks against the probability by samples not used to find them, and completeness."""
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
