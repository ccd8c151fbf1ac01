"""Angular power spectra: theory, measured from maps, expected on a finite crop, and Gaussian fields drawn from one.

`c_ell` is in sr; `power` is C_ell divided by the pixel's area, the variance of a mode of the orthonormal Fourier
transform, on the (ny, nx) grid of modes.
"""

from pathlib import Path

import numpy as np

from analysis.core.files import atomic

ARCMIN = np.pi / 180 / 60


def wavenumbers(shape: tuple[int, int], pixel_arcmin: float) -> np.ndarray:
    """Multipole ell of each Fourier mode of a map, (ny, nx)."""
    ky = np.fft.fftfreq(shape[0])
    kx = np.fft.fftfreq(shape[1])
    return 2 * np.pi * np.hypot(*np.meshgrid(ky, kx, indexing="ij")) / (pixel_arcmin * ARCMIN)


def grid_power(ell: np.ndarray, c_ell: np.ndarray, shape: tuple[int, int], pixel_arcmin: float) -> np.ndarray:
    """Power of each mode of a periodic map: C_ell / pixel area, log-interpolated, 0 at k = 0.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr

    Returns
    -------
    (ny, nx), pixel variance per mode (orthonormal FFT)
    """
    modes = wavenumbers(shape, pixel_arcmin)
    power = np.exp(np.interp(np.log(np.maximum(modes, ell[0])), np.log(ell), np.log(c_ell)))
    power /= (pixel_arcmin * ARCMIN) ** 2
    power[0, 0] = 0.0
    return power


def crop_power(
    ell: np.ndarray, c_ell: np.ndarray, shape: tuple[int, int], pixel_arcmin: float, *, pad: int = 8
) -> np.ndarray:
    """Expected raw periodogram of a crop of a much larger map: C_ell seen through the crop's sharp window.

    The correlation function xi(r) times the overlap of the crop with itself shifted by r, transformed back. Its
    k = 0 mode is the variance of the crop's mean (times the number of pixels).

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr
    shape : (ny, nx) of the crop
    pad : side of the larger map in crops

    Returns
    -------
    (ny, nx), pixel variance per mode (orthonormal FFT)
    """
    ny, nx = shape
    correlation = np.fft.ifft2(grid_power(ell, c_ell, (pad * ny, pad * nx), pixel_arcmin)).real
    lag_y, lag_x = np.arange(-ny + 1, ny), np.arange(-nx + 1, nx)
    overlap = (1 - abs(lag_y) / ny)[:, None] * (1 - abs(lag_x) / nx)
    wrapped = np.zeros(shape)
    np.add.at(wrapped, np.ix_(lag_y % ny, lag_x % nx), overlap * correlation[np.ix_(lag_y, lag_x)])
    return np.fft.fft2(wrapped).real


def periodogram(maps: np.ndarray) -> np.ndarray:
    """Mean raw periodogram of maps, averaged over the eight symmetries of the square.

    Parameters
    ----------
    maps : (n, ny, ny)

    Returns
    -------
    (ny, ny), pixel variance per mode (orthonormal FFT); at k = 0 the variance of the maps' means
    """
    power = np.zeros(maps.shape[-2:])
    for kappa in maps:
        power += abs(np.fft.fft2(kappa, norm="ortho")) ** 2 / len(maps)
    mean = maps.mean(axis=(-2, -1))
    power[0, 0] = np.var(mean, ddof=1) * power.size
    power = 0.5 * (power + np.roll(power[::-1], 1, axis=0))
    return 0.5 * (power + power.T)


def joined_power(
    theory: np.ndarray, simulated: np.ndarray, pixel_arcmin: float, join_ell: tuple[float, float]
) -> np.ndarray:
    """Theory on large scales, simulations on small ones, blended in log power between two multipoles.

    Boxes are few and finite, so theory knows the large scales better; maps have lost small-scale power that
    theory still has. The k = 0 mode is the simulations' own: the prior's mean must lie where the network was
    trained.

    Parameters
    ----------
    theory, simulated : (ny, nx), pixel variance per mode
    join_ell : multipoles below which theory, and above which the simulations, stand alone
    """
    low, high = np.log(join_ell)
    ell = wavenumbers(theory.shape, pixel_arcmin)
    ramp = np.clip((np.log(np.maximum(ell, 1e-3)) - low) / (high - low), 0, 1)
    blend = ramp**2 * (3 - 2 * ramp)
    joined = np.exp((1 - blend) * np.log(theory) + blend * np.log(simulated))
    joined[0, 0] = simulated[0, 0]
    return joined


