"""Numbers and tables as text: Markdown for README.md, LaTeX for the paper.

A number is found by its path in nested results, such as `accuracy/wiener/rmse`, and written with the digits that
`judge/definitions.yaml` gives its metric.
"""

import math
import re
from collections.abc import Mapping, Sequence

from analysis.judge.definitions import described

LONGEST = 40  # characters of a cell that a LaTeX column is made for; longer cells are broken
SYMBOLS = {
    "\\": r"\textbackslash{}",
    **{character: rf"\{character}" for character in "%&_#$"},
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≪": r"$\ll$",
    "<": "$<$",
    ">": "$>$",
    "σ": r"$\sigma$",
    "²": "$^2$",
    "°": r"$^\circ$",
}


def found(results: Mapping, path: str) -> object:
    """The value at a path such as `accuracy/wiener/rmse`; entries of lists by their position.

    Raises
    ------
    KeyError
        If a step of the path is not there; the error holds that step.
    """
    node = results
    for step in path.split("/"):
        try:
            node = node[int(step) if isinstance(node, list | tuple) else step]
        except (LookupError, TypeError, ValueError):
            raise KeyError(step) from None
    return node


def error_of(results: Mapping, path: str) -> float | None:
    """The standard error stored beside a number, under its name with `_err`; None without one."""
    *outer, last = path.split("/")
    for beside in ([*outer, f"{last}_err"], [*outer[:-1], f"{outer[-1]}_err", last]):
        try:
            return found(results, "/".join(beside))
        except KeyError:
            continue
    return None


def shown(metrics: Mapping, path: str, *, error: bool = False, unit: bool = True, digits: str = "") -> str:
    """A metric as `number` writes it.

    Parameters
    ----------
    metrics : as in `data/validation/metrics.json`
    path : of the metric
    error : whether its standard error follows
    unit : whether a percent sign follows
    digits : those of the metric's description where left out
    """
    beside = error_of(metrics, path) if error else None
    return number(found(metrics, path), digits or digits_of(path), beside, unit=unit)


def digits_of(path: str) -> str:
    """The digits of the metric at a path, which may end in positions of a list."""
    return described(re.sub(r"(/\d+)+$", "", path).replace("/", ".")).digits


def number(value: float | None, digits: str, error: float | None = None, *, unit: bool = True) -> str:
    """A number and its error for a Markdown table, as in `0.91 ± 0.02` or `8.3 ± 0.4 %`; `none` for None.

    Parameters
    ----------
    digits : Python's format, `.1%` for percent
    """
    if value is None:
        return "none"
    parts = [format(value, digits)] + ([] if error is None else [format(error, digits.lstrip("+"))])
    percent = " %" if unit and digits.endswith("%") else ""
    return " ± ".join(part.rstrip("%") for part in parts) + percent


def latex_number(value: float | str, digits: str = "", error: float | None = None) -> str:
    r"""A number for LaTeX's math mode, as in `0.885\pm0.010` or `8.8\times10^{-5}`; percent without its sign.

    With an error, both have the digits of the error by the rule of the Particle Data Group: two digits where its first
    three are below 355, one up to 949, and beyond that the error is rounded up to the next power of ten.

    Parameters
    ----------
    value : text stays as it is
    digits : Python's format; without it whole numbers are written in full, others as short as they are
    """
    scale = 100 if digits.endswith("%") else 1
    if error is not None:
        value, error = scale * value, scale * error
        if not (math.isfinite(error) and error > 0):
            return f"{value:.3g}"
        exponent = math.floor(math.log10(error))
        first_three = round(error / 10.0 ** (exponent - 2))
        places = max(0, (1 if first_three < 355 else 0) - exponent)
        return rf"{value:.{places}f}\pm{error:.{places}f}"
    if isinstance(value, int) and not digits:
        return f"{value:,}".replace(",", "" if value < 10000 else r"\,")
    text = value if isinstance(value, str) else format(value, digits or "g").rstrip("%")
    return re.sub(r"e([+-]\d+)$", lambda power: rf"\times10^{{{int(power[1])}}}", text)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX table (packages tabularx and booktabs) as wide as the text; longer cells get wider columns."""
    words = [max(map(len, title.split()), default=0) for title in header]
    needed = [min(LONGEST, max(word, *(len(row[column]) for row in rows))) for column, word in enumerate(words)]
    share = [len(header) * length / sum(needed) for length in needed]
    columns = "".join(rf">{{\hsize={part:.3f}\hsize\raggedright\arraybackslash}}X" for part in share)
    lines = [" & ".join(map(latex_text, row)) + r" \\" for row in (header, *rows)]
    begin = rf"\begin{{tabularx}}{{\textwidth}}{{@{{}}{columns}@{{}}}}"
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([begin, *body, r"\end{tabularx}"])


def latex_text(text: str) -> str:
    """Text of a table's cell as LaTeX: symbols, code between backticks, minus signs and powers of ten."""
    escaped = "".join(SYMBOLS.get(character, character) for character in text)
    escaped = re.sub(r"`([^`]*)`", r"\\texttt{\1}", escaped)
    power = r"\b(\d(?:\.\d+)?)e(?:\+|(-))0*(\d+)\b"
    escaped = re.sub(power, r"$\1\\times10^{\2\3}$", escaped)
    return re.sub(r"(?<![\w$^{.-])-(?=\d)", "$-$", escaped)
