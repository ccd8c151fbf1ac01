"""What was observed: catalogues of galaxies, shear on a grid, X-ray clusters, null tests, and `check` for your own.

Read `catalogue` first (a field, from its source to an observation), then `galaxies` (tables of any survey), `gridded`
(shear that is an image), `clusters`, `nulls`; `check` and `overview` say what an unknown table holds.
"""
