"""Compare the metrics of this run with the published ones of its profile, each within its tolerance."""

from pathlib import Path

from analysis.core.files import BorderError, read_json
from analysis.core.paths import ROOT
from analysis.params import load_params
from analysis.report.comparison import Compared, claims_compared, compared

RUN = "data/validation/metrics.json"
WIDTH = 64  # of a claim or a name


def main() -> None:
    """Compare `data/validation/metrics.json` with the published metrics of its profile: claims, then what differs.

    Raises
    ------
    BorderError
        If there is nothing to compare, or a number lies outside its tolerance.
    """
    profile = load_params().profile
    found, published = read_json(ROOT / RUN), published_metrics(profile)
    rows = list(compared(found, published))
    outside = [row for row in rows if not row.agrees]
    print(f"{'claim':{WIDTH}} {'this run':>12} {'published':>12} {'may differ by':>13}")
    for claim, row in claims_compared(found, published):
        print(_line(claim, row))
    named = {row.name for _, row in claims_compared(found, published)}
    for row in (row for row in outside if row.name not in named):
        print(_line(row.name, row))
    if outside:
        raise BorderError(
            f"{len(outside)} of {len(rows)} numbers of this run differ from the published ones of the profile"
            f" {profile}; if you changed code or parameters on purpose, this is the effect of the change"
        )
    print(f"all {len(rows)} numbers of this run agree with the published ones of the profile {profile}")


def published_metrics(profile: str, root: Path = ROOT) -> dict:
    """Metrics of a profile as they were released.

    Raises
    ------
    BorderError
        If none are published.
    """
    released = root / "data" / "released" / profile / "validation" / "metrics.json"
    if not released.is_file():
        raise BorderError(
            f"no metrics of the profile {profile} are published: {released.relative_to(root)} does not exist;"
            " `make release` publishes those of a run"
        )
    return read_json(released)


def _line(name: str, row: Compared) -> str:
    """A number for the terminal, with the verdict."""
    numbers = f"{_shown(row.value):>12} {_shown(row.expected):>12} {row.allowed:>13.2g}"
    return f"{name:{WIDTH}} {numbers}   {'agree' if row.agrees else 'DIFFER'}"


def _shown(value: object) -> str:
    """A value for a table."""
    return f"{value:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
