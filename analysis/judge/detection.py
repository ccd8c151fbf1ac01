"""Clusters of a field in its samples and in stacks, and peaks found blind. Mocks test the peaks' probabilities."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import diptest
import numpy as np
from astropy.table import Table, vstack

from analysis.core.paths import DATA, ROOT
from analysis.flatsky.lensing import convergence_from_shear
from analysis.flatsky.peaks import aperture_mass, blind_peaks, matched, peak_places, presence, presence_map
from analysis.judge.results import Result, listed_clusters, load_result
from analysis.params import ClustersParams, Params, RunParams, stage_rng
from analysis.posterior.samples import load_samples
from analysis.simulations.mocks import Mock
from analysis.sky import Observation
from analysis.survey.clusters import cluster_evidence, massive_clusters, showcase, stack_snr

UNLIKELY = 0.05  # a cluster is unlikely by chance if fewer random places do as well
LOWEST = 0.1  # presence from which a place is listed
LEVELS = (0.1, 0.25, 0.5, 0.75)  # lowest probabilities of the lists whose completeness and purity are given
SEPARATION = 4.0  # standard deviations between the two modes of the power test: the eye sees two
TRIALS = 400
COSMOS_RUNS = {"": "cosmos", "_bmode": "cosmos_bmode", "_gaussian": "cosmos_gaussian"}


def mock_detections(mocks: Sequence[Mock], samples: np.ndarray, settings: ClustersParams) -> tuple[Table, Table, int]:
    """Places where samples of mocks agree on a peak, and whether the truth has a peak there.

    A place listed with a low probability was chosen because these samples show a peak there by chance. So probabilities
    are tested at places found by one half of the samples, with the probability that the other half gives.

    Parameters
    ----------
    mocks : of one mask
    samples : (mocks, n, ny, nx)

    Returns
    -------
    places : `mock`, `x`, `y`, `probability`, and `true`: whether the truth has a peak of at least the threshold
        within the radius that no likelier place has taken
    judged : places found by one half of the samples: `found`, their probability there, `probability` in the other half,
        and `true`, whether the truth has such a peak within the radius
    peaks : number of such peaks of the truths in observed pixels
    """
    tables, halves, peaks = [], [], 0
    for mock, drawn in zip(mocks, samples, strict=True):
        observation = mock.observation
        radius, threshold = settings.radius_arcmin / observation.grid.pixel_arcmin, settings.threshold
        places = blind_peaks(drawn, observation.mask, radius=radius, threshold=threshold, lowest=LOWEST)
        x, y = peak_places(mock.truth, threshold=threshold)
        places["true"] = matched(places["x"], places["y"], x, y, radius=radius) >= 0
        places["mock"] = np.full(len(places), mock.name, dtype="U32")
        tables.append(places)
        at = {"radius": radius, "threshold": threshold}
        for one, other in ((drawn[::2], drawn[1::2]), (drawn[1::2], drawn[::2])):
            judged = blind_peaks(one, observation.mask, **at, lowest=LOWEST)
            judged.rename_column("probability", "found")
            judged["probability"] = presence(other, judged["x"], judged["y"], **at)
            judged["true"] = presence(mock.truth[None], judged["x"], judged["y"], **at) > 0
            halves.append(judged)
        peaks += int(observation.mask[y.astype(int), x.astype(int)].sum())
    return vstack(tables), vstack(halves), peaks


def detection_summary(places: Table, judged: Table, peaks: int) -> dict:
    """Completeness and purity of the lists down to each of `LEVELS`, and whether the probabilities are right.

    Parameters
    ----------
    places, judged, peaks : of `mock_detections`

    Returns
    -------
    dict
        `level`; `listed`, number of places that likely; `purity`, share of them that are true; `completeness`, share of
        the truths' peaks that they find; `reliability`, of the `judged` in bins of `found` between the levels: mean
        `predicted` probability, and share that is `true` with its binomial error; a truth counts once, though both
        halves of the samples find it. None where there is no place.
    """
    probability, true = np.asarray(places["probability"], float), np.asarray(places["true"], bool)
    lists = [true[probability >= level] for level in LEVELS]
    bins = np.digitize(judged["found"], LEVELS) - 1
    members = [judged[bins == number] for number in range(len(LEVELS))]
    shares = [_share(np.asarray(chosen["true"], float)) for chosen in members]
    return {
        "level": list(LEVELS),
        "peaks": peaks,
        "listed": [len(found) for found in lists],
        "purity": [_share(found) for found in lists],
        "completeness": [float(found.sum() / peaks) if peaks else None for found in lists],
        "reliability": {
            "n": [len(chosen) for chosen in members],
            "predicted": [_share(np.asarray(chosen["probability"], float)) for chosen in members],
            "true": shares,
            "true_err": [
                float(np.sqrt(max(share * (1 - share), 1e-9) / (len(chosen) / 2))) if len(chosen) else None
                for share, chosen in zip(shares, members, strict=True)
            ],
        },
    }


def run_evidence(params: Params, name: str, root: Path = ROOT) -> tuple[Table, Table]:
    """Every cluster of a field's list as the samples of a run show it, and the blind peaks of the run.

    Returns
    -------
    clusters : of `cluster_evidence`, the most massive first; `observed` is False for those in unobserved pixels, whose
        results are NaN
    peaks : of `field_peaks`
    """
    run, control = params.sample.fields[name], params.clusters.controls[name]
    result, data = load_result(root, name, run), root / DATA.relative_to(ROOT)
    observation, settings = result.observation, params.clusters
    evidence = cluster_evidence(
        result.clusters,
        result.samples,
        observation,
        np.asarray(convergence_from_shear(observation.gamma[None]))[0],
        settings,
        control=None if control is None else load_samples(data / "samples" / f"{control}.fits"),
        rng=stage_rng(params.seed, "clusters", name),
    )
    everything = listed_clusters(root / run.observation)
    unseen = everything[~np.isin(everything["id"], evidence["id"])]
    evidence["observed"], unseen["observed"] = True, False
    clusters = vstack([evidence, unseen]).filled(np.nan)
    clusters.sort("m500", reverse=True)
    return clusters, field_peaks(result.samples, observation, result.clusters, settings)


def evidence_summary(clusters: Table, peaks: Table) -> dict:
    """Means of `run_evidence` over the observed clusters, and numbers of blind peaks.

    Returns
    -------
    dict
        `listed`, `observed`: number of clusters; means of `probability`, its error from the scatter between clusters,
        `chance` and `bmode`; `unlikely_by_chance`, clusters where less than `UNLIKELY` of random places do as well;
        `peaks`, places where at least half of the samples have one; `peaks_at_clusters`, those at a cluster
    """
    seen = clusters[np.asarray(clusters["observed"], bool)]
    likely = peaks[np.asarray(peaks["probability"], float) >= 0.5]
    shown, bmode = np.asarray(seen["probability"], float), np.asarray(seen["bmode"], float)
    return {
        "listed": len(clusters),
        "observed": len(seen),
        "probability": _share(shown),
        "probability_err": float(np.std(shown, ddof=1) / len(shown) ** 0.5) if len(shown) > 1 else None,
        "chance": _share(np.asarray(seen["chance"], float)),
        "bmode": _share(bmode[np.isfinite(bmode)]),
        "unlikely_by_chance": int(np.sum(np.asarray(seen["p_value"], float) < UNLIKELY)),
        "peaks": len(likely),
        "peaks_at_clusters": int(np.sum(np.asarray(likely["cluster"]) >= 0)),
    }


def field_peaks(samples: np.ndarray, observation: Observation, placed: Table, settings: ClustersParams) -> Table:
    """Places of a field where samples agree on a peak, the likeliest first, each with the X-ray cluster that is there.

    Parameters
    ----------
    samples : (n, ny, nx)
    placed : clusters in observed pixels, with positions `x`, `y`; may have no rows

    Returns
    -------
    Table
        `x`, `y` (pixels), `ra_deg`, `dec_deg`, `probability`, `cluster` (its `id`, -1 without one), `z` (NaN)
    """
    radius = settings.radius_arcmin / observation.grid.pixel_arcmin
    places = blind_peaks(samples, observation.mask, radius=radius, threshold=settings.threshold, lowest=LOWEST)
    places["ra_deg"], places["dec_deg"] = observation.grid.wcs.pixel_to_world_values(places["x"], places["y"])
    chosen = matched(places["x"], places["y"], np.asarray(placed["x"]), np.asarray(placed["y"]), radius=radius)
    places["cluster"] = np.array([int(placed["id"][number]) if number >= 0 else -1 for number in chosen], int)
    places["z"] = np.array([float(placed["z"][number]) if number >= 0 else np.nan for number in chosen], float)
    return places


def run_presence(params: Params, result: Result) -> np.ndarray:
    """Probability of a peak of the threshold within the radius of every pixel of a run, (ny, nx)."""
    radius = params.clusters.radius_arcmin / result.observation.grid.pixel_arcmin
    return presence_map(result.samples, radius=radius, threshold=params.clusters.threshold)


def run_bimodality(params: Params, name: str, result: Result) -> dict[str, float]:
    """Whether samples of a run fall into two heaps at a cluster.

    Returns
    -------
    dict
        Of the aperture mass where figure 2 cuts out: `bimodality`, whose `power` is that of each single test. Of the
        most central cluster that figures mark: `central_redshift`, `central_present` (share of samples that have a
        peak there) and `central_p_value` (dip of its aperture mass). Of all clusters that figures mark: `clusters`,
        their number, and `min_p_holm`, the smallest p-value of aperture masses and peak heights, corrected for the
        number of tests. Without such clusters only the first.
    """
    rng = {what: stage_rng(params.seed, "clusters", what, name) for what in ("showcase", "heaps")}
    marked, seen = massive_clusters(result.clusters, params.figures), result.observation
    place = showcase(result.samples, marked, seen, params.clusters, rng=rng["showcase"])
    found = bimodality(place["mass"], rng=rng["heaps"])
    if len(marked) == 0:
        return found
    table = heaps_at(result.samples, marked, params.clusters, seen.grid.pixel_arcmin)
    p_values = np.concatenate([table["p_mass"], table["p_height"]])
    middle = (seen.grid.pixels - 1) / 2
    central = table[int(np.argmin(np.hypot(marked["x"] - middle, marked["y"] - middle)))]
    return found | {
        "central_redshift": float(central["z"]),
        "central_present": float(central["present"]),
        "central_p_value": float(central["p_mass"]),
        "clusters": len(marked),
        "min_p_holm": float(min(1.0, len(p_values) * p_values.min())),
    }


def heaps_at(samples: np.ndarray, placed: Table, settings: ClustersParams, pixel_arcmin: float) -> Table:
    """Aperture mass and peak height of every sample at clusters, and dip tests of both.

    Parameters
    ----------
    samples : (n, ny, nx), dimensionless
    placed : clusters with `x`, `y` (pixels) and `z`
    settings : radius and threshold of a peak that counts as the cluster, and the aperture

    Returns
    -------
    Table
        A row for each cluster: `z`, `present` (share of samples with a peak), `mass` and `height` (n,), the highest
        pixel within the radius, `p_mass` and `p_height`
    """
    radius, aperture = settings.radius_arcmin / pixel_arcmin, settings.aperture_arcmin / pixel_arcmin
    y, x = np.indices(samples.shape[-2:])
    mass = np.array([aperture_mass(samples, float(at["x"]), float(at["y"]), aperture) for at in placed])
    discs = [np.hypot(x - at["x"], y - at["y"]) <= max(radius, 0.71) for at in placed]  # at least one pixel
    height = np.array([samples[:, disc].max(axis=-1) for disc in discs])
    places = (np.asarray(placed["x"], float), np.asarray(placed["y"], float))
    table = Table({"z": placed["z"], "mass": mass, "height": height})
    table["present"] = presence(samples, *places, radius=radius, threshold=settings.threshold)
    for name in ("mass", "height"):
        table[f"p_{name}"] = [float(diptest.diptest(np.asarray(values, float))[1]) for values in table[name]]
    return table


def bimodality(values: np.ndarray, *, rng: np.random.Generator) -> dict[str, float]:
    """Hartigan's dip test of whether samples have two modes, and its power for this number of samples.

    Parameters
    ----------
    values : (n,), at least 4

    Returns
    -------
    dict
        `dip`, largest distance of their distribution from the nearest one with a single mode; `p_value`, chance of a
        dip as large under a single mode (the uniform, the least favourable case); `power`, share of sets of `n` draws
        of two equal Gaussians, `SEPARATION` standard deviations apart, that the test detects at 5 %; `n`

    Source: Hartigan & Hartigan 1985.
    """
    values = np.asarray(values, float)
    dip, p_value = diptest.diptest(values)
    heaps = rng.standard_normal((TRIALS, len(values))) + SEPARATION * (rng.random((TRIALS, len(values))) < 0.5)
    power = np.mean([diptest.diptest(drawn)[1] < 0.05 for drawn in heaps])
    return {"dip": float(dip), "p_value": float(p_value), "power": float(power), "n": len(values)}


def cluster_stacks(maps: Mapping[str, np.ndarray], placed: Table, mask: np.ndarray, *, seed: int) -> dict:
    """Signal to noise of the stacked clusters of a field in several maps, against the same random places.

    Parameters
    ----------
    maps : (ny, nx) each, by name
    placed : in-mask clusters, as `clusters_on_grid` gives them
    """
    x, y = np.asarray(placed["x"]), np.asarray(placed["y"])
    stacks = {
        name: stack_snr(kappa, x, y, mask, rng=stage_rng(seed, "validate", "clusters")) for name, kappa in maps.items()
    }
    return stacks | {"n": len(placed)}


def field_stacks(root: Path, runs: Mapping[str, RunParams], *, redshift_max: float, seed: int) -> dict:
    """Cluster stacks of every run on a field with clusters, by name; those of the COSMOS runs also as `cosmos`.

    Parameters
    ----------
    root : folder of the project, which holds `data/`
    runs : `sample.fields`
    redshift_max : clusters at or beyond it are left out
    """
    stacks = {}
    for name, run in runs.items():
        result = load_result(root, name, run)
        placed = result.clusters[np.asarray(result.clusters["z"]) < redshift_max]
        if len(placed) == 0:
            continue
        maps = {
            "posterior_mean": result.samples.mean(axis=0),
            "kaiser_squires": result.kaiser_squires,
            "wiener": result.wiener,
        }
        stacks[name] = cluster_stacks(maps, placed, result.observation.mask, seed=seed)
    cosmos = {suffix: stacks[name]["posterior_mean"] for suffix, name in COSMOS_RUNS.items() if name in stacks}
    return {"clusters": stacks, "cosmos": {f"cluster_stack_snr{suffix}": snr for suffix, snr in cosmos.items()}}


def _share(values: np.ndarray) -> float | None:
    """Mean of the values; None without any."""
    return float(np.mean(values)) if len(values) else None
