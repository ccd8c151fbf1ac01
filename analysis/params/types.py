"""What the records of every section are made of."""

import re
import unicodedata
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from analysis.core.files import expanded

LONGEST_NAME, LONGEST_TITLE = 64, 200  # characters
YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # which YAML takes for more than text
Entry = TypeVar("Entry")


def is_name(text: str) -> bool:
    """Whether fields and runs may be called so: DVC, files, the shell and YAML then take the name as it stands."""
    word = re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", text) is not None
    return word and len(text) <= LONGEST_NAME and text.lower() not in YAML_WORDS


def name_like(text: str) -> str:
    """A name of a field that is like `text`."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub("[^a-z0-9]+", "_", letters).strip("_")[: LONGEST_NAME - 6]
    return name if is_name(name) else f"field_{name}".strip("_")


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            "files and stages are named by it; give it letters from a to z, digits, _ and - alone, a letter first,"
            f" {LONGEST_NAME} at most, and no word that YAML takes for yes, no or null"
        )
    return text


def _distinct(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Names differ by more than the case of letters, which some file systems do not tell apart."""
    seen = {}
    for name in entries:
        if other := seen.get(name.lower()):
            raise ValueError(f"the names {other!r} and {name!r} differ by case alone, as files may not; rename one")
        seen[name.lower()] = name
    return entries


def _title(text: str) -> str:
    """Text on one line."""
    line = " ".join(text.split())
    if len(line) > LONGEST_TITLE or not line.isprintable() or "$" in line:
        raise ValueError(
            f"figures and FITS cards hold at most {LONGEST_TITLE} printable characters, and a $ would start a formula;"
            " shorten or correct it"
        )
    return line


def _tracked(text: str) -> str:
    if text.startswith("~"):
        raise ValueError("tracked by DVC, which knows no ~; write the path out, or give one below the project")
    return text


record = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True))

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["float32", "bfloat16"]
Name = Annotated[str, AfterValidator(_name)]
ByName = Annotated[dict[Name, Entry], AfterValidator(_distinct)]
Title = Annotated[str, AfterValidator(_title)]
UserPath = Annotated[str, AfterValidator(expanded)]
TrackedPath = Annotated[str, AfterValidator(_tracked)]
