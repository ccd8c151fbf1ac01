"""DeepMass: a network from filtered data to the posterior mean, trained on mocks of one mask and noise.

The network sees the Wiener map, the Kaiser-Squires E-mode and the relative depth in the box around the observed pixels,
and its output is added to the Wiener map. The mean square error over true maps is smallest for the posterior mean. The
result is one map without an error, and every field needs its own training.

Source: Jeffrey et al. 2020 (MNRAS 492 5023).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from analysis.core.progress import followed
from analysis.flatsky.backend import compiled, fit_through_xla
from analysis.flatsky.lensing import convergence_from_shear
from analysis.flatsky.maps import crops
from analysis.params import DeepMassParams
from analysis.posterior.wiener import gaussian_posterior_solve
from analysis.prior.network import build_network
from analysis.rivals.baselines import mean_square_error
from analysis.simulations.mocks import Mock, mock_observation
from analysis.sky import Observation

log = logging.getLogger(__name__)

BORDER = 8  # pixels of the box around the observed ones
TOLERANCE = 1e-4  # of Wiener maps; noise is far larger


@dataclass(frozen=True, eq=False)
class DeepMass:
    """A network for the maps of one field.

    Attributes
    ----------
    network : (inputs (n, side, side, 3), a constant (n, 1)) -> correction of the Wiener map, in units of `scale`
    weight : (2, ny, nx), inverse variance of the field
    power : (ny, nx), pixel variance per mode, of the Wiener filter
    box : rows and columns that the network sees
    scale : rms of maps with this power
    """

    network: keras.Model
    weight: np.ndarray
    power: np.ndarray
    box: tuple[slice, slice]
    scale: float


def untrained(observation: Observation, power: np.ndarray, params: DeepMassParams, *, seed: int) -> DeepMass:
    """A new network for a field; until it is trained, its maps are Wiener maps."""
    keras.utils.set_random_seed(seed)
    return DeepMass(
        network=build_network(params.network),
        weight=observation.weight.astype("float32"),
        power=power.astype("float32"),
        box=observed_box(observation.mask, 2**params.network.scales),
        scale=float(np.sqrt(np.mean(power))),
    )


def observed_box(mask: np.ndarray, multiple: int) -> tuple[slice, slice]:
    """Rows and columns of a box around the observed pixels, with sides that are multiples of `multiple`.

    Parameters
    ----------
    mask : (ny, nx), True where observed; its sides are multiples of `multiple` too
    """
    box = []
    for axis in (1, 0):
        seen = np.flatnonzero(mask.any(axis=axis))
        side = mask.shape[1 - axis]
        length = min(-(-(seen[-1] + 1 - seen[0] + 2 * BORDER) // multiple) * multiple, side)
        start = int(np.clip((seen[0] + seen[-1] + 1 - length) // 2, 0, side - length))
        box.append(slice(start, start + int(length)))
    return tuple(box)


def deepmass_maps(deepmass: DeepMass, gamma: np.ndarray, *, batch: int = 8) -> np.ndarray:
    """Maps (n, ny, nx) from shears of the network's field, (n, 2, ny, nx), 0 where unobserved; dimensionless."""
    maps, inputs = _inputs(deepmass, gamma)
    added = deepmass.network.predict([inputs, np.zeros((len(inputs), 1))], batch_size=batch, verbose=0)[..., 0]
    maps = maps.astype(float)
    maps[:, *deepmass.box] += deepmass.scale * added
    return maps


def averaged_maps(networks: Sequence[DeepMass], gamma: np.ndarray) -> np.ndarray:
    """Mean of the maps of networks that differ in their seed, (n, ny, nx).

    With e_1 the mean square error of one network's map and e_2 that of the mean of two, e_1 - e_2 is half of what one
    network is above the mean of many: it says how far both are from the least error of their kind.

    Parameters
    ----------
    gamma : (n, 2, ny, nx)
    """
    return np.mean([deepmass_maps(network, gamma) for network in networks], axis=0)


