"""README.md and the guide's results: their tables, made from the released metrics and times and put between markers."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from astropy.table import Table

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import ROOT
from analysis.core.tables import load_table
from analysis.judge.results import DEFAULT, RELEASED, released_results
from analysis.params.load import composed
from analysis.report.claims import found_table, heaps_table, summary_table
from analysis.report.comparison import claims_table
from analysis.report.readme_tables import (
    ablation_table,
    benchmark_table,
    cost_line,
    networks_table,
    others_table,
    predictive_table,
    runs_table,
    simulations_table,
    stage_table,
    suites_table,
    survey_table,
    weaker_table,
)
from analysis.report.tables import accuracy_table, calibration_table, checks_table, clusters_table, detection_table

PAGES = ("README.md", *(f"paper/guide/{page}.md" for page in ("results", "running")))


def main() -> None:
    """Fill the pages with tables from the released metrics and times."""
    for name, text in filled_pages().items():
        with atomic(ROOT / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def filled_pages() -> dict[str, str]:
    """Each of `PAGES` with its tables made anew from the release."""
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
    return with_tables(pages, tables_of(RELEASED / DEFAULT))


def tables_of(data: Path) -> dict[str, Callable[[], str]]:
    """Every generated table by name, from the metrics and times in `data` (a run) or in a folder of the release."""
    kept = {name: RELEASED / f"{name}.ecsv" for name in ("ablation", "glimpse")}
    kept = {name: load_table(path) if path.is_file() else None for name, path in kept.items()}
    return tables(
        (ROOT / "dvc.yaml").read_text(encoding="utf-8"),
        read_json(data / "validation" / "metrics.json"),
        {file.stem: read_json(file) for file in sorted((data / "timings").glob("*.json"))},
        released_results(),
        benchmark=benchmark(data),
        variants=kept["ablation"],
        beside=kept["glimpse"],
        suites=read_json(RELEASED / "suites.json") if (RELEASED / "suites.json").is_file() else {},
    )


def benchmark(data: Path) -> dict:
    """Metrics of the stage benchmark with pixel scale and margin of its maps; empty if it was not run."""
    path, settings = data / "benchmark" / "metrics.json", composed(DEFAULT)
    maps = {"pixel_arcmin": settings["grid"]["pixel_arcmin"], "margin": settings["train"]["margin"]}
    return maps | read_json(path) if path.is_file() else {}


def tables(
    stages: str,
    metrics: Mapping,
    times: Mapping[str, Mapping],
    released: Mapping,
    *,
    benchmark: Mapping,
    variants: Table | None,
    beside: Table | None,
    suites: Mapping,
) -> dict[str, Callable[[], str]]:
    """Every generated table by name, each made when it is called.

    Parameters
    ----------
    stages : text of dvc.yaml
    metrics : data/validation/metrics.json
    times : data/timings, by stage or item
    released : of `results.released_results`
    benchmark : metrics of the stage benchmark, which is not part of the default run
    variants : table of `make ablation`, None without one
    beside : table of `make glimpse`, None without one
    suites : what `python -m analysis suites` found, empty without it
    """
    longer = released["validation"]
    runs = {"quick": metrics} | ({"reference": longer["metrics"]} if longer else {})
    return {
        "found": lambda: found_table(metrics, released["clusters"].get("metrics", {})),
        "claims": lambda: claims_table(metrics, times),
        "cost": lambda: cost_line(yaml.safe_load(stages)["stages"], times),
        "summary": lambda: summary_table(metrics),
        "ranks": lambda: calibration_table(released["calibration"], metrics["calibration"], short=True),
        "stages": lambda: stage_table(yaml.safe_load(stages)["stages"], times),
        "accuracy": lambda: accuracy_table(runs) + _warned(longer),
        "checks": lambda: checks_table(runs),
        "calibration": lambda: calibration_table(released["calibration"], metrics["calibration"]),
        "clusters": lambda: clusters_table(clusters_of(metrics, released)) + _warned(released["clusters"]),
        "heaps": lambda: heaps_table(clusters_of(metrics, released)),
        "detection": lambda: detection_table(metrics["detection"]),
        "predictive": lambda: predictive_table(metrics),
        "simulations": lambda: simulations_table(metrics),
        "benchmark": lambda: benchmark_table(benchmark),
        "survey": lambda: survey_table(benchmark),
        "networks": lambda: networks_table(released["networks"]),
        "runs": lambda: runs_table(released["runs"]),
        "ablation": lambda: ablation_table(variants),
        "others": lambda: others_table(beside),
        "suites": lambda: suites_table(suites),
        "weaker": lambda: weaker_table(suites),
    }


def clusters_of(metrics: Mapping, released: Mapping) -> dict[str, Mapping]:
    """Metrics of the stage clusters by profile: those in `metrics`, and the released long run if there is one."""
    longer = released["clusters"]
    return {"quick": metrics} | ({longer["profile"]: longer["metrics"]} if longer else {})


def with_tables(pages: Mapping[str, str], tables: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """Pages by name, with each table between its markers.

    Raises
    ------
    BorderError
        If a marker names no table, or a table does not have one marker among all pages.
    """
    marked = sorted(re.findall(r"<!-- begin (\w+) -->", "".join(pages.values())))
    if marked != sorted(tables):
        raise BorderError(
            f"{', '.join(pages)} have markers for {', '.join(marked) or 'nothing'}, but the tables are"
            f" {', '.join(sorted(tables))}; write `<!-- begin NAME -->` and `<!-- end NAME -->` once for each"
        )
    made = {name: table() for name, table in tables.items()}

    def filled(match: re.Match) -> str:
        return f"{match[1]}{made[match[2]]}\n{match[3]}"

    marker = re.compile(r"(<!-- begin (\w+) -->\n).*?\n?(<!-- end \2 -->)", re.DOTALL)
    return {name: marker.sub(filled, text) for name, text in pages.items()}


def _warned(part: Mapping) -> str:
    """A line below a table, if code or parameters have changed since its numbers were released."""
    return f"\n\nWarning: {part['warning']}." if part.get("warning") else ""
