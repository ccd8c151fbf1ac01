"""Tables of `analysis.report.tables` as HTML."""

import html
import re


def html_table(markdown: str, caption: str) -> str:
    """A Markdown table, and the paragraphs that follow it, as HTML.

    Links become plain text, since the page stands alone; text between backquotes is set as code.

    Parameters
    ----------
    markdown : lines `| a | b |`, the second of which only separates, then perhaps paragraphs; or a sentence alone
    caption : of the table, for those who hear the page
    """
    lines = markdown.splitlines()
    rows = [_cells(line) for line in lines if line.startswith("|")]
    after = "".join(f"<p>{_text(line)}</p>" for line in lines if line and not line.startswith("|"))
    if not rows:
        return after
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in rows[0])
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows[2:]
    )
    name = html.escape(caption, quote=True)
    return (
        f'<div class="wide" role="region" aria-label="{name}" tabindex="0"><table><caption>{name}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{after}"
    )


def _cells(line: str) -> list[str]:
    """Cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _text(markdown: str) -> str:
    """A piece of Markdown as HTML."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    unbroken = html.escape(plain, quote=False).replace(" ± ", "\u00a0±\u00a0")  # a value and its error on one line
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", unbroken)
