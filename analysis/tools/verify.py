"""Whether a run reached what was published: its metrics against the released ones, within stated tolerances.

Two machines differ in the last digit of a sum, a training follows such digits somewhere else, and samples with it: so
numbers are compared, not files, and each by a tolerance of its own (`TOLERANCES`), which says what may move and why.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from analysis.core.files import DIGITS, BorderError, read_json
from analysis.core.paths import ROOT
from analysis.params import load_params

RUN = "data/validation/metrics.json"


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from the published one: |a - b| <= absolute + relative |b| + errors x standard error."""

    absolute: float = 0.0
    relative: float = 0.0
    errors: float = 0.0


SAME = Tolerance()
ANY = None  # what is no result: digests, errors of errors, p-values of few mocks

TOLERANCES: dict[str, Tolerance | None] = {  # the first pattern that fits a name counts
    "*code": ANY,
    "*_err": ANY,
    "*_err.*": ANY,
    # settings and counts
    "*.ell.*": Tolerance(relative=1e-6),
    "*.quantile.*": SAME,
    "*.n": Tolerance(relative=0.05),
    "*.n_*": SAME,
    "*.lowest": SAME,
    "*_height.*": SAME,
    "*_depth.*": SAME,
    "prior.level_sigma.*": Tolerance(relative=1e-6),
    "sampler.evaluations_per_sample": SAME,
    "train.parameters": SAME,
    "simulations.source": SAME,
    "simulations.boxes.*": SAME,
    "simulations.*.maps": SAME,
    # arithmetic without chance: rounding alone
    "observation.*": Tolerance(relative=1e-5),
    "theory.*": Tolerance(relative=1e-3),
    # N-body boxes amplify rounding in their densest places
    "simulations.*.max": Tolerance(relative=0.3),
    "simulations.*": Tolerance(absolute=0.02, relative=0.02),
    "mocks.*": Tolerance(absolute=0.002, relative=0.02),
    # another network of the same training
    "train.error_*": Tolerance(absolute=0.02),
    "accuracy*": Tolerance(absolute=0.001, errors=2.0),
    "peaks.rms_error.*": Tolerance(relative=0.06),
    "rivals.sparse.*": ANY,  # neighbours in a list may do as well
    "rivals.deepmass.best_round": ANY,
    "rivals.deepmass.parameters": SAME,
    "rivals.rmse_validation.*": Tolerance(relative=0.03),
    "spectrum.*": Tolerance(absolute=0.06),
    "spread.*": Tolerance(absolute=0.05),
    "one_point.*": Tolerance(absolute=0.002, relative=0.15),
    "clusters.*": Tolerance(absolute=1.5),
    # shares of few samples, at few places or of few mocks
    "presence.*.peaks*": Tolerance(absolute=6, relative=0.3),
    "presence.*.unlikely_by_chance": Tolerance(absolute=8),
    "presence.*.listed": SAME,
    "presence.*.observed": SAME,
    "presence.*": Tolerance(absolute=0.1),
    "bimodality.*": ANY,
    "injection.redshift": SAME,
    "injection.mass.*": SAME,
    "injection.realisations.*": SAME,
    "injection.snr.*": Tolerance(relative=1e-3),
    "injection.*": Tolerance(absolute=0.3),
    "detection.level.*": SAME,
    "detection.*": Tolerance(absolute=0.15, relative=0.3),
    "by_multipole.*": Tolerance(absolute=0.1),
    "cosmos.*": Tolerance(absolute=1.5),
    # samples of the prior alone, and shares of few samples
    "prior.*ratio.*": Tolerance(absolute=0.1, relative=0.3, errors=2.0),
    "prior.max_over_training_max": Tolerance(relative=0.5),
    "prior.*one_point*": Tolerance(absolute=0.003, relative=0.2),
    "prior.level_*": Tolerance(absolute=0.1),
    "prior.runaway*": SAME,
    "prior.at_bound_allowed": SAME,
    "prior.at_bound*": Tolerance(absolute=0.1),
    "prior.stein_error": Tolerance(absolute=0.02),
    "prior.*": Tolerance(absolute=0.1, relative=1.0),
    "sampler.runaway": SAME,
    "sampler.acceptance": Tolerance(absolute=0.1),
    "sampler.at_bound*": Tolerance(absolute=0.2),
    "sampler.stein_error": Tolerance(absolute=0.02),
    "sampler.*": Tolerance(relative=0.5),
    # ranks of few mocks: only what has an error is held to it
    "calibration*.coverage68": Tolerance(absolute=0.02, errors=3.0),
    "calibration*.coverage95": Tolerance(absolute=0.02, errors=3.0),
    "calibration*.mse_ratio_over_ideal": Tolerance(absolute=0.01, errors=3.0),
    "calibration*.stray_share": Tolerance(absolute=0.05),
    "calibration*": ANY,
}


