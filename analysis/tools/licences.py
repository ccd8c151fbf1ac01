"""Licences of the locked packages, from their own metadata, as a page of the guide."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from analysis.core.files import BorderError, atomic
from analysis.core.paths import ROOT

LOCK = ROOT / "requirements.lock"
PAGE = ROOT / "paper" / "guide" / "licences.md"
LONGEST = 60  # characters; longer is the text of a licence, not its name
UNKNOWN = ("", "UNKNOWN", "Dual License", "See LICENSE")
HEAD = """# Licences

`python -m analysis licences` writes this page from what the packages of `requirements.lock` say of themselves; the code
here has the MIT licence. Packages that are for other systems than the one it was written on keep what stood here.
"""


def main() -> None:
    """Write the page.

    Raises
    ------
    BorderError
        If a package is not installed, and nothing is known of it.
    """
    known = listed()
    found = {name: licence(name) or known.get(name, "") for name in locked()}
    missing = [name for name, text in found.items() if not text]
    if missing:
        raise BorderError(
            f"{', '.join(missing)}: no licence is known; install requirements.lock, or add a row to {PAGE}."
        )
    with atomic(PAGE) as temporary:
        temporary.write_text(page(found), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} has {len(found)} packages")


def page(found: dict[str, str]) -> str:
    """The page for licences by package."""
    rows = [f"| {name} | {text} |" for name, text in sorted(found.items())]
    return "\n".join([HEAD, "| package | licence |", "| --- | --- |", *rows, ""])


def locked() -> list[str]:
    """Names of the locked packages."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return sorted({match[1] for line in lines if (match := re.match(r"([\w.-]+)==", line))})


def listed() -> dict[str, str]:
    """Licences by package, as the page has them."""
    if not PAGE.is_file():
        return {}
    rows = re.findall(r"^\| ([\w.-]+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: text for name, text in rows if name not in ("package", "---")}


def licence(name: str) -> str:
    """What an installed package says of its licence; empty where it is not installed, or says nothing."""
    try:
        return stated(distribution(name))
    except PackageNotFoundError:
        return ""


def stated(package: Distribution) -> str:
    """A package's licence: its SPDX expression, its short name, or its classifiers."""
    about = package.metadata
    short = (about.get("License") or "").strip()
    classified = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier", []) if "License ::" in line]
    choices = [about.get("License-Expression") or "", "; ".join(classified), short if len(short) <= LONGEST else ""]
    text = next((choice for choice in choices if choice not in (*UNKNOWN, "OSI Approved")), "")
    return " ".join(text.replace("|", "/").split())
