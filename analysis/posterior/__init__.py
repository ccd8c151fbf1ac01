"""The posterior: likelihood, Wiener filter, samplers, chains, and samples on disk.

Read `likelihood` first (scores of the data, and the exact Gaussian posterior), then `sampler` (split Gibbs, annealed
HMC, the paper's schedule), `chains` (groups of them over processes), `samples` (files).
"""
