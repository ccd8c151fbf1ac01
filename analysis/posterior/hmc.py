"""Annealed Hamiltonian Monte Carlo from scores alone, on the exact posterior of the noisy map.

At noise level rho the target is p_rho(z) f(z) (see `likelihood`). It is split into a Gaussian part, which is solved
exactly, and a small rest:

    p_rho(z) f(z)  =  N(z; mu, Lambda^-1) exp(-U(z)),      -grad U = (S + rho^2)^-1 m(z),

mu and Lambda are mean and precision of z under the Gaussian prior and the data with their mask, and m is the mean that
the network shifts the Gaussian prior to. With Lambda as the mass matrix, z and its velocity turn about mu at the same
rate in every mode; the network only kicks the velocity by Lambda^-1 (S + rho^2)^-1 m. With the Gaussian prior m = 0 and
there is no error of the time step. With V = (S^-1 + A)^-1 and A = P^T w P,

    Lambda^-1  =  (1 - rho^2 A) [ rho^2 + V (1 - rho^2 A) ],

one solve by conjugate gradients a kick. A velocity is a draw of the Gaussian posterior about zero.

rho falls from level to level. The prior's reverse diffusion carries z down: it leads exactly from p_rho f to the same
at the lower rho. Where rho is too large for the data, noise is added to them (`likelihood.added_variance`). As rho
falls it is taken away, and z moves with mu to the better data. That step is exact for the mean under the Gaussian
prior, not for the variance, and HMC has to correct it. From the last level the reverse diffusion leads to clean maps.
Reduced shear is corrected by the denoised map of each chain, before every level (`likelihood.corrected`).

No proposal is rejected: a network is not a gradient, and the error of the energy grows with the number of pixels. The
Metropolis ratio is a diagnostic of the length of a step, whose error falls as its square.

Source: Duane et al. 1987; Neal 2011, section 5.5.1 (splitting off the Gaussian part); Beskos et al. 2011; Remy et al.
2023, section 4.3, for Metropolis ratios from scores.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from keras import ops

from analysis.core.progress import within
from analysis.flatsky.backend import compiled, filtered
from analysis.flatsky.lensing import convergence_from_shear
from analysis.params import SampleParams
from analysis.posterior.diagnostics import Level, noisy_power
from analysis.posterior.diffusion import descent, evaluations_to_clean, reverse_diffusion
from analysis.posterior.likelihood import added_variance, capped_weight, corrected, less_noise, lowest_split, renoised
from analysis.posterior.runner import Sampler
from analysis.posterior.wiener import data_precision, gaussian_posterior_draws, gaussian_posterior_solve
from analysis.prior.score import Prior, shifted_mean

# Work of a path through three points x_0, x_1, x_2 with forces s_0, s_1, s_2, both interpolated by parabolas:
# sum_ij A_ij s_i . x_j
PAIR_WORK = np.array([[-1 / 2, 2 / 3, -1 / 6], [-2 / 3, 0, 2 / 3], [1 / 6, -2 / 3, 1 / 2]])
SOLVER = {"iterations": 100, "tolerance": 1e-3}  # of the conjugate gradients of a kick, far below the network's error


def from_precision(force, rho, weight, power):
    """Lambda^-1 force: the covariance of the noisy map under the Gaussian prior and the data, applied to maps.

    Parameters
    ----------
    force : (n, ny, nx)
    rho : scalar with rho^2 max(w) < 1
    weight : (2, ny, nx), inverse variance
    power : (ny, nx), pixel variance per mode

    Returns
    -------
    (n, ny, nx)
    """
    held = force - rho**2 * data_precision(force, weight)
    moved = rho**2 * force + gaussian_posterior_solve(held, weight, power, **SOLVER)
    return moved - rho**2 * data_precision(moved, weight)


def gaussian_draw(data_noise, prior_noise, weight, power):
    """A draw of the clean map about its mean, under the Gaussian prior and the data: of covariance V, (n, ny, nx).

    Parameters
    ----------
    data_noise : (n, 2, ny, nx), standard normal
    prior_noise : (n, ny, nx), standard normal
    weight, power : as for `from_precision`

    Source: Hoffman & Ribak 1991.
    """
    pull = convergence_from_shear(ops.sqrt(weight) * data_noise) + filtered(prior_noise, 1.0 / ops.sqrt(power))
    return gaussian_posterior_solve(pull, weight, power, **SOLVER)


def gaussian_mean(gamma, rho, weight, power):
    """mu: the mean of the noisy map under the Gaussian prior and the data, (n, ny, nx).

    Parameters
    ----------
    gamma : (n, 2, ny, nx)
    rho, weight, power : as for `from_precision`
    """
    pull = convergence_from_shear(weight * gamma)
    wiener = gaussian_posterior_solve(pull, weight, power, **SOLVER)
    return wiener + rho**2 * (pull - data_precision(wiener, weight))


def leap(kick_of: Callable, kappa, velocity, force, kick, centre, angle):
    """One step: half a kick, a turn about the centre, half a kick.

    Kicks of length tan(angle / 2) make the step exact for a constant force, which only moves the centre.

    Parameters
    ----------
    kick_of : kappa -> (force, kick), the force of the network and Lambda^-1 times it
    kappa, velocity, force, kick, centre : (n, ny, nx)
    angle : of the turn, radians; the length of the step

    Returns
    -------
    kappa, velocity, force, kick, gained : after the step; `gained` (n,) is the kinetic energy from the two kicks
    """
    angle = ops.cast(angle, kappa.dtype)
    cos, sin, half = ops.cos(angle), ops.sin(angle), ops.tan(0.5 * angle)
    pushed = velocity + half * kick
    gained = 0.5 * half * ops.sum(force * (velocity + pushed), axis=(-2, -1))
    kappa, turned = centre + cos * (kappa - centre) + sin * pushed, cos * pushed - sin * (kappa - centre)
    force, kick = kick_of(kappa)
    velocity = turned + half * kick
    gained = gained + 0.5 * half * ops.sum(force * (turned + velocity), axis=(-2, -1))
    return kappa, velocity, force, kick, gained


def path_work(points: np.ndarray, forces: np.ndarray) -> np.ndarray:
    """Work of forces along a path, by parabolas through each three points; (n,).

    Exact for a symmetric linear force, and odd under reversal of the path.

    Parameters
    ----------
    points, forces : (1 + an even number of steps, n, ny, nx)
    """
    points, forces = np.asarray(points, float), np.asarray(forces, float)
    work = np.zeros(points.shape[1])
    for start in range(0, len(points) - 1, 2):
        # displacements from the first point: the rows of PAIR_WORK sum to zero, and differences lose no digits
        moved = points[start : start + 3] - points[start]
        work += np.einsum("ij,inyx,jnyx->n", PAIR_WORK, forces[start : start + 3], moved)
    return work


def hmc_sampler(prior: Prior, params: SampleParams) -> Callable[..., Sampler]:
    """The annealed HMC sampler of a prior, compiled once for all fields.

    Chains start as exact samples of the Gaussian posterior at `sigma_start`, where the prior is nearly Gaussian. The
    noise falls to `renoise` in `levels` levels even in its cube root (lower if the data are more precise), with
    `trajectories` at each and `last_trajectories` more at the last. A trajectory has `leapfrog_steps` of length `step`,
    shortened by up to a fifth at random.

    Returns
    -------
    (gamma, weight, chains, *, reduced=0.0) -> Sampler
    """
    power, settings = prior.power.astype("float32"), params.hmc

    def kick_at(kappa, rho, weight):
        mean = shifted_mean(prior, kappa, ops.broadcast_to(rho, (kappa.shape[0],)))
        force = filtered(mean, 1.0 / (power + rho**2))
        return force, from_precision(force, rho, weight, power)

    def denoise_at(kappa, force, rho):
        return kappa + rho**2 * (force - filtered(kappa, 1.0 / (power + rho**2)))

    def leap_at(kappa, velocity, force, kick, centre, angle, rho, weight):
        return leap(lambda x: kick_at(x, rho, weight), kappa, velocity, force, kick, centre, angle)

    kicked, leapt, denoised = compiled(kick_at), compiled(leap_at), compiled(denoise_at)
    fall, split = reverse_diffusion(prior), compiled(renoised)
    drawn = compiled(lambda data_noise, prior_noise, weight: gaussian_draw(data_noise, prior_noise, weight, power))
    centre_of = compiled(lambda gamma, rho, weight: gaussian_mean(gamma, rho, weight, power))

    def on_field(gamma: np.ndarray, weight: np.ndarray, chains: int, *, reduced: float = 0.0) -> Sampler:
        lowest = lowest_split(weight, settings.renoise)
        rhos = np.cbrt([params.sigma_start, lowest])
        rhos = np.linspace(*rhos, settings.levels) ** 3
        trajectories = np.full(settings.levels, settings.trajectories)
        trajectories[-1] += settings.last_trajectories
        ways = [descent(high, low, settings.spacing)[:-1] for high, low in pairwise(rhos)]
        ways = [np.empty(0), *ways]
        ending = descent(lowest, min(settings.sigma_end, lowest / 2), settings.spacing)
        a_trajectory = settings.leapfrog_steps
        evaluations = np.cumsum([len(way) + 1 + n * a_trajectory for way, n in zip(ways, trajectories, strict=True)])

        def white(rng: np.random.Generator, *shape: int) -> np.ndarray:
            return rng.standard_normal((*shape, *power.shape), "float32")

        def noisy_draws(kappa, rho: float, data, capped, rng: np.random.Generator):
            return split(kappa, np.float32(rho), data, capped, white(rng, chains, 2), white(rng, chains))

        def move(kappa, forces, rho: float, data, capped, rng: np.random.Generator, advance: Callable):
            """Run one trajectory; return its end, the forces there, log of its Metropolis ratio, and Stein's ratio."""
            at_level = np.float32(rho), capped
            centre = centre_of(data, *at_level)
            clean = drawn(white(rng, chains, 2), white(rng, chains), capped)
            velocity = first = noisy_draws(clean, rho, np.zeros_like(gamma), capped, rng)
            angle = np.float32(settings.step * rng.uniform(0.8, 1.0))
            points, along, gained = [kappa], [forces[0]], 0.0
            for _ in range(a_trajectory):
                kappa, velocity, *forces, more = leapt(kappa, velocity, *forces, centre, angle, *at_level)
                advance()
                points, along, gained = [*points, kappa], [*along, forces[0]], gained + np.asarray(more, float)
            ratio = path_work(np.stack(points), np.stack(along)) - gained
            return kappa, forces, ratio, _stein(kappa, centre, forces[1], first)

        def data_at(kappa, noise):
            return corrected(gamma, kappa, reduced=reduced) + noise

        def level_at(number: int, kappa, noise, rng: np.random.Generator, advance: Callable):
            rho, capped = rhos[number], capped_weight(weight, rhos[number])
            forces, ratios = kicked(kappa, np.float32(rho), capped), []
            advance()
            data = data_at(denoised(kappa, forces[0], np.float32(rho)), noise)
            for _ in range(trajectories[number]):
                kappa, forces, ratio, stein = move(kappa, forces, rho, data, capped, rng, advance)
                ratios.append(np.exp(np.minimum(ratio, 0)))
            found = noisy_power(kappa, rho, power)
            level = Level(
                float(rho), settings.step, float(np.mean(ratios)), stein, float(np.max(kappa)),
                int(evaluations[number]), found,
            )  # fmt: skip
            return kappa, denoised(kappa, forces[0], np.float32(rho)), level

        def init(rng: np.random.Generator, advance: Callable) -> dict:
            noise = np.sqrt(added_variance(weight, rhos[0])) * white(rng, chains, 2)
            data, capped = gamma + noise, capped_weight(weight, rhos[0])
            with within(advance, 0):
                clean = gaussian_posterior_draws(data, capped, prior.power, chains, rng=rng).astype("float32")
            return {"kappa": noisy_draws(clean, rhos[0], data, capped, rng), "noise": noise, "clean": clean}

        def step(state: dict, number: int, rng: np.random.Generator, advance: Callable):
            if number == len(rhos):
                return None
            kappa, noise, rho = state["kappa"], state["noise"], rhos[number]
            if number:
                kappa = fall(kappa, ways[number], end=rho, rng=rng, advance=advance)
                before = rhos[number - 1]
                less = added_variance(weight, before), added_variance(weight, rho)
                noise = less_noise(noise, *less, white(rng, chains, 2))
                seen = ((state["noise"], before), (noise, rho))
                data = ((data_at(state["clean"], n), capped_weight(weight, level)) for n, level in seen)
                old, new = (centre_of(shear, np.float32(rho), capped) for shear, capped in data)
                kappa = kappa + new - old
            kappa, clean, level = level_at(number, kappa, noise, rng, advance)
            return {"kappa": kappa, "noise": noise, "clean": clean}, level

        def samples(state: dict, rng: np.random.Generator, advance: Callable):
            return fall(state["kappa"], ending, end=0.0, rng=rng, advance=advance)

        def further(state: dict, rng: np.random.Generator, advance: Callable):
            capped = capped_weight(weight, lowest)
            forces = kicked(state["kappa"], np.float32(lowest), capped)
            advance()
            data = data_at(denoised(state["kappa"], forces[0], np.float32(lowest)), state["noise"])
            kappa = move(state["kappa"], forces, lowest, data, capped, rng, advance)[0]
            return state | {"kappa": kappa}, fall(kappa, ending, end=0.0, rng=rng, advance=advance)

        def around(kappa: np.ndarray, rng: np.random.Generator) -> dict:
            noise = np.zeros((chains, *gamma.shape), "float32")
            noisy = noisy_draws(kappa, lowest, data_at(kappa, noise), capped_weight(weight, lowest), rng)
            return {"kappa": noisy, "noise": noise, "clean": kappa}

        last = evaluations_to_clean(prior, ending)
        return Sampler(init, step, samples, further, around, evaluations[-1] + last, 1 + a_trajectory + last, last)

    return on_field


def _stein(kappa, centre, kick, velocity) -> float:
    """Stein's identity with Lambda^-1 (z - mu) as its test function: E[(z - mu) . (z - mu - kick)] / E[v . v]."""
    moved, kick, velocity = (np.asarray(x, float) for x in (kappa - centre, kick, velocity))
    return float(np.sum(moved * (moved - kick)) / np.sum(velocity**2))
