"""Generated parts of paper/guide: every parameter, every figure, and blocks of the architecture page."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from analysis.core.files import atomic
from analysis.core.paths import ROOT
from analysis.core.provenance import pipeline_stages
from analysis.params import Params

GUIDE = ROOT / "paper" / "guide"
PARAMETERS, ARCHITECTURE, GALLERY = GUIDE / "parameters.md", GUIDE / "architecture.md", GUIDE / "figures.md"
KINDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
BOUNDS = {
    "exclusiveMinimum": ">",
    "minimum": "≥",
    "exclusiveMaximum": "<",
    "maximum": "≤",
    "multipleOf": "a multiple of",
}
HEAD = """# Every parameter

`python -m analysis guide` writes this page from the records in `analysis/params`; make changes there. A key stands in
`params.yaml` below its section; `<name>` is a name of your choice. "quick" is the value in the committed `params.yaml`,
which is the profile `quick`; other profiles (`conf/profile/`) change some of them. A wrong key, a value of another type
or one out of range ends every command with a sentence that names it.
"""
GALLERY_HEAD = """# Every figure

`python -m analysis guide` writes this page. The pictures are those of the release, as PNG here and as PDF beside it; a
run makes its own in `figures/run/`, and `dvc repro STAGE` draws those of a stage again. `make figures` draws all of
them from what is kept of each, without a run.
"""


def main() -> None:
    """Write the reference of parameters, the gallery, and the generated blocks of the architecture page."""
    pages = {PARAMETERS: parameters_page(), ARCHITECTURE: architecture_page(), GALLERY: gallery_page()}
    for path, text in pages.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


def parameters_page() -> str:
    """The reference of parameters as Markdown: a table for each section."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    schema = TypeAdapter(Params).json_schema()
    sections, plain = [], []
    for name, field in schema["properties"].items():
        rows = list(_rows(name, field, values.get(name), schema["$defs"]))
        if records := _records(field, schema["$defs"]):
            about = records[0]["description"].partition("\n")[0]
            sections.append(f"## {name}\n\n{about}\n\n{_table(rows[1:])}")
        else:
            plain += rows
    return "\n".join([HEAD, f"## In every section\n\n{_table(plain)}", *sections])


def _rows(key: str, field: Mapping, value: Any, known: Mapping) -> Iterator[tuple[str, str, str, str]]:
    """Key, kind, value in quick and meaning of a field, and of all fields below it."""
    records, entries = _records(field, known), "additionalProperties" in field
    yield key, kind(field), "" if records else _written(field, value), field.get("description", "")
    for record in records:
        values = value if isinstance(value, Mapping) and not entries else {}
        for name, inner in record["properties"].items():
            yield from _rows(
                f"{key}.<name>.{name}" if entries else f"{key}.{name}", inner, values.get(name, ...), known
            )


def _records(field: Mapping, known: Mapping) -> list[Mapping]:
    """The records that a field may hold, directly, in a list or by name."""
    if "$ref" in field:
        return [known[field["$ref"].rpartition("/")[2]]]
    inner = [*_choices(field), *(field[key] for key in ("items", "additionalProperties") if field.get(key))]
    return [record for part in inner for record in _records(part, known)]


def _choices(field: Mapping) -> list[Mapping]:
    """Types that a field may have, where it may have several."""
    return field.get("anyOf", field.get("oneOf", []))


