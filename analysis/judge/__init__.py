"""Tests of the results: accuracy on mocks, calibration by ranks, clusters and injected halos, checks of the prior.

Read `metrics` (errors of a map) and `calibration` (ranks of true maps) first. `validation` gathers the numbers of every
stage; `definitions` has the meaning, the digits and the tolerance of each; `results` reads runs and releases back.
"""
