"""Null tests of a field's shear: signals that lensing cannot make should be absent, those that it makes present.

Tests are of the power and the highest peak of E- and B-modes, of the correlation of both modes, of the mean shear, and
of tangential and cross shear around lists of places (compared with as many random places).

Chance is measured with realisations of the noise given by the weights, the same as if each galaxy were turned at
random. (Turning the mean shear of pixels would be wrong: it keeps the variance of lensing, 7 % of the noise in COSMOS.)
Holes and borders of a field let E-modes leak into B-modes (`leakage`), without any systematic error. Signals that
lensing should not make are therefore compared with noise and lensing together, a Gaussian field with the spectrum of
theory seen through the weights of the field; those that it should make, with noise alone.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.core.progress import followed
from analysis.flatsky.kernel import e_and_b_modes, kaiser_squires_kernel
from analysis.flatsky.power import ARCMIN, binned_modes, ell_grid, grid_power
from analysis.flatsky.statistics import holm
from analysis.params import NullsParams
from analysis.sky import Observation
from analysis.survey.clusters import random_places
from analysis.survey.stacking import Rings, ring_sums, stacked_shear

log = logging.getLogger(__name__)

SIGNAL, NULL = "signal", "null"  # lensing makes it, or does not
TESTS = {
    "e_power": (SIGNAL, "chi squared of the E-mode power in bands about that of noise"),
    "b_power": (NULL, "the same of the B-mode, about that of noise and lensing"),
    "eb_correlation": (NULL, "chi squared of the correlation of both modes in bands about that of noise and lensing"),
    "e_peak": (SIGNAL, "highest pixel of the smoothed E-mode over its noise"),
    "b_peak": (NULL, "highest pixel of the smoothed B-mode over its noise, of either sign"),
    "mean_shear": (NULL, "chi squared of the weighted mean of both components, by that of noise and lensing"),
}
STACKS = {
    "tangential": (SIGNAL, "chi squared of the tangential shear around them about that around random places"),
    "cross": (NULL, "the same of the cross shear"),
}
DEFINITION = {
    "p_value": "by test, chance of a value as high in noise, or around random places",
    "value": "by test, chi squared or signal to noise",
    "expected": "by test, what chance makes of it in the mean",
    "leakage": "by band, from long waves to short, B-mode over E-mode power of lensing alone, seen through the weights",
    "null_min_p_holm": "smallest p-value of the tests that should find nothing, after Holm",
}
BATCH = 8  # maps at a time
AROUND = 2  # lensing is drawn on a periodic map with this many times the side of the field
LEAKAGE_DRAWS = 5 * BATCH


@dataclass(frozen=True, eq=False)
class NullTests:
    """Results of the null tests of a field.

    Attributes
    ----------
    table : one row a test: `test`, `kind` (signal or null), `value`, `expected` (mean by chance), `p_value`,
        `places` (how many were stacked, 0 in tests without places), `meaning`
    spectrum : `ell`; `e` [sr], E-mode power minus that of noise, and `e_err`, the scatter of noise; `b`, B-mode power
        minus that of noise and lensing, and `b_err`, their scatter; `leakage`, B over E power of lensing alone
    snr : (2, ny, nx), smoothed E- and B-mode over their noise; NaN where unobserved
    profiles : for each list of places `radius_arcmin`, `tangential`, `cross`, and their scatter around random places
    """

    table: Table
    spectrum: Table
    snr: np.ndarray
    profiles: dict[str, Table]


def null_tests(
    observation: Observation,
    places: Mapping[str, Table],
    params: NullsParams,
    *,
    theory: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> NullTests:
    """Every null test of a field.

    Parameters
    ----------
    theory : ell, and C_ell of convergence [sr], of lensing in the field
    places : lists by name, with `ra_deg`, `dec_deg`; a list with no place in an observed pixel is left out

    Raises
    ------
    BorderError
        If nothing is observed, or a ring is too narrow for the pixels.
    """
    gamma, weight = (np.asarray(values, float) for values in (observation.gamma, observation.weight))
    mask, pixel_arcmin = observation.mask, observation.grid.pixel_arcmin
    if not mask.any():
        raise BorderError(f"{observation.title} has no observed pixel; check that its galaxies lie on the grid.")
    power = grid_power(*theory, (AROUND * mask.shape[0], AROUND * mask.shape[1]), pixel_arcmin)
    setting = weight, params, pixel_arcmin
    noise, snr, edges = mode_statistics(gamma, *setting, rng=rng)
    lensing, _, _ = mode_statistics(gamma, *setting, power=power, rng=rng)
    rows = [_row(name, *about, (noise if about[0] == SIGNAL else lensing)[name]) for name, about in TESTS.items()]
    rings, profiles = ring_sums(gamma, weight, params.rings_arcmin, pixel_arcmin), {}
    for title, listed in places.items():
        row, column, inside = observation.grid.pixel_indices(
            *(np.asarray(listed[name], float) for name in ("ra_deg", "dec_deg"))
        )
        kept = inside & mask[row, column]
        if not kept.any():
            if len(listed):
                log.warning("%s: none of the %d lies in an observed pixel; they are left out", title, len(listed))
            continue
        found = place_profiles(rings, column[kept], row[kept], mask, params.random_sets, rng=rng)
        seen = np.isfinite(found).all(axis=(0, 1))
        rows += [
            _row(f"{title}_{name}", *about, found[:, part][:, seen], int(kept.sum()))
            for part, (name, about) in enumerate(STACKS.items())
        ]
        profiles[title] = _profile(found, rings.radius_arcmin)
    spectrum = _spectrum(noise, lensing, edges, mask.shape, pixel_arcmin)
    spectrum["leakage"] = leakage(weight, power, edges, pixel_arcmin, rng=rng)
    return NullTests(Table(rows), spectrum, snr, profiles)


@dataclass(frozen=True, eq=False)
class ModeMeasure:
    """How E- and B-modes of a field are measured.

    `mask` : (ny, nx), observed; `relative` : (2, ny, nx), weight over its mean; `edges` : (bands + 1,), multipoles of
    the bands, from the longest wave to the shortest along a side; `smoothing` : (ny, nx), Gaussian, per mode; `spread`
    : (2, ny, nx), of the noise in smoothed E- and B-modes, infinite where unobserved; `area` : from squared modes to
    power [sr]
    """

    mask: np.ndarray
    relative: np.ndarray
    edges: np.ndarray
    smoothing: np.ndarray
    spread: np.ndarray
    area: float


def mode_measure(weight: np.ndarray, pixel_arcmin: float, *, smoothing_arcmin: float, bands: int) -> ModeMeasure:
    """The measure for weights (2, ny, nx), inverse variance of each shear; unobserved where one is zero."""
    weight = np.asarray(weight, float)
    mask, relative = (weight > 0).all(axis=0), weight / weight[weight > 0].mean()
    multipoles = ell_grid(mask.shape, pixel_arcmin)
    smoothing = np.exp(-0.5 * (multipoles * smoothing_arcmin * ARCMIN) ** 2)
    return ModeMeasure(
        mask=mask,
        relative=relative,
        edges=np.geomspace(0.99, 0.5 * mask.shape[1], bands + 1) * multipoles[0, 1],
        smoothing=smoothing,
        spread=np.where(mask, mode_noise(weight, relative, smoothing), np.inf),
        area=float((pixel_arcmin * ARCMIN) ** 2 / np.mean(relative**2)),
    )


def mode_statistics(
    gamma: np.ndarray,
    weight: np.ndarray,
    params: NullsParams,
    pixel_arcmin: float,
    *,
    power: np.ndarray | None = None,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Statistics of E- and B-modes of a field (row 0) and of realisations of its noise (all other rows).

    The modes are those of the shear times its weight, divided by the mean weight of observed pixels.

    Parameters
    ----------
    power : (my, mx), of convergence whose shear is added to each realisation, on a larger periodic map; None for noise
        alone

    Returns
    -------
    statistics : `e_power`, `b_power` [sr] and `eb_correlation`, (1 + realisations, bands), without bands that hold no
        modes; `e_peak`, `b_peak`, `mean_shear`, (1 + realisations,)
    snr : (2, ny, nx), smoothed E- and B-mode of the field over their noise; NaN where unobserved
    edges : (bands + 1,), multipoles of the bands, from the longest wave to the shortest along a side
    """
    measure = mode_measure(weight, pixel_arcmin, smoothing_arcmin=params.smoothing_arcmin, bands=params.bands)
    mask, relative, edges = measure.mask, measure.relative, measure.edges
    noise = np.where(weight > 0, weight, np.inf) ** -0.5
    batches, snr = [], None
    for start in followed(range(0, 1 + params.realisations, BATCH), "realisations of noise"):
        number = min(BATCH, 1 + params.realisations - start)
        shears = noise * rng.standard_normal((number, *weight.shape))
        if power is not None:
            shears += mask * lensing_shear(power, mask.shape, number, rng=rng)
        if start == 0:
            shears[0] = gamma
        modes = e_and_b_modes(relative * shears)
        peaks = np.fft.ifft2(measure.smoothing * modes, norm="ortho").real / measure.spread
        snr = peaks[0] if snr is None else snr
        e, b = modes[:, 0], modes[:, 1]
        e_power, b_power, cross = (
            binned_modes(product, pixel_arcmin, edges) for product in (abs(e) ** 2, abs(b) ** 2, (e * b.conj()).real)
        )
        pull = np.sum(weight * shears, axis=(-2, -1))
        batches.append(
            {
                "e_power": measure.area * e_power,
                "b_power": measure.area * b_power,
                "eb_correlation": cross / np.sqrt(e_power * b_power),
                "e_peak": peaks[:, 0].max(axis=(-2, -1)),
                "b_peak": abs(peaks[:, 1]).max(axis=(-2, -1)),
                "mean_shear": np.sum(pull**2 / weight.sum(axis=(-2, -1)), axis=-1),
            }
        )
    gathered = {name: np.concatenate([batch[name] for batch in batches]) for name in TESTS}
    whole = {name: v if v.ndim == 1 else v[:, np.isfinite(v).all(axis=0)] for name, v in gathered.items()}
    return whole, np.where(mask, snr, np.nan), edges


