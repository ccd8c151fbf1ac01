"""Where the project lies, and where a run puts data and figures."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
FIGURES = ROOT / "figures" / "run"  # of a run; those of the release lie beside it
