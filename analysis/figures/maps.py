"""Figures of maps: on the sky with east left and north up; one colour scale within a figure, but for Kaiser-Squires."""

from collections.abc import Mapping

import numpy as np
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS
from matplotlib.figure import Figure
from scipy.ndimage import binary_closing, binary_fill_holes

from analysis.figures.style import BLACK, BLUE, KAPPA, ORANGE, PAGE, colour_limits, multipoles, page
from analysis.judge.agreement import DENSITY_BINS, densities, mean_difference
from analysis.judge.results import Result
from analysis.sky import Grid

OWN_SCALE = "Kaiser-Squires: own colour scale, its range in brackets"  # in captions


def mock_shown(truth: np.ndarray, result: Result) -> dict:
    """What `mock_figure` shows of a mock.

    Parameters
    ----------
    truth : (ny, nx)
    result : of the mock
    """
    samples = result.samples
    maps = {"truth": truth, "mask": result.observation.mask, "Kaiser-Squires": result.kaiser_squires}
    maps |= {"posterior median": np.median(samples, axis=0)}
    maps |= {f"posterior sample {i + 1}": sample for i, sample in enumerate(samples[:4])}
    return {"maps": maps, "pixel_arcmin": result.observation.grid.pixel_arcmin}


def mock_figure(
    maps: Mapping[str, np.ndarray], *, pixel_arcmin: float, margin: int, colormap: str, note: str
) -> Figure:
    """Truth, mask, Kaiser-Squires and posterior median of a mock, and below them four posterior samples.

    Axes are arcminutes from the centre: a mock has the mask of a field, but no place on the sky.

    Parameters
    ----------
    maps : (ny, nx) by title, as `mock_shown` gives them
    margin : pixels along each edge that are left out; there the prior is Gaussian by construction
    note : one line that says how the maps were made

    Source: form of figure 1 of Remy et al. 2020.
    """
    mask = maps["mask"]
    limits = dict.fromkeys(maps, colour_limits(maps["truth"])) | {"mask": (0, 1)}
    limits["Kaiser-Squires"] = colour_limits(maps["Kaiser-Squires"])
    inner = tuple(slice(margin, side - margin) for side in mask.shape)
    half_y, half_x = (pixel_arcmin * (side / 2 - margin) for side in mask.shape)
    placed = {"extent": (-half_x, half_x, -half_y, half_y), "origin": "lower"}
    with page(0.54 * PAGE, f"{OWN_SCALE} | {note}") as figure:
        axes = figure.subplots(2, 4, sharex=True, sharey=True)
        for axis, (title, values) in zip(axes.flat, maps.items(), strict=False):
            low, high = limits[title]
            colours = "gray" if title == "mask" else colormap
            image = axis.imshow(values[inner], cmap=colours, vmin=low, vmax=high, **placed)
            axis.contour(outline(mask)[inner], levels=[0.5], colors="white", linewidths=0.4, **placed)
            axis.set_title(_own_scale(title, limits[title]) if title == "Kaiser-Squires" else title)
        for axis in axes.flat[len(maps) :]:
            axis.set_visible(False)
        for axis in axes.flat:
            axis.set(xlabel="arcminutes", ylabel="arcminutes")
            axis.label_outer()
        _bar(figure, image, axes)
    return figure


def field_shown(result: Result, marked: Table, centre: Mapping) -> dict:
    """What `field_figure` shows of a field: of its samples one, the mean, and six for the cut-outs.

    The six are spread evenly from the smallest aperture mass to the largest.

    Parameters
    ----------
    result : of the field
    marked : clusters to mark, with positions `x`, `y` and redshift `z`
    centre : of the cut-outs, as `clusters.showcase` gives it
    """
    samples, seen = result.samples, result.observation
    maps = {"Kaiser-Squires": result.kaiser_squires, "one posterior sample": samples[0]}
    order = np.argsort(centre["mass"])
    chosen = order[np.linspace(0, len(order) - 1, min(6, len(order))).round().astype(int)]
    return {
        "maps": maps | {"posterior mean": samples.mean(axis=0)},
        "cuts": samples[chosen],
        "centre": {**centre, "mass": np.asarray(centre["mass"])[chosen]},
        "marked": marked["x", "y", "z"],
        "limits": colour_limits(samples),
        "mask": seen.mask,
        "grid": seen.grid,
        "title": f"{seen.title}; {len(samples)} posterior samples",
    }


