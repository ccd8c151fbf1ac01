"""The paper's figures, one function each: arrays in, a Figure out, in one house style.

Maps are drawn on the sky, east left and north up, and share one colour scale within a figure. Lines use the colours
of Okabe & Ito, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS
from matplotlib.figure import Figure
from scipy.ndimage import binary_closing, binary_fill_holes

from analysis.files import atomic
from analysis.results import Result
from analysis.sky import Grid

MM = 1 / 25.4
COLUMN = 88 * MM  # widths of a column and of a page of Astronomy & Astrophysics, inches
PAGE = 180 * MM
STYLE = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "legend.fontsize": 6,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "pdf.fonttype": 42,
    "image.interpolation": "nearest",
    "image.origin": "lower",
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.04,
}
BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
KAPPA = r"convergence $\kappa$"


def mock_figure(truth: np.ndarray, result: Result, *, colormap: str, note: str) -> Figure:
    """Truth, mask, Kaiser-Squires, posterior median, and below them four posterior samples.

    Parameters
    ----------
    truth : (ny, nx)
    result : of the mock
    note : one line that says how the maps were made

    Source: form of figure 1 of Remy et al. 2020.
    """
    samples, mask, grid = result.samples, result.observation.mask, result.observation.grid
    limits = _limits(truth)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.56 * PAGE), layout="constrained")
        axes = [_sky_axes(figure, (2, 4, i + 1), grid.wcs, left=i % 4 == 0, bottom=i >= 4) for i in range(8)]
        median = np.median(samples, axis=0)
        panels = {"truth": truth, "Kaiser-Squires": result.kaiser_squires, "posterior median": median}
        for axis, (title, kappa) in zip([axes[0], axes[2], axes[3]], panels.items(), strict=True):
            image = _map(axis, kappa, title, limits, colormap, mask)
        axes[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
        axes[1].set_title("mask")
        for i, (axis, kappa) in enumerate(zip(axes[4:], samples, strict=False)):
            _map(axis, kappa, f"posterior sample {i + 1}", limits, colormap, mask)
        for axis in axes[4 + len(samples) :]:
            axis.set_visible(False)
        _bar(figure, image, axes)
        _note(figure, note)
    return figure


def field_figure(
    result: Result, marked: Table, centre: Mapping, *, cutout_arcmin: float, colormap: str, note: str
) -> Figure:
    """Kaiser-Squires, one sample and the posterior mean with X-ray clusters; cut-outs of one place in samples.

    Parameters
    ----------
    result : of the field
    marked : clusters to mark, with positions `x`, `y` and redshift `z`
    centre : of the cut-outs, as `clusters.showcase` gives it
    cutout_arcmin : side of the cut-outs
    note : one line that says how the maps were made

    Source: form of figure 2 of Remy et al. 2020.
    """
    samples, mask, grid = result.samples, result.observation.mask, result.observation.grid
    limits = _limits(samples)
    size = max(3, round(cutout_arcmin / grid.pixel_arcmin))
    shown = samples[:6]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.57 * PAGE), layout="constrained")
        layout = figure.add_gridspec(2, 6, height_ratios=(2, 1))
        panels = {"Kaiser-Squires": result.kaiser_squires, "one posterior sample": samples[0]}
        panels |= {"posterior mean": samples.mean(axis=0)}
        axes = []
        for i, (title, kappa) in enumerate(panels.items()):
            axes.append(_sky_axes(figure, layout[0, 2 * i : 2 * i + 2], grid.wcs, left=i == 0))
            image = _map(axes[-1], kappa, title, limits, colormap, mask)
            _zoom(axes[-1], mask)
            _clusters(axes[-1], marked, labels=i == 2)
        for i, kappa in enumerate(shown):
            cut = Cutout2D(kappa, (centre["x"], centre["y"]), size, wcs=grid.wcs, mode="partial", fill_value=np.nan)
            axes.append(_sky_axes(figure, layout[1, i], cut.wcs, labels=False))
            _map(axes[-1], cut.data, f"sample {i + 1}", limits, colormap)
            axes[-1].scatter(
                *cut.input_position_cutout, s=60, marker="o", facecolors="none", edgecolors="white", lw=0.6
            )
        _bar(figure, image, axes)
        shares = [f"{100 * centre[share]:.0f} %" for share in ("present", "chance")]
        rule = f"have a peak above {centre['threshold']:g} there (random places: {shares[1]})"
        figure.suptitle(f"{result.observation.title}; {len(samples)} posterior samples", fontsize=7)
        _note(figure, f"bottom: {cutout_arcmin:g}' around {centre['name']}; {shares[0]} of samples {rule} | {note}")
    return figure


def std_figure(stds: Mapping[str, np.ndarray], mask: np.ndarray, grid: Grid, *, colormap: str, note: str) -> Figure:
    """Standard deviation of posteriors, side by side.

    Parameters
    ----------
    stds : (ny, nx) by title
    mask : (ny, nx), True where observed
    """
    limits = (0.0, float(np.quantile(np.stack(list(stds.values())), 0.995)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.52 * PAGE), layout="constrained")
        axes = [_sky_axes(figure, (1, len(stds), i + 1), grid.wcs, left=i == 0, bottom=True) for i in range(len(stds))]
        for axis, (title, values) in zip(axes, stds.items(), strict=True):
            image = _map(axis, values, title, limits, colormap, mask)
            _zoom(axis, mask)
        _bar(figure, image, axes, label=r"posterior standard deviation of $\kappa$")
        _note(figure, note)
    return figure


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
        _note(figure, note)
    return figure


def simulations_figure(
    maps: Mapping[str, np.ndarray],
    spectra: Mapping[str, np.ndarray],
    edges: np.ndarray,
    theory: Table,
    pixel_arcmin: float,
    *,
    colormap: str,
    note: str,
) -> Figure:
    """One simulated map, the spectra of the splits against theory, and their one-point distributions.

    Parameters
    ----------
    maps : (n, ny, nx) a split
    spectra : (n_bins,), sr, a split
    edges : (n_bins + 1,), multipoles
    theory : `ell`, `c_ell` (sr)
    """
    first = next(iter(maps.values()))[0]
    half = 0.5 * len(first) * pixel_arcmin / 60
    centres = np.sqrt(edges[1:] * edges[:-1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.31 * PAGE), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        vmin, vmax = _limits(first)
        image = left.imshow(first, cmap=colormap, vmin=vmin, vmax=vmax, extent=(-half, half, -half, half))
        left.set(xlabel="offset [deg]", ylabel="offset [deg]", title="one training map")
        figure.colorbar(image, ax=left, label=KAPPA, pad=0.02)
        seen = (theory["ell"] >= edges[0]) & (theory["ell"] <= edges[-1])
        ell, c_ell = np.asarray(theory["ell"])[seen], np.asarray(theory["c_ell"])[seen]
        middle.loglog(ell, ell * (ell + 1) * c_ell / (2 * np.pi), color=BLACK, label="halofit, Limber")
        bins = np.linspace(-0.04, 0.16, 60)
        for (name, values), color, dashes in zip(maps.items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=False):
            power = spectra[name] * centres * (centres + 1) / (2 * np.pi)
            middle.loglog(centres, power, color=color, ls=dashes, label=f"{name} maps")
            right.hist(
                values.ravel(), bins, density=True, histtype="step", color=color, ls=dashes, label=name, log=True
            )
        middle.set(xlabel=r"multipole $\ell$", ylabel=r"$\ell(\ell+1) C_\ell / 2\pi$")
        _multipoles(middle, edges)
        right.set(xlabel=KAPPA, ylabel="density of pixels", xlim=(bins[0], bins[-1]))
        middle.legend()
        right.legend()
        _note(figure, note)
    return figure


def training_figure(loss: Sequence[float], errors: Mapping[float, Sequence[float]], *, note: str) -> Figure:
    """Loss by epoch, and denoising error over the Gaussian score's by noise level, at the first epoch and the last.

    Parameters
    ----------
    loss : (epochs,), 1 is the Gaussian score's
    errors : (epochs,), by noise level
    """
    sigmas = np.array(list(errors))
    values = np.array(list(errors.values()))
    epochs = np.arange(1, len(loss) + 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.36 * PAGE), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, loss, color=BLACK, marker="o", ms=3)
        left.set(xlabel="epoch", ylabel="loss / Gaussian score's", title="training maps")
        right.axhline(1, color=BLACK, lw=0.5, label="Gaussian score")
        for epoch, color, marker in ((0, SKY, "s"), (len(loss) - 1, BLUE, "o")):
            right.semilogx(sigmas, values[:, epoch], color=color, marker=marker, ms=3, label=f"epoch {epoch + 1}")
        right.set(xlabel=r"noise level $\sigma$", ylabel="denoising RMSE / Gaussian score's", title="held-out box")
        right.legend()
        _note(figure, note)
    return figure


def provenance(profile: str, parameters: int, runaways: int, *, prior_ran_away: bool = False) -> str:
    """The line below a figure: which network made it, and whether any of its chains ran away."""
    health = f" | runaway samples in {runaways} of the runs" if runaways else ""
    health += " | a runaway among the samples of the prior alone" if prior_ran_away else ""
    return f"profile {profile}, network of {parameters:,} parameters{health}"


def save_figure(figure: Figure, folder: str | Path, name: str) -> Path:
    """Write a figure as vector PDF and as PNG, without dates, so that the same figure is the same file.

    Returns
    -------
    Path of the PNG
    """
    for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        path = Path(folder) / f"{name}.{ending}"
        with mpl.rc_context(STYLE), atomic(path) as temporary:
            figure.savefig(temporary, dpi=300, metadata=metadata)
    return path


def _sky_axes(figure: Figure, place, wcs: WCS, *, left: bool = True, bottom: bool = True, labels: bool = True):
    """Axes in RA and Dec, labelled where they stand on the figure's edge."""
    place = place if isinstance(place, tuple) else (place,)
    axes = figure.add_subplot(*place, projection=wcs)
    for coordinate, shown, name in ((axes.coords[0], bottom, "RA"), (axes.coords[1], left, "Dec")):
        coordinate.set_ticks(number=4)
        coordinate.set_major_formatter("d.d")
        coordinate.set_ticks_position("bl")
        coordinate.set_ticklabel(size=6)
        coordinate.set_axislabel(name if shown and labels else " ", minpad=0.7)
        coordinate.set_ticklabel_visible(shown and labels)
        coordinate.set_auto_axislabel(False)
    return axes


