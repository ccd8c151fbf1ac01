"""Which signs of e1 and e2 a catalogue has, judged by what lensing makes: E-modes and no B-modes, peaks and no pits.

A wrong sign of one component turns half of the E-power into B-power; signs of both wrong turn mass upside down, which
power cannot tell, but the skewness of the map can.
"""

from dataclasses import dataclass

import numpy as np

from analysis.flatsky.kernel import kaiser_squires_kernel
from analysis.flatsky.power import wavenumbers
from analysis.sky import Observation

DRAWS = 200
BLOCKS = 6  # a side
C_ELL = (4.8e-10, 1000.0, -1.3)  # sr, at that multipole, and its slope: about that of sources at redshift 1
SURE = 3.0  # standard deviations
TOP_ELL = 5000.0  # beyond, smoothed away before the third moment


@dataclass(frozen=True)
class Signs:
    """How a choice of signs looks.

    Parameters
    ----------
    e1, e2 : int
        Factors of the file's ellipticities, 1 or -1.
    e_over_b : float
        Power of E less that of B, in standard deviations of shapes that are turned at random.
    skewness : float
        Third moment of the E-map, in standard errors.
    """

    e1: int
    e2: int
    e_over_b: float
    skewness: float


def compared_signs(given: Observation, mirrored: Observation, *, rng: np.random.Generator) -> list[Signs]:
    """The four choices of signs.

    Parameters
    ----------
    given, mirrored : Observation
        Of the file's ellipticities, and of those with e2 of the other sign: to be binned apart, since galaxies turn
        with local north.
    """
    choices = []
    for observation, e2 in ((given, 1), (mirrored, -1)):
        ratio, skewness = _excess(observation, rng), _skewness(observation)
        choices += [Signs(1, e2, ratio, skewness), Signs(-1, -e2, ratio, -skewness)]
    return choices


def verdict(choices: list[Signs]) -> tuple[Signs, str]:
    """The likeliest signs, the file's own where nothing speaks against them; and a sentence on how sure that is."""
    best = max(choices, key=lambda choice: choice.e_over_b)
    other = next(choice for choice in choices if choice.e1 * choice.e2 != best.e1 * best.e2)
    if best.e_over_b < SURE or best.e_over_b - other.e_over_b < SURE:
        return choices[0], (
            f"the data cannot tell: E over B is {choices[0].e_over_b:+.1f} sigma as given and"
            f" {next(c.e_over_b for c in choices if c.e2 * c.e1 < 0):+.1f} with one sign changed; find the convention"
            " in the paper of the catalogue"
        )
    pair = [choice for choice in choices if choice.e1 * choice.e2 == best.e1 * best.e2]
    relative = (
        "the signs of e1 and e2 go together as given" if best.e1 == best.e2 else "one of e1, e2 has the wrong sign"
    )
    told = f"{relative} (E over B {best.e_over_b:+.1f} sigma, {other.e_over_b:+.1f} otherwise)"
    upright = max(pair, key=lambda choice: choice.skewness)
    if upright.skewness < SURE:
        likeliest = next((choice for choice in pair if choice.e1 == 1), pair[0])
        return likeliest, (
            f"{told}; whether mass is upright the data cannot tell (skewness {likeliest.skewness:+.1f} sigma)"
        )
    return (
        upright,
        f"{told}; mass is upright with e1 x {upright.e1:+d}, e2 x {upright.e2:+d} (skewness {upright.skewness:+.1f})",
    )


def _excess(observation: Observation, rng: np.random.Generator) -> float:
    """Power of E less that of B, each mode by its signal to noise, in standard deviations of turned shapes."""
    shear = _weighted(observation)
    gain = _signal(observation) / (_signal(observation) + _noise(observation)) ** 2
    found = _difference(shear, gain)
    turned = [_difference(shear * np.exp(2j * np.pi * rng.uniform(size=shear.shape)), gain) for _ in range(DRAWS)]
    return float(found / np.sqrt(np.mean(np.square(turned))))


def _difference(shear: np.ndarray, gain: np.ndarray) -> float:
    """Sum of gain (|E|^2 - |B|^2) over modes."""
    e_mode, b_mode = _modes(shear)
    return float(np.sum(gain * (np.abs(e_mode) ** 2 - np.abs(b_mode) ** 2)))


def _skewness(observation: Observation) -> float:
    """Third moment of the Wiener-smoothed E-map over observed pixels, in standard errors from its scatter by blocks.

    Maps of random phases would have too little scatter: peaks times noise vary more than Gaussian fields do. Each block
    has the cube less three times variance and deviation, which sums to the same, since deviations do to 0, but does not
    scatter with the mean of the block.
    """
    signal = _signal(observation)
    smooth = signal / (signal + _noise(observation)) * np.exp(-((_ell(observation) / TOP_ELL) ** 2))
    kappa = np.fft.ifft2(_modes(_weighted(observation))[0] * smooth).real
    seen = observation.mask
    deviation = np.where(seen, kappa - kappa[seen].mean(), 0.0)
    cube = deviation**3 - 3 * np.mean(deviation[seen] ** 2) * deviation
    sums = np.array(
        [part.sum() for band in np.array_split(cube, BLOCKS) for part in np.array_split(band, BLOCKS, axis=1)]
    )
    scatter = np.sqrt(sums.size * np.var(sums, ddof=1))
    return float(sums.sum() / scatter) if scatter > 0 else 0.0


def _weighted(observation: Observation) -> np.ndarray:
    """(ny, nx), gamma1 + i gamma2 by its weight over the mean weight."""
    weight = observation.weight.mean(axis=0)
    return (observation.gamma[0] + 1j * observation.gamma[1]) * weight / weight[observation.mask].mean()


def _modes(shear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E- and B-modes of a complex shear map: p1 gamma1 + p2 gamma2, and p1 gamma2 - p2 gamma1."""
    p1, p2 = kaiser_squires_kernel(*shear.shape)
    gamma1, gamma2 = np.fft.fft2(shear.real, norm="ortho"), np.fft.fft2(shear.imag, norm="ortho")
    return p1 * gamma1 + p2 * gamma2, p1 * gamma2 - p2 * gamma1


def _ell(observation: Observation) -> np.ndarray:
    """(ny, nx), multipole of each mode."""
    return wavenumbers(observation.grid.shape, observation.grid.pixel_arcmin)


def _signal(observation: Observation) -> np.ndarray:
    """(ny, nx), about the power of convergence a pixel; 0 for the mean."""
    amplitude, pivot, slope = C_ELL
    ell = _ell(observation)
    ell[0, 0] = np.inf
    return amplitude * (ell / pivot) ** slope / np.deg2rad(observation.grid.pixel_arcmin / 60) ** 2


def _noise(observation: Observation) -> float:
    """Noise variance of an average observed pixel."""
    return float(1 / observation.weight.mean(axis=0)[observation.mask].mean())
