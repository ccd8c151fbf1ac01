"""`python -m analysis suites`: the posterior on truths that others simulated, and what their spectrum does to COSMOS.

A suite is a file or a folder of convergence maps. Its truths get the mask and the noise of COSMOS, and are sampled with
the prior as it was trained and with the suite's own spectrum in the Gaussian part of the prior. Then COSMOS is sampled
with the prior as it is, and with short waves as weak as those of the suites. For reporting only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from analysis.core.files import BorderError, write_metrics
from analysis.core.paths import DATA, ROOT
from analysis.flatsky.power import ell_grid, multipole_edges
from analysis.judge.detection import cluster_stacks
from analysis.judge.metrics import correlation_by_band, spectrum_ratio
from analysis.judge.results import RELEASED, listed_clusters
from analysis.params import Params, load_params, stage_rng
from analysis.posterior.sampler import annealer
from analysis.prior.files import load_prior
from analysis.prior.score import Prior
from analysis.sky import Observation, load_observation
from analysis.survey.clusters import clusters_on_grid
from analysis.tools import other_simulations as other

FIELD = "cosmos"
RESULT = RELEASED / "suites.json"
SHORT = 1500.0  # multipole; a few maps do not tell the power of longer waves


def main(given: Sequence[str], samples: int) -> None:
    """Sample the suites and the field, write `RESULT`, and print what it holds.

    Parameters
    ----------
    given : `PATH=ARCMIN` of each suite: a file or a folder of maps, and their pixel scale
    samples : of each mock, and of the field

    Raises
    ------
    BorderError
        If an entry is not of that form, two have one name, maps cannot be used, or the released network is not there.
    """
    paths = [_parsed(text) for text in given]
    names = [place.stem for place, _ in paths]
    if len(set(names)) < len(names):
        raise BorderError(f"{', '.join(names)} are the names of the suites, but each must have its own; rename a file")
    params, network = load_params(), RELEASED / "reference" / "score"
    prior, seen = load_prior(network), load_observation(DATA / "observation" / f"{FIELD}.fits")
    suites = {
        place.stem: [other.at_scale(kappa, arcmin, seen.grid) for kappa in other.read_maps(place, arcmin)]
        for place, arcmin in paths
    }
    edges, rows = multipole_edges(seen.grid.pixels, seen.grid.pixel_arcmin), []
    for name, maps in suites.items():
        rng = stage_rng(params.seed, "suites", name)
        mocks = other.mocks_of(maps, seen, name, rng=rng)
        for label, each in {"as trained": prior, "its own": other.with_own_spectrum(prior, maps)}.items():
            drawn = other.posterior_samples(mocks, each, params.sample, samples, rng=rng)
            row = other.suite_row(name, mocks, drawn, other.wiener_maps(mocks, each), edges)
            rows.append({"prior": label, "maps": len(maps)} | row)
            print(f"{name}, {label}: RMSE over Wiener {row['ratio']:.3f}", flush=True)
    weaker = replace(prior, power=prior.power * short_power(prior, list(suites.values())))
    drawn = {
        name: _field_samples(each, seen, params, samples)
        for name, each in {"as trained": prior, "weaker": weaker}.items()
    }
    field = compared(drawn, seen.mask, seen.grid.pixel_arcmin, edges) | {"snr": _field_stacks(drawn, seen, params)}
    write_metrics(RESULT, {"network": network_digest(), "samples": samples, "suites": rows, "field": field})
    print(RESULT.relative_to(ROOT))


def network_digest() -> str:
    """Digest of the released network, as DVC has it."""
    record = yaml.safe_load((RELEASED / "reference" / "score.dvc").read_text(encoding="utf-8"))
    return record["outs"][0]["md5"]


def _field_samples(prior: Prior, seen: Observation, params: Params, samples: int) -> np.ndarray:
    """Samples of the field with a prior, (samples, ny, nx); the same random numbers for each prior."""
    rng = stage_rng(params.seed, "suites", FIELD)
    drawn, _ = annealer(prior, params.sample)(seen.gamma, seen.weight, samples, reduced=seen.reduced, rng=rng)
    return np.asarray(drawn, float)


def _field_stacks(drawn: Mapping[str, np.ndarray], seen: Observation, params: Params) -> dict:
    """S/N of the stacked clusters of the field in the mean of each set of samples."""
    listed = listed_clusters(DATA / "observation" / f"{FIELD}.fits")
    near = params.validate.cluster_redshift_max
    placed = clusters_on_grid(listed, seen.grid, seen.mask, redshift_max=near)
    return cluster_stacks(
        {name: each.mean(axis=0) for name, each in drawn.items()}, placed, seen.mask, seed=params.seed
    )


def _parsed(text: str) -> tuple[Path, float]:
    """Path and pixel scale of `PATH=ARCMIN`."""
    path, _, arcmin = text.rpartition("=")
    try:
        scale = float(arcmin)
    except ValueError:
        scale = 0.0
    if not path or not 0 < scale < np.inf:
        raise BorderError(f"{text!r} does not name a suite; write PATH=ARCMIN, as in maps.fits=0.41")
    return Path(path), scale


def short_power(prior: Prior, suites: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Power of suites over that of the prior at short waves, their geometric mean, (ny, nx); 1 below `SHORT`.

    Parameters
    ----------
    suites : maps (n, n) of each, dimensionless, at the pixel scale of the prior
    """
    logs = [np.log(other.with_own_spectrum(prior, maps).power / prior.power) for maps in suites]
    short = ell_grid(prior.power.shape, prior.pixel_arcmin) > SHORT
    return np.where(short, np.exp(np.mean(logs, axis=0)), 1.0).astype(prior.power.dtype)


def compared(drawn: Mapping[str, np.ndarray], mask: np.ndarray, pixel_arcmin: float, edges: np.ndarray) -> dict:
    """Samples of one field under two priors.

    Parameters
    ----------
    drawn : (n, ny, nx) for each of two priors, dimensionless
    mask : (ny, nx), True where observed
    edges : (n_bins + 1,), multipoles

    Returns
    -------
    dict
        `correlation` of the two means and `power_ratio` of samples, second over first, by bin; `difference`, rms of
        the difference of the means over the rms standard deviation of the first, in the mask; `chance`, what this
        would be for two sets of samples of the first; `highest`, highest pixel of each mean in the mask
    """
    first, second = drawn.values()
    means = {name: each.mean(axis=0) for name, each in drawn.items()}
    one, two = means.values()
    spread = np.sqrt(np.mean(first.var(axis=0, ddof=1)[mask]))
    return {
        "correlation": correlation_by_band(two, one, mask, pixel_arcmin, edges),
        "power_ratio": spectrum_ratio(second, first, mask, pixel_arcmin, edges),
        "difference": float(np.sqrt(np.mean((two - one)[mask] ** 2)) / spread),
        "chance": float(np.sqrt(1 / len(first) + 1 / len(second))),
        "highest": {name: float(kappa[mask].max()) for name, kappa in means.items()},
    }
