"""Rows of text as a table: Markdown for README.md, LaTeX for the paper."""

import re
from collections.abc import Sequence

LONGEST = 40  # characters of a cell that a LaTeX column is made for; what is longer is broken
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


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table as LaTeX (packages tabularx and booktabs), as wide as the text; columns by what cells need."""
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
    escaped = re.sub(r"\b(\d(?:\.\d+)?)e([+-])0*(\d+)\b", _power_of_ten, escaped)
    return re.sub(r"(?<![\w$^{.-])-(?=\d)", "$-$", escaped)


def _power_of_ten(found: re.Match) -> str:
    """A matched number such as 8.7e-05 with its power of ten."""
    digits, sign, exponent = found.groups()
    return rf"${digits}\times10^{{{sign.strip('+')}{exponent}}}$"
