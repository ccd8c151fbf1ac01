"""Mock observations: the truth's shear, the field's mask and noise."""

import numpy as np
import pytest

from analysis.simulations.mocks import mock_observation
from analysis.sky import Grid, Observation


@pytest.fixture
def observation():
    rng = np.random.default_rng(1)
    weight = 400 * rng.uniform(0.5, 2, (2, 32, 32))
    weight[:, :, :8] = 0
    count = (weight[0] > 0).astype(np.int32)
    return Observation(np.zeros((2, 32, 32)), weight, count, Grid(32, 1.0, 150.0, 2.0, "TAN"), "field")


def test_noise_has_the_variance_of_the_field_and_the_mask_its_zeros(observation):
    kappa = np.zeros((48, 48))
    mocks = [mock_observation(kappa, observation, rng=np.random.default_rng(i))[1] for i in range(60)]
    gamma = np.stack([mock.gamma for mock in mocks])
    seen = observation.weight > 0
    assert np.all(gamma[:, ~seen] == 0)
    chi2 = np.mean(gamma[:, seen] ** 2 * observation.weight[seen])
    assert abs(chi2 - 1) < 4 * np.sqrt(2 / gamma[:, seen].size)


def test_shear_is_that_of_the_wider_map(observation):
    x = np.mgrid[:48, :48][1]
    kappa = np.cos(2 * np.pi * 5 * x / 48)
    loud = Observation(observation.gamma, 1e12 * observation.weight, observation.count, observation.grid, "")
    truth, mock = mock_observation(kappa, loud, rng=np.random.default_rng(2), reduced=False)
    np.testing.assert_array_equal(truth, kappa[8:40, 8:40])
    seen = loud.weight[0] > 0
    np.testing.assert_allclose(mock.gamma[0][seen], truth[seen], atol=1e-5)
    own = mock_observation(kappa, loud, rng=np.random.default_rng(2), wide=False, reduced=False)[1]
    assert np.abs(own.gamma[0][seen] - truth[seen]).max() > 0.05, "the grid does not hold whole waves"


def test_reduced_shear_is_what_galaxies_show(observation):
    kappa = 0.2 * np.cos(2 * np.pi * 3 * np.mgrid[:48, :48][0] / 48)
    loud = Observation(observation.gamma, 1e12 * observation.weight, observation.count, observation.grid, "")
    truth, mock = mock_observation(kappa, loud, rng=np.random.default_rng(3))
    seen = loud.weight[0] > 0
    np.testing.assert_allclose(mock.gamma[0][seen], (-truth / (1 - truth))[seen], atol=1e-5)
