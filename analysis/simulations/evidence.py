"""Statistics of convergence maps, and how simulated maps compare with theory and with a published map."""

from collections.abc import Mapping

import numpy as np
from astropy.table import Table, vstack
from scipy.ndimage import gaussian_filter

from analysis.core.paths import DATA
from analysis.flatsky.maps import MapSet, central_crops
from analysis.flatsky.peaks import peak_heights
from analysis.flatsky.power import ARCMIN, binned_c_ell, binned_modes, centres, crop_power
from analysis.simulations.halos import mass_function
from analysis.simulations.lightcone import HALO_REDSHIFT
from analysis.simulations.theory import growth_factors

ELL_EDGES = np.array([200, 300, 420, 590, 830, 1160, 1630, 2280, 3000, 4000, 5300, 6800, 9000])
KAPPA_EDGES = np.linspace(-0.06, 0.16, 45)
PEAK_EDGES = np.array([-0.02, 0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2])
MINIMUM_EDGES = np.array([-0.05, -0.03, -0.025, -0.02, -0.015, -0.01, -0.005, 0.0, 0.01])
SMOOTHING_ARCMIN = np.array([1.0, 1.5, 2.0, 3.0, 5.0, 8.0])  # standard deviations of Gaussians
HALO_MASSES = (1e14, 2e14, 4e14)  # Msun/h, 1,200 particles and more in the boxes of `quick`
RESPONSE_K = 0.3  # h/Mpc, which is multipole 300 at half the distance of the sources
PUBLISHED_PIXEL_ARCMIN = 0.41016  # of the one public map of MassiveNuS
PUBLISHED = DATA / "released" / "massivenus.ecsv"  # statistics of that map


