"""Observation and prior of a run, made to fit each other, and the checks before sampling."""

import dataclasses
import logging

import numpy as np
import yaml

from analysis.core.files import BorderError, read_json
from analysis.core.paths import DATA, ROOT
from analysis.core.tables import load_table
from analysis.flatsky.power import larger_power, resampled_power
from analysis.params import NetworkParams, Params, SampleParams
from analysis.posterior.likelihood import lowest_split
from analysis.prior.files import load_prior
from analysis.prior.score import Prior, check_grid
from analysis.sky import Observation, load_observation, rotate_shear, training_command

log = logging.getLogger(__name__)

LARGEST_NOISE = 0.5  # convergence a pixel; above it the data say nothing of a map
THEORY_TOLERANCE = 0.02  # of C_ell: codes of theory differ by less, cosmologies that matter by more


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """A run of `sample.fields`: observation, and prior and data on a grid that is padded if the field needs it.

    `gamma`, `weight` : (2, side, side), on the grid of the prior, for maps in units of `amplitude`; `added` : pixels
    added to each side of the field's grid

    With the prior of amplitude a, kappa = a kappa', and kappa' has the prior of the network. Shear and its noise are
    divided by a, and samples multiplied by it, so that one network serves every amplitude.
    """

    observation: Observation
    prior: Prior
    gamma: np.ndarray
    weight: np.ndarray
    added: int
    amplitude: float


def field_setting(params: Params, name: str) -> Setting:
    """The observation of a run, with its shears rotated if the run says so, and a prior on the same grid.

    Raises
    ------
    BorderError
        If they do not belong to each other (`check_run`, `check_theory`).
    """
    run = params.sample.fields[name]
    observation = rotate_shear(load_observation(ROOT / run.observation), run.rotate_deg)
    folder = ROOT / params.sample.network
    prior = load_prior(folder, precision=params.compute.precision, tile_pixels=params.sample.tile_pixels)
    multiple = 2 ** NetworkParams(**read_json(folder / "network.json")["network"]).scales
    prior = prior if run.prior == "network" else dataclasses.replace(prior, network=None)
    theory = load_table(DATA / "theory" / "c_ell.ecsv")
    check_theory(prior, theory["ell"], theory["c_ell"], name=name)
    prior = on_field(prior, observation, theory["ell"], theory["c_ell"], multiple=multiple)
    check_run(prior, observation, params.sample.of_run(name), name=name, amplitude=run.amplitude)
    prior, gamma, weight, added = with_room(prior, observation, multiple=multiple)
    return Setting(observation, prior, gamma / run.amplitude, weight * run.amplitude**2, added, run.amplitude)


def check_run(
    prior: Prior, observation: Observation, params: SampleParams, *, name: str, amplitude: float = 1.0
) -> None:
    """Make sure that an observation can be sampled with a prior and these noise levels.

    Parameters
    ----------
    name : str
        Of the run, in `sample.fields`: for the command that trains a network which fits.

    amplitude : of the prior's maps

    Raises
    ------
    BorderError
        If the grids differ, nothing is observed, the observation says nothing of a map, or a noise level is outside the
        range that the network was trained on.
    """
    grid = observation.grid
    command = f"train one for this grid with `{_command(grid.pixels, grid.pixel_arcmin, name)}`"
    check_grid(prior, grid.shape, grid.pixel_arcmin, remedy=command)
    if not observation.weight.any():
        raise BorderError(
            f"{observation.title} has no observed pixel; check that its galaxies lie on the grid and have weights"
        )
    noise = observation.weight.max() ** -0.5
    if noise > LARGEST_NOISE:
        raise BorderError(
            f"the least noise of {observation.title} is {noise:.3g} a pixel, above {LARGEST_NOISE:g}: it"
            f" says nothing of the map; check the unit of its weights or use larger pixels"
        )
    low, high = prior.noise_range
    if prior.network is not None and not (low <= params.sigma_final and params.sigma_start <= high):
        wider = (
            f"train.sigma_min={min(low, params.sigma_final):g}",
            f"train.sigma_max={max(high, params.sigma_start):g}",
        )
        raise BorderError(
            f"sample.sigma_final and sigma_start are {params.sigma_final:g} and {params.sigma_start:g}, but the network"
            f" was trained from {low:g} to {high:g}; stay within, or train one on a wider range with"
            f" `{_command(grid.pixels, grid.pixel_arcmin, name, *wider)}`"
        )
    settings = {"gibbs": params.gibbs, "hmc": params.hmc}.get(params.preset)
    if prior.network is None or settings is None:
        return
    needed = min(settings.sigma_end, lowest_split(amplitude**2 * observation.weight, settings.renoise) / 2)
    if needed < low:
        command = _command(grid.pixels, grid.pixel_arcmin, name, f"train.sigma_min={needed:.2g}")
        raise BorderError(
            f"the noise of {observation.title} is {noise:.3g} a pixel, which asks for noise levels down to"
            f" {needed:.2g} at amplitude {amplitude:g}, but the network was trained from {low:g}; use smaller pixels or"
            f" a smaller amplitude, or train one with `{command}`"
        )


