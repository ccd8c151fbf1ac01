"""Upkeep of the repository, which no stage imports: releases, their checks, measurements, the generated guide.

Read `release` (results that Git keeps, with `recheck`) and `verify` (a run against a release) first. `bench` and
`ablation` measure, `descent_fit` and `published` prepare numbers of the simulations, `guide` writes pages of
paper/guide.
"""
