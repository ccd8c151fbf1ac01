"""The house style: widths, fonts, and the colours of Okabe & Ito, which colour-blind readers can tell apart."""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import PIL.Image
from IPython.display import Image
from matplotlib.figure import Figure

from analysis.core.files import atomic

MM = 1 / 25.4
COLUMN = 88 * MM  # widths of a column and of a page of Astronomy & Astrophysics, inches
PAGE = 180 * MM
SHOWN = 750  # pixels of width in a notebook
SHARPNESS = 1.4  # pixels of the picture a shown pixel; few, since every run adds such pictures to Git
DPI = {"pdf": 300, "png": 200}  # PNG for the screen, 1400 pixels across a page
CAPTION_CHARACTERS = 150  # that fit the width of a page
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


def provenance(profile: str, parameters: int, runaways: int, *, passed: bool) -> str:
    """The line below a figure: its profile and network, the number of runaway chains, and the prior test's outcome."""
    health = f" | runaway samples in {runaways} of the runs" if runaways else ""
    health += "" if passed else " | this network FAILS the prior test"
    return f"profile {profile}, network of {parameters:,} parameters{health}"


def save_figure(figure: Figure, folder: str | Path, name: str) -> Path:
    """Write a figure as vector PDF and as PNG, without dates, so that the same figure gives the same bytes.

    Returns
    -------
    Path of the PNG
    """
    for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        path = Path(folder) / f"{name}.{ending}"
        with mpl.rc_context(STYLE), atomic(path) as temporary:
            figure.savefig(temporary, dpi=DPI[ending], metadata=metadata)
    return path


def preview(path: Path) -> Image:
    """A saved figure for a notebook: smaller, and as JPEG, since PNG cannot compress noisy maps."""
    with PIL.Image.open(path) as figure:
        width = round(SHARPNESS * SHOWN)
        smaller = figure.convert("RGB").resize((width, round(width * figure.height / figure.width)))
    content = io.BytesIO()
    smaller.save(content, "JPEG", quality=80)
    return Image(content.getvalue(), format="jpeg", width=SHOWN)


@contextmanager
def page(height: float, note: str) -> Iterator[Figure]:
    """A figure in the house style, as wide as a page.

    Parameters
    ----------
    height : inches
    note : a line below the figure, or two, that say how it was made
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, height), layout="constrained")
        yield figure
        figure.supxlabel(textwrap.fill(note, CAPTION_CHARACTERS), fontsize=5, color="0.35")


def colour_limits(kappa: np.ndarray) -> tuple[float, float]:
    """Colour limits that leave out the most extreme pixels."""
    low, high = np.quantile(kappa, (0.01, 0.998))
    return float(low), float(high)


def multipoles(axes, ell: np.ndarray) -> None:
    """Set the ticks of a logarithmic axis of multipole, as plain numbers."""
    ticks = [tick for tick in (100, 200, 500, 1000, 2000, 5000, 10000) if ell[0] <= tick <= ell[-1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
