"""The plan of the code, from its imports: a diagram of the wings, a table of them, and the wings of each stage."""

import ast
import tomllib
from collections.abc import Mapping
from pathlib import Path

from analysis.core.paths import ROOT
from analysis.core.provenance import pipeline_stages


def blocks() -> dict[str, str]:
    """Generated parts of the architecture page by name: `diagram`, `wings`, `stages`."""
    imports = wing_imports()
    return {"diagram": diagram(imports), "wings": wings_table(imports), "stages": stages_table(list(imports))}


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
    """Each wing with the first sentence of its `__init__` and its imports, as Markdown."""
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
