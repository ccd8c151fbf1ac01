"""Figures of numbers: power spectra, the simulations, the training."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from analysis.figures.style import BLACK, BLUE, GREEN, KAPPA, ORANGE, PAGE, RED, SKY, STYLE, caption, colour_limits
from analysis.validation import centres


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
    ell_bins = centres(edges)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.31 * PAGE), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        vmin, vmax = colour_limits(first)
        image = left.imshow(first, cmap=colormap, vmin=vmin, vmax=vmax, extent=(-half, half, -half, half))
        left.set(xlabel="offset [deg]", ylabel="offset [deg]", title="one training map")
        figure.colorbar(image, ax=left, label=KAPPA, pad=0.02)
        seen = (theory["ell"] >= edges[0]) & (theory["ell"] <= edges[-1])
        ell, c_ell = np.asarray(theory["ell"])[seen], np.asarray(theory["c_ell"])[seen]
        middle.loglog(ell, ell * (ell + 1) * c_ell / (2 * np.pi), color=BLACK, label="halofit, Limber")
        bins = np.linspace(-0.04, 0.16, 60)
        for (name, values), color, dashes in zip(maps.items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=False):
            power = spectra[name] * ell_bins * (ell_bins + 1) / (2 * np.pi)
            middle.loglog(ell_bins, power, color=color, ls=dashes, label=f"{name} maps")
            right.hist(
                values.ravel(), bins, density=True, histtype="step", color=color, ls=dashes, label=name, log=True
            )
        middle.set(xlabel=r"multipole $\ell$", ylabel=r"$\ell(\ell+1) C_\ell / 2\pi$")
        _multipoles(middle, edges)
        right.set(xlabel=KAPPA, ylabel="density of pixels", xlim=(bins[0], bins[-1]))
        middle.legend()
        right.legend()
        caption(figure, note)
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
        caption(figure, note)
    return figure


def _multipoles(axes, ell: np.ndarray) -> None:
    """Ticks of a logarithmic axis of multipole, as plain numbers."""
    ticks = [tick for tick in (100, 200, 500, 1000, 2000, 5000, 10000) if ell[0] <= tick <= ell[-1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
