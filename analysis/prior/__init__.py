"""The prior: its score, Gaussian and learnt, the network, and its training.

Read `score` first (the hybrid score), then `network`, `loss`, `batches`, `training`; `margin` keeps the rim of a map
Gaussian, `tiling` runs a network on maps larger than its own.
"""