def field_figure(
    maps: Mapping[str, np.ndarray],
    cuts: np.ndarray,
    centre: Mapping,
    marked: Table,
    *,
    limits: tuple[float, float],
    mask: np.ndarray,
    grid: Grid,
    title: str,
    cutout_arcmin: float,
    colormap: str,
    note: str,
) -> Figure:
    """Kaiser-Squires, one sample and the posterior mean with X-ray clusters; cut-outs of one place in samples.

    Parameters
    ----------
    maps : (ny, nx) by title, Kaiser-Squires first; this and the next parameters are as `field_shown` gives them
    cuts : (n, ny, nx), samples of which the surroundings of one place are drawn
    centre : of the cut-outs, with the aperture mass there in each of `cuts`
    marked : clusters to mark, with positions `x`, `y` and redshift `z`
    limits : of the colours of all maps but Kaiser-Squires
    cutout_arcmin : side of the cut-outs
    note : one line that says how the maps were made

    Source: form of figure 2 of Remy et al. 2020.
    """
    size = max(3, round(cutout_arcmin / grid.pixel_arcmin))
    shares = [f"{100 * centre[share]:.0f} %" for share in ("present", "chance")]
    rule = f"have a peak above {centre['threshold']:g} there (random places: {shares[1]})"
    cut_outs = rf"bottom: {cutout_arcmin:g}' around {centre['name']}, by aperture mass $M_\mathrm{{ap}}$ in 0.001"
    with page(0.57 * PAGE, f"{OWN_SCALE} | {cut_outs}; {shares[0]} of samples {rule} | {note}") as figure:
        layout = figure.add_gridspec(2, 6, height_ratios=(2, 1))
        axes = []
        for i, (name, kappa) in enumerate(maps.items()):
            axes.append(_sky_axes(figure, layout[0, 2 * i : 2 * i + 2], grid.wcs, left=i == 0))
            own = colour_limits(kappa) if i == 0 else None  # so smooth that it would be of one colour among samples
            image = _map(axes[-1], kappa, _own_scale(name, own) if own else name, own or limits, colormap, mask)
            _zoom(axes[-1], mask)
            _clusters(axes[-1], marked, labels=i == 2)
        place = (centre["x"], centre["y"])
        for i, (sample, mass) in enumerate(zip(cuts, centre["mass"], strict=True)):
            cut = Cutout2D(sample, place, size, wcs=grid.wcs, mode="partial", fill_value=np.nan)
            axes.append(_sky_axes(figure, layout[1, i], cut.wcs, labels=False))
            _map(axes[-1], cut.data, rf"$M_\mathrm{{ap}}$ = {1e3 * mass:.1f}", limits, colormap)
            axes[-1].scatter(
                *cut.input_position_cutout, s=60, marker="o", facecolors="none", edgecolors="white", lw=0.6
            )
        _bar(figure, image, axes)
        figure.suptitle(title, fontsize=7)
    return figure


def data_figure(
    counts: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    clusters: Table,
    efficiency: tuple[np.ndarray, np.ndarray],
    *,
    grid: Grid,
    colormap: str,
    note: str,
) -> Figure:
    """Galaxies a square arcminute on the sky with the X-ray clusters, and lensing efficiency by redshift.

    Parameters
    ----------
    counts : (ny, nx), galaxies in each pixel, by title
    masks : (ny, nx), True where observed, by title
    clusters : with positions `x`, `y` and redshifts `z`
    efficiency : redshifts and the lensing efficiency D_ls / D_s there
    """
    density = {title: count / grid.pixel_arcmin**2 for title, count in counts.items()}
    limits = (0.0, float(np.quantile(np.stack(list(density.values())), 0.998)))
    with page(0.36 * PAGE, note) as figure:
        layout = figure.add_gridspec(1, len(density) + 1)
        axes = []
        for i, (title, values) in enumerate(density.items()):
            axes.append(_sky_axes(figure, layout[0, i], grid.wcs, left=i == 0))
            image = _map(axes[-1], values, title, limits, colormap)
            _zoom(axes[-1], masks[title])
            _clusters(axes[-1], clusters, labels=False)
        _bar(figure, image, axes, label="galaxies a square arcminute")
        lens = figure.add_subplot(layout[0, -1])
        lens.plot(*efficiency, color=BLUE, label="lensing efficiency")
        if len(clusters):
            counts, edges = np.histogram(clusters["z"], bins=np.arange(0, 1.65, 0.1))
            lens.stairs(counts / counts.max(), edges, color=ORANGE, label="X-ray clusters, number")
        lens.set(xlabel="redshift", ylabel="efficiency; number over its highest", ylim=(0, 1.25), xlim=(0, 1.6))
        lens.legend()
    return figure


