"""What every suite gives: maps as they were published, and what is known of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

NativeMap = tuple[str, int, np.ndarray]  # split, number of the box, convergence (side, side)


@dataclass(frozen=True)
class Suite:
    """Maps of a suite as they were published.

    `pixel_arcmin` : pixel scale; `pixels` : side of a map;
    `cosmology` : `h`, `omega_m`, ... by the names of the section `theory`, as far as they are known;
    `about` : what a reader wants to know besides (version, redshifts of the sources, what was approximated);
    `read` : from the number of maps wanted of each split to these maps, split by split, train first.
    """

    pixel_arcmin: float
    pixels: int
    cosmology: Mapping[str, float]
    about: Mapping[str, object]
    read: Callable[[Mapping[str, int]], Iterator[NativeMap]]
