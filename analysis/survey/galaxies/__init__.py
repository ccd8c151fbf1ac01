"""Galaxies of any survey: tables of several formats read in chunks, cut, brought to degrees, signs and weights.

`opened` says what an open table is, a module a format opens it (`fits_table`, `parquet_table`, `text_table`,
`hdf5_table`), `source` finds the file; `cuts` takes rows, `rows` brings them to the conventions of `analysis.sky` and
checks them, `totals` adds them up.
"""

from analysis.survey.galaxies.opened import Opened
from analysis.survey.galaxies.rows import Galaxies, galaxies_of, needed_columns
from analysis.survey.galaxies.source import located, open_table
from analysis.survey.galaxies.totals import Cells, center_of, observed

__all__ = [
    "Cells",
    "Galaxies",
    "Opened",
    "center_of",
    "galaxies_of",
    "located",
    "needed_columns",
    "observed",
    "open_table",
]
