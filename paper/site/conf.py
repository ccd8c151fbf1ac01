"""Sphinx settings of the site: README, guide, tutorials, executed notebooks, figures, and the code by wing.

The source folder is the root of the project, so that links of README and guide hold on the site as they do in Git. The
tutorials are executed, once, since Git has them without outputs. `make site` builds all into `paper/site/html`; a dead
link within is an error.
"""

import re
from pathlib import Path

from pygments.lexers.special import TextLexer

ROOT = Path(__file__).resolve().parents[2]

project = "Dark matter maps by neural score matching"
author = "the maintainers"
root_doc = "paper/site/contents"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "paper/guide/*.md",
    "paper/site/contents.md",
    "paper/site/api/**",
    "notebooks/executed/*.ipynb",
    "notebooks/tutorials/*.ipynb",
]
extensions = ["myst_nb", "autoapi.extension", "sphinx.ext.napoleon", "sphinx-mathjax-offline"]
html_theme = "furo"
html_title = project
html_copy_source = html_show_sphinx = False

nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / ".work" / "site")
nb_execution_excludepatterns = ["notebooks/executed/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_output_stderr = "remove"
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autoapi_dirs = [str(ROOT / "analysis")]
autoapi_root = "paper/site/api"
autoapi_options = ["members", "show-module-summary"]
autoapi_own_page_level = "module"
autoapi_add_toctree_entry = False
autoapi_member_order = "bysource"
default_role = "code"
napoleon_use_param = napoleon_use_rtype = False  # what stands there is a shape and a unit, not a class
suppress_warnings = ["autoapi.python_import_resolution", "ref.python"]  # constants, and words that are no names

# Links of Git that lead elsewhere on the site: a folder of code to its page, a notebook to its executed copy
ELSEWHERE = (
    (r"\]\((\.\./\.\./)analysis/(\w+)/?\)", r"](/paper/site/api/analysis/\2/index.rst)"),
    (r"\]\((?:\.\./\.\./)?figures/?\)", r"](/paper/guide/figures.md)"),
    (r"\]\((?:\.\./\.\./)?notebooks/executed/?\)", r"](/paper/site/contents.md)"),
)


def setup(app):
    """Turn links, escape docstrings, and open the site at README."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", _links)
    app.connect("autodoc-process-docstring", _escaped, priority=100)
    app.connect("build-finished", _front)


def _links(app, name, source):
    """Links of a page, as they lead on the site."""
    for pattern, place in ELSEWHERE:
        source[0] = re.sub(pattern, place, source[0])
    source[0] = re.sub(r"\]\(\.\./\.\./notebooks/(\w+)\.ipynb\)", _executed, source[0])


def _executed(match):
    """A link to the first executed copy of a notebook."""
    copies = sorted((ROOT / "notebooks" / "executed").glob(f"{match[1]}*.ipynb"))
    return f"](/notebooks/executed/{copies[0].name})"


def _escaped(app, what, name, obj, options, lines):
    """Docstrings are Markdown of the plainest kind: code is in single backticks, and a bar means itself."""
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line) for line in lines]
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda part: part[1] or r"\|", line) for line in lines]


def _front(app, failure):
    """An index that leads to README."""
    if not failure:
        front = f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url=README.html">'
        (Path(app.outdir) / "index.html").write_text(front, encoding="utf-8")
