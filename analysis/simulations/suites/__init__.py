"""Published suites of convergence maps, each behind the same door: maps of its own size, and the box of each.

`massivenus`, `kappatng` and `folder` (any folder of maps) know one layout each; `archive` fetches and reads what is
too large to be copied, `images` checks a map, `rebin` brings maps to another pixel scale.
"""

from collections.abc import Mapping

from analysis.core.files import BorderError
from analysis.params import SimulationsParams, TheoryParams
from analysis.simulations.suites import folder, kappatng, massivenus
from analysis.simulations.suites.records import NativeMap, Suite

__all__ = ["NativeMap", "Suite", "suite"]

READERS = {"massivenus": massivenus.massivenus, "kappatng": kappatng.kappatng, "files": folder.folder}
COSMOLOGIES = {"massivenus": massivenus.COSMOLOGY, "kappatng": kappatng.COSMOLOGY, "files": {}}
TOLERANCE = 0.01  # relative, between a suite's cosmology and that of `theory`


def suite(params: SimulationsParams, theory: TheoryParams) -> Suite:
    """The published suite that `simulations.source` names.

    What is large is downloaded here where a map must be seen to know the size of all (`massivenus`), else in `read`.

    Parameters
    ----------
    params : SimulationsParams
        `source` is one of `READERS`.
    theory : TheoryParams
        Its cosmology must be that of the suite.

    Raises
    ------
    BorderError
        If the cosmologies differ by more than 1 %, or the suite is not what its layout says; in one sentence.
    """
    # before anything is downloaded
    check_cosmology(params.source, COSMOLOGIES[params.source], theory)
    return READERS[params.source](getattr(params, params.source), theory)


def check_cosmology(source: str, cosmology: Mapping[str, float], theory: TheoryParams) -> None:
    """Raise where a parameter of the suite's cosmology is not that of `theory`."""
    for key, value in cosmology.items():
        ours = getattr(theory, key)
        if abs(ours - value) > TOLERANCE * value:
            raise BorderError(
                f"theory.{key} is {ours:g}, but the maps of {source} were made with {value:g}; choose the suite with"
                f" `-S simulations={source}`, which sets its cosmology, or change theory.{key}."
            )