def lensing_shear(power: np.ndarray, shape: tuple[int, int], n: int, *, rng: np.random.Generator) -> np.ndarray:
    """(n, 2, ny, nx), shear of Gaussian convergence in a field cut from a larger periodic map."""
    p1, p2 = kaiser_squires_kernel(*power.shape)
    # p1 and p2 are even under k -> -k, so that one transform gives gamma1 as real and gamma2 as imaginary part
    modes = (p1 + 1j * p2) * np.sqrt(power) * np.fft.fft2(rng.standard_normal((n, *power.shape)))
    shear = np.fft.ifft2(modes)[:, : shape[0], : shape[1]]
    return np.stack([shear.real, shear.imag], axis=1)


def leakage(
    weight: np.ndarray, power: np.ndarray, edges: np.ndarray, pixel_arcmin: float, *, rng: np.random.Generator
) -> np.ndarray:
    """(bands,), B-mode over E-mode power of lensing alone seen through the weights, for bands that hold modes."""
    bands = np.zeros((2, len(edges) - 1))
    for _ in range(0, LEAKAGE_DRAWS, BATCH):
        shears = weight * lensing_shear(power, weight.shape[1:], BATCH, rng=rng)
        bands += binned_modes(np.abs(e_and_b_modes(shears)) ** 2, pixel_arcmin, edges).sum(axis=0)
    e, b = bands[:, np.isfinite(bands).all(axis=0)]
    return np.divide(b, e, out=np.zeros_like(b), where=e > 0)


