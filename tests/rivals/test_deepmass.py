"""DeepMass: it starts at the Wiener map, learns what is not Gaussian, and ends the same from the same seed."""

import dataclasses

import numpy as np
import pytest

from analysis.flatsky.lensing import shear_from_convergence
from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.params import load_params
from analysis.rivals.baselines import mean_square_error, wiener_filter
from analysis.rivals.deepmass import (
    averaged_maps,
    deepmass_maps,
    mock_shears,
    observed_box,
    train_deepmass,
    untrained,
)
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, Observation

SIDE = 32
SIGMA = 0.03
POWER = 1.2e-3 * (np.maximum(ell_grid((SIDE, SIDE), 0.82), 1500) / 1500) ** -1.0
QUICK = load_params().rivals.deepmass
PARAMS = dataclasses.replace(
    QUICK,
    steps=60,
    rounds=3,
    batch=8,
    learning_rate=0.01,
    network=dataclasses.replace(QUICK.network, widths=[8, 8]),
)


@pytest.fixture(scope="module")
def observation():
    """White noise over most of a grid."""
    weight = np.zeros((2, SIDE, SIDE))
    weight[:, 5:26, 6:29] = SIGMA**-2
    return Observation(np.zeros_like(weight), weight, weight[0] > 0, Grid(SIDE, 0.82, 150.0, 2.0), "field")


def skewed(n, seed):
    """Maps of voids and peaks: a lognormal field of about the power."""
    field = gaussian_field(POWER, n, rng=np.random.default_rng(seed))
    field /= field.std()
    kappa = np.exp(1.2 * field)
    return (0.03 * (kappa - kappa.mean()) / kappa.std()).astype("float32")


@pytest.fixture(scope="module")
def mocks(observation):
    gamma, truths = mock_shears(skewed(8, 2), observation, 8, rng=np.random.default_rng(3), reduced=False)
    return [
        Mock(f"validation_{i}", truth, dataclasses.replace(observation, gamma=shear), 0)
        for i, (shear, truth) in enumerate(zip(gamma, truths, strict=True))
    ]


def test_mocks_have_the_shear_and_the_noise_of_the_field(observation):
    maps = skewed(3, 1)
    gamma, truths = mock_shears(maps, observation, 40, rng=np.random.default_rng(1), reduced=False)
    assert not gamma[:, observation.weight == 0].any()
    noise = (gamma - np.asarray(shear_from_convergence(truths.astype(float))))[:, observation.weight > 0]
    assert noise.std() == pytest.approx(SIGMA, rel=0.01)
    pixels = {tuple(np.sort(kappa.ravel())) for kappa in maps}
    assert {tuple(np.sort(truth.ravel())) for truth in truths} == pixels  # whole maps, turned
    assert len({truth.tobytes() for truth in truths}) > 12
    again = mock_shears(maps, observation, 40, rng=np.random.default_rng(1), reduced=False)
    np.testing.assert_array_equal(again[0], gamma)


def test_the_box_holds_every_observed_pixel_and_can_be_halved():
    mask = np.zeros((160, 160), bool)
    mask[30:128, 30:131] = True
    for multiple in (4, 8, 16):
        box = observed_box(mask, multiple)
        assert mask[box].sum() == mask.sum()
        assert all((part.stop - part.start) % multiple == 0 for part in box)
        assert all(part.stop - part.start < 160 for part in box)
    assert observed_box(np.ones((32, 48), bool), 8) == (slice(0, 32), slice(0, 48))


def test_maps_of_networks_of_several_seeds_are_averaged(observation, mocks):
    networks = [
        train_deepmass(skewed(8, 4), observation, POWER, mocks, PARAMS, reduced=False, seed=s)[0] for s in (1, 2)
    ]
    gamma = mocks[0].observation.gamma[None]
    each = [deepmass_maps(network, gamma) for network in networks]
    assert np.abs(each[0] - each[1]).max() > 1e-4
    np.testing.assert_allclose(averaged_maps(networks, gamma), 0.5 * (each[0] + each[1]))


def test_before_training_the_map_is_the_wiener_map(observation, mocks):
    maps = deepmass_maps(untrained(observation, POWER, PARAMS, seed=1), mocks[0].observation.gamma[None])
    exact = wiener_filter(mocks[0].observation.gamma, observation.weight, POWER)
    np.testing.assert_allclose(maps[0], exact, atol=1e-3 * exact.std())


def trained(observation, mocks):
    return train_deepmass(skewed(64, 4), observation, POWER, mocks, PARAMS, reduced=False, seed=1)


@pytest.fixture(scope="module")
def learnt(observation, mocks):
    return trained(observation, mocks)


def test_it_learns_what_the_wiener_filter_does_not_know(observation, learnt):
    deepmass, errors = learnt
    assert len(errors) == 4
    assert min(errors) < 0.95 * errors[0]
    gamma, truths = mock_shears(skewed(32, 5), observation, 64, rng=np.random.default_rng(6), reduced=False)
    wiener = deepmass_maps(untrained(observation, POWER, PARAMS, seed=1), gamma)
    found = deepmass_maps(deepmass, gamma)
    error, error_wiener = (np.mean((maps - truths)[..., observation.mask] ** 2) for maps in (found, wiener))
    assert error < 0.95**2 * error_wiener


def test_the_network_is_that_of_the_best_round(observation, mocks, learnt):
    deepmass, errors = learnt
    gamma, truths = np.stack([m.observation.gamma for m in mocks]), np.stack([m.truth for m in mocks])
    error = mean_square_error(deepmass_maps(deepmass, gamma), truths, observation.mask)
    assert error == pytest.approx(min(errors) ** 2, rel=1e-6)


@pytest.mark.long
def test_the_same_seed_ends_in_the_same_network(observation, mocks, learnt):
    again = trained(observation, mocks)
    assert again[1] == learnt[1]
    for first, second in zip(*(deepmass.network.get_weights() for deepmass, _ in (again, learnt)), strict=True):
        np.testing.assert_array_equal(first, second)
