"""Clusters of a field in its samples, and peaks found blind: on mocks, how complete, how pure and how honest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from analysis.core.paths import DATA, ROOT
from analysis.flatsky.lensing import convergence_from_shear
from analysis.flatsky.peaks import blind_peaks, matched, peak_places, presence, presence_map
from analysis.judge.bimodality import bimodality
from analysis.judge.results import Result, load_result
from analysis.params import ClustersParams, Params, stage_rng
from analysis.posterior.samples import load_samples
from analysis.simulations.mocks import Mock
from analysis.sky import Observation
from analysis.survey.clusters import cluster_evidence, empty_clusters, load_clusters, massive_clusters, showcase

UNLIKELY = 0.05  # share of random places that do as well as a cluster
LOWEST = 0.1  # presence from which a place is listed
LEVELS = (0.1, 0.25, 0.5, 0.75)  # at which completeness and purity are told


def mock_detections(mocks: Sequence[Mock], samples: np.ndarray, settings: ClustersParams) -> tuple[Table, Table, int]:
    """Places where samples of mocks agree on a peak, and whether the truths have one there.

    Places that few samples agree on are chosen for what these samples have by chance. Whether probabilities are met is
    therefore judged at places that one half of the samples finds, by the probability that the other half gives them.

    Parameters
    ----------
    mocks : of one mask
    samples : (mocks, n, ny, nx)

    Returns
    -------
    places : `mock`, `x`, `y`, `probability`, and `true`, whether a peak of the truth of at least the threshold lies
        within the radius that no likelier place has taken
    judged : places found by one half of the samples, `found` their probability there, `probability` that in the other
        half, and `true`, whether the truth has such a peak within the radius
    peaks : number of peaks of the truths that high in observed pixels
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
    """Completeness and purity of lists down to each of `LEVELS`, and whether probabilities are met.

    Parameters
    ----------
    places, judged, peaks : of `mock_detections`

    Returns
    -------
    dict
        `level`; `listed`, places that likely; `purity`, share of them that are true; `completeness`, share of the
        truths' peaks that they find, and `reliability`: of the `judged`, in bins of `found` between the levels, the
        mean `predicted` probability and the share that is `true`, with its binomial error. Numbers that no place gives
        are None.
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
                float(np.sqrt(max(share * (1 - share), 1e-9) / len(chosen))) if len(chosen) else None
                for share, chosen in zip(shares, members, strict=True)
            ],
        },
    }


def run_evidence(params: Params, name: str, root: Path = ROOT) -> tuple[Table, Table]:
    """Every cluster of a field's list in the samples of a run (`clusters.cluster_evidence`), and its blind peaks.

    Returns
    -------
    clusters : the most massive first; `observed` tells those in observed pixels, the others have NaN for results
    peaks : `field_peaks` of the run
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
    path = root / run.observation
    listed = path.with_name(f"{path.stem}_clusters.ecsv")
    everything = load_clusters(listed) if listed.is_file() else empty_clusters()
    unseen = everything[~np.isin(everything["id"], evidence["id"])]
    evidence["observed"], unseen["observed"] = True, False
    clusters = vstack([evidence, unseen]).filled(np.nan)
    clusters.sort("m500", reverse=True)
    return clusters, field_peaks(result.samples, observation, result.clusters, settings)


def run_presence(params: Params, result: Result) -> np.ndarray:
    """Probability of a peak of the threshold within the radius of every pixel of a run, (ny, nx)."""
    radius = params.clusters.radius_arcmin / result.observation.grid.pixel_arcmin
    return presence_map(result.samples, radius=radius, threshold=params.clusters.threshold)


def run_heaps(params: Params, name: str, result: Result) -> dict[str, float]:
    """Whether the aperture mass where figure 2 cuts out falls into two heaps over samples (`bimodality`)."""
    rng = {what: stage_rng(params.seed, "clusters", what, name) for what in ("showcase", "heaps")}
    marked = massive_clusters(result.clusters, params.figures)
    place = showcase(result.samples, marked, result.observation, params.clusters, rng=rng["showcase"])
    return bimodality(place["mass"], rng=rng["heaps"])


def evidence_summary(clusters: Table, peaks: Table) -> dict:
    """Numbers of `run_evidence`: means over the observed clusters, and of the places found blind.

    Returns
    -------
    dict
        `listed`, `observed`: clusters; means of `probability`, its error from the scatter between clusters, `chance`
        and `bmode`; `unlikely_by_chance`, clusters where less than `UNLIKELY` of random places do as well; `peaks`,
        places that more likely than not have one, and how many of those are `peaks_at_clusters`
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
    """Places of a field where samples agree on a peak, the likeliest first, with the X-ray cluster at each.

    Parameters
    ----------
    samples : (n, ny, nx)
    placed : clusters in observed pixels, with positions `x`, `y`, perhaps none

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


def _share(values: np.ndarray) -> float | None:
    """Their mean, None without any."""
    return float(np.mean(values)) if len(values) else None
