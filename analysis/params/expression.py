"""Conditions on the columns of a table, as text: what may stand in one, and nothing that could run."""

import ast
import io
import tokenize

LONGEST = 2000  # characters
DEEPEST = 60  # of nesting

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
    bind as loosely. The tree is never compiled: `galaxies.cuts` walks it.

    Raises
    ------
    ValueError
        One sentence, if anything else stands in it.
    """
    if len(text) > LONGEST:
        raise ValueError(f"an expression of {len(text)} characters; give at most {LONGEST}")
    try:
        tree = ast.parse(_in_words(text), mode="eval").body
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(getattr(error, "msg", error)).split())
        raise ValueError(f"no expression ({reason}); write it as in `z_b > 0.5 & fitclass == 0`") from None
    _check(tree, 0)
    if not isinstance(tree, CONDITIONS):
        raise ValueError("a quantity, not a condition; compare it, as in `z_b > 0.5`")
    if not names(tree):
        raise ValueError("it names no column; compare one, as in `z_b > 0.5`")
    return tree


def names(tree: ast.expr) -> list[str]:
    """Columns that a condition looks at, sorted."""
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def _in_words(text: str) -> str:
    """The text on one line, with `and`, `or`, `not` for `&`, `|`, `~`."""
    line = " ".join(text.split("\n")).strip()
    tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
    if any(token.type == tokenize.COMMENT for token in tokens):  # it would hide the lines after it
        raise ValueError("a comment cannot stand in it")
    return " ".join(WORDS.get(token.string, token.string) for token in tokens if token.type != tokenize.NEWLINE)


def _check(node: ast.AST, depth: int) -> None:
    """Raise at the first node that is not `ALLOWED`."""
    if depth > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep; write it flatter")
    if not isinstance(node, ALLOWED) or (isinstance(node, ast.Constant) and not _plain(node.value)):
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise ValueError(
            f"{shown[:40]!r} may not stand in it: only columns, numbers, strings, comparisons, arithmetic, and, or, not"
        )
    for child in ast.iter_child_nodes(node):
        _check(child, depth + 1)


def _plain(value: object) -> bool:
    """Whether a constant is a number or a string."""
    return isinstance(value, int | float | str) and (not isinstance(value, int) or abs(value) < 2**63)
