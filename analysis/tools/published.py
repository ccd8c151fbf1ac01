"""`make published`: statistics of the public MassiveNuS map, with which simulated maps are compared."""

import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack

from analysis.core.download import fetch
from analysis.core.tables import save_table
from analysis.simulations.evidence import PUBLISHED, PUBLISHED_PIXEL_ARCMIN, map_statistics

PUBLISHED_MAP = "massivenus/Mnu_cosmos_kappa.fits"
REBINS = (1, 2, 10)  # pixel sizes in pixels of the map: of paper; of quick and reference; of tiny


def main() -> None:
    """Write statistics of the public map, on its own pixels and on those of each profile."""
    kappa = fits.getdata(fetch(PUBLISHED_MAP)).astype(float)
    save_table(vstack([published_statistics(kappa, rebin) for rebin in REBINS]), PUBLISHED)


def published_statistics(kappa: np.ndarray, rebin: int) -> Table:
    """Statistics of the published map on pixels `rebin` times its own: `rebin`, `statistic`, `x`, `value`.

    Parameters
    ----------
    kappa : (ny, nx), the published map
    """
    side = len(kappa) // rebin
    coarse = kappa[: side * rebin, : side * rebin].reshape(side, rebin, side, rebin).mean(axis=(1, 3))
    statistics = map_statistics(coarse[None], rebin * PUBLISHED_PIXEL_ARCMIN)
    rows = [
        Table({"rebin": [rebin] * len(x), "statistic": [name] * len(x), "x": x, "value": values[0]})
        for name, (x, values) in statistics.items()
    ]
    return vstack(rows)
