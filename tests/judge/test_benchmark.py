"""The benchmark: its mocks, its comparisons, and one run in a process of its own."""

import dataclasses

import numpy as np
import pytest

from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.maps import MapSet
from analysis.flatsky.power import ell_grid
from analysis.judge.benchmark import (
    Cost,
    agreement,
    benchmark_mock,
    comparison,
    growth,
    load_cost,
    on_grid,
    run_alone,
    run_preset,
    save_cost,
    scaling,
)
from analysis.params import load_params
from analysis.prior.files import save_prior
from analysis.prior.network import build_network
from analysis.prior.score import Prior

POWER = 4e-3 * (np.maximum(ell_grid((32, 32), 0.82), 500) / 500) ** -1.5
SETTINGS = dataclasses.replace(load_params().train.network, widths=[4, 8], blocks=1)


def test_fields_larger_than_maps_and_weights_are_mosaics():
    maps = MapSet(np.random.default_rng(1).standard_normal((4, 48, 48)).astype("float32"), np.arange(4))
    weight = np.full((2, 40, 40), 400.0)
    mock = benchmark_mock(maps, weight, 96, 8, rng=np.random.default_rng(2))
    assert mock.truth.shape == (96, 96)
    assert (mock.weight[:, 8:-8, 8:-8] == 400).all()
    residual = mock.gamma - np.asarray(shear_from_convergence(mock.truth[None]))[0]
    assert abs(np.std(residual[:, 8:-8, 8:-8]) * 20 - 1) < 0.05


def test_samplers_that_agree_differ_by_their_errors_alone():
    rng = np.random.default_rng(3)
    same, other = rng.standard_normal((2, 400, 5))
    assert np.abs(agreement(same, other)).max() < 3.3
    assert np.abs(agreement(same, other + 0.5)).min() > 3.3


def test_exponent_of_a_power_law():
    assert scaling([80, 160, 320], [3.0, 12.0, 48.0]) == pytest.approx(2)


@pytest.mark.long
def test_a_run_in_a_process_of_its_own(tmp_path):
    prior = Prior(POWER.astype("float32"), 0.82, build_network(SETTINGS), noise_range=(0.002, 1.0), margin=8)
    save_prior(prior, SETTINGS, tmp_path)
    assert on_grid(prior, 48).power.shape == (48, 48)
    maps = MapSet(0.02 * np.random.default_rng(4).standard_normal((2, 48, 48)).astype("float32"), np.arange(2))
    mock = benchmark_mock(maps, np.full((2, 64, 64), 400.0), 48, 8, rng=np.random.default_rng(5))
    sample = load_params().sample
    short = dataclasses.replace(
        sample, preset="gibbs", gibbs=dataclasses.replace(sample.gibbs, cycles=2, last_cycles=0, spacing=0.2)
    )
    cost = run_alone(tmp_path, mock, short, 3, seed=1)
    # from .25 and from .03 to .0025 in steps of .2 of the cube root; each time one more for the local noise
    assert cost.evaluations == (3 + 1) + (2 + 1)
    assert cost.bands.shape[0] == 3
    assert np.isfinite(cost.bands).all()
    assert cost.memory_gb > 0.1


def test_costs_are_those_of_one_sample():
    bands = np.random.default_rng(6).standard_normal((4, 5))
    one = Cost(100, 8.0, 0.5, 1.0, bands)
    other = dataclasses.replace(one, evaluations=300, bands=bands + 10)
    found = comparison({"one": one, "other": other})
    assert found["one"]["seconds"] == 2
    assert found["one"]["largest_difference"] == 0
    assert found["other"]["largest_difference"] > 5
    grown = growth([80, 160], [one, dataclasses.replace(one, seconds=32.0)])
    assert grown["seconds"] == [2, 8]
    assert grown["exponent"] == pytest.approx(2)


def test_what_was_measured_is_not_measured_again(tmp_path):
    kept = Cost(100, 8.0, 0.5, 0.75, np.random.default_rng(6).standard_normal((4, 5)))
    save_cost(tmp_path / "hmc_64_4.npz", kept)
    found = load_cost(tmp_path / "hmc_64_4.npz")
    one, other = dataclasses.asdict(found), dataclasses.asdict(kept)
    assert (one.pop("bands") == other.pop("bands")).all()
    assert one == other
    assert isinstance(found.evaluations, int)
    nothing = tmp_path / "nothing"  # no network, no maps
    assert run_preset(nothing, None, None, None, tmp_path, 64, "hmc", 4).seconds == 8.0
