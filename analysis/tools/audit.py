"""Known vulnerabilities of the locked packages, as pip-audit finds them in public data bases."""

import re
import shutil
import subprocess
import sys

from analysis.core.files import BorderError
from analysis.core.paths import ROOT

LOCK = ROOT / "requirements.lock"
PINNED = ["--requirement", str(LOCK), "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
# what the tools say where they reach nobody
OFFLINE = ("connect", "resolve", "timed out", "unreachable", "dns error", "error sending request", "service error")
SKIPPED = r"could not be audited: ([\w.-]+)"


def main() -> None:
    """Print what is known of the locked packages.

    Raises
    ------
    BorderError
        If a package has a known vulnerability, if nothing could be asked, or if a package is not known there.
    """
    command = [*auditor(), *PINNED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    if done.returncode and any(word in told.lower() for word in OFFLINE) and "found" not in told.lower():
        raise BorderError(
            f"nothing was checked, {command[0]} reached no data base ({last_line(told)}); run it again where there is a"
            " network."
        )
    print(told.strip())
    skipped = re.findall(SKIPPED, told)
    if skipped:  # which the auditor counts as no vulnerability
        raise BorderError(
            f"{len(skipped)} of the locked packages were not checked (the first is {skipped[0]}), {command[0]} found"
            " none of them where it asked; run it again where PyPI is reached, and not a mirror of its files alone."
        )
    if done.returncode:
        raise BorderError(
            f"{last_line(told)}: see above; raise those packages in pyproject.toml, run make lock, and make test again."
        )


def auditor() -> list[str]:
    """The command that audits: pip-audit where it is installed, or uvx, which fetches it.

    Raises
    ------
    BorderError
        If neither is there.
    """
    if shutil.which("pip-audit"):
        return ["pip-audit"]
    if shutil.which("uvx"):
        return ["uvx", "--python", sys.executable, "pip-audit"]
    raise BorderError("neither pip-audit nor uvx is installed; pip install pip-audit, and run this again.")


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
