"""Every metric of `data/validation/metrics.json`: what it means, its digits, and how far two runs may differ.

The metrics are described in `definitions.yaml`. `make verify`, the tables, README.md and the paper read them from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml

from analysis.core.files import BorderError

TABLE = Path(__file__).with_name("definitions.yaml")


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from the published one: |a - b| <= absolute + relative |b| + errors x standard error."""

    absolute: float = 0.0
    relative: float = 0.0
    errors: float = 0.0


@dataclass(frozen=True)
class Metric:
    """What is known of a metric.

    Attributes
    ----------
    pattern : name in `definitions.yaml`, perhaps with wildcards
    definition : what the number means
    digits : Python's format of the number in tables and text, empty for whole numbers and settings
    tolerance : None for a number that `make verify` does not compare
    """

    pattern: str
    definition: str
    digits: str
    tolerance: Tolerance | None


def described(name: str) -> Metric:
    """The description of a metric: the entry of `definitions.yaml` that fits its dotted name most closely.

    Raises
    ------
    BorderError
        If no entry fits.
    """
    fitting = [pattern for pattern in metrics_described() if fnmatchcase(name, pattern)]
    if not fitting:
        raise BorderError(f"the metric {name} is not described; add an entry to analysis/judge/{TABLE.name}")
    return metrics_described()[max(fitting, key=lambda pattern: len(pattern.replace("*", "")))]


@cache
def metrics_described() -> dict[str, Metric]:
    """Every entry of `definitions.yaml` by its name."""
    entries = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    tolerances = {"same": Tolerance(), "any": None}
    return {
        pattern: Metric(
            pattern,
            entry["definition"],
            entry.get("digits", ""),
            Tolerance(**limits) if isinstance(limits := entry["tolerance"], dict) else tolerances[limits],
        )
        for pattern, entry in entries.items()
    }


def definitions(metrics: Mapping) -> dict[str, str]:
    """The definition of each metric, by its dotted name."""
    return {name: described(name).definition for name in dotted(metrics)}


def dotted(metrics: Mapping, prefix: str = "") -> dict[str, object]:
    """Values of nested mappings by their keys, joined by dots; lists stay whole."""
    found = {}
    for key, value in metrics.items():
        found |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
