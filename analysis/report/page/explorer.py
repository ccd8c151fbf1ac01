"""The posterior explorer: maps of one field as data, and the empty plots that `explorer.js` fills and links."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, PanTool, Plot, Range1d, WheelZoomTool
from bokeh.plotting import figure
from bokeh.resources import Resources
from contourpy import contour_generator

from analysis.figures.maps import outline
from analysis.figures.style import BLACK, BLUE, ORANGE, SKY, colour_limits
from analysis.judge.results import Result
from analysis.params import Params, stage_rng
from analysis.survey.clusters import massive_clusters, showcase

BYTES = 2_700_000  # of samples in the page, as base64; with BokehJS and figures the page stays below 6 MB
PANELS = {  # title, scale of its colours
    "sample": ("posterior sample", "kappa"),
    "mean": ("posterior mean", "kappa"),
    "wiener": ("Wiener filter", "kappa"),
    "std": ("standard deviation of the samples", "std"),
}
COLOURS = 256
BORDERS = (60, 4, 12, 52)  # pixels left, right, above, below a map; equal sums keep the map square
FONT = "system-ui, sans-serif"
CLUSTER = ("east", "north", "ra", "dec", "z", "m500")  # arcmin, deg, 1e13 solar masses


@dataclass(frozen=True)
class Explorer:
    """Data of a field that the page embeds.

    Attributes
    ----------
    plots : Bokeh's document with the page element of each plot, as JSON
    maps : quantised maps, grid, mask, clusters and the rule for a peak, as JSON
    colours : of the colour scale, from low to high
    limits : ends of each scale
    panels : title and scale of each map, by name
    facts : numbers and names for the text of the page
    scripts : BokehJS and `explorer.js`
    """

    plots: str
    maps: str
    colours: list[str]
    limits: dict[str, tuple[float, float]]
    panels: dict[str, tuple[str, str]]
    facts: dict
    scripts: list[str]


def explorer(name: str, result: Result, params: Params) -> Explorer:
    """The explorer of the run `name` of `sample.fields`.

    Parameters
    ----------
    result : with at least one sample
    params : colours and the rule for a peak (`figures`), seed of the random places
    """
    samples, settings = result.samples, params.figures
    std = samples.std(axis=0, ddof=1) if len(samples) > 1 else np.zeros(samples.shape[1:])
    limits = {"kappa": colour_limits(samples), "std": (0.0, float(np.quantile(std, 0.995)))}
    colours = [mpl.colors.to_hex(mpl.colormaps[settings.colormap](i / (COLOURS - 1))) for i in range(COLOURS)]
    maps = _maps(name, result, params)
    facts = {
        "title": result.observation.title,
        "samples": maps["samples"]["shape"][0],
        "all_samples": len(samples),
        "clusters": maps["clusters"],
        "step": maps["samples"]["step"],
        **maps["peak"],
        **maps["grid"],
    }
    plots = _renumbered(_json(_plots(result, limits, colours, maps["clusters"])))
    return Explorer(plots, _json(maps), colours, limits, PANELS, facts, _scripts())


def fitting(shape: tuple[int, int, int]) -> tuple[int, type[np.unsignedinteger]]:
    """How many samples of `shape` fit in `BYTES`, and their storage type: 16 bits if all fit, else 8."""
    n, *side = shape
    for dtype in (np.uint16, np.uint8):
        fit = int(BYTES / (4 / 3 * np.dtype(dtype).itemsize * np.prod(side)))
        if fit >= n:
            return n, dtype
    return max(fit, 1), dtype


def quantised(kappa: np.ndarray, dtype: type[np.unsignedinteger]) -> dict:
    """Maps in equal steps between their extremes.

    Returns
    -------
    dict
        `shape`; `low` and `step`, so that kappa = low + step * number; `bytes` of a number; `data`, the numbers in
        base64, little-endian
    """
    low, high = float(kappa.min()), float(kappa.max())
    step = (high - low) / np.iinfo(dtype).max or 1.0
    numbers = np.rint((kappa.astype(float) - low) / step).astype(np.dtype(dtype).newbyteorder("<"))
    about = {"shape": list(kappa.shape), "low": low, "step": step, "bytes": numbers.itemsize}
    return about | {"data": _base64(numbers)}


def _maps(name: str, result: Result, params: Params) -> dict:
    """Input of the script: maps, grid, mask (bits), clusters, and the rule for a peak with its chance rate."""
    samples, observation, settings = result.samples, result.observation, params.clusters
    kept, dtype = fitting(samples.shape)
    marked, rng = massive_clusters(result.clusters, params.figures), stage_rng(params.seed, "figures", name)
    chance = showcase(samples, marked, observation, settings, rng=rng)["chance"]  # the same as in the stage figures
    grid = ("pixels", "pixel_arcmin", "ra_deg", "dec_deg", "projection")
    return {
        "samples": quantised(_east(samples[:kept], result), dtype),
        "wiener": quantised(_east(result.wiener, result), np.uint16),
        "mask": _base64(np.packbits(_east(observation.mask, result))),
        "grid": {key: getattr(observation.grid, key) for key in grid},
        "peak": {
            "radius_arcmin": settings.radius_arcmin,
            "threshold": settings.threshold,
            "chance": float(chance),
        },
        "clusters": _clusters(result),
    }


def _east(maps: np.ndarray, result: Result) -> np.ndarray:
    """Maps with columns that run east, like the axis of the plots."""
    left, right, *_ = result.observation.grid.extent
    return maps[..., ::-1] if left > right else maps


def _base64(numbers: np.ndarray) -> str:
    """Bytes of an array as text."""
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()


def _clusters(result: Result) -> list[dict]:
    """Clusters in observed pixels, the heaviest first, each with the columns `CLUSTER`."""
    found = result.clusters[np.argsort(-np.asarray(result.clusters["m500"], float), kind="stable")]
    ra_deg, dec_deg = (np.asarray(found[key], float) for key in ("ra_deg", "dec_deg"))
    east, north = result.observation.grid.offsets_arcmin(ra_deg, dec_deg)
    columns = (east, north, ra_deg, dec_deg, found["z"], found["m500"])
    rows = zip(*(np.asarray(column, float).round(6).tolist() for column in columns), strict=True)
    return [dict(zip(CLUSTER, row, strict=True)) for row in rows]


def _plots(result: Result, limits: Mapping, colours: list[str], clusters: list[dict]) -> dict:
    """The plots as Bokeh's JSON: `docs_json` and `render_items` for `Bokeh.embed.embed_items`."""
    east, north, half = _window(result)
    shared = {
        "x_range": Range1d(east + half, east - half),
        "y_range": Range1d(north - half, north + half),
        "outline": ColumnDataSource(_border(result)),
        "clusters": ColumnDataSource({key: [row[key] for row in clusters] for key in CLUSTER}),
        "place": ColumnDataSource({"east": [], "north": []}, name="place"),
    }
    mappers = {scale: LinearColorMapper(palette=colours, low=low, high=high) for scale, (low, high) in limits.items()}
    document = Document()
    for name, (_, scale) in PANELS.items():
        document.add_root(_panel(name, result, shared, mappers[scale]))
    document.add_root(_histogram())
    places = {root.id: f"plot-{root.name}" for root in document.roots}
    item = {"docid": "explorer", "roots": places, "root_ids": list(places)}
    return {"docs_json": {"explorer": document.to_json(deferred=False)}, "render_items": [item]}


