"""What was observed: catalogues of galaxies, shear on a grid, clusters, and null tests.

Read `catalogue` first: a field, from its source to an observation. Its galaxies pass through `tables` (a file in chunks
of rows; `table_formats` and `hdf5_table` open it), `cuts`, `units_and_signs` (RA and Dec in degrees; where e1 and e2
change sign) and `galaxies` (calibrated, averaged on the grid); `gridded` reads shear that is an image.
`nulls` tests the shear, with `stacking` around the places of `clusters`.
"""
