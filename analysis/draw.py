"""The figure of one run of `sample.fields` from its samples alone: no simulations, mocks or training are needed."""

from pathlib import Path

import numpy as np

from analysis import figures
from analysis.baselines import smoothed_kaiser_squires, wiener_filter
from analysis.clusters import clusters_on_grid, empty_clusters, load_clusters, massive_clusters, showcase
from analysis.files import BorderError
from analysis.params import DATA, ROOT, Params, load_params, stage_rng
from analysis.power import load_power
from analysis.results import Result
from analysis.samples import load_samples
from analysis.sky import load_observation, rotate_shear

SMOOTHING_ARCMIN = 1.0  # of Kaiser-Squires, what mocks of the field choose


def main(name: str) -> None:
    """Write `figures/run_<name>.pdf` and `.png`.

    Raises
    ------
    BorderError
        If there is no such run, or it was not sampled, or on another grid.
    """
    params = load_params()
    result = run_result(params, name)
    marked = massive_clusters(result.clusters, params.figures)
    rng = stage_rng(params.seed, "figures", name)
    place = showcase(result.samples, marked, result.observation, params.figures, rng=rng)
    figure = figures.field_figure(
        result,
        marked,
        place,
        cutout_arcmin=params.figures.cutout_arcmin,
        colormap=params.figures.colormap,
        note=f"profile {params.profile} | network of {params.sample.network}",
    )
    print(figures.save_figure(figure, ROOT / "figures", f"run_{name}").relative_to(ROOT))


def run_result(params: Params, name: str, root: Path = ROOT) -> Result:
    """Observation, samples, Kaiser-Squires and Wiener map of a run; no Gaussian realisations."""
    if name not in params.sample.fields:
        raise BorderError(f"sample.fields has no run {name!r}; its runs are: {', '.join(params.sample.fields)}")
    run, data = params.sample.fields[name], root / DATA.relative_to(ROOT)
    path = root / run.observation
    observation = rotate_shear(load_observation(path), run.rotate_deg)
    samples, grid = load_samples(data / "samples" / f"{name}.fits"), observation.grid
    power = load_power(root / params.sample.network / "power.npy")
    for what, shape in (("its samples", samples.shape[1:]), ("its network", power.shape)):
        if shape != grid.shape:
            raise BorderError(
                f"{run.observation} has {grid.pixels} pixels a side, {what} {shape[0]}; run `dvc repro sample@{name}`"
                " with the profile and network that belong to it"
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