def main() -> None:
    """Compare `data/validation/metrics.json` with the published metrics of its profile, and print what differs.

    Raises
    ------
    BorderError
        If there is nothing to compare, or a number lies outside its tolerance.
    """
    profile = load_params().profile
    found, published = read_json(ROOT / RUN), published_metrics(profile)
    rows = list(compared(found, published))
    outside = [row for row in rows if not row[-1]]
    for name, value, expected, allowed, _ in outside:
        print(f"{name:50} {_shown(value):>12}   published {_shown(expected):>12}   may differ by {_shown(allowed)}")
    if outside:
        raise BorderError(
            f"{len(outside)} of {len(rows)} numbers of this run differ from the published ones of the profile"
            f" {profile}; where code or parameters were changed on purpose, that is what they changed"
        )
    print(f"all {len(rows)} numbers of this run agree with the published ones of the profile {profile}")


def published_metrics(profile: str, root: Path = ROOT) -> dict:
    """Metrics of a profile as they were released.

    Raises
    ------
    BorderError
        If none are published.
    """
    released = root / "data" / "released" / profile / "validation" / "metrics.json"
    if not released.is_file():
        raise BorderError(
            f"no metrics of the profile {profile} are published: {released.relative_to(root)} does not exist;"
            " `make release` keeps those of a run"
        )
    return read_json(released)


def compared(found: Mapping, published: Mapping) -> Iterator[tuple[str, object, object, float, bool]]:
    """Name, value, published value, allowed difference, and whether it is kept, of every number with a tolerance."""
    here, there = dict(leaves(found)), dict(leaves(published))
    for name in sorted(here.keys() | there.keys()):
        tolerance = tolerance_of(name)
        if tolerance is ANY:
            continue
        value, expected = here.get(name), there.get(name)
        allowed = _allowed(tolerance, name, here, there)
        yield name, value, expected, allowed, _agrees(value, expected, allowed)


def leaves(metrics: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every number or text of nested metrics, by its dotted name; entries of lists by their position."""
    items = metrics.items() if isinstance(metrics, Mapping) else enumerate(metrics)
    for key, value in items:
        inner = f"{name}.{key}" if name else str(key)
        if isinstance(value, Mapping | list):
            yield from leaves(value, inner)
        else:
            yield inner, value


def tolerance_of(name: str) -> Tolerance | None:
    """The tolerance of a metric.

    Raises
    ------
    BorderError
        If none is stated.
    """
    for pattern, tolerance in TOLERANCES.items():
        if fnmatchcase(name, pattern):
            return tolerance
    raise BorderError(f"no tolerance is stated for {name}; add a pattern to analysis.tools.verify.TOLERANCES")


def _allowed(tolerance: Tolerance, name: str, here: Mapping, there: Mapping) -> float:
    """Largest difference that a tolerance allows of one number."""
    expected = there.get(name)
    size = abs(expected) if isinstance(expected, int | float) else 0.0
    stem, _, last = name.rpartition(".")
    beside = f"{stem}_err.{last}" if last.isdigit() else f"{name}_err"
    error = math.hypot(*(metrics.get(beside) or 0.0 for metrics in (here, there)))
    return tolerance.absolute + tolerance.relative * size + tolerance.errors * error


def _agrees(value: object, expected: object, allowed: float) -> bool:
    """Whether two values lie within what is allowed of each other; text, and what is absent, must be the same."""
    if isinstance(value, int | float) and isinstance(expected, int | float):
        rounding = (
            0.0 if isinstance(expected, int) else 10.0 ** (1 - DIGITS) * abs(expected)
        )  # of the digits that are written
        return abs(value - expected) <= allowed * (1 + 1e-9) + rounding
    return value == expected


def _shown(value: object) -> str:
    """A value for a table."""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
