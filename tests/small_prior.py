"""A network of a few weights, a spectrum on 16x16 pixels, and a prior whose network says something."""

import dataclasses

import numpy as np

from analysis.flatsky.power import ell_grid
from analysis.params import load_params

TRAIN = load_params().train


SETTINGS = dataclasses.replace(TRAIN.network, widths=[4, 8, 16], blocks=1)


POWER = 4e-3 * (np.maximum(ell_grid((16, 16), 0.82), 500) / 500) ** -1.5


def shifted(one, by=0.1):
    """The prior after its weights were moved, so that the network says something."""
    rng = np.random.default_rng(3)
    one.network.set_weights([w + by * rng.standard_normal(w.shape) for w in one.network.get_weights()])
    return one