def agreement_shown(results: Mapping[str, Result]) -> dict:
    """What `agreement_figure` shows of a field sampled by two samplers.

    Parameters
    ----------
    results : of the same observation, by the label of the sampler; two
    """
    first, second = results.values()
    mask = first.observation.mask
    return {
        "means": {label: result.samples.mean(axis=0) for label, result in results.items()},
        "difference": np.where(mask, mean_difference(first.samples, second.samples), np.nan),
        "distributions": {label: densities(result.samples, mask) for label, result in results.items()},
        "mask": mask,
        "grid": first.observation.grid,
    }


def agreement_figure(
    means: Mapping[str, np.ndarray],
    difference: np.ndarray,
    distributions: Mapping[str, np.ndarray],
    found: Mapping,
    *,
    mask: np.ndarray,
    grid: Grid,
    colormap: str,
    note: str,
) -> Figure:
    """A field sampled by two samplers: both means and their difference; band powers, peaks and one-point distribution.

    Parameters
    ----------
    means : (ny, nx), by label of the sampler
    difference : (ny, nx), of the means over its standard error; NaN where not observed
    distributions : densities of the observed pixels of samples in `agreement.DENSITY_BINS`, by label
    found : of `agreement.field_agreement`
    """
    labels = list(means)
    limits = colour_limits(np.stack(list(means.values())))
    with page(0.68 * PAGE, note) as figure:
        layout = figure.add_gridspec(2, 3, height_ratios=(1.6, 1))
        axes = [_sky_axes(figure, layout[0, i], grid.wcs, left=i == 0) for i in range(3)]
        for axis, (label, kappa) in zip(axes, means.items(), strict=False):
            image = _map(axis, kappa, f"mean, {label}", limits, colormap, mask)
        _bar(figure, image, axes[:2], location="bottom")
        title = f"difference over its error, rms {found['mean_difference_rms']:.2f}"
        image = _map(axes[2], difference, title, (-4, 4), "RdBu_r", mask)
        _bar(figure, image, axes[2:], label="standard errors", location="bottom")
        for axis in axes:
            _zoom(axis, mask)
        power, peaks, pixels = (figure.add_subplot(layout[1, i]) for i in range(3))
        power.axhspan(0.98, 1.02, color="0.9", lw=0)
        power.axhline(1, color=BLACK, lw=0.5)
        power.errorbar(found["ell"], found["band_ratio"], found["band_ratio_err"], color=BLUE, marker="o", ms=3)
        power.set(xscale="log", xlabel=r"multipole $\ell$", ylabel=f"power, {labels[0]} / {labels[1]}")
        power.set_title("2 % band in grey")
        multipoles(power, np.asarray(found["ell"]))
        styles = ((BLUE, "o", 0.98), (ORANGE, "s", 1.02))
        counted = zip(labels, found["peaks"], found["peaks_err"], styles, strict=True)
        for label, counts, errors, (color, marker, shift) in counted:
            heights = shift * np.asarray(found["height"])
            peaks.errorbar(heights, counts, errors, color=color, marker=marker, ms=3, label=label)
            pixels.stairs(distributions[label], DENSITY_BINS, color=color, label=label)
        peaks.set(xscale="log", yscale="log", xlabel="peak height, from", ylabel="peaks in a sample")
        peaks.set_xticks(found["height"][::2], [f"{height:g}" for height in found["height"][::2]])
        peaks.minorticks_off()
        pixels.set(yscale="log", xlabel=KAPPA, ylabel="probability density", title="observed pixels of samples")
        peaks.legend()
    return figure


