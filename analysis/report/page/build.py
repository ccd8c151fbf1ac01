"""Build the page from the files of this tree; missing files are left out, and both page and terminal say so."""

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import PIL.Image
import yaml
from markupsafe import Markup, escape

from analysis.core.files import BorderError, atomic, read_json
from analysis.core.paths import ROOT
from analysis.judge.results import load_result, results_shown
from analysis.params import Params, load_params
from analysis.report.page.origin import commit_of, origin_of, recorded_stages
from analysis.report.readme import tables_of

if TYPE_CHECKING:
    from analysis.report.page.explorer import Explorer

HERE = Path(__file__).parent
SITE = "paper/site/index.html"
CAPTIONS = yaml.safe_load((HERE / "figures.yaml").read_text(encoding="utf-8"))
FIRST = "figure2_cosmos"  # the picture on top
WIDTH = 1500  # pixels of a picture, twice its width on a laptop
QUALITY = 82  # of WebP
TABLES = {  # of `readme.tables`, with their titles
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
    """Write `paper/site/index.html` with the explorer of the run `name`, and print what it lacks."""
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
    missing = [sentence.replace(f"{root}/", "") for sentence in missing]  # the same page wherever the project lies
    scripts = explored.scripts if explored else []
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"params": lambda params: json.dumps(params, indent=1, sort_keys=True), "inline": inline}
    text = environment.from_string((HERE / "page.html").read_text(encoding="utf-8")).render(
        policy=content_security_policy(scripts),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        profile=params.profile,
        commit=commit_of(root),
        first=next((picture for picture in pictures if picture["name"] == FIRST), None),
        pictures=[picture for picture in pictures if picture["name"] != FIRST],
        tables=shown,
        explorer=explored,
        missing=missing,
    )
    return Page(text, tuple(missing))


def content_security_policy(scripts: list[str]) -> str:
    """The policy of the page: it may run these scripts and show what it embeds, and may use no network."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none';"
        " form-action 'none'"
    )


def inline(markdown: str) -> Markup:
    """A piece of Markdown as HTML; links become plain text, since the page stands alone."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    unbroken = str(escape(plain)).replace(" ± ", "\u00a0±\u00a0")  # a value and its error on one line
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", unbroken))


def figure_path(name: str, root: Path) -> str:
    """Path, from `root`, of a figure of the run in the tree, else of the released one."""
    made = f"figures/run/{name}.png"
    return made if (root / made).is_file() else f"figures/{name}.png"


def _pictures(root: Path, missing: list[str]) -> list[dict]:
    """Every figure that is there."""
    stages = recorded_stages(root)
    times = {file.stem: read_json(file) for file in sorted((results_shown(root) / "timings").glob("*.json"))}
    there = [name for name in CAPTIONS if (root / figure_path(name, root)).is_file()]
    lost = [f"{name}.png" for name in CAPTIONS if name not in there]
    if lost:
        missing.append(f"figures/{', '.join(lost)}: not there; `dvc repro` draws all figures.")
    return [_picture(name, stages, times, root) for name in there]


def _picture(name: str, stages: Mapping[str, Mapping], times: Mapping[str, Mapping], root: Path) -> dict:
    """The figure `name` as WebP, the origin of figure and data by the records `stages`, the seconds of its stage."""
    path, content = figure_path(name, root), io.BytesIO()
    with PIL.Image.open(root / path) as full:
        width = min(WIDTH, full.width)
        height = round(width * full.height / full.width)
        full.convert("RGB").resize((width, height), PIL.Image.Resampling.LANCZOS).save(content, "WEBP", quality=QUALITY)
    origin = origin_of(path, stages, root, made_as=f"figures/run/{name}.png")
    return {
        "name": name,
        "caption": CAPTIONS[name]["caption"],
        "address": f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}",
        "width": width,
        "height": height,
        "origin": origin,
        "commit": commit_of(root, path),
        "seconds": times.get(origin.stage.replace("@", "_"), {}).get("wall_s"),
        "sources": [origin_of(source, stages, root) for source in CAPTIONS[name]["data"] if (root / source).exists()],
    }


def _tables(tables: Callable[[], Mapping[str, Callable[[], str]]], missing: list[str]) -> list[dict]:
    """Every table that can be made: `name`, `title`, rows of cells, and the lines after the table."""
    try:
        made = tables()
    except BorderError as error:
        missing.append(f"tables: {error}")
        return []
    shown = []
    for name, title in TABLES.items():
        try:
            lines = made[name]().splitlines()
        except KeyError as error:
            missing.append(f"table of {name}: the metrics have no {error}; `dvc repro` measures what is missing.")
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        after = [line for line in lines if line and not line.startswith("|")]
        shown.append({"name": name, "title": title, "header": rows[:1], "rows": rows[2:], "after": after})
    return shown


def _explorer(params: Params, name: str, root: Path, missing: list[str]) -> "Explorer | None":
    """The explorer of a run, None if a file that it needs is missing."""
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
        listed = params.sample.fields[name].observation.replace(".fits", "_clusters.ecsv")
        missing.append(
            f"clusters: {listed} is not there or lists none that was observed; `dvc repro catalogue` makes it."
        )
    kept, drawn = explored.facts["samples"], explored.facts["all_samples"]
    if kept < drawn:
        missing.append(
            f"samples: {drawn - kept} of {drawn}, since the page would be too large; data/samples/{name}.fits has all."
        )
    return explored
