"""How a number of the paper is written: its digits, its error, its power of ten. All of it is for LaTeX's math mode."""

import math
from collections.abc import Callable, Mapping, Sequence

from analysis.report.tables import EVIDENCE_ELL


def integer(value: float) -> str:
    """A whole number, its thousands apart where it has five digits or more."""
    return f"{value:,.0f}".replace(",", "" if value < 10000 else r"\,")


def general(value: float) -> str:
    """A number as short as it was set."""
    return f"{value:g}"


def decimals(digits: int, scale: float = 1.0) -> Callable[[float], str]:
    """A function that writes a number, times `scale`, to so many digits after the point."""
    return lambda value: f"{scale * value:.{digits}f}"


def scientific(digits: int) -> Callable[[float], str]:
    """A function that writes a number with a power of ten, and so many digits after the point."""

    def written(value: float) -> str:
        mantissa, exponent = f"{value:.{digits}e}".split("e")
        return rf"{mantissa}\times10^{{{int(exponent)}}}"

    return written


def chance(value: float) -> str:
    """A p-value to two digits, with a power of ten where it is below a thousandth."""
    return scientific(1)(value) if value < 1e-3 else f"{value:.2g}"


def with_error(value: float, error: float) -> str:
    """A number and its error, to the same digit, by the rule of the Particle Data Group.

    The error has two digits where its first three are below 355, one up to 949, and is rounded up to the next power of
    ten beyond, with two digits again.
    """
    if not (math.isfinite(error) and error > 0):
        return f"{value:.3g}"
    exponent = math.floor(math.log10(error))
    first_three = round(error / 10.0 ** (exponent - 2))
    places = max(0, (1 if first_three < 355 else 0) - exponent)
    return rf"{value:.{places}f}\pm{error:.{places}f}"


def percent(digits: int) -> Callable[[float], str]:
    """A function that writes a share in percent, to so many digits after the point."""
    return decimals(digits, 100)


def percent_with_error(value: float, error: float) -> str:
    """The same in percent."""
    return with_error(100 * value, 100 * error)


def smallest(digits: int) -> Callable[[Sequence[float]], str]:
    """A function that writes the smallest of a list."""
    return lambda values: f"{min(values):.{digits}f}"


def largest(digits: int) -> Callable[[Sequence[float]], str]:
    """A function that writes the largest of a list."""
    return lambda values: f"{max(values):.{digits}f}"


def inner(choose: Callable) -> Callable[[Sequence[float], Sequence[float]], str]:
    """A function of multipoles and ratios that writes one of those ratios that are compared with halofit."""
    low, high = EVIDENCE_ELL
    return lambda ell, ratio: f"{choose(r for at, r in zip(ell, ratio, strict=True) if low < at < high):.2f}"


def best_error(errors: Mapping[str, float]) -> str:
    """The smallest denoising error over noise levels."""
    return f"{min(_by_level(errors).values()):.3f}"


def best_level(errors: Mapping[str, float]) -> str:
    """The noise level of the smallest denoising error."""
    by_level = _by_level(errors)
    return min(by_level, key=by_level.get)


def _by_level(errors: Mapping[str, float]) -> dict[str, float]:
    """Errors by the text of their noise level."""
    return {name.removeprefix("error_"): value for name, value in errors.items() if name.startswith("error_")}
