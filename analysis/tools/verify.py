"""Compare the metrics of this run with the published ones of its profile, each within its tolerance.

Two machines differ in the last digit of a sum, the training then follows a slightly different path, and so do the
samples. So numbers are compared, not files; `analysis/judge/definitions.yaml` has the tolerance of each metric.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from analysis.core.files import DIGITS, BorderError, read_json
from analysis.core.paths import ROOT
from analysis.judge.definitions import Tolerance, described, dotted
from analysis.params import load_params

RUN = "data/validation/metrics.json"


def main() -> None:
    """Compare `data/validation/metrics.json` with the published metrics of its profile, and print what differs.

    Raises
    ------
    BorderError
        If there is nothing to compare, or a number lies outside its tolerance.
    """
    profile = load_params().profile
    rows = list(compared(read_json(ROOT / RUN), published_metrics(profile)))
    outside = [row for row in rows if not row[-1]]
    for name, value, expected, allowed, _ in outside:
        print(f"{name:50} {_shown(value):>12}   published {_shown(expected):>12}   may differ by {_shown(allowed)}")
    if outside:
        raise BorderError(
            f"{len(outside)} of {len(rows)} numbers of this run differ from the published ones of the profile"
            f" {profile}; if you changed code or parameters on purpose, this is the effect of the change"
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
            " `make release` publishes those of a run"
        )
    return read_json(released)


def compared(found: Mapping, published: Mapping) -> Iterator[tuple[str, object, object, float, bool]]:
    """Name, value, published value, allowed difference, and whether they agree, of every number with a tolerance."""
    here, there = dotted(found), dotted(published)
    for name in sorted(here.keys() | there.keys()):
        tolerance = described(name).tolerance
        if tolerance is None:
            continue
        values, expected = (dict(entries(name, metrics[name])) if name in metrics else {} for metrics in (here, there))
        errors = [dict(entries(name, metrics.get(f"{name}_err", []))) for metrics in (here, there)]
        for entry in sorted(values.keys() | expected.keys()):
            pair = values.get(entry), expected.get(entry)
            allowed = _allowed(tolerance, pair[1], [each.get(entry) or 0.0 for each in errors])
            yield entry, *pair, allowed, _agrees(*pair, allowed)


def entries(name: str, value: object) -> Iterator[tuple[str, object]]:
    """A metric by its name, or each number of a list by name and position."""
    if isinstance(value, list):
        for position, each in enumerate(value):
            yield from entries(f"{name}.{position}", each)
    else:
        yield name, value


def _allowed(tolerance: Tolerance, expected: object, errors: list[float]) -> float:
    """Largest difference that a tolerance allows of one number, given its standard errors in both runs."""
    size = abs(expected) if isinstance(expected, int | float) else 0.0
    return tolerance.absolute + tolerance.relative * size + tolerance.errors * math.hypot(*errors)


def _agrees(value: object, expected: object, allowed: float) -> bool:
    """Whether two numbers differ by no more than is allowed; texts and missing values must be the same."""
    if isinstance(value, int | float) and isinstance(expected, int | float):
        # metrics are written with DIGITS significant digits
        rounding = 0.0 if isinstance(expected, int) else 10.0 ** (1 - DIGITS) * abs(expected)
        return abs(value - expected) <= allowed * (1 + 1e-9) + rounding
    return value == expected


def _shown(value: object) -> str:
    """A value for a table."""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
