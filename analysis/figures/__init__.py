"""The paper's figures, one function each: arrays in, a Figure out, in one house style (`style`).

`maps` draws on the sky, `detections` clusters and peaks, `method` how score and sampler work, `curves` everything else.
"""

from analysis.figures.curves import (
    calibration_figure,
    information_figure,
    simulations_figure,
    spectra_figure,
    training_figure,
)
from analysis.figures.detections import clusters_figure
from analysis.figures.maps import data_figure, field_figure, mock_figure, std_figure
from analysis.figures.method import annealing_figure, denoiser_figure, prior_figure, save_annealing
from analysis.figures.style import preview, provenance, save_figure

__all__ = [
    "annealing_figure",
    "calibration_figure",
    "clusters_figure",
    "data_figure",
    "denoiser_figure",
    "field_figure",
    "information_figure",
    "mock_figure",
    "preview",
    "prior_figure",
    "provenance",
    "save_annealing",
    "save_figure",
    "simulations_figure",
    "spectra_figure",
    "std_figure",
    "training_figure",
]
