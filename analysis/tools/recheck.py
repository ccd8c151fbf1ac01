"""Does this code still make the released results? A few mocks, kept with a release, are sampled again and compared.

If samples of the same mock, network and random numbers agree, everything computed from them agrees too.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from analysis.core.files import BorderError, atomic
from analysis.core.tables import load_table
from analysis.judge.calibration import STATISTICS, CutOut
from analysis.judge.injection import injection_rng, sampled_halo
from analysis.judge.mock_runs import calibrated, judging_rng, mock_rng, small_mocks
from analysis.judge.validation import accuracy_table
from analysis.params import Params, stage_rng
from analysis.posterior.sampler import annealer
from analysis.prior.files import load_prior
from analysis.simulations.mocks import load_mocks

SMALL = (("own", 0), ("own", 1), ("own", 2), ("sky", 0))
HALO = 0  # number of the mock that gets a halo of each mass
FULL = "test_00"
TOLERANCE = 0.01  # of means and spreads over samples: rounding differs between machines, and grows along a chain


def report(found: Sequence[tuple]) -> list[str]:
    """Lines to print: one for each mock, and one for each number that differs."""
    lines = []
    for mock in dict.fromkeys(row[0].partition(",")[0] for row in found):
        rows = [row for row in found if row[0].partition(",")[0] == mock]
        lines.append(f"{mock}: {sum(row[-1] for row in rows)} of {len(rows)} numbers agree")
        lines += [f"{what} was {before:.5g} and is {now:.5g}" for what, before, now, agrees in rows if not agrees]
    return lines


def keep_mocks(params: Params, data: Path, folder: Path) -> None:
    """Store mocks of the run in `data` that `recheck` samples again, with the state of their random numbers.

    Parameters
    ----------
    folder : of the released profile
    """
    cut = small_mocks(params, load_prior(data / "score", side=params.train.crop_pixels), data)
    drawn = [(kind, number, kind, mock_rng(params, kind, number)) for kind, number in SMALL]
    for name, number, kind, rng in [*drawn, ("halo", HALO, "own", injection_rng(params, HALO))]:
        mock = cut(kind, rng)
        state = np.array(json.dumps(rng.bit_generator.state))
        with atomic(_path(folder, name, number)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, truth=mock.truth, gamma=mock.gamma, weight=mock.weight, box=mock.box, rng=state)
    (folder / "mocks").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "mocks" / f"{FULL}.fits", folder / "mocks" / f"{FULL}.fits")


def recheck_calibration(folder: Path, params: Params, mocks: Sequence[tuple[str, int]] = SMALL) -> list[tuple]:
    """Statistics of small mocks (truth, mean and spread over samples), as released and by this code.

    Parameters
    ----------
    folder : of a released profile
    params : of that profile

    Returns
    -------
    list
        what, released value, value now, whether they agree
    """
    prior = load_prior(folder / "score", side=params.train.crop_pixels, precision=params.compute.precision)
    anneal, found = annealer(prior, params.sample), []
    for kind, number in mocks:
        mock, rng = _load(_path(folder, kind, number))
        row = calibrated(mock, params, prior, anneal, rng, judging_rng(params, kind, number))
        table = load_table(folder / "calibration" / "ranks" / f"{kind}.ecsv")
        found += [
            (f"{kind} {number}, {name} {quantity}", *_agree(table[key][number], row[key], scale))
            for name in STATISTICS
            if f"{name}_truth" in table.colnames  # a release may be older than a statistic
            for quantity, key, scale in (
                ("truth", f"{name}_truth", abs(row[f"{name}_truth"])),
                ("mean", f"{name}_mean", row[f"{name}_std"]),
                ("spread", f"{name}_std", row[f"{name}_std"]),
            )
        ]
    return found


def recheck_clusters(folder: Path, params: Params, masses: int | None = None) -> list[tuple]:
    """Measurements of halos in one mock, as released and by this code; rows as in `recheck_calibration`.

    Parameters
    ----------
    folder, params : as above
    masses : how many masses, the lightest first; None for all
    """
    prior = load_prior(folder / "score", side=params.train.crop_pixels, precision=params.compute.precision)
    anneal, found = annealer(prior, params.sample), []
    table = load_table(folder / "clusters" / "results" / "injection.ecsv")
    for order, mass in enumerate(params.clusters.injection.masses[:masses]):
        mock, rng = _load(_path(folder, "halo", HALO))
        now = sampled_halo(mock, mass, params, prior, anneal, rng)
        before = table[HALO * len(params.clusters.injection.masses) + order]
        scales = {name: abs(now[name]) for name in ("snr", "mass_truth", "mass_std")}
        scales |= {"mass_mean": now["mass_std"], "present": 1 / TOLERANCE / params.clusters.injection.samples}
        found += [
            (f"halo {HALO} of {mass:.1e}, {name}", *_agree(before[name], now[name], scale))
            for name, scale in scales.items()
        ]
    return found


def recheck_validation(folder: Path, params: Params) -> list[tuple]:
    """Errors of the posterior mean of one mock of the whole field, as released and by this code; rows as above.

    Empty for a release without a table by mock.
    """
    kept = folder / "validation" / "results" / "accuracy.ecsv"
    if not kept.is_file():
        return []
    prior = load_prior(folder / "score", precision=params.compute.precision)
    mock = load_mocks(folder / "mocks", "test")[0]
    rng = stage_rng(params.seed, "validate", mock.name)
    chains = params.validate.chains
    seen = mock.observation
    samples = annealer(prior, params.sample)(seen.gamma, seen.weight, chains, reduced=seen.reduced, rng=rng)[0]
    now = accuracy_table([mock], {"posterior_mean": samples.mean(axis=0)[None]}, samples[None])[0]
    table = load_table(kept)
    before = table[(table["mock"] == mock.name) & (table["method"] == "posterior_mean")][0]
    return [
        (f"{mock.name}, {name}", *_agree(before[name], now[name], abs(now[name])))
        for name in table.colnames
        if name.startswith("accuracy")
    ]


RECHECKS = {"calibration": recheck_calibration, "clusters": recheck_clusters, "validation": recheck_validation}


def _agree(before: float, now: float, scale: float) -> tuple[float, float, bool]:
    """Two values, and whether they lie within the tolerance of a scale."""
    return float(before), float(now), bool(abs(before - now) <= TOLERANCE * scale + 1e-12)


def _path(folder: Path, kind: str, number: int) -> Path:
    """Where a small mock is kept."""
    return folder / "mocks" / f"{kind}_{number:04d}.npz"


def _load(path: Path) -> tuple[CutOut, np.random.Generator]:
    """A small mock that `keep_mocks` wrote, and the generator of the random numbers that come next."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            rng = np.random.default_rng()
            rng.bit_generator.state = json.loads(str(stored["rng"]))
            return CutOut(
                stored["truth"],
                stored["gamma"],
                stored["weight"],
                int(stored["box"]),
                reduced=path.name.startswith("sky"),
            ), rng
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise BorderError(f"{path} cannot be read ({error}); `dvc pull {path.parent}.dvc` brings it") from None