def mock_shears(
    maps: np.ndarray, observation: Observation, n: int, *, rng: np.random.Generator, reduced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Shears (n, 2, ny, nx) and truths (n, ny, nx) of random maps, each with its own noise and symmetry of the square.

    Crops have a width half-way between maps and grid, so that their position and the sky around the grid vary.

    Parameters
    ----------
    maps : (m, side, side), at least as wide as the grid
    observation : its weights give mask and noise
    reduced : whether galaxies show gamma / (1 - kappa)
    """
    chosen = maps[rng.integers(len(maps), size=n)]
    wide = crops(chosen, (maps.shape[-1] + observation.grid.pixels) // 2, rng=rng)
    pairs = [mock_observation(kappa, observation, rng=rng, reduced=reduced) for kappa in wide]
    return np.stack([mock.gamma for _, mock in pairs]), np.stack([truth for truth, _ in pairs])


def train_deepmass(
    maps: np.ndarray,
    observation: Observation,
    power: np.ndarray,
    validation: Sequence[Mock],
    params: DeepMassParams,
    *,
    reduced: bool,
    seed: int,
) -> tuple[DeepMass, list[float]]:
    """A network with the weights of its best round, and its rms errors on the validation mocks.

    Every round trains on new mocks. The first error is that of the Wiener map, the others are those after each round.

    Parameters
    ----------
    maps : (m, side, side), clean training maps
    observation : of the field
    power : (ny, nx), pixel variance per mode
    validation : mocks of the field, on which the best round has the smallest error
    reduced : whether galaxies show gamma / (1 - kappa)
    """
    deepmass, mask = untrained(observation, power, params, seed=seed), observation.mask
    gamma, truths = np.stack([m.observation.gamma for m in validation]), np.stack([m.truth for m in validation])
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, params.steps, warmup_target=params.learning_rate, warmup_steps=max(params.steps // 20, 1)
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0)
    deepmass.network.compile(optimizer, loss="mse", jit_compile=fit_through_xla())
    errors, best = [mean_square_error(deepmass_maps(deepmass, gamma), truths, mask)], deepmass.network.get_weights()
    for round_number in followed(range(params.rounds), "training of DeepMass"):
        rng = np.random.default_rng([seed, round_number])
        fresh = mock_shears(maps, observation, params.steps // params.rounds * params.batch, rng=rng, reduced=reduced)
        _fit(deepmass, *fresh, params.batch)
        errors.append(mean_square_error(deepmass_maps(deepmass, gamma), truths, mask))
        log.info("round %d: rms error / that of Wiener = %.4f", round_number + 1, (errors[-1] / errors[0]) ** 0.5)
        if errors[-1] == min(errors):
            best = deepmass.network.get_weights()
    deepmass.network.set_weights(best)
    return deepmass, [error**0.5 for error in errors]


def _fit(deepmass: DeepMass, gamma: np.ndarray, truths: np.ndarray, batch: int) -> None:
    """Train for one pass over mocks."""
    wiener, inputs = _inputs(deepmass, gamma)
    target = (truths - wiener)[:, *deepmass.box, None] / deepmass.scale
    constant = np.zeros((len(inputs), 1))
    deepmass.network.fit([inputs, constant], target, batch_size=batch, shuffle=False, verbose=0)


def _inputs(deepmass: DeepMass, gamma: np.ndarray, chunk: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Wiener maps (n, ny, nx), and the inputs of the network in the box, (n, side, side, 3), of order 1."""
    gamma = gamma.astype("float32")
    filtered = [_filtered(gamma[i : i + chunk], deepmass.weight, deepmass.power) for i in range(0, len(gamma), chunk)]
    wiener, e_mode = (np.concatenate([np.asarray(maps) for maps in both]) for both in zip(*filtered, strict=True))
    deepest = np.sqrt(deepmass.weight.max())
    depth = np.broadcast_to(np.sqrt(deepmass.weight.mean(axis=0)) / deepest, wiener.shape)
    channels = [wiener / deepmass.scale, e_mode * deepest, depth]
    return wiener, np.stack([channel[:, *deepmass.box] for channel in channels], axis=-1)


@compiled
def _filtered(gamma, weight, power):
    """Wiener maps and E-modes of shears."""
    pull = convergence_from_shear(weight * gamma)
    return gaussian_posterior_solve(pull, weight, power, tolerance=TOLERANCE), convergence_from_shear(gamma)