def prior_power(
    ell: np.ndarray, c_ell: np.ndarray, crops: np.ndarray, pixel_arcmin: float, join_ell: tuple[float, float]
) -> np.ndarray:
    """Spectrum of the Gaussian prior on a grid: the periodogram of a crop that theory and simulated maps expect.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr, theory
    crops : (n, ny, ny), of simulated maps
    join_ell : as `joined_power` takes it

    Returns
    -------
    (ny, ny), pixel variance per mode (orthonormal FFT)
    """
    theory = crop_power(ell, c_ell, crops.shape[-2:], pixel_arcmin)
    return joined_power(theory, periodogram(crops), pixel_arcmin, join_ell)


def resampled_power(power: np.ndarray, side: int) -> np.ndarray:
    """The spectrum of a grid on another of the same pixel scale, by its mean over directions.

    Parameters
    ----------
    power : (n, n), pixel variance per mode
    side : pixels of the other grid

    Returns
    -------
    (side, side); below the lowest mode of `power`, and above its highest, its value there
    """
    known, wanted = wavenumbers(power.shape, 1.0), wavenumbers((side, side), 1.0)
    ell, which = np.unique(np.round(known[known > 0], 6), return_inverse=True)
    mean = np.bincount(which, weights=power[known > 0]) / np.bincount(which)
    resampled = np.exp(np.interp(wanted, ell, np.log(mean)))
    resampled[0, 0] = power[0, 0]
    return resampled


def larger_power(power: np.ndarray, side: int, ell: np.ndarray, c_ell: np.ndarray, pixel_arcmin: float) -> np.ndarray:
    """The spectrum of a prior on a larger grid of the same pixel scale.

    Theory on the larger grid, which knows the waves that the smaller has no room for, times what the prior departs from
    theory on its own: there simulations had lost power, or had more.

    Parameters
    ----------
    power : (n, n), pixel variance per mode, of a prior (`prior_power`)
    side : pixels of the larger grid
    ell, c_ell : (n_ell,), sr, theory

    Returns
    -------
    (side, side), pixel variance per mode; at k = 0 theory's own, less than what the prior knows of smaller maps
    """
    departure = power / crop_power(ell, c_ell, power.shape, pixel_arcmin)
    pad = max(3, -(-8 * len(power) // side))  # as much sky around as `power` was given
    theory = crop_power(ell, c_ell, (side, side), pixel_arcmin, pad=pad)
    larger = theory * resampled_power(departure, side)
    larger[0, 0] = theory[0, 0]
    return larger


def binned_c_ell(maps: np.ndarray, pixel_arcmin: float, edges: np.ndarray) -> np.ndarray:
    """Measured C_ell of maps in bins of ell.

    Parameters
    ----------
    maps : (..., ny, nx)
    edges : (n_bins + 1,)

    Returns
    -------
    (..., n_bins), sr; NaN in a bin without modes
    """
    power = abs(np.fft.fft2(maps, norm="ortho")) ** 2
    return binned_modes(power, pixel_arcmin, edges) * (pixel_arcmin * ARCMIN) ** 2


def binned_modes(values: np.ndarray, pixel_arcmin: float, edges: np.ndarray) -> np.ndarray:
    """Means over the modes of a map in bins of ell.

    Parameters
    ----------
    values : (..., ny, nx), of each mode
    edges : (n_bins + 1,), multipoles

    Returns
    -------
    (..., n_bins); NaN in a bin without modes
    """
    shape, bins = values.shape[-2:], len(edges) - 1
    which = np.digitize(wavenumbers(shape, pixel_arcmin).ravel(), edges) - 1
    inside = (which >= 0) & (which < bins)
    modes = np.bincount(which[inside], minlength=bins).astype(float)
    modes[modes == 0] = np.nan
    flat = values.reshape(-1, shape[0] * shape[1])[:, inside]
    sums = np.stack([np.bincount(which[inside], row, minlength=bins) for row in flat])
    return (sums / modes).reshape(*values.shape[:-2], -1)


def gaussian_field(power: np.ndarray, n: int, *, rng: np.random.Generator) -> np.ndarray:
    """`n` periodic Gaussian maps of a given power.

    Parameters
    ----------
    power : (ny, nx), pixel variance per mode (orthonormal FFT), even under k -> -k

    Returns
    -------
    (n, ny, nx)
    """
    white = rng.standard_normal((n, *power.shape))
    return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power)).real


def save_power(power: np.ndarray, path: str | Path) -> None:
    """Write the power of each mode of a grid as a NumPy file."""
    with atomic(path) as temporary:
        np.save(temporary, power, allow_pickle=False)


def load_power(path: str | Path) -> np.ndarray:
    """The power that `save_power` wrote."""
    return np.load(path, allow_pickle=False)


def noise_c_ell(weight: np.ndarray, pixel_arcmin: float) -> float:
    """Power of the shape noise of a field, sr: pixel area over the mean inverse variance of observed pixels.

    Parameters
    ----------
    weight : (2, ny, nx), inverse variance of the shear; 0 = unobserved
    """
    return float((pixel_arcmin * ARCMIN) ** 2 / weight[weight > 0].mean())
