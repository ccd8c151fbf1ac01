"""Particle-mesh N-body: from the linear power spectrum of a flat universe to the positions of dark matter.

Time is the scale factor a, H0 = 1; lengths are comoving Mpc/h. With E = H/H0 the momentum is p = a^3 E dx/da,
and the force F = -grad phi with laplacian(phi) = 3/2 Omega_m delta, so that dp/da = F / (a^2 E).

`initial` makes the particles, `evolve` moves them, `descent` mends what the mesh of the forces has smoothed, and
`mesh` (or `jax_mesh`) holds the operations they share.
"""
