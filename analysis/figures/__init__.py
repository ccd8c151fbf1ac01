"""The paper's figures, one function each: arrays in, a Figure out, in one house style (`style`).

`maps` draws on the sky, `detections` clusters and peaks, `curves` everything else.
"""

from analysis.figures.curves import calibration_figure, simulations_figure, spectra_figure, training_figure
from analysis.figures.detections import clusters_figure
from analysis.figures.maps import field_figure, mock_figure, std_figure
from analysis.figures.style import preview, provenance, save_figure

__all__ = [
    "calibration_figure",
    "clusters_figure",
    "field_figure",
    "mock_figure",
    "preview",
    "provenance",
    "save_figure",
    "simulations_figure",
    "spectra_figure",
    "std_figure",
    "training_figure",
]
