"""Maps on a flat sky: Fourier transforms, shear and convergence, power spectra, peaks, statistics.

Read `kernel` (the shear kernel, E- and B-modes) and `lensing` (shear from convergence and back) first, then `power`
and `peaks`. `backend` compiles for TensorFlow or JAX, transforms and solves; `maps` keeps sets of maps and cuts them;
`statistics` has the jackknife.
"""