def _panel(name: str, result: Result, shared: Mapping, mapper: LinearColorMapper) -> Plot:
    """Plot of one map: an image that the script fills, the outline of the mask, clusters, the chosen place."""
    half = 0.5 * result.observation.grid.pixels * result.observation.grid.pixel_arcmin
    plot = _plot(name, x_range=shared["x_range"], y_range=shared["y_range"], aspect_ratio=1)
    plot.min_border_left, plot.min_border_right, plot.min_border_top, plot.min_border_bottom = BORDERS
    plot.add_tools(PanTool(name=f"pan-{name}"), WheelZoomTool(name=f"wheel-{name}", modifiers="ctrl"))
    blank = ColumnDataSource({"image": [np.zeros((1, 1), np.float32)]}, name=f"image-{name}")
    place = {"x": -half, "y": -half, "dw": 2 * half, "dh": 2 * half}
    plot.image("image", source=blank, color_mapper=mapper, **place)
    plot.multi_line("east", "north", source=shared["outline"], color="white", line_width=1, alpha=0.8)
    clusters = plot.scatter(
        "east",
        "north",
        source=shared["clusters"],
        size=8,
        fill_color=None,
        line_color="white",
        line_width=1,
        name=f"clusters-{name}",
    )
    tip = "z = @z{0.00}, M500 = @m500{0.0} × 10¹³ M☉<br>RA @ra{0.0000}°, Dec @dec{0.0000}°"
    plot.add_tools(HoverTool(renderers=[clusters], tooltips=tip))
    for width, colour in ((4, BLACK), (2, SKY)):
        plot.scatter(
            "east", "north", source=shared["place"], marker="cross", size=18, line_color=colour, line_width=width
        )
    plot.xaxis.axis_label, plot.yaxis.axis_label = "arcmin east", "arcmin north"
    plot.subscribed_events = {"tap"}
    return plot


