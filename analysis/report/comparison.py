"""Two sets of metrics compared, number by number, and the claims that a reader may check.

Two machines differ in the last digit of a sum, the training then follows a slightly different path, and so do the
samples. So numbers are compared, not files; `analysis/judge/definitions.yaml` has the tolerance of each metric.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from analysis.core.files import DIGITS
from analysis.judge.definitions import Tolerance, described, dotted
from analysis.report.typeset import markdown, number

TABLE = Path(__file__).with_name("comparison.yaml")


class Compared(NamedTuple):
    """A number of a run beside the published one.

    Attributes
    ----------
    name : dotted, with its position where it is of a list
    value, expected : of the run, and published; None where there is none
    allowed : largest difference that its tolerance allows
    agrees : whether they differ by no more
    """

    name: str
    value: object
    expected: object
    allowed: float
    agrees: bool


def compared(metrics: Mapping, published: Mapping) -> Iterator[Compared]:
    """Every number that has a tolerance, of two sets of metrics."""
    here, there = dotted(metrics), dotted(published)
    for name in sorted(here.keys() | there.keys()):
        tolerance = described(name).tolerance
        if tolerance is None:
            continue
        values, expected = (dict(_entries(name, metrics[name])) if name in metrics else {} for metrics in (here, there))
        errors = [dict(_entries(name, metrics.get(f"{name}_err", []))) for metrics in (here, there)]
        for entry in sorted(values.keys() | expected.keys()):
            pair = values.get(entry), expected.get(entry)
            allowed = _allowed(tolerance, pair[1], [each.get(entry) or 0.0 for each in errors])
            yield Compared(entry, *pair, allowed, _agrees(*pair, allowed))


@cache
def claims() -> list[dict[str, str]]:
    """Every entry of `comparison.yaml`: its `claim`, `metric` and `stage`."""
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def claims_compared(metrics: Mapping, published: Mapping) -> list[tuple[str, Compared]]:
    """Each claim with the number that it rests on, of a run and published; without those that neither has."""
    numbers = {found.name: found for found in compared(metrics, published)}
    return [(entry["claim"], numbers[entry["metric"]]) for entry in claims() if entry["metric"] in numbers]


def claims_table(metrics: Mapping, times: Mapping[str, Mapping]) -> str:
    """Each claim with its published number, how far a run may differ, and what makes it, as Markdown.

    Parameters
    ----------
    metrics : published, of `data/validation/metrics.json`
    times : of the stages, by stage or item
    """
    stages, rows = {entry["claim"]: entry["stage"] for entry in claims()}, []
    for claim, found in claims_compared(metrics, metrics):
        stage = stages[claim]
        items = [cost["wall_s"] for name, cost in times.items() if name == stage or name.startswith(f"{stage}_")]
        digits = described(found.name).digits or ",.0f"
        minutes = f"{sum(items) / 60:.1f}" if items else ""
        yes_no = {True: "yes", False: "no"} if isinstance(found.expected, bool) else {}
        told = yes_no.get(found.expected) or number(found.expected, digits)
        allowed = number(found.allowed, digits) if found.allowed else "nothing"
        rows.append([claim, found.name, told, allowed, f"`dvc repro {stage}`", minutes])
    return markdown(["claim", "metric", "released", "a run may differ by", "made by", "minutes"], rows)


def _entries(name: str, value: object) -> Iterator[tuple[str, object]]:
    """A metric by its name, or each number of a list by name and position."""
    if isinstance(value, list):
        for position, each in enumerate(value):
            yield from _entries(f"{name}.{position}", each)
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