def _map(
    axes, kappa: np.ndarray, title: str, limits: tuple[float, float], colormap: str, mask: np.ndarray | None = None
):
    """A map with the outline of what was observed."""
    image = axes.imshow(kappa, cmap=colormap, vmin=limits[0], vmax=limits[1])
    if axes.wcs.wcs.cdelt[0] > 0:  # columns run with RA: turn them, so that east is left
        axes.invert_xaxis()
    if mask is not None:
        axes.contour(_outline(mask), levels=[0.5], colors="white", linewidths=0.4)
    axes.set_title(title)
    return image


def _zoom(axes, mask: np.ndarray) -> None:
    """Show what was observed, and a little more."""
    for seen, limits in ((mask.any(axis=0), axes.set_xlim), (mask.any(axis=1), axes.set_ylim)):
        first, last = np.flatnonzero(seen)[[0, -1]]
        edge = max(3, (last - first) // 14)
        low, high = max(first - edge, 0) - 0.5, min(last + edge, len(seen) - 1) + 0.5
        limits(*((high, low) if limits == axes.set_xlim and axes.xaxis_inverted() else (low, high)))


def _multipoles(axes, ell: np.ndarray) -> None:
    """Ticks of a logarithmic axis of multipole, as plain numbers."""
    ticks = [tick for tick in (100, 200, 500, 1000, 2000, 5000, 10000) if ell[0] <= tick <= ell[-1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The mask without its holes, whose outlines could be taken for clusters."""
    return binary_fill_holes(binary_closing(np.pad(mask, 2), iterations=2))[2:-2, 2:-2]


def _clusters(axes, clusters: Table, *, labels: bool) -> None:
    """Circles at clusters, with their redshifts."""
    axes.scatter(clusters["x"], clusters["y"], s=18, facecolors="none", edgecolors="white", linewidths=0.6)
    if not labels:
        return
    x, y = np.asarray(clusters["x"]), np.asarray(clusters["y"])
    crowded = 0.04 * abs(np.diff(axes.get_ylim())[0])  # closer in height, labels side by side would overlap
    for i, z in enumerate(clusters["z"]):
        near = abs(x - x[i]) < 3 * crowded
        above, below = (np.any(near & (step * (y - y[i]) > 0) & (step * (y - y[i]) < crowded)) for step in (1, -1))
        place = (4, -1.8 + 2.2 * below - 2.2 * above)
        axes.annotate(f"{z:.2f}", (x[i], y[i]), xytext=place, textcoords="offset points", color="white", fontsize=5)


def _bar(figure: Figure, image, axes, label: str = KAPPA) -> None:
    """A colour bar for several axes."""
    figure.colorbar(image, ax=axes, label=label, shrink=0.8, pad=0.01, aspect=30)


def _note(figure: Figure, text: str) -> None:
    """A line below the figure that says how it was made."""
    figure.supxlabel(text, fontsize=5, color="0.35")


def _limits(kappa: np.ndarray) -> tuple[float, float]:
    """Colour limits that leave out the most extreme pixels."""
    low, high = np.quantile(kappa, (0.01, 0.998))
    return float(low), float(high)
