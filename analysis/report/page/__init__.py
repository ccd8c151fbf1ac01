"""The results page: figures, tables and a posterior explorer in one file that opens from disk without a network.

`build` gathers figures and tables and writes the page, `explorer` the maps to explore, `origin` how each file was made.
`page.html`, `page.css` and `explorer.js` are the page itself, `figures.yaml` has the captions.
"""

from analysis.report.page.build import main

__all__ = ["main"]
