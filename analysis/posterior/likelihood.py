"""The data, rewritten for a noisy map: the split that both exact samplers use.

Let z = x + rho n be the clean map x with white noise n, and A = P^T w P the precision of the data. Where rho^2 A < 1,

    gamma and x  have the same joint law as  gamma, z and x  with
    z | x, gamma  ~  N( x + rho^2 P^T w (gamma - P x),  rho^2 (1 - rho^2 A) )
    x | z         ~  p(x) N(z; x, rho^2),

and the posterior of z is p_rho(z) f(z): the prior blurred by rho, times a Gaussian f about the same data, of precision
A (1 - rho^2 A)^-1. Blurring f by rho gives back the likelihood of x, so nothing is approximated. `gibbs` alternates
the two draws, `hmc` moves z.

Where rho is too large for the data, each chain sees worse data: noise is added to the shear until its weight is at most
`SHARE` / rho^2. The noise is taken away again as rho falls.

Source: Vono, Dobigeon & Chainais 2019 for the split.
"""

import numpy as np
from keras import ops

from analysis.flatsky.backend import filtered
from analysis.flatsky.kernel import kaiser_squires_kernel
from analysis.flatsky.lensing import convergence_from_shear, shear_from_convergence

SHARE = 0.9  # largest rho^2 w; the split exists below 1


def corrected(gamma: np.ndarray, kappa: np.ndarray, *, reduced: float) -> np.ndarray:
    """The shear of each chain's data, (2, ny, nx) or (n, 2, ny, nx): gamma = g (1 - kappa) where galaxies show g.

    First order in kappa: the map is the chain's own, from before the step that uses the data.

    Parameters
    ----------
    gamma : (2, ny, nx), as observed
    kappa : (n, ny, nx), clean maps of the chains
    reduced : convergence of a map of 1 (the amplitude of the prior) where `gamma` is the reduced shear; 0 where it is
        the shear itself
    """
    return gamma * (1 - np.float32(reduced) * np.asarray(kappa)[:, None]) if reduced else gamma


def lowest_split(weight: np.ndarray, wanted: float) -> float:
    """Noise of the last split: `wanted`, or less where the data are more precise than that."""
    return min(wanted, (SHARE / max(weight.max(), 1e-9)) ** 0.5)


def capped_weight(weight: np.ndarray, rho: float) -> np.ndarray:
    """Inverse variance of the data that a split of noise `rho` can use: at most `SHARE` / rho^2."""
    return np.minimum(weight, np.float32(SHARE / rho**2))


def added_variance(weight: np.ndarray, rho: float) -> np.ndarray:
    """Variance of the noise that lowers the data's weight to `capped_weight`; 0 where it is low enough."""
    capped = capped_weight(weight, rho)
    lowered, variance = capped < weight, np.zeros_like(weight)
    variance[lowered] = 1 / capped[lowered] - 1 / weight[lowered]
    return variance


def less_noise(noise: np.ndarray, before: np.ndarray, after: np.ndarray, white: np.ndarray) -> np.ndarray:
    """The same noise at the lower variance `after`: a Brownian bridge from `before` to none.

    Parameters
    ----------
    noise : (n, 2, ny, nx), of variance `before` (2, ny, nx)
    white : (n, 2, ny, nx), standard normal
    """
    kept = np.divide(after, before, out=np.zeros_like(before), where=before > 0)
    return kept * noise + np.sqrt(after * (1 - kept)) * white


def renoised(kappa, rho, gamma, weight, data_noise, noise):
    """A draw of the noisy map z given the clean map and the data.

    Parameters
    ----------
    kappa : (n, ny, nx), clean
    rho : scalar with rho^2 max(w) < 1
    gamma : (2, ny, nx), or (n, 2, ny, nx) where each chain has its own data
    weight : (2, ny, nx)
    data_noise : (n, 2, ny, nx), standard normal
    noise : (n, ny, nx), standard normal; only its modes that shear does not show are used

    Returns
    -------
    (n, ny, nx)
    """
    pull = convergence_from_shear(weight * (gamma - shear_from_convergence(kappa)))
    seen = convergence_from_shear(ops.sqrt(1.0 - rho**2 * weight) * data_noise)
    p1, p2 = kaiser_squires_kernel(int(kappa.shape[-2]), int(kappa.shape[-1]))
    unseen = np.sqrt(np.maximum(1.0 - p1**2 - p2**2, 0.0))
    return kappa + rho**2 * pull + rho * (seen + filtered(noise, ops.cast(unseen, kappa.dtype)))
