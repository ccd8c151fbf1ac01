"""Peaks found blind on mocks: probabilities of honest samples are met, and those of others are not."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from small_mocks import MASK

from analysis.judge.detection import (
    bimodality,
    cluster_stacks,
    detection_summary,
    evidence_summary,
    field_peaks,
    heaps_at,
    mock_detections,
)
from analysis.params import load_params
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, Observation

SIDE = 40
SETTINGS = dataclasses.replace(load_params().clusters, threshold=0.06, radius_arcmin=2.0)
PLACES = [(6 + 9 * i, 6 + 9 * j) for i in range(4) for j in range(4)]


def observed():
    weight = np.full((2, SIDE, SIDE), 400.0)
    return Observation(np.zeros_like(weight), weight, np.ones((SIDE, SIDE)), Grid(SIDE, 1.0, 150.0, 2.0), "a field")


def peaks_drawn(probability, rng):
    """A map with a peak at each of `PLACES` with its probability."""
    kappa = np.zeros((SIDE, SIDE))
    for (x, y), p in zip(PLACES, probability, strict=True):
        kappa[y, x] = 0.1 * (rng.random() < p)
    return kappa


def mocks_and_samples(n, draws, *, told=None):
    """Mocks whose truths are draws of the same law as their samples, or, with `told`, of another."""
    rng, mocks, samples = np.random.default_rng(1), [], []
    for number in range(n):
        probability = rng.uniform(0.1, 1.0, len(PLACES))
        mocks.append(Mock(f"test_{number}", peaks_drawn(probability, rng), observed(), number))
        said = probability if told is None else np.full(len(PLACES), told)
        samples.append([peaks_drawn(said, rng) for _ in range(draws)])
    return mocks, np.array(samples)


@pytest.mark.parametrize("draws", [60, 4])
def test_probabilities_of_honest_samples_are_met_however_few(draws):
    places, judged, peaks = mock_detections(*mocks_and_samples(30, draws), SETTINGS)
    found = detection_summary(places, judged, peaks)
    assert peaks > 200
    bins = found["reliability"]
    for n, predicted, true in zip(bins["n"], bins["predicted"], bins["true"], strict=True):
        if n:
            assert n > 80
            # either half finds most of the places: n / 2 truths
            assert abs(true - predicted) < 3.5 * np.sqrt(predicted * (1 - predicted) * (2 / n + 2 / draws / n))


def test_lists_grow_less_complete_and_purer():
    found = detection_summary(*mock_detections(*mocks_and_samples(30, 60), SETTINGS))
    assert found["completeness"][0] > 0.97
    assert np.all(np.diff(found["completeness"]) < 0)
    assert np.all(np.diff(found["purity"]) > 0)


def test_samples_that_are_too_sure_are_found_out():
    found = detection_summary(*mock_detections(*mocks_and_samples(20, 20, told=0.95), SETTINGS))
    assert found["reliability"]["predicted"][-1] > 0.9
    assert found["reliability"]["true"][-1] < 0.7


def test_nothing_found_is_none_and_not_an_error():
    mocks, samples = mocks_and_samples(1, 3, told=0.0)
    places, judged, _ = mock_detections(mocks, samples, SETTINGS)
    found = detection_summary(places, judged, 0)
    assert len(places) == 0
    assert found["purity"] == found["completeness"] == found["reliability"]["true"] == [None] * 4


def test_peaks_of_a_field_carry_their_cluster_and_their_place_on_the_sky():
    observation = observed()
    samples = np.zeros((3, SIDE, SIDE))
    samples[:, 12, 20] = samples[:2, 30, 8] = 0.1
    placed = Table({"id": [7], "z": [0.4], "x": [21.0], "y": [12.4]})
    found = field_peaks(samples, observation, placed, SETTINGS)
    np.testing.assert_allclose(found["probability"], [1, 2 / 3])
    assert list(found["cluster"]) == [7, -1]
    assert found["z"][0] == 0.4
    assert np.isnan(found["z"][1])
    ra, dec = observation.grid.wcs.pixel_to_world_values(found["x"][0], found["y"][0])
    assert (found["ra_deg"][0], found["dec_deg"][0]) == pytest.approx((float(ra), float(dec)))


@pytest.mark.parametrize("rows", [3, 0])
def test_summary_is_of_the_observed_clusters(rows):
    clusters = Table(
        {
            "observed": [True, True, False],
            "probability": [0.8, 0.4, np.nan],
            "chance": [0.1, 0.2, np.nan],
            "bmode": [0.0, 0.1, np.nan],
            "p_value": [0.01, 0.3, np.nan],
        }
    )[:rows]
    peaks = Table({"probability": [0.9, 0.6, 0.2], "cluster": [3, -1, 5]})
    found = evidence_summary(clusters, peaks)
    assert found["listed"] == rows
    assert (found["peaks"], found["peaks_at_clusters"]) == (2, 1)
    if rows:
        assert (found["observed"], found["unlikely_by_chance"]) == (2, 1)
        assert found["probability"] == pytest.approx(0.6)
        assert found["bmode"] == pytest.approx(0.05)
    else:
        assert found["probability"] is found["bmode"] is None


def test_clusters_stand_out_of_a_map_that_has_them():
    rng = np.random.default_rng(4)
    kappa = 0.02 * rng.standard_normal((32, 32))
    y, x = np.nonzero(MASK)
    chosen = rng.choice(len(x), 30, replace=False)
    placed = Table({"x": x[chosen].astype(float), "y": y[chosen].astype(float)})
    with_clusters = kappa.copy()
    with_clusters[y[chosen], x[chosen]] += 0.04
    stacks = cluster_stacks({"with": with_clusters, "without": kappa}, placed, MASK, seed=5)
    assert stacks["n"] == 30
    assert stacks["with"] > 5
    assert abs(stacks["without"]) < 3


def test_two_heaps_are_found_and_one_is_not():
    rng = np.random.default_rng(1)
    one = rng.standard_normal(200)
    two = one + 6.0 * (np.arange(200) % 2)
    assert bimodality(two, rng=rng)["p_value"] < 1e-3
    assert bimodality(one, rng=rng)["p_value"] > 0.2
    assert bimodality(two, rng=rng)["power"] > 0.95


def test_heaps_at_a_cluster_are_found_among_others():
    """Half of the samples have a peak at the second of three clusters; the others are noise."""
    rng = np.random.default_rng(3)
    samples = 0.005 * rng.standard_normal((120, 40, 40))
    placed = Table({"x": [10.0, 20.0, 30.0], "y": [10.0, 21.0, 30.0], "z": [0.2, 0.5, 0.9]})
    samples[::2, 20:23, 19:22] += 0.1
    settings = dataclasses.replace(load_params().clusters, threshold=0.06, radius_arcmin=2.0, aperture_arcmin=3.0)
    table = heaps_at(samples, placed, settings, 1.0)
    assert table["mass"].shape == table["height"].shape == (3, 120)
    np.testing.assert_allclose(table["present"], [0, 0.5, 0], atol=0.02)
    assert max(table["p_mass"][1], table["p_height"][1]) < 1e-3
    assert min(*table["p_mass"][::2], *table["p_height"][::2]) > 0.01


def test_few_samples_have_little_power():
    found = bimodality(np.arange(8.0), rng=np.random.default_rng(2))
    assert found["n"] == 8
    assert found["power"] < 0.5
