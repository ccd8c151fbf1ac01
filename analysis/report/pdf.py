"""The PDF of the paper by pdfLaTeX and BibTeX; every run makes the same bytes."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from analysis.core.files import BorderError, atomic

PACKAGES = ("texlive-latex-recommended",)  # Debian's, with every class, style and font of main.tex
PROGRAMS = ("pdflatex", "bibtex")
FIXED = {  # no times from the clock, no broken lines in the log
    "SOURCE_DATE_EPOCH": "0",
    "FORCE_SOURCE_DATE": "1",
    "max_print_line": "2000",
}
RUNS = 3  # after BibTeX: citations move the text, and so the references
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
        If LaTeX is not installed, stops, or leaves a reference or a citation undefined.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise BorderError(
            f"{' and '.join(missing)} not found: numbers and tables were written, {folder.name}/main.pdf was not;"
            f" install LaTeX, with Debian `apt-get install {' '.join(PACKAGES)}`"
        )
    with tempfile.TemporaryDirectory() as scratch:
        log = _typeset(folder, Path(scratch))
        faults = [fault for pattern in FAULTS for fault in re.findall(pattern, log, re.MULTILINE)]
        if faults:
            raise BorderError(f"{folder.name}/main.tex has a fault: {faults[0].strip()} ({len(faults)} such lines)")
        with atomic(folder / "main.pdf") as temporary:
            shutil.copyfile(Path(scratch) / "main.pdf", temporary)
    return log


def _typeset(folder: Path, scratch: Path) -> str:
    """Log of the last run of LaTeX; all runs write into `scratch`."""
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
        If it fails; the sentence quotes the program.
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
        raise BorderError(f"{command[0]} stopped: {' '.join(words.split())}")
