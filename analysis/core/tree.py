"""The files of the project as they lie here: in a clone, or in a tree that was unpacked from an archive."""

import subprocess
import tempfile
from pathlib import Path

from analysis.core.paths import ROOT


def project_files(root: Path = ROOT) -> list[Path]:
    """Every file below `root` that .gitignore does not name, whether Git tracks it or not; no `.git` is needed."""
    with tempfile.TemporaryDirectory() as scratch:  # a repository that tracks nothing, so that all is listed
        git = ["git", f"--git-dir={scratch}", f"--work-tree={root}"]
        subprocess.run([*git, "init", "--quiet"], check=True)
        listed = [*git, "ls-files", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    return [root / name for name in sorted(names) if (root / name).is_file() and not name.startswith(".git/")]
