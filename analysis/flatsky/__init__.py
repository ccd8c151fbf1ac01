"""Maps on a flat sky: Fourier transforms, shear and convergence, power spectra, peaks, statistics.

Read `kernel` (the one shear kernel) and `lensing` (shear from convergence and back) first, then `power`, `peaks`,
`statistics`; `backend` compiles for TensorFlow or JAX, `solver` has conjugate gradients, `maps` keeps sets of maps.
"""
