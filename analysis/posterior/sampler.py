"""The samplers by name: one call for all of them."""

from collections.abc import Callable

import numpy as np

from analysis.params import SampleParams
from analysis.posterior.dps import dps_sampler
from analysis.posterior.gibbs import gibbs_sampler
from analysis.posterior.hmc import hmc_sampler
from analysis.posterior.remy2020 import remy2020_sampler
from analysis.posterior.runner import Sampler, run_chains
from analysis.prior.score import Prior

SAMPLERS = {"gibbs": gibbs_sampler, "hmc": hmc_sampler, "remy2020": remy2020_sampler, "dps": dps_sampler}
NAMES = {
    "gibbs": "split Gibbs",
    "hmc": "annealed HMC",
    "remy2020": "the original's schedule",
    "dps": "diffusion posterior sampling",
}
CHECK = {"gibbs": "hmc", "hmc": "gibbs", "remy2020": "hmc", "dps": "hmc"}  # the exact sampler that checks each


def field_sampler(prior: Prior, params: SampleParams) -> Callable[..., Sampler]:
    """The sampler that `params.preset` names, compiled once for all fields.

    Returns
    -------
    (gamma, weight, chains, *, reduced=0.0) -> Sampler
        reduced : as in `likelihood.corrected`; taken for 0 without `params.reduced_shear`
    """
    on_field = SAMPLERS[params.preset](prior, params)

    def single(gamma, weight, chains: int, *, reduced: float = 0.0) -> Sampler:
        single_precision = np.asarray(gamma, "float32"), np.asarray(weight, "float32")
        return on_field(*single_precision, chains, reduced=float(reduced) if params.reduced_shear else 0.0)

    return single


def annealer(prior: Prior, params: SampleParams) -> Callable:
    """The chains of `field_sampler` from their start to their samples.

    Returns
    -------
    anneal(gamma, weight, chains, *, rng, reduced=0.0, further=0, watch=None, resume=None) -> (samples, levels)
        gamma, weight : (2, ny, nx), shear and its inverse variance; weights of zero sample the prior
        chains : number of samples, one a chain
        rng : decides every number drawn
        reduced : as in `field_sampler`
        further, watch, resume : as in `runner.run_chains`
        samples : (chains, ny, nx), float32
        levels : one record a noise level
    """
    return annealed(field_sampler(prior, params))


def annealed(on_field: Callable[..., Sampler]) -> Callable:
    """`annealer` of a sampler that was made before."""

    def anneal(gamma, weight, chains: int, *, reduced: float = 0.0, **settings) -> tuple:
        return run_chains(on_field(gamma, weight, chains, reduced=reduced), **settings)

    return anneal


def transitions(on_field: Callable[..., Sampler], gamma, weight, kappa, number: int, *, rng: np.random.Generator):
    """Maps after transitions at the last noise level, from chains whose clean maps are given; (chains, ny, nx).

    An exact transition keeps the posterior: maps that start as draws of it remain such draws.

    Parameters
    ----------
    kappa : (chains, ny, nx)
    number : of transitions
    """
    sampler = on_field(gamma, weight, len(kappa))
    state = sampler.around(np.asarray(kappa, "float32"), rng)
    for _ in range(number):
        state, kappa = sampler.further(state, rng, lambda: None)
    return np.asarray(kappa)