def check_theory(prior: Prior, ell: np.ndarray, c_ell: np.ndarray, *, name: str) -> None:
    """Make sure that the network was trained in the universe that the parameters describe, with its sources.

    Parameters
    ----------
    ell, c_ell : (n_ell,), theory of the parameters
    name : str
        Of the run, in `sample.fields`.

    Raises
    ------
    BorderError
        If C_ell differs from that of the training by more than `THEORY_TOLERANCE` anywhere.
    """
    if prior.theory is None:
        return
    trained_ell, trained = np.asarray(prior.theory, float)
    off = np.abs(np.exp(np.interp(np.log(trained_ell), np.log(ell), np.log(c_ell))) / trained - 1)
    if off.max() > THEORY_TOLERANCE:
        worst = int(np.argmax(off))
        raise BorderError(
            f"C_ell of the parameters is {100 * off[worst]:.0f} % off that of the network's training at ell"
            f" {trained_ell[worst]:.0f} (other cosmology or source redshifts); restore the section theory, or train a"
            f" network that fits with `{_command(len(prior.power), prior.pixel_arcmin, name)}`"
        )


def on_field(prior: Prior, observation: Observation, ell: np.ndarray, c_ell: np.ndarray, *, multiple: int) -> Prior:
    """The prior on the grid of an observation, extended if that grid is larger than the grid of the training.

    The network uses only pixels within its reach, so it also works on a larger grid. Theory gives the longer waves.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr, theory
    multiple : of pixels that the network can halve

    Raises
    ------
    BorderError
        If the side of the larger grid is not a multiple of `multiple`.
    """
    side, trained = observation.grid.pixels, len(prior.power)
    if side <= trained or abs(prior.pixel_arcmin / observation.grid.pixel_arcmin - 1) > 1e-6:
        return prior
    if side % multiple:
        raise BorderError(
            f"{observation.title} has {side} pixels a side, which the network cannot halve: give a multiple of"
            f" {multiple}, such as {side + -side % multiple}"
        )
    log.info("the prior of %d pixels is extended to %d pixels; theory gives the longer waves", trained, side)
    power = larger_power(prior.power, side, ell, c_ell, prior.pixel_arcmin)
    return dataclasses.replace(prior, power=power.astype(prior.power.dtype))


def with_room(prior: Prior, observation: Observation, *, multiple: int) -> tuple[Prior, np.ndarray, np.ndarray, int]:
    """Prior and data, on a padded grid if observed pixels come close to the border of the periodic grid.

    Parameters
    ----------
    multiple : of pixels that the network can halve

    Returns
    -------
    prior : on the larger grid
    gamma, weight : (2, ny, nx), zero in what was added
    added : pixels at every side, 0 where nothing is observed within `prior.margin` of the border
    """
    side = observation.weight.shape[-1]
    inner = np.s_[:, prior.margin : side - prior.margin, prior.margin : side - prior.margin]
    if observation.weight[inner].astype(bool).sum() == observation.weight.astype(bool).sum():
        return prior, observation.gamma, observation.weight, 0
    added = prior.margin
    while (side + 2 * added) % multiple:
        added += 1
    log.warning(
        "%s is observed within %d pixels of the border of its grid: sampled with %d pixels more at every side",
        observation.title, prior.margin, added,
    )  # fmt: skip
    power = resampled_power(prior.power, side + 2 * added)
    room = ((0, 0), (added, added), (added, added))
    larger = dataclasses.replace(prior, power=power.astype(prior.power.dtype))
    return larger, np.pad(observation.gamma, room), np.pad(observation.weight, room), added


def _command(pixels: int, pixel_arcmin: float, run: str, *settings: str) -> str:
    """`training_command`, with the file in `conf/field` that has the run, unless it is that of the default."""
    files = {path.stem: path for path in sorted((ROOT / "conf" / "field").glob("*.yaml"))}
    fields = {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in files.items()}
    having = [name for name, field in fields.items() if run in field.get("sample", {}).get("fields", {})]
    chosen = [f"field={having[0]}"] if having and "cosmos" not in having else []
    return training_command(pixels, pixel_arcmin, run, *chosen, *settings)
