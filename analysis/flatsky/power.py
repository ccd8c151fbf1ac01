"""Angular power spectra of maps, measured and expected for a finite map, and Gaussian fields with a given spectrum.

`c_ell` is in sr. `power` (ny, nx) is C_ell divided by the area of a pixel: the variance of each mode of the
orthonormal Fourier transform.
"""

from pathlib import Path

import numpy as np

from analysis.core.files import atomic

ARCMIN = np.pi / 180 / 60


def ell_grid(shape: tuple[int, int], pixel_arcmin: float) -> np.ndarray:
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
    modes = ell_grid(shape, pixel_arcmin)
    power = np.exp(np.interp(np.log(np.maximum(modes, ell[0])), np.log(ell), np.log(c_ell)))
    power /= (pixel_arcmin * ARCMIN) ** 2
    power[0, 0] = 0.0
    return power


def crop_power(
    ell: np.ndarray, c_ell: np.ndarray, shape: tuple[int, int], pixel_arcmin: float, *, pad: int = 8
) -> np.ndarray:
    """Expected raw periodogram of a crop of a much larger map: C_ell seen through the crop's sharp window.

    It is the transform of the correlation function xi(r) times the overlap of the crop with itself shifted by r.
    The k = 0 mode is the variance of the crop's mean, times the number of pixels.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr
    shape : (ny, nx) of the crop
    pad : side of the larger map, in sides of the crop

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
    (ny, ny), pixel variance per mode (orthonormal FFT); at k = 0 from the variance of the maps' means
    """
    power = np.zeros(maps.shape[-2:])
    for kappa in maps:
        power += abs(np.fft.fft2(kappa, norm="ortho")) ** 2 / len(maps)
    mean = maps.mean(axis=(-2, -1))
    power[0, 0] = np.var(mean, ddof=1) * power.size
    power = 0.5 * (power + np.roll(power[::-1], 1, axis=0))
    return 0.5 * (power + power.T)


def prior_power(
    ell: np.ndarray, c_ell: np.ndarray, crops: np.ndarray, pixel_arcmin: float, join_ell: tuple[float, float]
) -> np.ndarray:
    """Spectrum of the Gaussian prior on a grid: theory on large scales, simulations on small ones.

    Theory knows the large scales better than a few finite boxes do; maps lack small-scale power that theory has.
    Between the two multipoles `join_ell` the logarithms of both are blended. The k = 0 mode is that of the
    simulations, because the mean of the prior must lie where the network was trained.

    Parameters
    ----------
    ell, c_ell : (n_ell,), sr, theory
    crops : (n, ny, ny), of simulated maps
    join_ell : multipoles below which only theory, and above which only the simulations are used

    Returns
    -------
    (ny, ny), pixel variance per mode (orthonormal FFT), edge effects of the crops included
    """
    theory, simulated = crop_power(ell, c_ell, crops.shape[-2:], pixel_arcmin), periodogram(crops)
    low, high = np.log(join_ell)
    modes = ell_grid(theory.shape, pixel_arcmin)
    ramp = np.clip((np.log(np.maximum(modes, 1e-3)) - low) / (high - low), 0, 1)
    blend = ramp**2 * (3 - 2 * ramp)
    joined = np.exp((1 - blend) * np.log(theory) + blend * np.log(simulated))
    joined[0, 0] = simulated[0, 0]
    return joined


def resampled_power(power: np.ndarray, side: int) -> np.ndarray:
    """A spectrum on a grid of another size and the same pixel scale, from its mean over directions.

    Parameters
    ----------
    power : (n, n), pixel variance per mode
    side : pixels of the other grid

    Returns
    -------
    (side, side); constant below the lowest and above the highest mode of `power`
    """
    known, wanted = ell_grid(power.shape, 1.0), ell_grid((side, side), 1.0)
    ell, which = np.unique(np.round(known[known > 0], 6), return_inverse=True)
    mean = np.bincount(which, weights=power[known > 0]) / np.bincount(which)
    resampled = np.exp(np.interp(wanted, ell, np.log(mean)))
    resampled[0, 0] = power[0, 0]
    return resampled


def larger_power(power: np.ndarray, side: int, ell: np.ndarray, c_ell: np.ndarray, pixel_arcmin: float) -> np.ndarray:
    """Spectrum of a prior on a larger grid of the same pixel scale.

    Theory on the larger grid, which has waves too long for the smaller one, times the ratio of the prior to theory
    on the smaller grid, where the simulations had less power or more.

    Parameters
    ----------
    power : (n, n), pixel variance per mode, of a prior (`prior_power`)
    side : pixels of the larger grid
    ell, c_ell : (n_ell,), sr, theory

    Returns
    -------
    (side, side), pixel variance per mode; at k = 0 that of theory
    """
    departure = power / crop_power(ell, c_ell, power.shape, pixel_arcmin)
    pad = max(3, -(-8 * len(power) // side))  # as wide a sky as `power` was computed with
    theory = crop_power(ell, c_ell, (side, side), pixel_arcmin, pad=pad)
    larger = theory * resampled_power(departure, side)
    larger[0, 0] = theory[0, 0]
    return larger


def binned_c_ell(maps: np.ndarray, pixel_arcmin: float, edges: np.ndarray) -> np.ndarray:
    """Measured C_ell of maps in bins of multipole.

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
    """Means over Fourier modes in bins of multipole.

    Parameters
    ----------
    values : (..., ny, nx), a value for each mode
    edges : (n_bins + 1,), multipoles

    Returns
    -------
    (..., n_bins); NaN in a bin without modes
    """
    shape, bins = values.shape[-2:], len(edges) - 1
    which = np.digitize(ell_grid(shape, pixel_arcmin).ravel(), edges) - 1
    inside = (which >= 0) & (which < bins)
    modes = np.bincount(which[inside], minlength=bins).astype(float)
    modes[modes == 0] = np.nan
    flat = values.reshape(-1, shape[0] * shape[1])[:, inside]
    sums = np.stack([np.bincount(which[inside], row, minlength=bins) for row in flat])
    return (sums / modes).reshape(*values.shape[:-2], -1)


def multipole_edges(pixels: int, pixel_arcmin: float) -> np.ndarray:
    """Edges of logarithmic bins of multipole, from twice the fundamental mode to half the Nyquist frequency.

    Eight bins, or fewer on a small grid, so that every bin holds a mode.
    """
    radians = np.deg2rad(pixel_arcmin / 60)
    bins = min(8, pixels // 8)
    return np.geomspace(4 * np.pi / (pixels * radians), 0.5 * np.pi / radians, bins + 1)


def centres(edges: np.ndarray) -> np.ndarray:
    """Geometric centres of bins, (n_bins,)."""
    return np.sqrt(edges[1:] * edges[:-1])


def gaussian_field(power: np.ndarray, n: int, *, rng: np.random.Generator) -> np.ndarray:
    """Random periodic Gaussian maps of a given power.

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
    """Read the power that `save_power` wrote."""
    return np.load(path, allow_pickle=False)


def noise_c_ell(weight: np.ndarray, pixel_arcmin: float) -> float:
    """Power of a field's shape noise, sr: pixel area divided by the mean inverse variance of observed pixels.

    Parameters
    ----------
    weight : (2, ny, nx), inverse variance of the shear; 0 = unobserved
    """
    return float((pixel_arcmin * ARCMIN) ** 2 / weight[weight > 0].mean())
