"""The posterior of a field: data, samplers, chains, and samples on disk.

Read `wiener` first (the exact Gaussian posterior), then `likelihood` (what the data say of a noisy map), `diffusion`
(from a noisy map to a clean one), the samplers `hmc`, `gibbs` and `remy2020`, the loop that runs them (`runner`), their
health (`diagnostics`), the call for all of them (`sampler`), the prior and data of a run (`setting`), its chains over
processes (`chains`) and its files (`samples`).
"""
