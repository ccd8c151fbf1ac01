"""Samples of the posterior, from scores alone, by one of three samplers.

`gibbs`, the default, alternates exact draws of data and prior at falling noise; `hmc` is annealed Hamiltonian Monte
Carlo with a preconditioner and steps that pilot chains find; `remy2020` is the schedule of the original. They share the
prior, the likelihood and nothing else, and answer to one call.
"""

from collections.abc import Callable

from analysis.params import SampleParams
from analysis.posterior.sampler.admission import check_run, check_theory, on_field, with_room
from analysis.posterior.sampler.convergence import chain_statistics, convergence_table, watched
from analysis.posterior.sampler.gibbs import gibbs_sampler
from analysis.posterior.sampler.health import Level
from analysis.posterior.sampler.hmc import hmc_sampler
from analysis.posterior.sampler.remy2020 import remy2020_sampler
from analysis.prior.score import Prior

__all__ = [
    "Level",
    "annealer",
    "chain_statistics",
    "check_run",
    "check_theory",
    "convergence_table",
    "on_field",
    "watched",
    "with_room",
]

SAMPLERS = {"gibbs": gibbs_sampler, "hmc": hmc_sampler, "remy2020": remy2020_sampler}


def annealer(prior: Prior, params: SampleParams) -> Callable:
    """The sampler that `params.preset` names, compiled once for every field that it is run on.

    Returns
    -------
    anneal(gamma, weight, chains, *, rng, further=0, watch=None, resume=None) -> (samples, levels)
        gamma, weight : (2, ny, nx), shear and its inverse variance; weights of zero sample the prior
        chains : number of samples, one a chain
        rng : decides every number drawn
        further : transitions at the last level after the samples are taken, for diagnostics
        watch : called with the chains (chains, ny, nx) after each of these
        resume : file (.npz) of the chains after each level; one that is there is gone on with, for the same arguments.
            Of `gibbs` it also holds `trail`, the first chain's start and where it was after every level
        samples : (chains, ny, nx), float32
        levels : one record a noise level
    """
    return SAMPLERS[params.preset](prior, params)
