"""Which signs of e1 and e2 a catalogue has: with the right ones, lensing makes E-modes, no B-modes, and more peaks.

If one component has the wrong sign, half of the power moves from E-modes to B-modes. If both have, mass looks like its
opposite: power does not show that, but the skewness of the map does.
"""

from dataclasses import dataclass

import numpy as np

from analysis.flatsky.kernel import e_and_b_modes
from analysis.flatsky.power import ell_grid
from analysis.sky import Observation

DRAWS = 200
BLOCKS = 6  # a side
C_ELL = (4.8e-10, 1000.0, -1.3)  # sr at that multipole, and slope: close to the power for sources at redshift 1
SURE = 3.0  # standard deviations
TOP_ELL = 5000.0  # smaller scales are smoothed away before the skewness is taken


@dataclass(frozen=True)
class SignChoice:
    """One choice of signs, and how much it looks like lensing.

    Parameters
    ----------
    e1, e2 : int
        Factors of the file's ellipticities, 1 or -1.
    e_over_b : float
        E-mode power minus B-mode power, in standard deviations of the same for shapes turned at random.
    skewness : float
        Third moment of the E-mode map, in standard errors.
    """

    e1: int
    e2: int
    e_over_b: float
    skewness: float


def sign_choices(given: Observation, mirrored: Observation, *, rng: np.random.Generator) -> list[SignChoice]:
    """The four choices of signs.

    Parameters
    ----------
    given, mirrored : Observation
        Of the file's ellipticities, and of those with the other sign of e2. The catalogue must be binned twice, because
        each galaxy is turned by the direction of north before it is averaged.
    """
    choices = []
    for observation, e2 in ((given, 1), (mirrored, -1)):
        ratio, skewness = _excess(observation, rng), _skewness(observation)
        choices += [SignChoice(1, e2, ratio, skewness), SignChoice(-1, -e2, ratio, -skewness)]
    return choices


def best_signs(choices: list[SignChoice]) -> tuple[SignChoice, str]:
    """The likeliest signs (the file's own unless the data speak against them), and a sentence on how sure that is."""
    given, best = choices[0], max(choices, key=lambda choice: choice.e_over_b)
    pair = [choice for choice in choices if choice.e1 * choice.e2 == best.e1 * best.e2]
    other = next(choice for choice in choices if choice not in pair)
    if best.e_over_b < SURE or best.e_over_b - other.e_over_b < SURE:
        changed = next(choice for choice in choices if choice.e1 * choice.e2 < 0)
        return given, (
            f"the data cannot tell: E over B is {given.e_over_b:+.1f} sigma as given and {changed.e_over_b:+.1f} with"
            " one sign changed; find the convention in the paper of the catalogue"
        )
    relative = "the signs of e1 and e2 agree as given" if best.e1 == best.e2 else "one of e1, e2 has the wrong sign"
    text = f"{relative} (E over B {best.e_over_b:+.1f} sigma, {other.e_over_b:+.1f} otherwise)"
    upright = max(pair, key=lambda choice: choice.skewness)
    if upright.skewness < SURE:
        likeliest = next((choice for choice in pair if choice.e1 == 1), pair[0])
        return likeliest, (
            f"{text}; whether mass is upright the data cannot tell (skewness {likeliest.skewness:+.1f} sigma)"
        )
    return upright, (
        f"{text}; mass is upright with e1 x {upright.e1:+d}, e2 x {upright.e2:+d} (skewness {upright.skewness:+.1f})"
    )


def _excess(observation: Observation, rng: np.random.Generator) -> float:
    """E-mode power minus B-mode power, modes weighted by signal to noise, in standard deviations of turned shapes."""
    shear, signal = _weighted(observation), _signal(observation)
    gain = signal / (signal + _noise(observation)) ** 2
    found = _difference(shear, gain)
    turned = [_difference(shear * np.exp(2j * np.pi * rng.uniform(size=shear.shape)), gain) for _ in range(DRAWS)]
    return float(found / np.sqrt(np.mean(np.square(turned))))


def _difference(shear: np.ndarray, gain: np.ndarray) -> float:
    """Sum of gain (|E|^2 - |B|^2) over modes."""
    e_mode, b_mode = e_and_b_modes(np.stack([shear.real, shear.imag]))
    return float(np.sum(gain * (np.abs(e_mode) ** 2 - np.abs(b_mode) ** 2)))


def _skewness(observation: Observation) -> float:
    """Third moment of the Wiener-smoothed E-mode map over observed pixels, in standard errors.

    The error comes from the scatter between blocks: maps with random phases would scatter too little, because peaks
    times noise vary more than a Gaussian field. Each block sums x^3 - 3 <x^2> x, of deviations x: the second term sums
    to zero over the map and removes the scatter that the mean of each block would add.
    """
    signal = _signal(observation)
    smooth = signal / (signal + _noise(observation)) * np.exp(-((_ell(observation) / TOP_ELL) ** 2))
    shear = _weighted(observation)
    kappa = np.fft.ifft2(e_and_b_modes(np.stack([shear.real, shear.imag]))[0] * smooth).real
    seen = observation.mask
    deviation = np.where(seen, kappa - kappa[seen].mean(), 0.0)
    cube = deviation**3 - 3 * np.mean(deviation[seen] ** 2) * deviation
    sums = np.array(
        [part.sum() for band in np.array_split(cube, BLOCKS) for part in np.array_split(band, BLOCKS, axis=1)]
    )
    scatter = np.sqrt(sums.size * np.var(sums, ddof=1))
    return float(sums.sum() / scatter) if scatter > 0 else 0.0


def _weighted(observation: Observation) -> np.ndarray:
    """(ny, nx), gamma1 + i gamma2 times its weight over the mean weight."""
    weight = observation.weight.mean(axis=0)
    return (observation.gamma[0] + 1j * observation.gamma[1]) * weight / weight[observation.mask].mean()


def _ell(observation: Observation) -> np.ndarray:
    """(ny, nx), multipole of each mode."""
    return ell_grid(observation.grid.shape, observation.grid.pixel_arcmin)


def _signal(observation: Observation) -> np.ndarray:
    """(ny, nx), approximate power of the convergence, variance of a mode; 0 at k = 0."""
    amplitude, pivot, slope = C_ELL
    ell = _ell(observation)
    ell[0, 0] = np.inf
    return amplitude * (ell / pivot) ** slope / np.deg2rad(observation.grid.pixel_arcmin / 60) ** 2


def _noise(observation: Observation) -> float:
    """Noise variance of a pixel of mean weight."""
    return float(1 / observation.weight.mean(axis=0)[observation.mask].mean())