def map_statistics(kappa: np.ndarray, pixel_arcmin: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Statistics of each map, by name: x (bins,) and values (n, bins).

    `c_ell` (sr) by multipole; `skewness` by smoothing scale (arcmin); `one_point`, the distribution of pixels, by
    convergence; `peaks` and `minima`, counts per square degree, by height. The maps have their mean subtracted, and
    for the last three they are smoothed with a Gaussian of 1 arcmin.

    Parameters
    ----------
    kappa : (n, ny, nx)
    """
    kappa = kappa - kappa.mean(axis=(-2, -1), keepdims=True)
    smooth = {arcmin: _smoothed(kappa, arcmin / pixel_arcmin) for arcmin in SMOOTHING_ARCMIN}
    pixels = smooth[1.0][0].size
    degrees2 = pixels * (pixel_arcmin / 60) ** 2
    counted = {
        "one_point": (KAPPA_EDGES, lambda m: m.ravel(), pixels * np.diff(KAPPA_EDGES)[0]),
        "peaks": (PEAK_EDGES, lambda m: peak_heights(m[None]), degrees2),
        "minima": (MINIMUM_EDGES, lambda m: -peak_heights(-m[None]), degrees2),
    }
    edges = multipoles(pixel_arcmin)
    out = {"c_ell": (centres(edges), binned_c_ell(kappa, pixel_arcmin, edges))}
    out["skewness"] = (SMOOTHING_ARCMIN, np.stack([_skewness(smooth[arcmin]) for arcmin in SMOOTHING_ARCMIN], axis=1))
    for name, (edges, values, norm) in counted.items():
        histograms = np.stack([np.histogram(values(m), edges)[0] / norm for m in smooth[1.0]])
        out[name] = (0.5 * (edges[1:] + edges[:-1]), histograms)
    return out


def multipoles(pixel_arcmin: float) -> np.ndarray:
    """Edges of the bins of multipole below 0.7 of the Nyquist frequency of maps of a pixel scale."""
    reached = ELL_EDGES[0.7 * np.pi / np.radians(pixel_arcmin / 60) >= ELL_EDGES]
    return reached if len(reached) > 2 else ELL_EDGES[:3]


def expected_c_ell(theory: Table, shape: tuple[int, int], pixel_arcmin: float) -> np.ndarray:
    """C_ell expected by theory for maps of a shape, cut from a larger sky, in the bins of `multipoles`, sr.

    It includes the leakage at the edges of a map that is not periodic, but not the average over a pixel.
    """
    power = crop_power(np.asarray(theory["ell"]), np.asarray(theory["c_ell"]), shape, pixel_arcmin)
    return binned_modes(power, pixel_arcmin, multipoles(pixel_arcmin)) * (pixel_arcmin * ARCMIN) ** 2


def evidence_table(
    kappa: np.ndarray,
    held_out: MapSet,
    theory: Table,
    skewness: Table,
    published: Table | None,
    pixel_arcmin: float,
    *,
    boxes: int,
) -> Table:
    """Table of every statistic of simulated maps, with theory and the published map.

    Its columns are `statistic`, `x`, `mean`, `scatter` between maps, `error` of the mean, `theory` and `published` (NaN
    where there is no value). Each plane of a training map comes from any box. So the error is the scatter between the
    boxes of held-out maps, over the root of the number of `boxes` behind `kappa`.

    Parameters
    ----------
    kappa : (n, side, side), maps of the grid's size
    held_out : maps of the same size, each through one box
    theory, skewness : C_ell [sr] by `ell`, and the skewness of `skewness.convergence_skewness`
    published : from `of_pixel_scale`
    boxes : number of boxes that `kappa` was made of
    """
    rows = []
    groups = np.unique(held_out.box)
    of_held_out = map_statistics(held_out.kappa, pixel_arcmin)
    for name, (x, values) in map_statistics(kappa, pixel_arcmin).items():
        means = np.stack([of_held_out[name][1][held_out.box == box].mean(axis=0) for box in groups])
        error = means.std(axis=0, ddof=1) / np.sqrt(boxes) if len(groups) > 1 else np.full(len(x), np.nan)
        theirs = np.full(len(x), np.nan)
        if name == "c_ell":
            theirs = expected_c_ell(theory, kappa.shape[1:], pixel_arcmin)
        elif name == "skewness":
            theirs = np.asarray(skewness["skewness"])
        columns = {
            "statistic": [name] * len(x),
            "x": x,
            "mean": values.mean(axis=0),
            "scatter": values.std(axis=0, ddof=1),
            "error": error,
            "theory": theirs,
            "published": _values(published, name, len(x)),
        }
        rows.append(Table(columns))
    return vstack(rows)


def of_pixel_scale(published: Table, pixel_arcmin: float) -> Table | None:
    """The published statistics for a pixel scale, or None if the published map was not measured at it."""
    rebin = round(pixel_arcmin / PUBLISHED_PIXEL_ARCMIN)
    same = abs(rebin * PUBLISHED_PIXEL_ARCMIN / pixel_arcmin - 1) < 0.005 and rebin in set(published["rebin"])
    return published[published["rebin"] == rebin] if same else None


def summary(table: Table) -> dict:
    """The main numbers of an evidence table: power over halofit and skewness, with those of the published map."""
    rows = {name: table[table["statistic"] == name] for name in ("c_ell", "skewness")}
    ratio = np.asarray(rows["c_ell"]["mean"] / rows["c_ell"]["theory"])
    first = rows["skewness"][0]
    out = {
        "ell": np.round(np.asarray(rows["c_ell"]["x"])).tolist(),
        "c_ell_over_halofit": ratio.tolist(),
        "skewness_over_theory": (rows["skewness"]["mean"] / rows["skewness"]["theory"]).tolist(),
        "skewness_at_1_arcmin": {"mean": first["mean"], "scatter": first["scatter"]},
    }
    if np.isfinite(first["published"]):
        out["published_over_halofit"] = (rows["c_ell"]["published"] / rows["c_ell"]["theory"]).tolist()
        out["skewness_at_1_arcmin"] |= {
            "massivenus": first["published"],
            "massivenus_in_sigma": (first["published"] - first["mean"]) / first["scatter"],
        }
    return out


def halo_summary(halos: Table, matter: Table, boxes: int, box_mpc_h: float, omega_m: float) -> dict:
    """Number of halos over the mass function's above three masses, and the mass of their cores over NFW's.

    Parameters
    ----------
    halos : of `boxes.box_halos`
    matter : k in h/Mpc and linear power at z = 0 in (Mpc/h)^3
    boxes : number of boxes
    """
    growth = growth_factors(omega_m).first(-np.log1p(HALO_REDSHIFT))
    mass = np.geomspace(HALO_MASSES[0], 1e16, 400)
    linear = np.asarray(matter["linear"]) * growth**2
    density = mass_function(mass, np.asarray(matter["k"]), linear, HALO_REDSHIFT, omega_m)
    expected = [np.trapezoid(np.where(mass >= low, density, 0.0), np.log(mass)) for low in HALO_MASSES]
    expected = np.array(expected) * boxes * box_mpc_h**3
    found = np.array([np.sum(halos["mass"] >= low) for low in HALO_MASSES])
    large = halos[halos["mass"] >= HALO_MASSES[0]]
    cores = np.array([large[name] for name in large.colnames if name.startswith("core_")])
    return {
        "halo_mass": list(HALO_MASSES),
        "halos_over_tinker": (found / expected).tolist(),
        "halos_over_tinker_err": (expected**-0.5).tolist(),
        "core_mass_over_nfw": {"mean": cores.mean(axis=1).tolist(), "highest": cores.max(axis=1).tolist()},
    }


def missing_mean(matter: Table, box_mpc_h: float, omega_m: float) -> dict:
    """What periodic boxes lack: the rms of the mean density of such a volume, and that of the power it would change.

    Each box has the mean density of the universe. In a volume of that size, linear theory has the mean vary by `rms` at
    `lightcone.HALO_REDSHIFT`, and with it the power at `RESPONSE_K`, by (68/21 - 1/3 dln(k^3 P)/dln k) times that.

    Parameters
    ----------
    matter : k in h/Mpc and linear power at z = 0 in (Mpc/h)^3

    Source: Takada & Hu 2013, eq. 26; the volume is taken as a sphere.
    """
    k = np.asarray(matter["k"])
    linear = np.asarray(matter["linear"]) * growth_factors(omega_m).first(-np.log1p(HALO_REDSHIFT)) ** 2
    x = k * box_mpc_h * (3 / (4 * np.pi)) ** (1 / 3)
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    rms = np.trapezoid(k**3 * linear * window**2 / (2 * np.pi**2), np.log(k)) ** 0.5
    slope = np.interp(RESPONSE_K, k, np.gradient(np.log(k**3 * linear), np.log(k)))
    return {"missing_mean": {"rms": rms, "of_power": (68 / 21 - slope / 3) * rms}}


def sample_of_maps(maps: MapSet, pixels: int, most: int) -> MapSet:
    """At most `most` maps, evenly spread and cut to the grid's size."""
    chosen = np.unique(np.linspace(0, len(maps.kappa) - 1, min(most, len(maps.kappa))).round().astype(int))
    return MapSet(central_crops(maps.kappa[chosen], pixels), maps.box[chosen])


def _smoothed(kappa: np.ndarray, sigma_pixels: float) -> np.ndarray:
    """Maps smoothed with a Gaussian, without the rim that edge effects reach."""
    rim = min(round(2 * sigma_pixels), kappa.shape[-1] // 4)
    smooth = gaussian_filter(kappa, (0, sigma_pixels, sigma_pixels))
    return smooth[:, rim : kappa.shape[-2] - rim, rim : kappa.shape[-1] - rim]


def _skewness(kappa: np.ndarray) -> np.ndarray:
    """Skewness <d^3> / <d^2>^(3/2) of each map, where d is kappa less its mean, (n,)."""
    d = kappa - kappa.mean(axis=(-2, -1), keepdims=True)
    return np.mean(d**3, axis=(-2, -1)) / np.mean(d**2, axis=(-2, -1)) ** 1.5


def _values(published: Mapping | None, name: str, bins: int) -> np.ndarray:
    """Values of one statistic of the published map, or NaN without it."""
    if published is None:
        return np.full(bins, np.nan)
    return np.asarray(published["value"][published["statistic"] == name], float)