def _histogram() -> Plot:
    """Histogram of kappa at a place; lines mark the sample shown, the mean and the Wiener value."""
    plot = _plot("histogram", height=280, x_range=Range1d(0, 1), y_range=Range1d(0, 1))
    plot.min_border_right = 12
    bars = ColumnDataSource({"left": [], "right": [], "top": []}, name="bars")
    plot.quad("left", "right", "top", 0, source=bars, fill_color="#c8cdd3", line_color="white")
    lines = {"shown": ("sample shown", ORANGE, "solid"), "mean": ("mean", BLACK, "solid")}
    lines |= {"wiener": ("Wiener filter", BLUE, "dashed")}
    for name, (label, colour, dash) in lines.items():
        at = ColumnDataSource({"x": []}, name=f"line-{name}")
        plot.vspan("x", source=at, line_color=colour, line_dash=dash, line_width=2.5, legend_label=label)
    plot.xaxis.axis_label, plot.yaxis.axis_label = "convergence κ", "samples"
    plot.yaxis.ticker.min_interval = 1
    plot.legend.orientation, plot.legend.border_line_color, plot.legend.padding = "horizontal", None, 2
    plot.legend.label_text_font, plot.legend.label_text_font_size = FONT, "12px"
    plot.add_layout(plot.legend[0], "above")
    return plot


def _plot(name: str, **options) -> Plot:
    """An empty plot in the style of the page, as wide as its element."""
    plot = figure(name=name, tools="", toolbar_location=None, sizing_mode="stretch_width", **options)
    plot.grid.visible = False
    plot.outline_line_color = "#8a8f98"
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = FONT
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "11px"
    plot.axis.axis_label_text_color = plot.axis.major_label_text_color = "#33383f"
    plot.axis.axis_label_standoff = 4
    plot.axis.axis_line_color = plot.axis.minor_tick_line_color = None
    return plot


def _window(result: Result) -> tuple[float, float, float]:
    """Centre (arcmin east, north) and half side of a square around the observed area, with a small border."""
    grid = result.observation.grid
    edges = np.linspace(-0.5, 0.5, grid.pixels + 1) * grid.pixels * grid.pixel_arcmin
    spans = []
    for axis in (0, 1):
        seen = np.flatnonzero(_east(result.observation.mask, result).any(axis=axis))
        spans.append((edges[seen[0]], edges[seen[-1] + 1]) if len(seen) else (edges[0], edges[-1]))
    half = 0.54 * max(high - low for low, high in spans)
    return *(float(0.5 * (low + high)) for low, high in spans), float(half)


def _border(result: Result) -> dict[str, list]:
    """Outline of the observed area, offsets in arcmin."""
    grid = result.observation.grid
    filled = outline(_east(result.observation.mask, result)).astype(float)
    lines = contour_generator(z=filled).lines(0.5)
    offsets = [((line - 0.5 * (grid.pixels - 1)) * grid.pixel_arcmin).round(3).tolist() for line in lines]
    return {key: [[point[i] for point in line] for line in offsets] for i, key in enumerate(("east", "north"))}


def _json(content: object) -> str:
    """JSON without spaces."""
    return json.dumps(content, separators=(",", ":"))


def _scripts() -> list[str]:
    """BokehJS without its widgets, and our own script."""
    bokeh = Resources(mode="inline", components=["bokeh"], log_level="warn")
    return [*bokeh.js_raw, Path(__file__).with_name("explorer.js").read_text(encoding="utf-8")]


def _renumbered(document: str) -> str:
    """Bokeh's JSON with its models numbered from one, so that each build makes the same page."""
    numbers = {}
    return re.sub(r'"p(\d{4,})"', lambda match: f'"m{numbers.setdefault(match[1], len(numbers) + 1)}"', document)
