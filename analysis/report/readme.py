"""The numbers of README.md: tables between markers, made from the released metrics and times, never typed."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from astropy.table import Table

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import DATA, ROOT
from analysis.core.tables import load_table
from analysis.judge.released import (
    DEFAULT,
    RELEASED,
    released_calibration,
    released_clusters,
    released_networks,
    released_validation,
)
from analysis.params.load import composed
from analysis.report.network_tables import networks_table, runs_table
from analysis.report.result_tables import clusters_table, detection_table, faults_table
from analysis.report.tables import (
    ablation_table,
    accuracy_table,
    benchmark_table,
    calibration_table,
    checks_table,
    simulations_table,
    stage_table,
    survey_table,
)

ABLATION = DATA / "released" / "ablation.ecsv"
FAULTS = DATA / "released" / "faults.json"


def main() -> None:
    """Fill README.md from the released metrics and times."""
    text = filled_readme()
    with atomic(ROOT / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def filled_readme() -> str:
    """README.md with every table made anew from what was released."""
    return _with_tables((ROOT / "README.md").read_text(encoding="utf-8"), tables_of(RELEASED / DEFAULT))


def tables_of(data: Path) -> dict[str, Callable[[], str]]:
    """Every generated table by name, of the metrics and times in a folder: `data`, or that of the release."""
    times = {file.stem: read_json(file) for file in sorted((data / "timings").glob("*.json"))}
    stages = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    metrics = read_json(data / "validation" / "metrics.json")
    return tables(stages, metrics, times, released_results(), benchmark=benchmark(data), variants=variants())


def released_results() -> dict:
    """Calibration and validation of the profile reference, every network, and what faults did, as released."""
    return {
        "calibration": released_calibration("reference"),
        "validation": released_validation("reference"),
        "clusters": released_clusters("reference"),
        "networks": released_networks(),
        "runs": released_runs(),
        "faults": read_json(FAULTS) if FAULTS.is_file() else {},
    }


def released_runs(folder: Path = RELEASED) -> dict[str, list[dict]]:
    """What `draw --keep` kept of runs with released networks, by profile."""
    found = {}
    for path in sorted(folder.glob("*/run_*.json")):
        found.setdefault(path.parent.name, []).append(read_json(path))
    return found


def benchmark(data: Path) -> dict:
    """What the stage benchmark measured, and of which maps; nothing where it was not run."""
    path, settings = data / "benchmark" / "metrics.json", composed(DEFAULT)
    maps = {"pixel_arcmin": settings["grid"]["pixel_arcmin"], "margin": settings["train"]["margin"]}
    return maps | read_json(path) if path.is_file() else {}


def variants() -> Table | None:
    """What `make ablation` found; None where it was not run."""
    return load_table(ABLATION) if ABLATION.is_file() else None


def filled(
    text: str,
    stages: str,
    metrics: Mapping,
    times: Mapping[str, Mapping],
    released: Mapping,
    *,
    benchmark: Mapping,
    variants: Table | None,
) -> str:
    """A README with every generated table made anew.

    Parameters
    ----------
    text : README.md
    stages, metrics, times, released, benchmark, variants : as for `tables`

    Raises
    ------
    BorderError
        If a marker names no table, or a table has no marker.
    """
    return _with_tables(text, tables(stages, metrics, times, released, benchmark=benchmark, variants=variants))


def tables(
    stages: str,
    metrics: Mapping,
    times: Mapping[str, Mapping],
    released: Mapping,
    *,
    benchmark: Mapping,
    variants: Table | None,
) -> dict[str, Callable[[], str]]:
    """Every generated table by name, each made when it is called.

    Parameters
    ----------
    stages : dvc.yaml
    metrics : data/validation/metrics.json
    times : data/timings, by stage or item
    released : as `released_results` gives it
    benchmark : metrics of the stage benchmark, which stands outside the default run
    variants : table of `make ablation`, None without one
    """
    longer = released["validation"]
    runs = {"quick": metrics} | ({"reference": longer["metrics"]} if longer else {})
    return {
        "stages": lambda: stage_table(yaml.safe_load(stages)["stages"], times),
        "accuracy": lambda: accuracy_table(runs) + _warned(longer),
        "checks": lambda: checks_table(runs),
        "calibration": lambda: calibration_table(released["calibration"], metrics["calibration"]),
        "clusters": lambda: clusters_table(clusters_of(metrics, released)) + _warned(released["clusters"]),
        "detection": lambda: detection_table(metrics["detection"]),
        "simulations": lambda: simulations_table(metrics),
        "benchmark": lambda: benchmark_table(benchmark),
        "survey": lambda: survey_table(benchmark),
        "networks": lambda: networks_table(released["networks"]),
        "runs": lambda: runs_table(released["runs"]),
        "ablation": lambda: ablation_table(variants),
        "faults": lambda: faults_table(released["faults"]),
    }


def clusters_of(metrics: Mapping, released: Mapping) -> dict[str, Mapping]:
    """Metrics of the stage clusters by profile: of the run in the tree, and of the released one if there is one."""
    longer = released["clusters"]
    return {"quick": metrics} | ({longer["profile"]: longer["metrics"]} if longer else {})


def _warned(part: Mapping) -> str:
    """A line below a table, if code has moved since what it shows was released."""
    return f"\n\nWarning: {part['warning']}." if part.get("warning") else ""


def _with_tables(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A README with each table between its markers."""
    found = set(re.findall(r"<!-- begin (\w+) -->", text))
    if found != set(tables):
        raise BorderError(
            f"README.md has markers for {', '.join(sorted(found)) or 'nothing'}, but the tables are"
            f" {', '.join(sorted(tables))}; write `<!-- begin NAME -->` and `<!-- end NAME -->` once for each"
        )
    for name, table in tables.items():
        text = _replaced(text, name, table)
    return text


def _replaced(text: str, name: str, table: Callable[[], str]) -> str:
    """`text` with what stands between the markers of `name` replaced."""
    pattern = rf"(<!-- begin {name} -->\n).*?(\n?<!-- end {name} -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{table()}\n{match[2].lstrip()}", text, count=1, flags=re.DOTALL)
