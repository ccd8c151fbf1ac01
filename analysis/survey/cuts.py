"""Cuts: which rows of a table fulfil a condition on its columns. The condition is interpreted, never run as code."""

import ast
import operator
from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np

from analysis.core.files import BorderError
from analysis.params.types import joined, names, parsed

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
EXACT = 2**53  # float64 holds every integer up to it


def cut_columns(cuts: str | None) -> list[str]:
    """Names of the columns that a condition uses; none without a condition."""
    return names(parsed(cuts)) if cuts is not None else []


def check_names(cuts: str | None, have: Iterable[str], what: str) -> None:
    """Make sure that no arithmetic in a condition is also the name of a column of the file `what`.

    Raises
    ------
    BorderError
    """
    name = joined(cuts, have) if cuts is not None else None
    if name is not None:
        raise BorderError(
            f"the cuts {cuts[:80]!r} may mean the column {name!r} of {what}, or arithmetic with several; write"
            f" backticks around its name for the column, or a blank on each side of a sign for arithmetic."
        )


def rows_kept(cuts: str, columns: Mapping[str, np.ndarray], what: str) -> np.ndarray:
    """True for the rows that fulfil a condition; a comparison with NaN is false, except `!=`.

    A number is compared with a column in the precision of that column: next to float32, 0.3 means float32(0.3), also
    next to arithmetic with float32 columns. 64-bit integers are compared exactly. Two columns are compared as they are.

    Parameters
    ----------
    cuts : in the syntax of `params.types.parsed`
    columns : (n,) each, numbers, booleans or text
    what : the file, for messages

    Returns
    -------
    (n,), bool

    Raises
    ------
    BorderError
        If it compares text with numbers, uses a number as a condition, or calculates with integers beyond 2^53.
    """
    try:
        with np.errstate(all="ignore"):
            rows = _value(parsed(cuts), columns)
    except ValueError as error:
        raise BorderError(f"the cuts {cuts[:80]!r} cannot be made on {what}: {error}") from None
    if rows.dtype != bool:
        raise BorderError(f"the cuts {cuts[:80]!r} are not a condition on {what}: compare, as in `flag == 0`.")
    return rows


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of a part of the condition in every row."""
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
        sign = -1 if isinstance(node.op, ast.USub) else 1
        number = isinstance(node.operand, ast.Constant) and not isinstance(node.operand.value, str)
        return np.asarray(sign * node.operand.value) if number else sign * _number(node.operand, columns)
    if isinstance(node, ast.BinOp):
        return _calculated(node, columns)
    return _compared(node, columns)


def _compared(node: ast.Compare, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Result of a comparison, which may be a chain: 0.5 < z <= 0.7."""
    parts = [node.left, *node.comparators]
    values = [_value(part, columns) for part in parts]
    results = []
    for i, kind in enumerate(node.ops):
        left, right = values[i : i + 2]
        if (left.dtype.kind == "U") != (right.dtype.kind == "U"):
            raise ValueError(f"{ast.unparse(node)[:60]!r} compares text with a number; put quotes around text only")
        floats = [columns[name].dtype for part in parts[i : i + 2] for name in names(part)]
        floats = [each for each in floats if each.kind == "f"]
        results.append(COMPARISONS[type(kind)](*_alike(left, right, np.result_type(*floats or ["f8"]))))
    return reduce(np.logical_and, results)


def _alike(left: np.ndarray, right: np.ndarray, own: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of a comparison, a lone number converted to `own`, the precision of the columns on the other side.

    A number that would become 0 or infinite in that precision stays as it is.
    """
    if left.ndim == right.ndim or left.dtype.kind == "U":
        return left, right
    number, other = sorted((left, right), key=np.ndim)
    if number.dtype.kind == "f" and other.dtype.kind in "iuO" and abs(number) < 2**64 and number == int(number):
        number = np.asarray(int(number))
        return (number, right) if left.ndim == 0 else (left, number)
    if number == 0 or not np.finfo(own).tiny <= abs(number.astype(own)) <= np.finfo(own).max:
        return left, right
    return (left.astype(own), right.astype(own)) if own.itemsize < 8 else (left, right)


def _calculated(node: ast.BinOp, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of arithmetic; with integers it must be exact."""
    result = ARITHMETIC[type(node.op)](_number(node.left, columns), _number(node.right, columns))
    parts = list(ast.walk(node))
    whole = all(columns[name].dtype.kind in "biu" for name in names(node))
    whole &= all(isinstance(part.value, int) for part in parts if isinstance(part, ast.Constant))
    whole &= not any(isinstance(part, ast.Div) for part in parts)
    if whole and np.any((np.abs(result) > EXACT) & np.isfinite(result)):
        raise ValueError(
            f"{ast.unparse(node)[:60]!r} makes integers beyond 2^53, which would be rounded; compare its columns one by"
            " one"
        )
    return result


def _truth(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of a part that must be true or false."""
    return _of_kind(node, columns, "b", "a quantity where a condition should stand; compare it, as in `flag == 0`")


def _number(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Value of a part that must be a number, as float64, because integers can overflow unnoticed."""
    value = _of_kind(node, columns, "buifO", "text, which arithmetic cannot use")
    if value.dtype.kind in "iuO" and np.any((value > EXACT) | (value < -EXACT)):
        raise ValueError(
            f"{ast.unparse(node)[:60]!r} holds integers beyond 2^53, which arithmetic would round; compare it as it"
            " stands"
        )
    return value.astype(np.float64)


def _of_kind(node: ast.expr, columns: Mapping[str, np.ndarray], kinds: str, fault: str) -> np.ndarray:
    """Value of a part, if its kind of numbers is one of `kinds`."""
    value = _value(node, columns)
    if value.dtype.kind not in kinds:
        raise ValueError(f"{ast.unparse(node)[:60]!r} is {fault}")
    return value
