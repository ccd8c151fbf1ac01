"""Commands around the pipeline, which no stage imports: a field of one's own, releases, measurements, the guide.

For a field of one's own, `check` describes an unknown table, with `guessed_columns` and `ellipticity_signs`, and
`own_field` goes from file to map. Read `release` (results that Git keeps, with `recheck`) and `verify` (a run against a
release) for the upkeep. `bench` and `trainings` measure, `descent_fit` and `published` prepare numbers of the
simulations, `guide` writes pages of paper/guide.
"""
