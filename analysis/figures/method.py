"""Figures of the method: how the hybrid score denoises, what its prior draws, how a chain comes down to a sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

from analysis.core.files import atomic
from analysis.figures.style import COLUMN, KAPPA, PAGE, STYLE, caption, colour_limits


def denoiser_figure(
    truth: np.ndarray, rows: Mapping[float, Mapping[str, np.ndarray]], *, colormap: str, note: str
) -> Figure:
    """A map, the same with noise, and what Gaussian and hybrid score make of it, at several noise levels.

    Parameters
    ----------
    truth : (ny, nx)
    rows : (ny, nx) by title, the noisy map first, by noise level
    note : one line that says how the maps were made

    Source: form of figure 3 of Remy et al. 2023.
    """
    limits = colour_limits(truth)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.235 * PAGE * len(rows) + 0.03 * PAGE), layout="constrained")
        axes = figure.subplots(len(rows), 1 + max(map(len, rows.values())), squeeze=False)
        for row, (sigma, maps) in zip(axes, rows.items(), strict=True):
            for axis, (title, kappa) in zip(row, {"truth": truth, **maps}.items(), strict=True):
                error = np.sqrt(np.mean((kappa - truth) ** 2))
                image = _plain(axis, kappa, f"{title}, error {error:.4f}" if error else title, limits, colormap)
            row[0].set_ylabel(rf"$\sigma$ = {sigma:g}")
        figure.colorbar(image, ax=axes, label=KAPPA, shrink=0.8, pad=0.01, aspect=30)
        caption(figure, note)
    return figure


def prior_figure(held_out: np.ndarray, samples: np.ndarray, *, colormap: str, note: str) -> Figure:
    """Simulated maps that no training saw, and below them as many samples of the prior alone.

    Parameters
    ----------
    held_out, samples : (n, ny, nx)
    """
    limits = colour_limits(held_out)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.52 * PAGE), layout="constrained")
        axes = figure.subplots(2, len(held_out), squeeze=False)
        for row, maps, label in zip(axes, (held_out, samples), ("simulations", "samples of the prior"), strict=True):
            for axis, kappa in zip(row, maps, strict=True):
                image = _plain(axis, kappa, f"highest {kappa.max():.2f}", limits, colormap)
            row[0].set_ylabel(label)
        figure.colorbar(image, ax=axes, label=KAPPA, shrink=0.8, pad=0.01, aspect=30)
        caption(figure, note)
    return figure


def annealing_figure(
    trail: np.ndarray, sigmas: Sequence[float], mask: np.ndarray, *, colormap: str, note: str, stills: int = 5
) -> Figure:
    """Where a chain is at its start, on its way down the noise levels, and at its end.

    Parameters
    ----------
    trail : (1 + levels, ny, nx), as `samples.load_trail` gives it
    sigmas : (levels,)
    mask : (ny, nx), True where observed; its outline is drawn
    """
    chosen = np.linspace(0, len(trail) - 1, min(stills, len(trail))).round().astype(int)
    limits = colour_limits(trail[-1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.24 * PAGE), layout="constrained")
        axes = figure.subplots(1, len(chosen), squeeze=False)
        for axis, number in zip(axes[0], chosen, strict=True):
            image = _plain(axis, trail[number], _stage(number, sigmas), limits, colormap)
            axis.contour(mask, levels=[0.5], colors="white", linewidths=0.3)
        figure.colorbar(image, ax=axes, label=KAPPA, shrink=0.8, pad=0.01, aspect=30)
        caption(figure, note)
    return figure


def save_annealing(path: Path, trail: np.ndarray, sigmas: Sequence[float], *, colormap: str) -> Path:
    """The same as an animation (GIF), one frame a noise level, the last held for longer.

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


def _stage(number: int, sigmas: Sequence[float]) -> str:
    """What a map of a trail is."""
    return "start, Gaussian posterior" if number == 0 else rf"after $\sigma$ = {sigmas[number - 1]:.3f}"


def _plain(axis, kappa: np.ndarray, title: str, limits: tuple[float, float], colormap: str):
    """A map that is nowhere on the sky, or too small for coordinates."""
    image = axis.imshow(kappa, cmap=colormap, vmin=limits[0], vmax=limits[1])
    axis.set(title=title, xticks=[], yticks=[])
    return image
