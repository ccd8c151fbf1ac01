"""Shared by tests of the pipeline and of its stages: files of the project, a clone, a command there, a notebook."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from analysis.core.paths import ROOT

FOLDERS = (ROOT, ROOT / "tests", *sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir()))
PATHS = os.pathsep.join(map(str, FOLDERS))  # PYTHONPATH of a process that imports tests and their helpers


def project_files(root=ROOT):
    """Every file below `root` that .gitignore does not name, whether Git tracks it or not; no `.git` is needed."""
    with tempfile.TemporaryDirectory() as scratch:  # a repository that tracks nothing, so that all is listed
        git = ["git", f"--git-dir={scratch}", f"--work-tree={root}"]
        subprocess.run([*git, "init", "--quiet"], check=True)
        listed = [*git, "ls-files", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    return [root / name for name in sorted(names) if (root / name).is_file() and not name.startswith(".git/")]


def shell(command, folder, **environment):
    """A finished command, text or a list of arguments, run in `folder` with the Python of this test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command.split() if isinstance(command, str) else command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def copied(folder):
    """Copy the project as it lies here, changes included, and nothing that git ignores."""
    for path in project_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return folder


def cloned(folder):
    """Copy the project into a repository of its own."""
    copied(folder)
    for command in (
        "git init --quiet",
        "git config user.name tests",
        "git config user.email tests@localhost",
        "git add --all",
        "git commit --quiet --message=clone",
    ):
        done = shell(command, folder)
        assert done.returncode == 0, done.stderr
    return folder


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
