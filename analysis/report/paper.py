"""The paper: its numbers and tables from the released results, and its PDF.

`paper/macros.yaml` lists every number that the text quotes, by the name of its macro.
"""

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import yaml
from astropy.table import Table

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import ROOT
from analysis.core.tables import load_table
from analysis.judge.results import DEFAULT, released_results
from analysis.params.load import composed
from analysis.report.pdf import build_pdf
from analysis.report.readme import benchmark, clusters_of
from analysis.report.readme_tables import halofit_range
from analysis.report.tables import (
    accuracy_table,
    calibration_table,
    checks_table,
    cluster_list,
    clusters_table,
    detection_table,
    rivals_table,
)
from analysis.report.typeset import digits_of, error_of, found, latex, latex_number

PAPER = ROOT / "paper"
MACROS = PAPER / "macros.yaml"
TIMED = ("rivals", "validate")  # stages that measure the cost of a map by each method
METRICS = {"quick": "", "reference": "", "calibration": "calibration/", "clusters": ""}  # of macros, and their section


def main() -> None:
    """Write numbers and tables of the paper from the released results, then its PDF."""
    for name, text in generated(measured()).items():
        with atomic(PAPER / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    build_pdf(PAPER)


def measured(root: Path = ROOT) -> dict:
    """Everything that the paper quotes: released metrics and settings of the profiles quick and reference, and costs.

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
        "beside": beside(load_table(root / "data" / "released" / "glimpse.ecsv")),
        "suites": read_json(root / "data" / "released" / "suites.json")["suites"],
        "training": read_json(data / "training.json"),
        "run": whole_run(data, root),
    }


def beside(table: Table) -> dict[str, dict]:
    """S/N of stacked clusters, and correlations by band, of maps beside a public one (`make glimpse`), by map."""
    bands = [name for name in table.colnames if name.startswith("ell_")]
    return {
        "snr": {row["map"]: float(row["snr"]) for row in table},
        "correlation": {row["map"]: [float(row[band]) for band in bands] for row in table},
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
    commands = [rf"\newcommand{{\{name}}}{{{text}}}" for name, text in macros(sources).items()]
    sentence = f"{warning[:1].upper()}{warning[1:]}." if warning else ""
    lines = ["% made by `make paper`", *commands, rf"\newcommand{{\ReferenceWarning}}{{{sentence}}}"]
    tables = {
        "accuracy": accuracy_table(runs, latex),
        "checks": checks_table(runs, latex),
        "rivals": rivals_table(sources["rivals"], sources["seconds"], latex),
        "clusters": clusters_table(clusters_of(sources["quick"], released), latex),
        "detection": detection_table(sources["quick"]["detection"], latex),
        "list": cluster_list(sources["list"], latex),
        "calibration": calibration_table(released["calibration"], sources["quick"]["calibration"], latex),
    }
    files = {f"tables/{name}.tex": text for name, text in tables.items()} | {"numbers.tex": "\n".join(lines)}
    return {name: f"{text}\n" for name, text in files.items()}


def macros(sources: Mapping) -> dict[str, str]:
    """Text of every macro of `paper/macros.yaml`, for LaTeX's math mode.

    Parameters
    ----------
    sources : of `measured`

    Raises
    ------
    BorderError
        If a number is missing; the sentence names it.
    """
    listed = yaml.safe_load(MACROS.read_text(encoding="utf-8"))
    try:
        sources = {**sources, "derived": derived(sources)}
    except KeyError as error:
        raise BorderError(f"the paper needs {error}, which was not measured; run the stage that measures it") from error
    entries = {name: [entry] if isinstance(entry, str) else entry for name, entry in listed.items()}
    return {name: macro(sources, name, *entry) for name, entry in entries.items()}


def macro(sources: Mapping, name: str, path: str, digits: str = "") -> str:
    """Text of one macro: the number at a path, with its error where one was measured.

    Raises
    ------
    BorderError
        If the number is missing or has no value.
    """
    kind, _, rest = path.partition("/")
    if kind == "code":
        return latex_number(constant(*rest.split("/", 1)), digits)
    try:
        value = found(sources, path)
    except KeyError as error:
        raise BorderError(
            f"{path}, the number of the paper's \\{name}, is missing ({error} is not there); run the stage or the"
            " release that measures it, or take the macro out of paper/macros.yaml and paper/main.tex"
        ) from error
    if value is None:
        raise BorderError(
            f"{path}, the number of the paper's \\{name}, has no value in this run; take the macro out of"
            " paper/macros.yaml and paper/main.tex"
        )
    if kind not in METRICS:
        return latex_number(value, digits)
    return latex_number(value, digits or digits_of(METRICS[kind] + rest), error_of(sources, path))


def constant(module: str, path: str) -> object:
    """Value of a constant of a module, or of one entry of it.

    Parameters
    ----------
    module : such as `analysis.judge.detection`
    path : name of the constant, perhaps with a position, as in `EDGES/0`

    Raises
    ------
    BorderError
        If there is no such constant.
    """
    try:
        return found(vars(import_module(module)), path)
    except (ImportError, KeyError):
        raise BorderError(
            f"{module} has no constant {path}, which the paper quotes; give its new name in paper/macros.yaml"
        ) from None


def derived(sources: Mapping) -> dict:
    """Numbers of the paper that are computed from measured and set ones."""
    settings, low_high = sources["settings"], halofit_range(sources["quick"]["simulations"])
    by_profile = {}
    for profile in ("quick", "reference"):
        train = settings[profile]["train"]
        errors = {name: error for name, error in sources[profile]["train"].items() if name.startswith("error_")}
        best = min(errors, key=errors.get)
        by_profile[profile] = {
            "steps": math.prod((train["epochs"], train["steps_per_epoch"])),
            "best_error": errors[best],
            "best_sigma": best.removeprefix("error_"),
            "band_power_err": max(sources[profile]["prior"]["band_power_ratio_err"]),
        }
    return by_profile | {
        "side_deg": settings["quick"]["grid"]["pixels"] * settings["quick"]["grid"]["pixel_arcmin"] / 60,
        "halofit_low": low_high[0],
        "halofit_high": low_high[1],
        "run_minutes": sources["run"]["wall_s"] / 60,
        "training_minutes": sources["training"]["seconds"] / 60,
        "second_agreement": max(
            abs(ratio - 1) for ratio in sources["calibration"]["second"]["agreement"]["band_ratio"]
        ),
        "self_moved": max(
            abs(z) for name, z in sources["calibration"]["self"]["moved_z"].items() if name.startswith("band_")
        ),
    }
