"""Figures of the method: simulations, training, denoising by the hybrid score, prior samples, one annealed chain."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from astropy.table import Table
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

from analysis.core.files import atomic
from analysis.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    KAPPA,
    PAGE,
    RED,
    SKY,
    STYLE,
    colour_limits,
    multipoles,
    page,
)


def denoiser_figure(
    truth: np.ndarray, rows: Mapping[float, Mapping[str, np.ndarray]], *, colormap: str, note: str
) -> Figure:
    """A map, the same with noise, and its estimates by Gaussian and hybrid score, at several noise levels.

    Parameters
    ----------
    truth : (ny, nx)
    rows : (ny, nx) by title, the noisy map first, by noise level
    note : one line that says how the maps were made

    Source: form of figure 3 of Remy et al. 2023.
    """
    limits = colour_limits(truth)
    with page(0.235 * PAGE * len(rows) + 0.03 * PAGE, note) as figure:
        axes = figure.subplots(len(rows), 1 + max(map(len, rows.values())), squeeze=False)
        for row, (sigma, maps) in zip(axes, rows.items(), strict=True):
            for axis, (title, kappa) in zip(row, {"truth": truth, **maps}.items(), strict=True):
                error = np.sqrt(np.mean((kappa - truth) ** 2))
                image = _plain(axis, kappa, f"{title}, error {error:.4f}" if error else title, limits, colormap)
            row[0].set_ylabel(rf"$\sigma$ = {sigma:g}")
        figure.colorbar(image, ax=axes, label=KAPPA, shrink=0.8, pad=0.01, aspect=30)
    return figure


def prior_figure(held_out: np.ndarray, samples: np.ndarray, *, colormap: str, note: str) -> Figure:
    """Simulated maps that training did not use, and below them as many samples of the prior alone.

    Parameters
    ----------
    held_out, samples : (n, ny, nx)
    """
    limits = colour_limits(held_out)
    with page(0.52 * PAGE, note) as figure:
        axes = figure.subplots(2, len(held_out), squeeze=False)
        for row, maps, label in zip(axes, (held_out, samples), ("simulations", "samples of the prior"), strict=True):
            for axis, kappa in zip(row, maps, strict=True):
                image = _plain(axis, kappa, f"highest {kappa.max():.2f}", limits, colormap)
            row[0].set_ylabel(label)
        figure.colorbar(image, ax=axes, label=KAPPA, shrink=0.8, pad=0.01, aspect=30)
    return figure


def stills(trail: np.ndarray, sigmas: Sequence[float], number: int = 5) -> dict[str, np.ndarray]:
    """Maps of one chain by title: its start, some noise levels on the way down, and its end.

    Parameters
    ----------
    trail : (1 + levels, ny, nx), as `samples.load_trail` gives it
    sigmas : (levels,)
    """
    chosen = np.linspace(0, len(trail) - 1, min(number, len(trail))).round().astype(int)
    return {_stage(level, sigmas): trail[level] for level in chosen}


def annealing_figure(maps: Mapping[str, np.ndarray], mask: np.ndarray, *, colormap: str, note: str) -> Figure:
    """Maps of one chain on its way from the start to the end.

    Parameters
    ----------
    maps : (ny, nx) by title, the end last, as `stills` gives them
    mask : (ny, nx), True where observed; its outline is drawn
    """
    limits = colour_limits(list(maps.values())[-1])
    with page(0.24 * PAGE, note) as figure:
        axes = figure.subplots(1, len(maps), squeeze=False)
        for axis, (title, kappa) in zip(axes[0], maps.items(), strict=True):
            image = _plain(axis, kappa, title, limits, colormap)
            axis.contour(mask, levels=[0.5], colors="white", linewidths=0.3)
        figure.colorbar(image, ax=axes, label=KAPPA, shrink=0.8, pad=0.01, aspect=30)
    return figure


def save_annealing(path: Path, trail: np.ndarray, sigmas: Sequence[float], *, colormap: str) -> Path:
    """Write the maps of one chain as an animation (GIF), one frame a noise level, the last frame held longer.

    Returns
    -------
    Path
        `path`
    """
    limits, frames = colour_limits(trail[-1]), [*range(len(trail)), *[len(trail) - 1] * 4]
    with mpl.rc_context(STYLE), atomic(path) as temporary:
        figure = Figure(figsize=(COLUMN, COLUMN), layout="constrained")
        axis = figure.subplots()
        image = _plain(axis, trail[0], " ", limits, colormap)

        def show(number: int):
            image.set_data(trail[number])
            axis.set_title(_stage(number, sigmas))
            return (image,)

        FuncAnimation(figure, show, frames).save(temporary, PillowWriter(fps=3), dpi=90)
    return path


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
    with page(0.36 * PAGE, note) as figure:
        left, right = figure.subplots(1, 2)
        left.plot(epochs, loss, color=BLACK, marker="o", ms=3)
        left.set(xlabel="epoch", ylabel="weighted loss", title="training maps")
        right.axhline(1, color=BLACK, lw=0.5, label="Gaussian score")
        for epoch, color, marker in ((0, SKY, "s"), (len(loss) - 1, BLUE, "o")):
            right.semilogx(sigmas, values[:, epoch], color=color, marker=marker, ms=3, label=f"epoch {epoch + 1}")
        right.set(xlabel=r"noise level $\sigma$", ylabel="denoising RMSE / Gaussian score's", title="held-out box")
        right.set_xticks(sigmas, [f"{sigma:g}" for sigma in sigmas], minor=False)
        right.minorticks_off()
        right.legend()
    return figure


def learning_figure(learning: Table, *, note: str) -> Figure:
    """What limits the network: error and prior test against the number of boxes, of weights and of training steps.

    Parameters
    ----------
    learning : of `make learning`; rows of the same axis and factor differ by their seed
    """
    axes = {"boxes": ("boxes", "training boxes"), "weights": ("parameters", "weights"), "steps": ("steps", "steps")}
    tests = [name for name in learning.colnames if name.endswith("_excess")]
    worst = np.max([learning[name] for name in tests], axis=0)
    with page(0.5 * PAGE, note) as figure:
        panels = figure.subplots(2, 3, sharex="col", sharey="row")
        for (axis, (column, label)), (top, bottom) in zip(axes.items(), panels.T, strict=True):
            chosen = (learning["axis"] == axis) | (learning["axis"] == "as it is")
            for panel, values in ((top, learning["mean_error"]), (bottom, worst)):
                x, y = np.asarray(learning[column][chosen]), np.asarray(values[chosen])
                numbers = np.unique(x)
                panel.semilogx(numbers, [y[x == number].mean() for number in numbers], color=BLUE)
                for passed, fill in ((True, BLUE), (False, "white")):
                    kept = np.asarray(learning["passed"][chosen]) == passed
                    panel.plot(x[kept], y[kept], color=BLUE, marker="o", ms=3, ls="none", mfc=fill)
                panel.set_xticks(numbers, [f"{number:,}" for number in numbers], minor=False)
                panel.minorticks_off()
            bottom.axhline(1, color=BLACK, lw=0.5)
            bottom.set(xlabel=label)
            bottom.margins(x=0.2)
        panels[1, 0].set_ylim(0, 1.1 * max(1.0, worst.max()))
        panels[0, 0].set_ylabel("error / Gaussian score's")
        panels[1, 0].set_ylabel("prior test: worst / allowed")
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
    with page(0.58 * PAGE, note) as figure:
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
        panels[2].legend()
    return figure


def _stage(number: int, sigmas: Sequence[float]) -> str:
    """Title of one map on the path of a chain: its start, or the noise level just passed."""
    return "start, Gaussian posterior" if number == 0 else rf"after $\sigma$ = {sigmas[number - 1]:.3f}"


def _plain(axis, kappa: np.ndarray, title: str, limits: tuple[float, float], colormap: str):
    """Draw a map without sky coordinates."""
    image = axis.imshow(kappa, cmap=colormap, vmin=limits[0], vmax=limits[1])
    axis.set(title=title, xticks=[], yticks=[])
    return image


def _spectrum_ratio(axis, spectrum: Table) -> None:
    """Draw C_ell over halofit's on maps of this size: mean, its error, scatter between maps."""
    ell, theory = np.asarray(spectrum["x"]), np.asarray(spectrum["theory"])
    ratio = Table(spectrum, copy=True)
    for name in ("mean", "scatter", "error", "published"):
        ratio[name] = spectrum[name] / theory
    _with_scatter(axis, ratio)
    axis.axhspan(0.92, 1.08, color="0.9", lw=0, zorder=0)
    axis.axhline(1, color=BLACK, lw=0.5)
    axis.set_xscale("log")
    multipoles(axis, ell)
    axis.set(xlabel=r"multipole $\ell$", ylabel=r"$C_\ell$ / halofit", ylim=(0, 2.2), title="8 % band in grey")


def _with_scatter(axis, rows: Table) -> None:
    """Draw the mean of the simulated maps, the scatter between them, and the published map if there is one."""
    x, mean, scatter = (np.asarray(rows[name]) for name in ("x", "mean", "scatter"))
    axis.fill_between(x, np.maximum(mean - scatter, 0), mean + scatter, color=BLUE, alpha=0.25, lw=0, label="scatter")
    error = np.nan_to_num(np.asarray(rows["error"]))
    axis.errorbar(x, mean, error, color=BLUE, marker="o", ms=2.5, label="mean of the maps")
    if np.isfinite(rows["theory"]).any() and rows["statistic"][0] != "c_ell":
        axis.plot(x, rows["theory"], color=BLACK, lw=0.8, ls="--", label="theory")
    if np.isfinite(rows["published"]).any():
        axis.plot(x, rows["published"], color=RED, marker="s", ms=2.5, ls="none", label="MassiveNuS, one map")
