"""The prior on convergence maps: its score from theory and a network, and the training of the network.

Read `score` first (the hybrid score), then `network`, `loss`, `batches` and `training`. `recalibration` takes away the
mean error of denoised values after the training, `files` keeps a prior on disk. `margin` draws the edges of a
map, where the prior is Gaussian. `tiling` runs a network on maps that are too large for it.
"""
