"""Simulated maps and mocks: theory, N-body boxes, light cones, published suites.

Read `boxes` first (the stage, box by box), then `nbody` (particles; `mesh` and `jax_mesh` have its array operations)
and `lightcone` (planes and maps). `theory` has distances, growth, lensing efficiency and spectra, `n_of_z` the source
redshifts, `suites` the published maps. `mocks` makes observations of maps, and `evidence` compares maps with theory.
"""
