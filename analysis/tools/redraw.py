"""Every figure again from what is kept of it in `data/shown/`: no simulation, no training, no samples."""

from pathlib import Path

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.figures import redraw


def main(root: Path = ROOT) -> None:
    """Draw all kept figures of a project into its `figures/run/`, and print their paths.

    Raises
    ------
    BorderError
        If no figure is kept there, or a file is damaged.
    """
    kept = sorted((root / "data" / "shown").glob("*/*.npz"))
    if not kept:
        raise BorderError(
            "data/shown holds no figure; fetch what the released ones show with `make figures`, or make your own with"
            " `dvc repro`."
        )
    for path in kept:
        print(redraw(path, root / "figures" / "run").relative_to(root))