def kind(field: Mapping) -> str:
    """The values that a field takes, in words: type and range, or choices.

    Parameters
    ----------
    field : JSON schema of the field
    """
    if "$ref" in field:
        return "section"
    if _choices(field):
        return " or ".join(dict.fromkeys(kind(part) for part in _choices(field)))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{_plain(choice)}`" for choice in field.get("enum", [field.get("const")]))
    words = [KINDS.get(field["type"], "")]
    if field["type"] == "array":
        words = [f"list ({kind(field['items'])}){_size(field.get('minItems'), field.get('maxItems'))}"]
    elif field["type"] == "object":
        entry = kind(field["additionalProperties"])
        words = [f"entries by name, each a {entry}{_size(field.get('minProperties', field.get('minLength')), None)}"]
    bounds = [f"{word} {field[rule]:g}" for rule, word in BOUNDS.items() if rule in field]
    words = [" ".join([*words, *bounds[:1]]), *bounds[1:]]
    return ", ".join(words + ([f"of the form `{field['pattern']}`"] if "pattern" in field else []))


def _size(least: int | None, most: int | None) -> str:
    """Words for the allowed number of entries."""
    if least == most is not None:
        return f" of {least}"
    return f" of at least {least}" * bool(least) + f", at most {most}" * bool(most)


def _written(field: Mapping, value: Any) -> str:
    """A value as it stands in `params.yaml`; the default where it is left out."""
    left_out = value is ...
    value = field.get("default", ...) if left_out else value
    if value is ... or isinstance(value, Mapping):
        return ""
    return f"`{_plain(value)}`" + " if left out" * left_out


def _plain(value: Any) -> str:
    """A value in YAML, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    """A table in Markdown."""
    lines = ["| key | allowed values | quick | meaning |", "| --- | --- | --- | --- |"]
    cells = [(f"`{key}`", *(cell.replace("|", "\\|") for cell in rest)) for key, *rest in rows]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells), ""])


def architecture_page() -> str:
    """The architecture page with the text between its markers made anew: a diagram, and tables of wings and stages."""
    imports, text = wing_imports(), ARCHITECTURE.read_text(encoding="utf-8")
    blocks = {"diagram": diagram(imports), "wings": wings_table(imports), "stages": stages_table(list(imports))}
    for name, block in blocks.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        text = re.sub(pattern, lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text, flags=re.DOTALL)
    return text


def wing_imports(root: Path = ROOT) -> dict[str, set[str]]:
    """Wings of `analysis/` that each wing imports, highest wing first, in the order that `lint-imports` checks."""
    import grimp  # comes with import-linter

    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    wings = settings["contracts"][0]["layers"]
    graph = grimp.build_graph("analysis", exclude_type_checking_imports=True, cache_dir=None)
    for wing in wings:
        graph.squash_module(f"analysis.{wing}")
    imported = {wing: graph.find_modules_directly_imported_by(f"analysis.{wing}") for wing in wings}
    return {wing: {name.split(".")[1] for name in imported[wing]} & set(wings) - {wing} for wing in wings}


def diagram(imports: Mapping[str, set[str]]) -> str:
    """The wings as a Mermaid graph, without arrows that follow from others."""
    above = {wing: _all_below(wing, imports) for wing in imports}
    arrows = [
        f"    {wing} --> {other}"
        for wing, below in imports.items()
        for other in imports
        if other in below and not any(other in above[between] for between in below)
    ]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```"])


def _all_below(wing: str, imports: Mapping[str, set[str]]) -> set[str]:
    """Wings that a wing imports, directly or through others."""
    return imports[wing].union(*(_all_below(other, imports) for other in imports[wing]))


def wings_table(imports: Mapping[str, set[str]], root: Path = ROOT) -> str:
    """A Markdown table of the wings (packages of `analysis/`): the first line of each `__init__`, and its imports."""
    rows = [
        f"| [`{wing}`](../../analysis/{wing}) | {_about(root / 'analysis' / wing)} |"
        f" {', '.join(other for other in imports if other in below)} |"
        for wing, below in imports.items()
    ]
    return "\n".join(["| wing | contents | imports |", "| --- | --- | --- |", *rows])


def _about(folder: Path) -> str:
    """The first line of a package's docstring."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].replace("|", "\\|")


def stages_table(wings: list[str]) -> str:
    """Each stage with its notebook and the wings that make its numbers, as Markdown."""
    rows = []
    for stage, entry in pipeline_stages().items():
        entry = entry.get("do", entry)  # of one item, where a stage has several
        used = ", ".join(wing for wing in reversed(wings) if f"analysis/{wing}" in entry["deps"])
        rows.append(f"| [`{stage}`](../../notebooks/{stage}.ipynb) | {entry.get('desc', '')} | {used} |")
    return "\n".join(["| stage = notebook | makes | wings |", "| --- | --- | --- |", *rows])


def gallery_page(root: Path = ROOT) -> str:
    """Every released figure with its caption, the stage that makes it and the data it shows, as Markdown."""
    captions = yaml.safe_load((root / "analysis" / "report" / "page" / "figures.yaml").read_text(encoding="utf-8"))
    makers = {out: stage for stage, entry in pipeline_stages(root).items() for out in _names(entry.get("outs", []))}
    parts = [GALLERY_HEAD]
    for name, entry in captions.items():
        stage, data = makers[f"figures/run/{name}.png"], ", ".join(f"`{path}`" for path in entry["data"])
        parts.append(
            f"## {name}\n\n![{entry['caption']}](../../figures/{name}.png)\n\n{entry['caption']}\n\n"
            f"Stage [`{stage}`](../../notebooks/{stage}.ipynb), of {data}.\n"
        )
    return "\n".join(parts)


def _names(outs: list[str | dict]) -> list[str]:
    """Paths of outputs, with or without settings."""
    return [out if isinstance(out, str) else next(iter(out)) for out in outs]