def std_figure(stds: Mapping[str, np.ndarray], mask: np.ndarray, grid: Grid, *, colormap: str, note: str) -> Figure:
    """Maps of the standard deviation of posteriors, side by side.

    Parameters
    ----------
    stds : (ny, nx) by title
    mask : (ny, nx), True where observed
    """
    limits = (0.0, float(np.quantile(np.stack(list(stds.values())), 0.995)))
    with page(0.52 * PAGE, note) as figure:
        axes = [_sky_axes(figure, (1, len(stds), i + 1), grid.wcs, left=i == 0, bottom=True) for i in range(len(stds))]
        for axis, (title, values) in zip(axes, stds.items(), strict=True):
            image = _map(axis, values, title, limits, colormap, mask)
            _zoom(axis, mask)
        _bar(figure, image, axes, label=r"posterior standard deviation of $\kappa$")
    return figure


def _sky_axes(figure: Figure, place, wcs: WCS, *, left: bool = True, bottom: bool = True, labels: bool = True):
    """Axes in RA and Dec, with labels at the edge of the figure."""
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
    """Draw a map with the outline of the observed area."""
    image = axes.imshow(kappa, cmap=colormap, vmin=limits[0], vmax=limits[1])
    if axes.wcs.wcs.cdelt[0] > 0:  # columns run with RA: turn them, so that east is left
        axes.invert_xaxis()
    if mask is not None:
        axes.contour(outline(mask), levels=[0.5], colors="white", linewidths=0.4)
    axes.set_title(title)
    return image


def _zoom(axes, mask: np.ndarray) -> None:
    """Limit the axes to the observed area and a small border."""
    for seen, limits in ((mask.any(axis=0), axes.set_xlim), (mask.any(axis=1), axes.set_ylim)):
        first, last = np.flatnonzero(seen)[[0, -1]]
        edge = max(3, (last - first) // 14)
        low, high = max(first - edge, 0) - 0.5, min(last + edge, len(seen) - 1) + 0.5
        limits(*((high, low) if limits == axes.set_xlim and axes.xaxis_inverted() else (low, high)))


def outline(mask: np.ndarray) -> np.ndarray:
    """The mask without its holes, whose outlines would look like clusters."""
    return binary_fill_holes(binary_closing(np.pad(mask, 2), iterations=2))[2:-2, 2:-2]


def _clusters(axes, clusters: Table, *, labels: bool) -> None:
    """Draw circles at clusters, with their redshifts if `labels`."""
    axes.scatter(clusters["x"], clusters["y"], s=18, facecolors="none", edgecolors="white", linewidths=0.6)
    if not labels:
        return
    x, y = np.asarray(clusters["x"]), np.asarray(clusters["y"])
    crowded = 0.04 * abs(np.diff(axes.get_ylim())[0])  # labels closer in height would overlap
    for i, z in enumerate(clusters["z"]):
        near = abs(x - x[i]) < 3 * crowded
        above, below = (np.any(near & (step * (y - y[i]) > 0) & (step * (y - y[i]) < crowded)) for step in (1, -1))
        place = (4, -1.8 + 2.2 * below - 2.2 * above)
        axes.annotate(f"{z:.2f}", (x[i], y[i]), xytext=place, textcoords="offset points", color="white", fontsize=5)


def _own_scale(title: str, limits: tuple[float, float]) -> str:
    """Title of a map whose colours are not those of the figure's bar."""
    return f"{title} ({limits[0]:.2f} to {limits[1]:.2f})".replace("-0", "\N{MINUS SIGN}0")


def _bar(figure: Figure, image, axes, label: str = KAPPA, location: str = "right") -> None:
    """Draw a colour bar for several axes."""
    figure.colorbar(image, ax=axes, label=label, shrink=0.8, pad=0.01, aspect=30, location=location)
