"""Is it right? Accuracy on mocks, calibration by ranks, clusters and injected halos, checks of the prior.

Read `metrics` (errors of a map) and `calibration` (ranks of the truth) first; `validation` gathers every stage's
numbers and `definitions` says what each means; `released` reads the results that Git keeps.
"""
