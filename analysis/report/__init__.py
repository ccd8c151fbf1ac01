"""Results for readers: tables, README, paper, results page, figure of one run, files for other tools.

Read `typeset` (how a number is written) and `tables` first. `readme` and `paper` put tables and numbers into the text,
`pdf` runs LaTeX, `page` makes one HTML file of everything, `draw` and `export` show one run.
"""
