"""The samplers by name: one call for all of them."""

from collections.abc import Callable

import numpy as np

from analysis.params import SampleParams
from analysis.posterior.gibbs import gibbs_sampler
from analysis.posterior.hmc import hmc_sampler
from analysis.posterior.remy2020 import remy2020_sampler
from analysis.posterior.runner import run_chains
from analysis.prior.score import Prior

SAMPLERS = {"gibbs": gibbs_sampler, "hmc": hmc_sampler, "remy2020": remy2020_sampler}


def annealer(prior: Prior, params: SampleParams) -> Callable:
    """The sampler that `params.preset` names, compiled once for all fields.

    Returns
    -------
    anneal(gamma, weight, chains, *, rng, further=0, watch=None, resume=None) -> (samples, levels)
        gamma, weight : (2, ny, nx), shear and its inverse variance; weights of zero sample the prior
        chains : number of samples, one a chain
        rng : decides every number drawn
        further, watch, resume : as in `runner.run_chains`
        samples : (chains, ny, nx), float32
        levels : one record a noise level
    """
    on_field = SAMPLERS[params.preset](prior, params)

    def anneal(gamma, weight, chains: int, **settings) -> tuple:
        sampler = on_field(np.asarray(gamma, "float32"), np.asarray(weight, "float32"), chains)
        return run_chains(sampler, **settings)

    return anneal
