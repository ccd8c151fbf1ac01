"""What was observed: catalogues of galaxies, shear on a grid, clusters, null tests, and `check` for your own catalogue.

Read `catalogue` first: a field, from its source to an observation. Its galaxies pass through `tables` (a file in chunks
of rows; `table_formats` and `hdf5_table` open it), `cuts`, `units_and_signs` (RA and Dec in degrees; where e1 and e2
change sign) and `galaxies` (calibrated, averaged on the grid); `gridded` reads shear that is an image.
`nulls` tests the shear, with `stacking` around the places of `clusters`. `check` describes an unknown table, with
`guessed_columns` and `ellipticity_signs`.
"""
