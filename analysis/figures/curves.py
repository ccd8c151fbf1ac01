"""Figures of numbers: power spectra, the simulations, the training, the calibration."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from scipy.stats import binom

from analysis.figures.style import BLACK, BLUE, GREEN, KAPPA, ORANGE, PAGE, RED, SKY, STYLE, caption, colour_limits
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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.4 * PAGE), layout="constrained")
        left, right = figure.subplots(1, 2)
        band = np.quantile(samples, (0.16, 0.84), axis=0) * factor
        left.fill_between(ell, *band, color=ORANGE, alpha=0.3, lw=0, label="posterior samples, 68 %")
        left.loglog(ell, samples.mean(axis=0) * factor, color=ORANGE, label="posterior samples, mean")
        styles = zip((BLACK, BLUE, GREEN, RED), ("-", "--", "-.", ":"), strict=True)
        for (label, values), (color, dashes) in zip(spectra.items(), styles, strict=False):
            left.loglog(ell, values * factor, color=color, ls=dashes, label=label)
        left.set(xlabel=r"multipole $\ell$", ylabel=r"$\ell(\ell+1) C_\ell / 2\pi$", title="one mock, inside the mask")
        left.legend()
        _multipoles(left, ell)
        for (label, (at, ratio)), color, marker in zip(ratios.items(), (ORANGE, BLUE), "os", strict=False):
            right.semilogx(at, ratio, color=color, marker=marker, ms=3, label=label)
        right.axhline(1, color=BLACK, lw=0.5)
        right.axhspan(0.9, 1.1, color="0.9", lw=0)
        right.set(xlabel=r"multipole $\ell$", ylabel="power / power of true maps", title="10 % band in grey")
        right.legend()
        _multipoles(right, ell)
        caption(figure, note)
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
    """Where the data know the map: signal and noise by multipole, and what the maps of mocks have of the truth.

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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.36 * PAGE), layout="constrained")
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
            _multipoles(axes, np.asarray(at))
        for axes in (signal, power):
            axes.legend()
        caption(figure, note)
    return figure


def training_figure(loss: Sequence[float], errors: Mapping[float, Sequence[float]], *, note: str) -> Figure:
    """Loss by epoch, and denoising error over the Gaussian score's by noise level, at the first epoch and the last.

    Parameters
    ----------
    loss : (epochs,), weighted; 1 is the Gaussian score's on Gaussian fields
    errors : (epochs,), by noise level
    """
    sigmas = np.array(list(errors))
    values = np.array(list(errors.values()))
    epochs = np.arange(1, len(loss) + 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.36 * PAGE), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, loss, color=BLACK, marker="o", ms=3)
        left.set(xlabel="epoch", ylabel="weighted loss", title="training maps")
        right.axhline(1, color=BLACK, lw=0.5, label="Gaussian score")
        for epoch, color, marker in ((0, SKY, "s"), (len(loss) - 1, BLUE, "o")):
            right.semilogx(sigmas, values[:, epoch], color=color, marker=marker, ms=3, label=f"epoch {epoch + 1}")
        right.set(xlabel=r"noise level $\sigma$", ylabel="denoising RMSE / Gaussian score's", title="held-out box")
        right.legend()
        caption(figure, note)
    return figure


def simulations_figure(kappa: np.ndarray, evidence: Table, pixel_arcmin: float, *, colormap: str, note: str) -> Figure:
    """A simulated map, and statistics of the maps beside theory and the published map.

    Parameters
    ----------
    kappa : (ny, nx), a training map
    evidence : of `evidence.evidence_table`
    """
    half = 0.5 * len(kappa) * pixel_arcmin / 60
    rows = {name: evidence[evidence["statistic"] == name] for name in dict.fromkeys(evidence["statistic"])}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.58 * PAGE), layout="constrained")
        panels = figure.subplots(2, 3).ravel()
        vmin, vmax = colour_limits(kappa)
        image = panels[0].imshow(kappa, cmap=colormap, vmin=vmin, vmax=vmax, extent=(-half, half, -half, half))
        panels[0].set(xlabel="offset [deg]", ylabel="offset [deg]", title="one training map")
        figure.colorbar(image, ax=panels[0], label=KAPPA, pad=0.02)
        _spectrum_ratio(panels[1], rows["c_ell"])
        labels = {
            "skewness": ("smoothing [arcmin]", "skewness"),
            "one_point": (f"{KAPPA}, smoothed by 1'", "density of pixels"),
            "peaks": (f"height of peaks, {KAPPA}", "peaks / deg$^2$"),
            "minima": (f"depth of minima, {KAPPA}", "minima / deg$^2$"),
        }
        for axis, (name, (xlabel, ylabel)) in zip(panels[2:], labels.items(), strict=True):
            _with_scatter(axis, rows[name])
            axis.set(xlabel=xlabel, ylabel=ylabel)
        for axis in panels[3:5]:
            axis.set_yscale("log")
        panels[1].legend()
        caption(figure, note)
    return figure


