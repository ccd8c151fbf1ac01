"""One run of `sample.fields` drawn and measured by its samples alone: no simulations, mocks or training are needed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from matplotlib.figure import Figure

from analysis import figures
from analysis.core.files import BorderError, atomic, write_json
from analysis.core.paths import DATA, FIGURES, ROOT
from analysis.core.tables import load_table
from analysis.flatsky.power import larger_power, load_power
from analysis.judge.released import RELEASED
from analysis.judge.results import Result
from analysis.judge.validation import accuracy_table, cluster_stacks
from analysis.params import Params, load_params, stage_rng
from analysis.posterior.samples import load_samples
from analysis.rivals.baselines import smoothed_kaiser_squires, wiener_filter
from analysis.simulations.mocks import Mock
from analysis.sky import Grid, load_observation, load_truth, rotate_shear
from analysis.survey.clusters import (
    clusters_on_grid,
    empty_clusters,
    load_clusters,
    massive_clusters,
    showcase,
)

SMOOTHING_ARCMIN = 1.0  # of Kaiser-Squires, what mocks of the field choose


def main(name: str, keep: bool) -> None:
    """Write `figures/run/run_<name>.pdf` and `.png`, and what was found as `.json`, and print that.

    Parameters
    ----------
    keep : the numbers and a smaller picture also beside the released network that made the run, for README.md

    Raises
    ------
    BorderError
        If there is no such run, or it was not sampled, or on another grid; or `keep`, and its network is not released.
    """
    params = load_params()
    network = ROOT / params.sample.network
    if keep and network.parent.parent != RELEASED:
        raise BorderError(
            f"sample.network is {params.sample.network}, which is not released; keep only what a network of"
            f" {RELEASED.relative_to(ROOT)} made"
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
        figure = figures.mock_figure(truth, result, colormap=params.figures.colormap, note=title)
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
    """Errors of every map where the truth is known, and S/N of the stacked clusters where any are listed.

    Returns
    -------
    dict
        `title` of the field; `samples`, their number; `accuracy`, by method `<convention>.rmse`, `.pearson` and what
        infinitely many samples would reach (`validation.accuracy_table`); `cluster_stack_snr`, by method, of `n`
        clusters
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
    """The figure of a field whose truth nobody knows."""
    marked = massive_clusters(result.clusters, params.figures)
    rng = stage_rng(params.seed, "figures", name)
    place = showcase(result.samples, marked, result.observation, params.clusters, rng=rng)
    style = {"cutout_arcmin": params.figures.cutout_arcmin, "colormap": params.figures.colormap}
    return figures.field_figure(result, marked, place, note=note, **style)


def run_result(params: Params, name: str, root: Path = ROOT) -> Result:
    """Observation, samples, Kaiser-Squires and Wiener map of a run; no Gaussian realisations."""
    if name not in params.sample.fields:
        raise BorderError(f"sample.fields has no run {name!r}; its runs are: {', '.join(params.sample.fields)}")
    run, data = params.sample.fields[name], root / DATA.relative_to(ROOT)
    path = root / run.observation
    observation = rotate_shear(load_observation(path), run.rotate_deg)
    if run.rotate_deg:
        observation = replace(observation, title=f"{observation.title}, shears turned by {run.rotate_deg:g} deg")
    samples, grid = load_samples(data / "samples" / f"{name}.fits"), observation.grid
    if samples.shape[1:] != grid.shape:
        raise BorderError(
            f"{run.observation} has {grid.pixels} pixels a side, its samples {samples.shape[1]}; run `dvc repro"
            f" sample@{name}` with the profile and network that belong to it"
        )
    power = _power(root / params.sample.network, grid, data)
    if power.shape != grid.shape:
        raise BorderError(
            f"{run.observation} has {grid.pixels} pixels a side, its network {len(power)}; run `dvc repro"
            f" sample@{name}` with the profile and network that belong to it"
        )
    listed = path.with_name(f"{path.stem}_clusters.ecsv")
    clusters = load_clusters(listed) if listed.is_file() else empty_clusters()
    return Result(
        observation,
        samples,
        smoothed_kaiser_squires(observation.gamma, SMOOTHING_ARCMIN, grid.pixel_arcmin),
        wiener_filter(observation.gamma, observation.weight, power),
        np.full(grid.shape, np.nan),
        clusters_on_grid(clusters, grid, observation.mask),
    )


def _power(network: Path, grid: Grid, data: Path) -> np.ndarray:
    """Power of the prior of a network on a grid, (ny, nx); a larger grid's longer waves are theory's."""
    power = load_power(network / "power.npy")
    if grid.pixels <= len(power):
        return power
    theory = load_table(data / "theory" / "c_ell.ecsv")
    return larger_power(power, grid.pixels, theory["ell"], theory["c_ell"], grid.pixel_arcmin)
