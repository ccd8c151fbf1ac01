"""The paper: its numbers and tables from what was measured, and its PDF.

`numbers` has every number that the text quotes, by the name of its macro, `digits` how it is written, `latex` the PDF.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import ROOT
from analysis.core.tables import load_table
from analysis.judge.released import DEFAULT
from analysis.params.load import composed
from analysis.report.paper.latex import build_pdf
from analysis.report.paper.numbers import macros
from analysis.report.readme import benchmark, clusters_of, released_results
from analysis.report.result_tables import cluster_list, clusters_table, detection_table, rivals_table
from analysis.report.tables import accuracy_table, calibration_table, checks_table
from analysis.report.typeset import latex

PAPER = ROOT / "paper"
TIMED = ("rivals", "validate")  # stages that say what a map costs by a method


def main() -> None:
    """Write numbers and tables of the paper from the released results, then its PDF."""
    for name, text in generated(measured()).items():
        with atomic(PAPER / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    build_pdf(PAPER)


def measured(root: Path = ROOT) -> dict:
    """What the paper quotes: released metrics of the profiles quick and reference, settings of both, costs.

    Raises
    ------
    BorderError
        If nothing was released.
    """
    released = released_results()
    for part in ("validation", "calibration", "clusters"):
        if not released[part]:
            raise BorderError(f"no {part} of the profile reference is released; `make release` keeps that of a run")
    data = root / "data" / "released" / DEFAULT
    return {
        "quick": read_json(data / "validation" / "metrics.json"),
        "reference": released["validation"]["metrics"],
        "calibration": released["calibration"]["metrics"],
        "clusters": released["clusters"]["metrics"],
        "released": released,
        "settings": {name: composed(name, root=root) for name in ("quick", "reference")},
        "rivals": load_table(data / "validation" / "rivals.ecsv"),
        "seconds": {k: v for stage in TIMED for k, v in read_json(data / "seconds" / f"{stage}.json").items()},
        "list": load_table(data / "clusters" / "results" / "cosmos_clusters.ecsv"),
        "benchmark": benchmark(data),
        "training": read_json(data / "training.json"),
        "run": whole_run(data, root),
    }


def whole_run(data: Path, root: Path = ROOT) -> dict[str, float]:
    """Wall time of all stages of the default pipeline, and the largest memory of one, as measured in `data/timings`."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    files = [path for path in sorted((data / "timings").glob("*.json")) if path.stem.split("_")[0] in stages]
    costs = [read_json(path) for path in files]
    return {
        "wall_s": sum(cost["wall_s"] for cost in costs),
        "peak_memory_gb": max((cost["peak_memory_gb"] for cost in costs), default=0.0),
    }


def generated(sources: Mapping) -> dict[str, str]:
    """Text of every file of `paper/` that is made of measurements, by its name."""
    released, runs = sources["released"], {name: sources[name] for name in ("quick", "reference")}
    warning = released["validation"]["warning"]
    told = {name: rf"\newcommand{{\{name}}}{{{text}}}" for name, text in macros(sources).items()}
    sentence = f"{warning[:1].upper()}{warning[1:]}." if warning else ""
    lines = ["% made by `make paper`", *told.values(), rf"\newcommand{{\ReferenceWarning}}{{{sentence}}}"]
    return {
        "numbers.tex": "\n".join(lines) + "\n",
        "tables/accuracy.tex": accuracy_table(runs, latex) + "\n",
        "tables/checks.tex": checks_table(runs, latex) + "\n",
        "tables/rivals.tex": rivals_table(sources["rivals"], sources["seconds"], latex) + "\n",
        "tables/clusters.tex": clusters_table(clusters_of(sources["quick"], released), latex) + "\n",
        "tables/detection.tex": detection_table(sources["quick"]["detection"], latex) + "\n",
        "tables/list.tex": cluster_list(sources["list"], latex) + "\n",
        "tables/calibration.tex": calibration_table(released["calibration"], sources["quick"]["calibration"], latex)
        + "\n",
    }
