"""Programs of the system that some tests need: where one is missing they skip, and say what brings it.

With `REQUIRE_PROGRAMS=1` they fail instead, so that no check is skipped everywhere: the gate installs all and sets it.
"""

import os
import shutil
from pathlib import Path

import pytest

PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
PACKAGES = {  # Debian's packages of each
    "bibtex": "texlive-latex-recommended",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "nginx": "nginx-light libnginx-mod-http-dav-ext",
    "pdflatex": "texlive-latex-recommended",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}


def program(name: str) -> str:
    """Path of a program; the test that asks for one which is missing is skipped, or fails where all are required."""
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if path is None:
        missing(name)
    return path


def part(path: Path, of: str) -> Path:
    """A file that comes with the packages of a program; where it is missing, as above."""
    if not path.is_file():
        missing(of)
    return path


def missing(name: str) -> None:
    """Skip or fail the test at hand."""
    say = pytest.fail if os.environ.get("REQUIRE_PROGRAMS") else pytest.skip
    say(f"{name} is not installed; `apt-get install {PACKAGES[name]}` brings it")
