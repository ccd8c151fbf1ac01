"""Kinds of values that the records are made of: numbers, lists, names, titles, paths, and conditions on columns."""

import ast
import io
import re
import tokenize
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from analysis.core.files import expanded

LONGEST_NAME, LONGEST_TITLE, LONGEST_CONDITION = 64, 200, 2000  # characters
DEEPEST = 60  # levels of nesting in a condition
YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # YAML does not read these as text
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`((?:[^`]|``)+)`""", re.DOTALL)  # text, or a name
SIGNED = re.compile(r"\w.*[-+*/%<>=&|~!].*\w", re.DOTALL)  # a name that looks like arithmetic
WORDS = {"&": "and", "|": "or", "~": "not"}  # they bind as loosely, so that `z > 0.5 & flag == 0` is understood
CONDITIONS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Name, ast.Constant)
ALLOWED = (
    *(ast.Name, ast.Load, ast.Constant, ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not),
    *(ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)
Entry = TypeVar("Entry")


def is_name(text: str) -> bool:
    """Whether a field or run may have this name: DVC, files, the shell and YAML must take it unchanged."""
    word = re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", text) is not None
    return word and len(text) <= LONGEST_NAME and text.lower() not in YAML_WORDS


def name_like(text: str) -> str:
    """A valid name similar to `text`."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub("[^a-z0-9]+", "_", letters).strip("_")[: LONGEST_NAME - 6]
    return name if is_name(name) else f"field_{name}".strip("_")


def parsed(text: str) -> ast.expr:
    """Syntax tree of a condition such as `z_b > 0.5 & (fitclass == 0 | star == 'no')`.

    It may have columns, numbers, strings, comparisons, arithmetic, parentheses, `and or not`, and `& | ~`, which mean
    the same. A column whose name is not one word is in backticks, and a backtick in the name is doubled. The tree is
    never compiled or run; the survey wing evaluates it.

    Raises
    ------
    ValueError
        One sentence, if it has anything else.
    """
    if len(text) > LONGEST_CONDITION:
        raise ValueError(f"it has {len(text)} characters; give at most {LONGEST_CONDITION}")
    try:
        line, written = _in_words(text)
        tree = ast.parse(line, mode="eval").body
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(getattr(error, "msg", error)).split())
        raise ValueError(
            f"it is not a condition ({reason}); write it like z_b > 0.5 & fitclass == 0, with backticks around the name"
            " of a column that is not one word, like `mag-err` < 0.1"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = written.get(node.id, node.id)
    _check(tree, 0)
    if not isinstance(tree, CONDITIONS):
        raise ValueError("it is a quantity, not a condition; compare it, as in `z_b > 0.5`")
    if not names(tree):
        raise ValueError("it names no column; compare one, as in `z_b > 0.5`")
    return tree


def names(tree: ast.expr) -> list[str]:
    """Columns that a condition uses, sorted."""
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def joined(text: str, have: Iterable[str]) -> str | None:
    """The first of the columns `have`, such as mag-err, that a condition names without backticks, or None.

    Only columns are meant whose name looks like arithmetic.
    """
    bare = QUOTED.sub("''", text).lower()
    for name in have:
        alone = rf"(?<!\w){re.escape(name.lower())}(?!\w)"
        if SIGNED.fullmatch(name) and re.search(r"[^\W\d]", name) and re.search(alone, bare):
            return name
    return None


def _in_words(text: str) -> tuple[str, dict[str, str]]:
    """The text as Python on one line, with stand-ins for special names; and those names by stand-in.

    Special are names in backticks, and names that Python would normalise (NFKC). `and`, `or`, `not` replace
    `&`, `|`, `~`.
    """
    stem, written = "name", dict[str, str]()
    while stem in text:
        stem += "_"

    def stand_in(name: str) -> str:
        written[f"{stem}{len(written)}"] = name
        return list(written)[-1]

    line = QUOTED.sub(lambda found: stand_in(found[1].replace("``", "`")) if found[1] else found[0], text)
    line = " ".join(line.split("\n")).strip()
    tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
    if any(token.type == tokenize.COMMENT for token in tokens):  # it would hide the lines after it
        raise ValueError("it has a comment")
    words = [WORDS.get(token.string, token.string) for token in tokens if token.type != tokenize.NEWLINE]
    same = (unicodedata.normalize("NFKC", word) == word or not word.isidentifier() for word in words)
    return " ".join(word if kept else stand_in(word) for word, kept in zip(words, same, strict=True)), written


def _check(node: ast.AST, depth: int) -> None:
    """Raise at the first node that is not `ALLOWED`."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep; simplify it")
    if not isinstance(node, ALLOWED) or (isinstance(node, ast.Constant) and not _plain(node.value)):
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise ValueError(
            f"{shown[:40]!r} is not allowed here: use columns (in backticks if the name is not one word), numbers,"
            " strings, comparisons, arithmetic, and, or, not"
        )
    for child in ast.iter_child_nodes(node):
        _check(child, depth + 1)


def _plain(value: object) -> bool:
    """Whether a constant is a number or a string."""
    return isinstance(value, int | float | str) and (not isinstance(value, int) or abs(value) < 2**64)


def _condition(text: str) -> str:
    parsed(text)
    return text


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            "files and stages get this name; use only letters from a to z, digits, _ and -, with a letter first, at"
            f" most {LONGEST_NAME} characters, and no word that YAML reads as yes, no or null"
        )
    return text


def _distinct(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Entries whose names differ not only by case, which some file systems ignore."""
    seen: dict[str, str] = {}
    for name in entries:
        if other := seen.get(name.lower()):
            raise ValueError(f"the names {other!r} and {name!r} differ only by case, as files may not; rename one")
        seen[name.lower()] = name
    return entries


def _title(text: str) -> str:
    """Text on one line."""
    line = " ".join(text.split())
    if len(line) > LONGEST_TITLE or not line.isprintable() or "$" in line:
        raise ValueError(
            f"figures and FITS cards hold at most {LONGEST_TITLE} printable characters, and a $ would start a formula;"
            " shorten or correct it"
        )
    return line


def _tracked(text: str) -> str:
    if text.startswith("~"):
        raise ValueError(
            "a ~ is not expanded in a path that DVC tracks; write the path out, or give one in the project"
        )
    return text


def increasing(values: list[float]) -> list[float]:
    """The values, if each is larger than the one before."""
    if sorted(set(values)) != values:
        raise ValueError("give increasing values")
    return values


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def record(cls: type[Entry]) -> type[Entry]:
    """A class as a frozen record that refuses unknown keys; the text below a field describes it."""
    strict = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    made: Any = dataclass(frozen=True, config=strict)(cls)
    return made


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Increasing = Annotated[list[Positive], Field(min_length=2), AfterValidator(increasing)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Precision = Literal["float32", "bfloat16"]
Name = Annotated[str, AfterValidator(_name)]
ByName = Annotated[dict[Name, Entry], AfterValidator(_distinct)]
Title = Annotated[str, AfterValidator(_title)]
UserPath = Annotated[str, AfterValidator(expanded)]
TrackedPath = Annotated[str, AfterValidator(_tracked)]
Condition = Annotated[str, AfterValidator(_condition)]
