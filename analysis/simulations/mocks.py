"""Mock observations: the shear of a simulated map under the mask and the noise of a real field."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from analysis.core.files import BorderError
from analysis.flatsky.lensing import reduced_shear, shear_from_convergence
from analysis.flatsky.maps import central_crops
from analysis.params import stage_rng
from analysis.sky import Observation, load_observation, load_truth


@dataclass(frozen=True, eq=False)
class Mock:
    """A mock of a field: name, true convergence (ny, nx), observation, and number of the N-body box of the truth."""

    name: str
    truth: np.ndarray
    observation: Observation
    box: int


def mock_observation(
    kappa: np.ndarray,
    observation: Observation,
    *,
    rng: np.random.Generator,
    wide: bool = True,
    reduced: bool = True,
) -> tuple[np.ndarray, Observation]:
    """Truth (ny, nx) and mock observation from a map that is wider than the grid.

    The mock shear has Gaussian noise of variance 1 / weight, and is zero where nothing was observed. It is computed on
    the whole map and then cropped: as on the sky, matter outside the grid contributes, which the sampler's periodic
    operator does not model.

    Parameters
    ----------
    kappa : (side, side), dimensionless, at the grid's pixel scale
    observation : its weights give the mask and the noise of every pixel
    wide : False computes the shear of the cropped truth with the sampler's own periodic operator
    reduced : True gives the shear that galaxies show, gamma / (1 - kappa), False the shear gamma itself
    """
    pixels = observation.grid.pixels
    truth = central_crops(kappa, pixels)
    source = kappa if wide else truth
    shear = np.asarray(shear_from_convergence(source[None]))[0]
    shear = central_crops(reduced_shear(shear, source) if reduced else shear, pixels)
    observed = observation.weight > 0
    sigma = np.where(observed, observation.weight, np.inf) ** -0.5
    gamma = np.where(observed, shear + sigma * rng.standard_normal(shear.shape), 0.0)
    return truth, replace(observation, gamma=gamma, title=f"mock of {observation.title}", reduced=reduced)


def own_mock(mock: Mock, *, seed: int) -> Mock:
    """A mock of the same truth and noise level, with new noise and the shear of the sampler's own operator."""
    rng = stage_rng(seed, "validate", "own", mock.name)
    observed = mock_observation(mock.truth, mock.observation, rng=rng, wide=False, reduced=False)[1]
    return replace(mock, name=f"own_{mock.name}", observation=observed)


def spread_indices(maps: int, chosen: int) -> list[int]:
    """Indices of `chosen` out of `maps` maps, evenly spread, so that every box is used."""
    return [i * maps // chosen for i in range(chosen)]


def load_mocks(folder: str | Path, split: str) -> list[Mock]:
    """The mocks of one split (`validation` or `test`), in order.

    Raises
    ------
    BorderError
        If there are none, or a file is damaged.
    """
    paths = sorted(Path(folder).glob(f"{split}_*.fits"))
    if not paths:
        raise BorderError(f"{folder} has no {split} mocks; run `dvc repro mocks`")
    return [
        Mock(path.stem, load_truth(path), load_observation(path), int(fits.getheader(path)["BOX"])) for path in paths
    ]