def calibration_figure(calibration: Mapping) -> Figure:
    """Rank histograms of every statistic, expected coverage of the whole map, and intervals that cover.

    Parameters
    ----------
    calibration : `tables` of mocks by kind, `own` and `sky`, a rank by statistic and `tarp`; `metrics` of
        `calibration.calibration_summary`, those of `sky` under that name; `note`
    """
    tables, metrics, note = (calibration[key] for key in ("tables", "metrics", "note"))
    statistics = [name for name in tables["own"].colnames if name in metrics["coverage68_by_statistic"]]
    n = metrics["n_samples"]
    kinds = {"own": (BLUE, "o", "own shear"), "sky": (ORANGE, "s", "sky's shear")}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.62 * PAGE), layout="constrained")
        grid = figure.add_gridspec(3, 6)
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
        covered = figure.add_subplot(grid[2, 4:])
        covered.axhspan(0.65, 0.71, color="0.9", lw=0)
        for shift, (kind, (color, marker, _)) in zip((-0.15, 0.15), kinds.items(), strict=True):
            of = metrics if kind == "own" else metrics[kind]
            shares, errors = ([of[key][name] for name in statistics] for key in COVERAGE)
            covered.errorbar(
                np.arange(len(statistics)) + shift, shares, errors, color=color, marker=marker, ms=2.5, ls=""
            )
        covered.axhline(0.68, color=BLACK, lw=0.5)
        covered.set(xlabel="statistic, in that order", ylabel="in 68 % intervals", xticks=())
        caption(figure, f"ranks of truths among {n} samples; grey: 99 % of flat histograms | {note}")
    return figure


def _spectrum_ratio(axis, spectrum: Table) -> None:
    """C_ell over halofit's as it would be measured on such maps: mean, error of it, scatter between maps."""
    ell, theory = np.asarray(spectrum["x"]), np.asarray(spectrum["theory"])
    ratio = Table(spectrum, copy=True)
    for name in ("mean", "scatter", "error", "published"):
        ratio[name] = spectrum[name] / theory
    _with_scatter(axis, ratio)
    axis.axhspan(0.92, 1.08, color="0.9", lw=0, zorder=0)
    axis.axhline(1, color=BLACK, lw=0.5)
    axis.set_xscale("log")
    _multipoles(axis, ell)
    axis.set(xlabel=r"multipole $\ell$", ylabel=r"$C_\ell$ / halofit", ylim=(0, 2.2), title="8 % band in grey")


def _with_scatter(axis, rows: Table) -> None:
    """Mean of the simulated maps with the scatter between them, and the published map where there is one."""
    x, mean, scatter = (np.asarray(rows[name]) for name in ("x", "mean", "scatter"))
    axis.fill_between(x, np.maximum(mean - scatter, 0), mean + scatter, color=BLUE, alpha=0.25, lw=0, label="scatter")
    error = np.nan_to_num(np.asarray(rows["error"]))
    axis.errorbar(x, mean, error, color=BLUE, marker="o", ms=2.5, label="mean of the maps")
    if np.isfinite(rows["published"]).any():
        axis.plot(x, rows["published"], color=RED, marker="s", ms=2.5, ls="none", label="MassiveNuS, one map")


def _multipoles(axes, ell: np.ndarray) -> None:
    """Ticks of a logarithmic axis of multipole, as plain numbers."""
    ticks = [tick for tick in (100, 200, 500, 1000, 2000, 5000, 10000) if ell[0] <= tick <= ell[-1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
