"""Two heaps are told from one, where there are samples enough to tell."""

import numpy as np

from analysis.judge.bimodality import bimodality


def test_two_heaps_are_found_and_one_is_not():
    rng = np.random.default_rng(1)
    one = rng.standard_normal(200)
    two = one + 6.0 * (np.arange(200) % 2)
    assert bimodality(two, rng=rng)["p_value"] < 1e-3
    assert bimodality(one, rng=rng)["p_value"] > 0.2
    assert bimodality(two, rng=rng)["power"] > 0.95


def test_few_samples_have_little_power():
    found = bimodality(np.arange(8.0), rng=np.random.default_rng(2))
    assert found["n"] == 8
    assert found["power"] < 0.5
