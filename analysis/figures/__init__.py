"""The paper's figures, one function each: arrays in, a Figure out.

Read `style` first, the house style of all figures. `maps` draws on the sky, `results` spectra, ranks and clusters,
`method` simulations, training, score and one chain. `shown` keeps what each figure shows, and draws it from there.
"""

from analysis.figures.maps import (
    agreement_figure,
    agreement_shown,
    data_figure,
    field_figure,
    field_shown,
    mock_figure,
    mock_shown,
    std_figure,
)
from analysis.figures.method import (
    annealing_figure,
    denoiser_figure,
    learning_figure,
    prior_figure,
    save_annealing,
    simulations_figure,
    stills,
    training_figure,
)
from analysis.figures.results import calibration_figure, clusters_figure, information_figure, spectra_figure
from analysis.figures.shown import draw, redraw
from analysis.figures.style import preview, provenance, save_figure

__all__ = [
    "agreement_figure",
    "agreement_shown",
    "annealing_figure",
    "calibration_figure",
    "clusters_figure",
    "data_figure",
    "denoiser_figure",
    "draw",
    "field_figure",
    "field_shown",
    "information_figure",
    "learning_figure",
    "mock_figure",
    "mock_shown",
    "preview",
    "prior_figure",
    "provenance",
    "redraw",
    "save_annealing",
    "save_figure",
    "simulations_figure",
    "spectra_figure",
    "std_figure",
    "stills",
    "training_figure",
]
