"""Folders of the project: its root, and where a run puts data and figures."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
FIGURES = ROOT / "figures" / "run"  # of a run; the released figures lie one folder above
