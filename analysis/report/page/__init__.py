"""The results page: figures, tables and a posterior explorer in one file, which opens from disk without a network.

`build` gathers and writes, `pictures` embeds figures with where they come from (`origin`), `explorer` the maps,
`markup` turns tables into HTML; `page.html`, `page.css` and `explorer.js` are the page itself.
"""

from analysis.report.page.build import main

__all__ = ["main"]