def mode_noise(weight: np.ndarray, relative: np.ndarray, smoothing: np.ndarray) -> np.ndarray:
    """(2, ny, nx), standard deviation of the noise of both smoothed modes of `relative` times shear.

    Each mode is a sum over pixels, whose variance is the sum of their variances times the squared kernel.
    """
    kernels = [np.fft.fft2(np.fft.ifft2(p * smoothing).real ** 2) for p in kaiser_squires_kernel(*weight.shape[-2:])]
    variance = np.fft.fft2(relative**2 / np.where(weight > 0, weight, np.inf))
    spread = [
        sum(np.fft.ifft2(kernels[i] * variance[j]).real for i, j in enumerate(components))
        for components in ((0, 1), (1, 0))
    ]
    return np.sqrt(np.maximum(spread, 0.0))


def place_profiles(
    rings: Rings, x: np.ndarray, y: np.ndarray, mask: np.ndarray, random_sets: int, *, rng: np.random.Generator
) -> np.ndarray:
    """(1 + random_sets, 2, bins), shear around places (row 0) and around sets of as many random places."""
    random_x, random_y = random_places(mask, rng, (random_sets, len(x)))
    return stacked_shear(rings, np.vstack([x, random_x]), np.vstack([y, random_y]))


def ranked(values: np.ndarray) -> tuple[float, float, float]:
    """Value of row 0, mean value of the other rows, and the share of all rows whose value is as high (p-value).

    The value of a row of several numbers is its chi squared, with mean and covariance of the other rows; for the
    p-value with those of all rows, so that under pure chance every rank is equally likely.

    Parameters
    ----------
    values : (1 + n,) or (1 + n, k)
    """
    if values.ndim == 1:
        order, value, expected = values, values[0], values[1:].mean()
    else:
        order = chi_squared(values, values)
        value, expected = chi_squared(values[:1], values[1:])[0], values.shape[1]
    return float(value), float(expected), float(np.mean(order >= order[0]))


