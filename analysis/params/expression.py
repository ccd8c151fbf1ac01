"""Conditions on the columns of a table, as text: what may stand in one, and nothing that could run."""

import ast
import io
import re
import tokenize
import unicodedata
from collections.abc import Iterable

LONGEST = 2000  # characters
DEEPEST = 60  # of nesting

QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`((?:[^`]|``)+)`""", re.DOTALL)  # text, or a name
SIGNED = re.compile(r"\w.*[-+*/%<>=&|~!].*\w", re.DOTALL)  # a name that reads like arithmetic
WORDS = {"&": "and", "|": "or", "~": "not"}  # so that `z > 0.5 & flag == 0` means what it says
CONDITIONS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Name, ast.Constant)
ALLOWED = (
    *(ast.Name, ast.Load, ast.Constant, ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not),
    *(ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)


def parsed(text: str) -> ast.expr:
    """The tree of a condition such as `z_b > 0.5 & (fitclass == 0 | star == 'no')`.

    Columns, numbers, strings, comparisons, arithmetic, parentheses, `and or not`, and `& | ~`, which mean the same and
    bind as loosely. The name of a column that is not one word stands in backticks, one within it twice. The tree is
    never compiled: `survey.cuts` walks it.

    Raises
    ------
    ValueError
        One sentence, if anything else stands in it.
    """
    if len(text) > LONGEST:
        raise ValueError(f"an expression of {len(text)} characters; give at most {LONGEST}")
    try:
        line, written = _in_words(text)
        tree = ast.parse(line, mode="eval").body
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(getattr(error, "msg", error)).split())
        raise ValueError(
            f"no expression ({reason}); write it as in z_b > 0.5 & fitclass == 0, with backticks around the name of a"
            " column that is not one word, as in `mag-err` < 0.1"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = written.get(node.id, node.id)
    _check(tree, 0)
    if not isinstance(tree, CONDITIONS):
        raise ValueError("a quantity, not a condition; compare it, as in `z_b > 0.5`")
    if not names(tree):
        raise ValueError("it names no column; compare one, as in `z_b > 0.5`")
    return tree


def names(tree: ast.expr) -> list[str]:
    """Columns that a condition looks at, sorted."""
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def joined(text: str, have: Iterable[str]) -> str | None:
    """The column whose name stands in a condition unquoted, where it reads like arithmetic, as mag-err; or None."""
    bare = QUOTED.sub("''", text).lower()
    for name in have:
        alone = rf"(?<!\w){re.escape(name.lower())}(?!\w)"
        if SIGNED.fullmatch(name) and re.search(r"[^\W\d]", name) and re.search(alone, bare):
            return name
    return None


def _in_words(text: str) -> tuple[str, dict[str, str]]:
    """The text on one line, with `and`, `or`, `not` for `&`, `|`, `~` and stand-ins for names; the names by stand-in.

    Names in backticks get one, and those that Python would spell otherwise (NFKC).
    """
    stem, written = "name", {}
    while stem in text:
        stem += "_"

    def stand_in(name: str) -> str:
        written[f"{stem}{len(written)}"] = name
        return list(written)[-1]

    line = QUOTED.sub(lambda found: stand_in(found[1].replace("``", "`")) if found[1] else found[0], text)
    line = " ".join(line.split("\n")).strip()
    tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
    if any(token.type == tokenize.COMMENT for token in tokens):  # it would hide the lines after it
        raise ValueError("a comment cannot stand in it")
    words = [WORDS.get(token.string, token.string) for token in tokens if token.type != tokenize.NEWLINE]
    same = (unicodedata.normalize("NFKC", word) == word or not word.isidentifier() for word in words)
    return " ".join(word if kept else stand_in(word) for word, kept in zip(words, same, strict=True)), written


def _check(node: ast.AST, depth: int) -> None:
    """Raise at the first node that is not `ALLOWED`."""
    if depth > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep; write it flatter")
    if not isinstance(node, ALLOWED) or (isinstance(node, ast.Constant) and not _plain(node.value)):
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise ValueError(
            f"{shown[:40]!r} may not stand in it: only columns (in backticks where a name is not one word), numbers,"
            " strings, comparisons, arithmetic, and, or, not"
        )
    for child in ast.iter_child_nodes(node):
        _check(child, depth + 1)


def _plain(value: object) -> bool:
    """Whether a constant is a number or a string."""
    return isinstance(value, int | float | str) and (not isinstance(value, int) or abs(value) < 2**64)
