"""Which galaxies of a chunk are kept: a condition on its columns, walked node by node and never run as code."""

import ast
import operator
from collections.abc import Mapping
from functools import reduce

import numpy as np

from analysis.files import BorderError
from analysis.params.expression import names, parsed

COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def named(cuts: str | None) -> list[str]:
    """Columns that a condition looks at; none where there is no condition."""
    return names(parsed(cuts)) if cuts is not None else []


def kept(cuts: str, columns: Mapping[str, np.ndarray], what: str) -> np.ndarray:
    """True for the rows that fulfil a condition; a comparison with NaN is not, but for `!=`.

    Parameters
    ----------
    cuts : str
        As `params.expression.parsed` takes it.
    columns : (n,) each, numbers, truths or text
    what : str
        The file, for the error.

    Returns
    -------
    (n,), bool

    Raises
    ------
    BorderError
        If it compares text with numbers, or takes a number for a truth.
    """
    try:
        with np.errstate(all="ignore"):
            rows = _value(parsed(cuts), columns)
    except ValueError as error:
        raise BorderError(f"the cuts {cuts[:80]!r} cannot be made on {what}: {error}") from None
    if rows.dtype != bool:
        raise BorderError(f"the cuts {cuts[:80]!r} are no condition on {what}: compare, as in `flag == 0`.")
    return rows


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of a node in every row."""
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        return np.asarray(node.value)
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return reduce(join, [_truth(part, columns) for part in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_truth(node.operand, columns)
    if isinstance(node, ast.UnaryOp):
        return _number(node.operand, columns) * (-1 if isinstance(node.op, ast.USub) else 1)
    if isinstance(node, ast.BinOp):
        return ARITHMETIC[type(node.op)](_number(node.left, columns), _number(node.right, columns))
    return _compared(node, columns)


def _compared(node: ast.Compare, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Truth of a comparison, which may be a chain: 0.5 < z <= 0.7."""
    values = [_value(part, columns) for part in (node.left, *node.comparators)]
    results = []
    for i, kind in enumerate(node.ops):
        left, right = values[i : i + 2]
        if (left.dtype.kind == "U") != (right.dtype.kind == "U"):
            raise ValueError(f"{ast.unparse(node)[:60]!r} compares text with a number; put quotes around text only")
        results.append(COMPARISONS[type(kind)](left, right))
    return reduce(np.logical_and, results)


def _truth(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of a node that must be true or false."""
    return _of_kind(node, columns, "b", "a quantity where a condition should stand; compare it, as in `flag == 0`")


def _number(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of a node that must be a number, as float64: whole numbers would overflow unseen."""
    return _of_kind(node, columns, "buif", "text, which cannot be reckoned with").astype(np.float64)


def _of_kind(node: ast.expr, columns: Mapping[str, np.ndarray], kinds: str, fault: str) -> np.ndarray:
    value = _value(node, columns)
    if value.dtype.kind not in kinds:
        raise ValueError(f"{ast.unparse(node)[:60]!r} is {fault}")
    return value
