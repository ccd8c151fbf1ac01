"""Faults: stages of the profile `tiny`, disturbed at random moments, and whether a rerun ends as if nothing had been.

`python -m analysis faults` writes how many of a hundred were survived to `data/released/faults.json`. `state` makes
the undisturbed run and compares with it, `strike` does the harm.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from analysis.core.files import read_json, sha256, write_json
from analysis.core.paths import DATA, ROOT
from analysis.params import stage_rng
from analysis.tools.faults.state import DEFINITIONS, Outcome, prepared, ran_again, stage_names, tracked
from analysis.tools.faults.strike import KINDS, Fault

__all__ = ["KINDS", "Fault", "Outcome", "drawn", "main", "prepared", "ran_again", "summary"]

SEED = 2020
AT_ONCE = 2  # stages are alone on one core for most of their time
SCATTERING = ("simulations", "sample", "calibrate", "clusters", "validate")  # stages that have workers
FETCHING = ("catalogue",)
OTHERS = ("theory", "mocks", "train", "prior", "baselines", "rivals", "method", "figures")
RESULT = DATA / "released" / "faults.json"

log = logging.getLogger(__name__)


def drawn(number: int, stages: Sequence[str]) -> Fault:
    """The fault of a number: kinds in turn; stage and moment from random numbers of its own.

    Parameters
    ----------
    stages : as DVC spells them; every stage is as likely, however many items its matrix has
    """
    rng = stage_rng(SEED, "faults", str(number))
    kind = KINDS[number % len(KINDS)]
    able = {"worker": SCATTERING, "network": FETCHING}.get(kind, (*FETCHING, *SCATTERING, *OTHERS))
    names = sorted({stage.partition("@")[0] for stage in stages} & set(able))
    name = rng.choice(names)
    items = [stage for stage in stages if stage.partition("@")[0] == name]
    return Fault(kind, str(rng.choice(items)), float(rng.uniform()), writing=bool(rng.integers(2)))


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """How many faults were survived, in all, by kind and by stage, and those that were not."""

    def count(chosen: Sequence[Outcome]) -> dict[str, int]:
        return {"faults": len(chosen), "survived": sum(outcome.survived for outcome in chosen)}

    def by(name: str) -> dict[str, dict[str, int]]:
        keys = sorted({getattr(outcome.fault, name).partition("@")[0] for outcome in outcomes})
        return {
            key: count([outcome for outcome in outcomes if getattr(outcome.fault, name).partition("@")[0] == key])
            for key in keys
        }

    return {
        **count(outcomes),
        "kinds": by("kind"),
        "stages": by("stage"),
        "lost": [asdict(outcome) for outcome in outcomes if not outcome.survived],
        "definition": DEFINITIONS,
    }


def main(faults: int) -> None:
    """Do so many faults, those that an earlier call did with the same files left out, and write their summary.

    Raises
    ------
    BorderError
        If the undisturbed run fails.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    digest = hashlib.sha256(json.dumps([[name, sha256(ROOT / name)] for name in tracked()]).encode()).hexdigest()
    folder = ROOT / ".work" / "faults" / digest[:16]
    state = prepared(folder)
    each = [(folder / f"fault_{number:03d}.json", state, drawn(number, stage_names(state))) for number in range(faults)]
    outcomes = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in as_completed([pool.submit(_outcome, *one) for one in each]):
            outcomes.append(done.result())
            survived, told = sum(outcome.survived for outcome in outcomes), outcomes[-1].told or "as undisturbed"
            log.info("%d of %d survived; %s: %s", survived, len(outcomes), outcomes[-1].fault, told)
    result = summary(outcomes)
    write_json(RESULT, result)
    print(f"{result['survived']} of {result['faults']} faults survived; {RESULT} has them by kind and stage")


def _outcome(path: Path, state: Path, fault: Fault) -> Outcome:
    """Outcome of a fault, from its file where it was done before."""
    if not path.is_file():
        write_json(path, asdict(ran_again(state, fault, path.with_suffix(""))))
    kept = read_json(path)
    return Outcome(**kept | {"fault": Fault(**kept["fault"])})
