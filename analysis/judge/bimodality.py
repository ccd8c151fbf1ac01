"""Whether samples fall into two heaps, as the paper says of the centre of COSMOS, and whether so few could tell."""

import diptest
import numpy as np

SEPARATION = 4.0  # standard deviations between two equal heaps: they part clearly for the eye
TRIALS = 400


def bimodality(values: np.ndarray, *, rng: np.random.Generator) -> dict[str, float]:
    """Hartigan's dip test of samples, and its power for as many samples of two heaps.

    Parameters
    ----------
    values : (n,), at least 4

    Returns
    -------
    dict
        `dip`, largest distance of their distribution from the nearest with one mode; `p_value`, chance of one as
        large if there is one mode (the uniform, least favourable); `power`, share of sets of as many draws of two
        equal Gaussians, `SEPARATION` standard deviations apart, that the test finds at 5 %; `n`

    Source: Hartigan & Hartigan 1985.
    """
    values = np.asarray(values, float)
    dip, p_value = diptest.diptest(values)
    heaps = rng.standard_normal((TRIALS, len(values))) + SEPARATION * (rng.random((TRIALS, len(values))) < 0.5)
    power = np.mean([diptest.diptest(drawn)[1] < 0.05 for drawn in heaps])
    return {"dip": float(dip), "p_value": float(p_value), "power": float(power), "n": len(values)}
