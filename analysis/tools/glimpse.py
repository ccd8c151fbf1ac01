"""`make glimpse`: the bright galaxies of COSMOS, mapped here, beside a sparse map of them that others published.

The map is one of GLIMPSE (Lanusse et al. 2016), from the repository of MCALens (Starck et al. 2021). No truth is known,
and what maps of the same galaxies share is signal and noise together. Clusters seen in X-rays are no part of any map.
"""

import hashlib
import itertools

import numpy as np
from astropy.io import fits
from astropy.table import Table

from analysis.core.download import fetch
from analysis.core.files import BorderError
from analysis.core.paths import DATA, ROOT
from analysis.core.tables import save_table
from analysis.judge.detection import cluster_stacks
from analysis.judge.metrics import correlation_by_band
from analysis.judge.results import DEFAULT, RELEASED, Result, load_result
from analysis.params import load_params
from analysis.sky import Grid

PUBLIC_MAP = "suites/glimpse_cosmos_bright.fits"  # HDUs: map, RA and Dec of its pixels
RUN = "cosmos_bright"
TABLE = RELEASED / "glimpse.ecsv"
EDGES = np.geomspace(300, 10_000, 7)  # multipoles


def main() -> None:
    """Write and print the comparison of the run in the tree with the public map."""
    params, samples = load_params(), DATA / "samples" / f"{RUN}.fits"
    if params.profile != DEFAULT:
        raise BorderError(f"the run in this tree is of the profile {params.profile}; compare one of {DEFAULT}")
    result = load_result(ROOT, RUN, params.sample.fields[RUN])
    with fits.open(fetch(PUBLIC_MAP)) as hdus:
        sparse, ra_deg, dec_deg = (np.asarray(hdu.data, float) for hdu in hdus[:3])
    table = comparison(
        result,
        on_grid(sparse, ra_deg, dec_deg, result.observation.grid),
        redshift_max=params.validate.cluster_redshift_max,
        seed=params.seed,
    )
    table.meta["samples_md5"] = hashlib.md5(samples.read_bytes()).hexdigest()  # that of dvc.lock
    table.pprint_all()
    save_table(table, TABLE)
    print(TABLE.relative_to(ROOT))


def on_grid(values: np.ndarray, ra_deg: np.ndarray, dec_deg: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean of the finer pixels of a map whose centres lie in each pixel of a grid, (ny, nx); NaN where there are none.

    Parameters
    ----------
    values, ra_deg, dec_deg : of one shape, a map and the places of its pixels
    """
    row, column, inside = grid.pixel_indices(ra_deg.ravel(), dec_deg.ravel())
    cells = (row * grid.pixels + column)[inside]
    size = grid.pixels**2
    count = np.bincount(cells, minlength=size)
    total = np.bincount(cells, values.ravel()[inside], minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(grid.pixels, grid.pixels)


def comparison(result: Result, other: np.ndarray, *, redshift_max: float, seed: int) -> Table:
    """Correlation of each map of a field with the map of somebody else, by band, and S/N of the stacked clusters.

    Parameters
    ----------
    result : of the field
    other : (ny, nx), on its grid, without NaN where observed
    redshift_max : clusters at or beyond it are left out

    Returns
    -------
    Table
        A row for each map: `map`, `snr` of its stacked clusters, and `ell_<low>_<high>`, its correlation with `other`.
        The row `chance` has the rms of correlations of the posterior mean with the other map turned by right angles,
        and no S/N.
    """
    seen, mask = result.observation, result.observation.mask
    other = np.where(mask, other, 0.0)
    maps = {
        "posterior_mean": result.samples.mean(axis=0),
        "wiener": result.wiener,
        "kaiser_squires": result.kaiser_squires,
        "glimpse": other,
    }
    near = result.clusters[np.asarray(result.clusters["z"]) < redshift_max]
    stacks = cluster_stacks(maps, near, mask, seed=seed)

    def bands(kappa: np.ndarray, beside: np.ndarray) -> np.ndarray:
        return correlation_by_band(kappa, beside, mask, seen.grid.pixel_arcmin, EDGES)

    turned = [bands(maps["posterior_mean"], np.rot90(other, turns)) for turns in (1, 2, 3)]
    rows = {name: [stacks[name], *bands(kappa, other)] for name, kappa in maps.items()}
    rows["chance"] = [np.nan, *np.sqrt(np.mean(np.square(turned), axis=0))]
    names = [f"ell_{low:.0f}_{high:.0f}" for low, high in itertools.pairwise(EDGES)]
    table = Table(rows=[[name, *np.round(row, 4)] for name, row in rows.items()], names=["map", "snr", *names])
    table.meta |= {"clusters": stacks["n"], "chains": len(result.samples)}
    return table
