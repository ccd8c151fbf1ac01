"""Convergence: chains of one distribution agree, chains that stay apart are told."""

import numpy as np
import pytest

from analysis.flatsky.power import binned_c_ell, multipole_edges
from analysis.posterior.diagnostics import chain_statistics, convergence_table

SIDE, PIXEL = 32, 1.0


def draws(rng, apart=0.0, count=40, chains=8):
    """Statistics of white maps, chain by chain brighter by `apart`."""
    mask = np.ones((SIDE, SIDE), bool)
    levels = 1 + apart * np.arange(chains)[:, None, None]
    return [chain_statistics(levels * rng.standard_normal((chains, SIDE, SIDE)), mask, PIXEL) for _ in range(count)]


def test_statistics_are_those_of_observed_pixels():
    kappa = np.random.default_rng(1).standard_normal((3, SIDE, SIDE))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[8:24, 8:24] = True
    found = chain_statistics(kappa, mask, PIXEL)
    assert found["highest_peak"] == pytest.approx(kappa[:, 8:24, 8:24].max(axis=(1, 2)))
    bands = binned_c_ell(kappa * mask, PIXEL, multipole_edges(SIDE, PIXEL))
    assert found["band_1"] == pytest.approx(bands[:, 1])


def test_chains_of_one_distribution_agree():
    table = convergence_table(draws(np.random.default_rng(2)))
    assert max(table["rhat"]) < 1.05
    assert min(table["ess"]) > 150  # of 320 independent draws


def test_chains_that_stay_apart_are_told():
    table = convergence_table(draws(np.random.default_rng(3), apart=0.2))
    assert min(table["rhat"]) > 1.2
    assert max(table["ess"]) < 50
