"""The user guide in paper/guide: the reference of every parameter, generated, and what its pages point to, checked."""

import dataclasses
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as rules
import yaml
from pydantic.fields import FieldInfo

from analysis.core.files import BorderError, atomic
from analysis.core.paths import ROOT
from analysis.core.provenance import pipeline_stages
from analysis.params import Params

GUIDE = ROOT / "paper" / "guide"
PARAMETERS = GUIDE / "parameters.md"
PAGES = (ROOT / "README.md", *sorted(GUIDE.glob("*.md")))
KINDS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|``.*?``|(?m:^(?: {4}|\t)[^\n]*$)", re.DOTALL)
WORDS = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:analysis|notebooks|conf|tests|paper/guide)/[\w./-]+\.\w+|(?:dvc|params)\.yaml")
COMMAND = re.compile(r"python -m analysis ([a-z]\w*)")
TARGET = re.compile(r"\bmake (\w+)")
KEY = re.compile(r"[a-z]\w*(?:\.(?:\w+|<name>))+")
HEAD = """# Every parameter

`python -m analysis guide` writes this page from the records of `analysis/params`; change it there. A key stands in
`params.yaml` below its section, `<name>` for a name of your own. "quick" is the value of the committed `params.yaml`,
which is the profile `quick`; other profiles (`conf/profile/`) change what they name. A value of another type, out of
range, or under a wrong key ends every command with one sentence that names it.
"""


def main() -> None:
    """Write the reference of parameters, and look at what every page points to.

    Raises
    ------
    BorderError
        If a page points to what is not there.
    """
    with atomic(PARAMETERS) as temporary:
        temporary.write_text(parameters_page(), encoding="utf-8")
    broken = [fault for page in PAGES for fault in dead_ends(page)]
    if broken:
        raise BorderError(f"{'; '.join(broken)}; correct what is named, or make what is missing.")
    print(f"{PARAMETERS.relative_to(ROOT)} is written, and {len(PAGES)} pages point to what is there")


def parameters_page() -> str:
    """The reference as Markdown: a table for each section."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    parts, plain = [HEAD], []
    for name, field in fields_of(Params).items():
        record = next(iter(_records(field.annotation)), None)
        rows = list(_rows(name, field, values.get(name)))
        if record is None:
            plain += rows
        else:
            parts.append(f"## {name}\n\n{_first_line(record)}\n\n{_table(rows[1:])}")
    parts.insert(1, f"## Of every section\n\n{_table(plain)}")
    return "\n".join(parts)


def fields_of(record: type) -> Mapping[str, FieldInfo]:
    """The fields of a record by name."""
    return record.__pydantic_fields__


def keys(name: str = "", record: type = Params) -> Iterator[str]:
    """Every dotted key of the parameters, `<name>` for the names of entries."""
    for key, field in fields_of(record).items():
        dotted = f"{name}.{key}".lstrip(".")
        yield dotted
        below = f"{dotted}.<name>" if _entries(field.annotation) else dotted
        for inner in _records(field.annotation):
            yield from keys(below, inner)


def _rows(key: str, field: FieldInfo, value: Any) -> Iterator[tuple[str, str, str, str]]:
    """Key, kind, value in quick and meaning of a field, and of all below it."""
    records, entries = _records(field.annotation), _entries(field.annotation)
    yield (
        key,
        kind(field.annotation, field.metadata),
        "" if records else _written(value, field),
        field.description or "",
    )
    below = f"{key}.<name>" if entries else key
    for record in records:
        values = value if isinstance(value, Mapping) and not entries else {}
        for name, inner in fields_of(record).items():
            yield from _rows(f"{below}.{name}", inner, values.get(name, ...))


def kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What may stand at a key, in words: its type, its range or its choices."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        extra = [rule for part in arguments[1:] for rule in (part.metadata if isinstance(part, FieldInfo) else [part])]
        return kind(arguments[0], [*metadata, *extra])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(argument, metadata) for argument in arguments))
    if origin is Literal:
        return ", ".join(f"`{_plain(choice)}`" for choice in arguments)
    if origin is list:
        return _ranged(f"list ({kind(arguments[0])})", metadata)
    if origin is dict:
        return _ranged(f"entries by name, each a {kind(arguments[1])}", metadata)
    if dataclasses.is_dataclass(annotation):
        return "section"
    return _ranged(KINDS.get(annotation, getattr(annotation, "__name__", str(annotation))), metadata)


def _ranged(words: str, metadata: Sequence[Any]) -> str:
    """Words for a type, with those of its rules."""
    told = {rules.Gt: "> {0.gt}", rules.Ge: "≥ {0.ge}", rules.Lt: "< {0.lt}", rules.Le: "≤ {0.le}"}
    told |= {rules.MultipleOf: "a multiple of {0.multiple_of}", rules.MinLen: "of at least {0.min_length}"}
    told |= {rules.MaxLen: "at most {0.max_length}"}
    bounds = [told[type(rule)].format(rule) for rule in metadata if type(rule) in told]
    lengths = [rule.min_length for rule in metadata if type(rule) is rules.MinLen]
    if lengths == [rule.max_length for rule in metadata if type(rule) is rules.MaxLen] != []:
        bounds = [f"of {lengths[0]}"]
    parts = [" ".join([words, *bounds[:1]]), *bounds[1:]]
    parts += [f"of the form `{rule.pattern}`" for rule in metadata if getattr(rule, "pattern", None)]
    return ", ".join(parts)


def _records(annotation: Any) -> list[type]:
    """The records that a type may hold."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return [annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    inner = {Literal: (), Annotated: arguments[:1]}.get(origin, arguments)
    return [record for argument in inner for record in _records(argument)]


