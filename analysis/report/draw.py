"""One run of `sample.fields`, drawn and measured from its samples alone, without simulations, mocks or training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from matplotlib.figure import Figure

from analysis import figures
from analysis.core.files import BorderError, atomic, read_json, write_json
from analysis.core.paths import DATA, FIGURES, ROOT
from analysis.core.tables import load_table
from analysis.flatsky.power import larger_power, load_power
from analysis.judge.detection import cluster_stacks
from analysis.judge.results import RELEASED, Result, listed_clusters
from analysis.judge.validation import accuracy_table
from analysis.params import Params, load_params, stage_rng
from analysis.posterior.samples import load_samples
from analysis.rivals.baselines import smoothed_kaiser_squires, wiener_filter
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, load_observation, load_truth, rotate_shear
from analysis.survey.clusters import clusters_on_grid, massive_clusters, showcase

SMOOTHING_ARCMIN = 1.0  # of Kaiser-Squires; the best on mocks of the field


def main(name: str, keep: bool) -> None:
    """Write the figure `figures/run/run_<name>` (PDF and PNG) and its numbers (JSON), and print the numbers.

    Parameters
    ----------
    keep : also store the numbers and a smaller picture beside the released network, for README.md

    Raises
    ------
    BorderError
        If there is no such run, or it was not sampled, or on another grid; or `keep`, and its network is not released.
    """
    params = load_params()
    network = ROOT / params.sample.network
    if keep and network.parent.parent != RELEASED:
        raise BorderError(
            f"sample.network is {params.sample.network}, which is not released; --keep needs a network in"
            f" {RELEASED.relative_to(ROOT)}"
        )
    result = run_result(params, name)
    path = ROOT / params.sample.fields[name].observation
    with fits.open(path) as hdus:
        truth = load_truth(path) if "TRUTH" in hdus else None
    note = f"profile {params.profile} | network of {params.sample.network}"
    if truth is None:
        figure = _field_figure(name, result, params, note)
    else:
        title = f"{result.observation.title} | {note}"
        style = {"margin": read_json(network / "network.json")["margin"], "colormap": params.figures.colormap}
        figure = figures.mock_figure(**figures.mock_shown(truth, result), note=title, **style)
    saved = figures.save_figure(figure, FIGURES, f"run_{name}")
    found = {"profile": params.profile, "network": params.sample.network, **findings(result, truth, params)}
    write_json(saved.with_suffix(".json"), found)
    if keep:
        kept = network.parent / saved.name
        write_json(kept.with_suffix(".json"), found)
        with atomic(kept.with_suffix(".jpg")) as temporary:
            temporary.write_bytes(figures.preview(saved).data)
    print(json.dumps(found, indent=1))
    print(saved.relative_to(ROOT))


def findings(result: Result, truth: np.ndarray | None, params: Params) -> dict:
    """Errors of every map if the truth is known, and S/N of the stacked clusters if any are listed.

    Returns
    -------
    dict
        `title` of the field; `samples`, their number; `accuracy`, columns of `validation.accuracy_table` by method;
        `cluster_stack_snr`, by method, of `n` clusters
    """
    maps = {"kaiser_squires": result.kaiser_squires, "wiener": result.wiener}
    maps |= {"posterior_mean": result.samples.mean(axis=0)}
    found = {"title": result.observation.title, "samples": len(result.samples)}
    if truth is not None:
        mock = Mock("truth", truth, result.observation, 0)
        table = accuracy_table([mock], {name: kappa[None] for name, kappa in maps.items()}, result.samples[None])
        numbers = table.colnames[3:]
        found["accuracy"] = {row["method"]: {number: float(row[number]) for number in numbers} for row in table}
    near = result.clusters[np.asarray(result.clusters["z"]) < params.validate.cluster_redshift_max]
    if len(near):
        found["cluster_stack_snr"] = cluster_stacks(maps, near, result.observation.mask, seed=params.seed)
    return found


def _field_figure(name: str, result: Result, params: Params, note: str) -> Figure:
    """The figure of a field whose truth is unknown."""
    marked = massive_clusters(result.clusters, params.figures)
    rng = stage_rng(params.seed, "figures", name)
    place = showcase(result.samples, marked, result.observation, params.clusters, rng=rng)
    style = {"cutout_arcmin": params.figures.cutout_arcmin, "colormap": params.figures.colormap}
    return figures.field_figure(**figures.field_shown(result, marked, place), note=note, **style)


def run_result(params: Params, name: str, root: Path = ROOT) -> Result:
    """A run with Kaiser-Squires and Wiener map made here; without Gaussian realisations, `gaussian_std` is NaN.

    Raises
    ------
    BorderError
        If there is no such run, or its samples or its network are on another grid.
    """
    if name not in params.sample.fields:
        raise BorderError(f"sample.fields has no run {name!r}; its runs are: {', '.join(params.sample.fields)}")
    run, data = params.sample.fields[name], root / DATA.relative_to(ROOT)
    path = root / run.observation
    observation = rotate_shear(load_observation(path), run.rotate_deg)
    if run.rotate_deg:
        observation = replace(observation, title=f"{observation.title}, shears turned by {run.rotate_deg:g} deg")
    samples, grid = load_samples(data / "samples" / f"{name}.fits"), observation.grid
    power = _power(root / params.sample.network, grid, data)
    for what, shape in (("samples", samples.shape[1:]), ("network", power.shape)):
        if shape != grid.shape:
            raise BorderError(
                f"{run.observation} has {grid.pixels} pixels a side, its {what} {shape[0]}; run `dvc repro"
                f" sample@{name}` with the profile and network that belong to it"
            )
    return Result(
        observation,
        samples,
        smoothed_kaiser_squires(observation.gamma, SMOOTHING_ARCMIN, grid.pixel_arcmin),
        wiener_filter(observation.gamma, observation.weight, power),
        np.full(grid.shape, np.nan),
        clusters_on_grid(listed_clusters(path), grid, observation.mask),
    )


def _power(network: Path, grid: Grid, data: Path) -> np.ndarray:
    """Power of the prior of a network on a grid, (ny, nx); on a larger grid theory gives the longer waves."""
    power = load_power(network / "power.npy")
    if grid.pixels <= len(power):
        return power
    theory = load_table(data / "theory" / "c_ell.ecsv")
    return larger_power(power, grid.pixels, theory["ell"], theory["c_ell"], grid.pixel_arcmin)
