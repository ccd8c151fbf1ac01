"""The page from what lies in the tree: whatever is missing is left out, and told there and on the terminal."""

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import ROOT
from analysis.judge.released import results_shown
from analysis.judge.results import load_result
from analysis.params import Params, load_params
from analysis.report.page.markup import html_table
from analysis.report.page.origin import commit_of, recorded_stages
from analysis.report.page.pictures import CAPTIONS, Picture, figure_path, picture
from analysis.report.readme import tables_of

if TYPE_CHECKING:
    from analysis.report.page.explorer import Explorer

HERE = Path(__file__).parent
SITE = "paper/site/index.html"
FIRST = "figure2_cosmos"  # the picture on top
TABLES = {  # of `readme.tables`: what each says
    "accuracy": "Errors and correlations of every method on mocks",
    "checks": "What was asked, and what was found",
    "clusters": "How often samples show clusters and injected halos",
    "detection": "Peaks found blind on mocks",
    "calibration": "Ranks of true maps among posterior samples",
    "simulations": "The simulations against theory and a public map",
    "benchmark": "What a sample costs",
    "survey": "What a survey would cost",
    "ablation": "What each choice of network and training is worth",
    "networks": "Networks that are kept",
    "runs": "Fields sampled with these networks",
    "stages": "The stages, and what they took",
}


@dataclass(frozen=True)
class Page:
    """A page and what it lacks.

    Attributes
    ----------
    text : HTML
    missing : a sentence for each thing left out, with its remedy
    """

    text: str
    missing: tuple[str, ...]


def main(name: str) -> None:
    """Write `paper/site/index.html` with the explorer of the run `name`, and say what it lacks."""
    page = build(load_params(), name, ROOT, lambda: tables_of(results_shown()))
    path = ROOT / SITE
    with atomic(path) as temporary:
        temporary.write_text(page.text, encoding="utf-8")
    for sentence in page.missing:
        print(f"left out: {sentence}", file=sys.stderr)
    print(f"{SITE}, {len(page.text.encode()) / 1e6:.1f} MB")


def build(params: Params, name: str, root: Path, tables: Callable[[], Mapping[str, Callable[[], str]]]) -> Page:
    """The page of the results in `root`.

    Parameters
    ----------
    params : of the project
    name : run of `sample.fields` to explore
    root : project, with `figures`, `data` and `dvc.lock`
    tables : gives the generated tables, as `readme.tables_of`
    """
    missing: list[str] = []
    pictures = _pictures(root, missing)
    shown = _tables(tables, missing)
    explored = _explorer(params, name, root, missing)
    missing = [sentence.replace(f"{root}/", "") for sentence in missing]  # wherever the project lies
    scripts = explored.scripts if explored else []
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["params"] = lambda params: json.dumps(params, indent=1, sort_keys=True)
    text = environment.from_string((HERE / "page.html").read_text(encoding="utf-8")).render(
        policy=content_security_policy(scripts),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        profile=params.profile,
        commit=commit_of(root),
        first=next((shown for shown in pictures if shown.name == FIRST), None),
        pictures=[shown for shown in pictures if shown.name != FIRST],
        tables=shown,
        explorer=explored,
        missing=missing,
    )
    return Page(text, tuple(missing))


def content_security_policy(scripts: list[str]) -> str:
    """What the page may do: run these scripts and no other, show what it embeds, and ask nothing of any network."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none';"
        " form-action 'none'"
    )


def _pictures(root: Path, missing: list[str]) -> list[Picture]:
    """Every figure that is there."""
    stages = recorded_stages(root)
    times = {file.stem: read_json(file) for file in sorted((results_shown(root) / "timings").glob("*.json"))}
    there = [name for name in CAPTIONS if (root / figure_path(name, root)).is_file()]
    lost = [f"{name}.png" for name in CAPTIONS if name not in there]
    if lost:
        missing.append(f"figures/{', '.join(lost)}: not there; `dvc repro` draws all figures.")
    return [picture(name, stages, times, root) for name in there]


def _tables(tables: Callable[[], Mapping[str, Callable[[], str]]], missing: list[str]) -> list[dict]:
    """Every table that can be made, as HTML with its title."""
    try:
        made = tables()
    except BorderError as error:
        missing.append(f"tables: {error}")
        return []
    shown = []
    for name, title in TABLES.items():
        try:
            shown.append({"name": name, "title": title, "html": html_table(made[name](), title)})
        except KeyError as error:
            missing.append(f"table of {name}: the metrics have no {error}; `dvc repro` measures what is missing.")
    return shown


def _explorer(params: Params, name: str, root: Path, missing: list[str]) -> "Explorer | None":
    """The explorer of a run, None where something that it needs is missing."""
    if not find_spec("bokeh"):
        missing.append('the explorer: Bokeh is not installed; `pip install -e ".[page]"` installs it.')
        return None
    from analysis.report.page.explorer import explorer

    if name not in params.sample.fields:
        missing.append(f"the explorer: sample.fields has no run {name!r}; name one: {', '.join(params.sample.fields)}.")
        return None
    try:
        result = load_result(root, name, params.sample.fields[name])
    except BorderError as error:
        missing.append(f"the explorer: {error} Or `dvc repro sample@{name} baselines@{name}` makes all that it needs.")
        return None
    explored = explorer(name, result, params)
    if not len(result.clusters):
        observation = Path(params.sample.fields[name].observation)
        listed = observation.with_name(f"{observation.stem}_clusters.ecsv")
        missing.append(
            f"clusters: {listed} is not there or lists none that was observed; `dvc repro catalogue` makes it."
        )
    if explored.facts["samples"] < explored.facts["all_samples"]:
        missing.append(
            f"samples: {explored.facts['all_samples'] - explored.facts['samples']} of {explored.facts['all_samples']},"
            f" which would make the page too large; data/samples/{name}.fits has all."
        )
    return explored
