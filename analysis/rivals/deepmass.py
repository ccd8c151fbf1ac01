"""DeepMass: a network that maps filtered data to the mean of the posterior, trained on mocks of one mask and noise.

It starts at the Wiener map and adds to it: in the box around the observed pixels the network sees the Wiener map, the
Kaiser-Squires E-mode and the relative depth, and the mean square error over true maps is least where its output is the
posterior mean. It gives one map, without an error, and knows one field alone: another mask is another training.

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
from analysis.simulations.mocks import Mock, mock_observation
from analysis.sky import Observation

log = logging.getLogger(__name__)

BORDER = 8  # pixels of the box beyond the observed ones
TOLERANCE = 1e-4  # of Wiener maps, which noise exceeds by far


@dataclass(frozen=True, eq=False)
class DeepMass:
    """A network for the maps of one field.

    Attributes
    ----------
    network : (inputs (n, side, side, 3), a constant (n, 1)) -> what to add to the Wiener map, in units of `scale`
    weight : (2, ny, nx), inverse variance of the field that it was made for
    power : (ny, nx), pixel variance per mode, of the Wiener filter
    box : rows and columns that the network sees
    scale : rms of the maps that `power` expects
    """

    network: keras.Model
    weight: np.ndarray
    power: np.ndarray
    box: tuple[slice, slice]
    scale: float


def untrained(observation: Observation, power: np.ndarray, params: DeepMassParams, *, seed: int) -> DeepMass:
    """A new network for a field: its maps are Wiener maps."""
    keras.utils.set_random_seed(seed)
    return DeepMass(
        network=build_network(params.network),
        weight=observation.weight.astype("float32"),
        power=power.astype("float32"),
        box=observed_box(observation.mask, 2**params.network.scales),
        scale=float(np.sqrt(np.mean(power))),
    )


def observed_box(mask: np.ndarray, multiple: int) -> tuple[slice, slice]:
    """Rows and columns around the observed pixels, as many as the network can halve.

    Parameters
    ----------
    mask : (ny, nx), True where observed; its sides are multiples of `multiple`
    multiple : of which the sides of the box are
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
    """Maps of shears of the field that the network was made for.

    Parameters
    ----------
    gamma : (n, 2, ny, nx), dimensionless; 0 where unobserved

    Returns
    -------
    (n, ny, nx), dimensionless
    """
    maps, inputs = _inputs(deepmass, gamma)
    added = deepmass.network.predict([inputs, np.zeros((len(inputs), 1))], batch_size=batch, verbose=0)[..., 0]
    maps = maps.astype(float)
    maps[:, *deepmass.box] += deepmass.scale * added
    return maps


def mean_square_error(deepmass: DeepMass, gamma: np.ndarray, truths: np.ndarray) -> float:
    """Error of maps over observed pixels, less the mean of each, which shear does not know.

    Parameters
    ----------
    gamma : (n, 2, ny, nx)
    truths : (n, ny, nx)
    """
    mask = (deepmass.weight > 0).all(axis=0)
    return float(np.mean(np.var((deepmass_maps(deepmass, gamma) - truths)[..., mask], axis=-1)))


def mock_shears(
    maps: np.ndarray, observation: Observation, n: int, *, rng: np.random.Generator, reduced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Shears and truths of maps drawn at random, each under a symmetry of the square and noise of its own.

    The crops are half-way between maps and grid: what places they have, and how far the sky goes on, both vary.

    Parameters
    ----------
    maps : (m, side, side), at least as wide as the grid
    observation : whose weights give mask and noise
    reduced : whether galaxies show gamma / (1 - kappa)

    Returns
    -------
    gamma : (n, 2, ny, nx)
    truths : (n, ny, nx)
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
    """A network trained on mocks that are made as it goes on, as it was after its best round.

    Parameters
    ----------
    maps : (m, side, side), clean training maps
    observation : of the field
    power : (ny, nx), pixel variance per mode
    validation : mocks of the field that decide which round is best
    reduced : whether shears are

    Returns
    -------
    deepmass : with the weights of the round of the smallest error
    errors : rms error on the validation mocks, of the Wiener map and after every round
    """
    deepmass = untrained(observation, power, params, seed=seed)
    gamma, truths = np.stack([m.observation.gamma for m in validation]), np.stack([m.truth for m in validation])
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, params.steps, warmup_target=params.learning_rate, warmup_steps=max(params.steps // 20, 1)
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0)
    deepmass.network.compile(optimizer, loss="mse", jit_compile=fit_through_xla())
    errors, best = [mean_square_error(deepmass, gamma, truths)], deepmass.network.get_weights()
    for round_number in followed(range(params.rounds), "training of DeepMass"):
        rng = np.random.default_rng([seed, round_number])
        fresh = mock_shears(maps, observation, params.steps // params.rounds * params.batch, rng=rng, reduced=reduced)
        _fit(deepmass, *fresh, params.batch)
        errors.append(mean_square_error(deepmass, gamma, truths))
        log.info("round %d: rms error over the Wiener filter's %.4f", round_number + 1, (errors[-1] / errors[0]) ** 0.5)
        if errors[-1] == min(errors):
            best = deepmass.network.get_weights()
    deepmass.network.set_weights(best)
    return deepmass, [error**0.5 for error in errors]


def _fit(deepmass: DeepMass, gamma: np.ndarray, truths: np.ndarray, batch: int) -> None:
    """One pass over mocks."""
    wiener, inputs = _inputs(deepmass, gamma)
    target = (truths - wiener)[:, *deepmass.box, None] / deepmass.scale
    constant = np.zeros((len(inputs), 1))
    deepmass.network.fit([inputs, constant], target, batch_size=batch, shuffle=False, verbose=0)


def _inputs(deepmass: DeepMass, gamma: np.ndarray, chunk: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Wiener maps (n, ny, nx), and what the network sees of the box, (n, side, side, 3), of order one."""
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
