"""The PDF of the paper: pdfLaTeX and BibTeX, with nothing in it that differs from run to run."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from analysis.core.files import BorderError, atomic

PACKAGES = ("texlive-latex-recommended",)  # of Debian: every class, style and font that main.tex uses
PROGRAMS = ("pdflatex", "bibtex")
FIXED = {  # times that LaTeX would take from the clock, and lines of its log that are not broken
    "SOURCE_DATE_EPOCH": "0",
    "FORCE_SOURCE_DATE": "1",
    "max_print_line": "2000",
}
RUNS = 3  # after BibTeX: citations, then references to what they moved, then once more for these
FAULTS = (
    r"^! .*",
    r"^LaTeX Warning: (?:Reference|Citation) .* undefined.*",
    r"^(?:LaTeX|Package natbib) Warning: .*(?:multiply defined|undefined).*",
    r"^Package natbib Warning: Citation .* undefined.*",
    r"^.*Rerun to get .* right.*",
)


def build_pdf(folder: Path) -> str:
    """Write `main.pdf` beside `main.tex`, and return LaTeX's log.

    Raises
    ------
    BorderError
        If LaTeX is not there, stops, or leaves a reference or a citation open.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise BorderError(
            f"{' and '.join(missing)} not found, so that {folder.name}/main.pdf was not made (its numbers and tables"
            f" were); install LaTeX, with Debian `apt-get install {' '.join(PACKAGES)}`"
        )
    with tempfile.TemporaryDirectory() as scratch:
        log = _typeset(folder, Path(scratch))
        faults = [fault for pattern in FAULTS for fault in re.findall(pattern, log, re.MULTILINE)]
        if faults:
            raise BorderError(f"{folder.name}/main.tex is not right: {faults[0].strip()} ({len(faults)} such lines)")
        with atomic(folder / "main.pdf") as temporary:
            shutil.copyfile(Path(scratch) / "main.pdf", temporary)
    return log


def _typeset(folder: Path, scratch: Path) -> str:
    """Log of the last of the runs that it takes, all of which write into `scratch`."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    command += [f"-output-directory={scratch}", "main.tex"]
    _run(command, folder, scratch)
    _run(["bibtex", "main"], scratch, scratch, BIBINPUTS=f"{folder}:")
    for _ in range(RUNS):
        _run(command, folder, scratch)
    return (scratch / "main.log").read_text(encoding="utf-8", errors="replace")


def _run(command: list[str], folder: Path, scratch: Path, **environment: str) -> None:
    """Run one program of LaTeX.

    Raises
    ------
    BorderError
        If it fails, with its own first words on why.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **FIXED, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        told = re.findall(r"^(?:! |I couldn't|Warning--|.*---line \d+ of).*", done.stdout, re.MULTILINE)
        line = re.search(r"^l\.\d+.*", done.stdout, re.MULTILINE)
        words = " ".join([*told[:1], *([line[0]] if line else [])]) or done.stdout.strip()[-200:]
        raise BorderError(f"{command[0]} stopped at the paper: {' '.join(words.split())}")
