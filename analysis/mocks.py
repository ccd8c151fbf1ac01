"""Mock observations: the shear of a simulated map under the mask and the noise of a real field."""

import numpy as np

from analysis.lensing import shear_from_convergence
from analysis.simulations import central_crops
from analysis.sky import Observation


def mock_observation(
    kappa: np.ndarray, observation: Observation, *, rng: np.random.Generator
) -> tuple[np.ndarray, Observation]:
    """Truth and mock observation of a map that is wider than the grid.

    Shear is made on the whole map and cropped with it, so that the mock, like the sky, does not end where the grid
    does: the sampler's periodic operator meets data that it did not make itself.

    Parameters
    ----------
    kappa : (side, side), dimensionless, at the grid's pixel scale
    observation : its weights give the mask and the noise of every pixel

    Returns
    -------
    truth : (ny, nx)
    mock : shear with Gaussian noise of variance 1 / weight, zero where nothing was observed
    """
    pixels = observation.grid.pixels
    truth = central_crops(kappa, pixels)
    shear = central_crops(np.asarray(shear_from_convergence(kappa[None]))[0], pixels)
    observed = observation.weight > 0
    sigma = np.where(observed, observation.weight, np.inf) ** -0.5
    gamma = np.where(observed, shear + sigma * rng.standard_normal(shear.shape), 0.0)
    mock = Observation(gamma, observation.weight, observation.count, observation.grid, f"mock of {observation.title}")
    return truth, mock
