"""What the pipeline found of one run of `sample.fields`: observation, samples, baselines and clusters together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.params import RunParams
from analysis.posterior.samples import load_samples
from analysis.rivals.baselines import load_baseline
from analysis.sky import Observation, load_observation
from analysis.survey.clusters import clusters_on_grid, empty_clusters, load_clusters

BASELINES = ("kaiser_squires", "wiener", "gaussian_std")


@dataclass(frozen=True, eq=False)
class Result:
    """One run, read back.

    Attributes
    ----------
    observation : as it lies on disk, before any turn of its shears
    samples : (n, ny, nx), posterior samples
    kaiser_squires, wiener, gaussian_std : (ny, nx), baselines and the standard deviation of Gaussian realisations
    clusters : those in observed pixels, with positions `x`, `y`; no rows for a mock
    """

    observation: Observation
    samples: np.ndarray
    kaiser_squires: np.ndarray
    wiener: np.ndarray
    gaussian_std: np.ndarray
    clusters: Table


def load_result(root: Path, name: str, run: RunParams) -> Result:
    """The run `name` of a project whose `data/` lies in `root`.

    Raises
    ------
    BorderError
        If a file is missing or damaged.
    """
    path = root / run.observation
    observation = load_observation(path)
    listed = path.with_name(f"{path.stem}_clusters.ecsv")
    clusters = load_clusters(listed) if listed.is_file() else empty_clusters()  # a mock has no list
    maps = (load_baseline(root / "data" / "baselines" / f"{name}.fits", n) for n in BASELINES)
    samples = load_samples(root / "data" / "samples" / f"{name}.fits")
    return Result(observation, samples, *maps, clusters_on_grid(clusters, observation.grid, observation.mask))