def _entries(annotation: Any) -> bool:
    """Whether a type is a mapping of entries that users name."""
    return get_origin(annotation) is dict


def _written(value: Any, field: FieldInfo) -> str:
    """A value as it stands in `params.yaml`; the default where it is left out."""
    left_out = value is ...
    value = field.default if left_out else value
    if isinstance(value, Mapping) or dataclasses.is_dataclass(value) or (left_out and field.is_required()):
        return ""
    return f"`{_plain(value)}`" + " if left out" * left_out


def _plain(value: Any) -> str:
    """A value in YAML, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def _first_line(record: type) -> str:
    """What a record is, in its own words."""
    return (record.__doc__ or "").strip().splitlines()[0]


def _table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """A table in Markdown."""
    lines = ["| key | what may stand there | quick | meaning |", "| --- | --- | --- | --- |"]
    cells = [(f"`{key}`", *(cell.replace("|", "\\|") for cell in rest)) for key, *rest in rows]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells), ""])


def dead_ends(page: Path) -> list[str]:
    """What a page points to and is not there: files and their headings, commands, targets of make, parameters."""
    text = page.read_text(encoding="utf-8")
    prose = CODE.sub("", text)
    spoken = " ".join(WORDS.findall(prose))
    known = {*keys()}
    sections = {key.partition(".")[0] for key in known}
    faults = [fault for link in LINK.findall(prose) for fault in _dead_link(page, link[0] or link[1])]
    faults += [f"the file {name}" for name in FILE.findall(spoken) if not (ROOT / name).is_file()]
    faults += [f"the command {name}" for name in COMMAND.findall(text) if name not in commands()]
    faults += [f"make {name}" for name in TARGET.findall(f"{spoken}\n{_blocks(text)}") if name not in targets()]
    for word in WORDS.findall(prose):
        if KEY.fullmatch(word) and word.partition(".")[0] in sections and not _is_key(word, known):
            faults.append(f"the parameter {word}")
    return [f"{page.name} names {fault}" for fault in dict.fromkeys(faults)]


def _blocks(text: str) -> str:
    """Blocks of code of a page."""
    return "\n".join(CODE.findall(text))


def _is_key(word: str, known: set[str]) -> bool:
    """Whether words joined by dots are a parameter, with any name in the place of `<name>`."""
    return any(re.fullmatch(re.escape(key).replace("<name>", r"[\w<>]+"), word) for key in known)


def _dead_link(page: Path, target: str) -> list[str]:
    """A link that leads nowhere, as a list of it; addresses of the network are not asked."""
    address, _, anchor = target.partition("#")
    if "://" in address or address.startswith("mailto:"):
        return [] if address.startswith("https://") else [f"the address {target}, which is not https"]
    path = (page.parent / address).resolve() if address else page
    if not path.exists() and path not in outputs():
        return [f"the link {target}"]
    return [f"the heading {target}"] if anchor and anchor not in anchors(path) else []


def outputs() -> set[Path]:
    """Files that a stage makes."""
    listed = [out for stage in pipeline_stages().values() for out in stage.get("do", stage).get("outs", [])]
    return {ROOT / name for out in listed for name in ([out] if isinstance(out, str) else out)}


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as hosts of Markdown make them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> set[str]:
    """Commands of `python -m analysis`."""
    source = (ROOT / "analysis" / "__main__.py").read_text(encoding="utf-8")
    return set(re.findall(r'add_parser\("(\w+)"', source))


def targets() -> set[str]:
    """Targets of the Makefile."""
    listed = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return set(listed[1].replace("\\", " ").split())