def chi_squared(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,), chi squared of rows (n, k), with mean and covariance of `others` (m, k)."""
    away, spread = values - others.mean(axis=0), others - others.mean(axis=0)
    inverse = np.linalg.pinv(spread.T @ spread / (len(others) - 1), hermitian=True)
    return np.einsum("ni,ij,nj->n", away, inverse, away)


def summary(tests: NullTests) -> dict:
    """Metrics of a field's null tests, with their definitions."""
    p_values = {row["test"]: float(row["p_value"]) for row in tests.table}
    of_nulls = {row["test"]: float(row["p_value"]) for row in tests.table if row["kind"] == NULL}
    return {
        "p_value": p_values,
        "value": {row["test"]: float(row["value"]) for row in tests.table},
        "expected": {row["test"]: float(row["expected"]) for row in tests.table},
        "leakage": [float(value) for value in tests.spectrum["leakage"]],
        "null_min_p_holm": min(holm(of_nulls).values()),
        "definition": DEFINITION,
    }


def _row(name: str, kind: str, meaning: str, values: np.ndarray, places: int = 0) -> dict[str, str | float | int]:
    """A row of the table of tests."""
    value, expected, p_value = ranked(values)
    numbers = {"value": value, "expected": expected, "p_value": p_value, "places": places}
    return {"test": name, "kind": kind, **numbers, "meaning": meaning}


def _spectrum(
    noise: Mapping[str, np.ndarray], lensing: Mapping[str, np.ndarray], edges: np.ndarray, shape: tuple, pixel: float
) -> Table:
    """Power of both modes in bands that hold modes, minus its mean by chance, with the scatter by chance."""
    ell = binned_modes(ell_grid(shape, pixel), pixel, edges)
    table = Table({"ell": ell[np.isfinite(ell)]})
    for name, chance in (("e", noise), ("b", lensing)):
        field, others = chance[f"{name}_power"][0], chance[f"{name}_power"][1:]
        table[name], table[f"{name}_err"] = field - others.mean(axis=0), others.std(axis=0, ddof=1)
    return table


def _profile(found: np.ndarray, radius_arcmin: np.ndarray) -> Table:
    """Shear around places minus that around random places, and the scatter of the latter."""
    table = Table({"radius_arcmin": radius_arcmin})
    for part, name in enumerate(STACKS):
        table[name] = found[0, part] - found[1:, part].mean(axis=0)
        table[f"{name}_err"] = found[1:, part].std(axis=0, ddof=1)
    return table
