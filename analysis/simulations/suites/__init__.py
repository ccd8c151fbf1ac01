"""Published suites of convergence maps, read through one interface.

Each suite is a module with `COSMOLOGY` (by the names of the section `theory`, as far as it is known) and a function
`open_suite` from its section of `params.yaml` and `theory` to a `Suite`: `massivenus`, `kappatng`, and `folder` for any
folder of maps, which is the simplest. A new suite is one more module and its entry in `SUITES`. `reading` has what they
share.
"""

from collections.abc import Mapping

from analysis.core.files import BorderError
from analysis.params import SimulationsParams, TheoryParams
from analysis.simulations.suites import folder, kappatng, massivenus
from analysis.simulations.suites.reading import PublishedMap, Suite

__all__ = ["PublishedMap", "Suite", "published_suite"]

SUITES = {"massivenus": massivenus, "kappatng": kappatng, "files": folder}  # by `simulations.source`
TOLERANCE = 0.01  # relative, between the cosmology of a suite and that of `theory`


def published_suite(params: SimulationsParams, theory: TheoryParams) -> Suite:
    """The published suite that `simulations.source` names.

    Most files are downloaded when `read` wants them; `massivenus` is downloaded here, because a map shows the size
    of all.

    Raises
    ------
    BorderError
        If the cosmologies differ by more than 1 %, or the suite is not as described.
    """
    suite = SUITES[params.source]
    check_cosmology(params.source, suite.COSMOLOGY, theory)  # before anything is downloaded
    return suite.open_suite(getattr(params, params.source), theory)


def check_cosmology(source: str, cosmology: Mapping[str, float], theory: TheoryParams) -> None:
    """Raise if a parameter of the suite's cosmology differs from `theory`."""
    for key, value in cosmology.items():
        ours = getattr(theory, key)
        if abs(ours - value) > TOLERANCE * value:
            raise BorderError(
                f"theory.{key} is {ours:g}, but the maps of {source} were made with {value:g}; choose the suite with"
                f" `-S simulations={source}`, which sets its cosmology, or change theory.{key}."
            )
