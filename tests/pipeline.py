"""Shared by tests of the pipeline and of its stages: a command in a folder, a notebook of a few cells."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat

from analysis.core.paths import ROOT

FOLDERS = (ROOT, ROOT / "tests", *sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir()))
PATHS = os.pathsep.join(map(str, FOLDERS))  # PYTHONPATH of a process that imports tests and their helpers


def shell(command, folder, **environment):
    """A finished command, run in `folder` with the Python of this test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command.split(),
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def wings(files):
    """Wings of `analysis/` that hold these files, but for plumbing: DVC watches parameters and data themselves."""
    folders = {"/".join(file.split("/")[:2]) for file in files if file.count("/") > 1}
    return folders - {"analysis/core", "analysis/params"}


def write_notebook(root, stage, cells, parameters=None):
    """Write a notebook of code cells, the first of which may hold its parameters."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    if parameters:
        tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        notebook.cells.insert(0, tagged)
    path = root / "notebooks" / f"{stage}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path
