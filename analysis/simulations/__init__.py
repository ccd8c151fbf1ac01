"""Simulated maps and mocks: theory, N-body boxes, light cones, published suites, and the evidence for them.

Read `boxes` first (the stage, box by box), then `nbody` and `lightcone`; `theory` (CAMB) and `n_of_z` give the spectra,
`suites` the published maps, `mocks` what would be observed, `evidence` how maps compare with theory.
"""
