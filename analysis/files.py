"""Files at the border: whole or absent, and one sentence for whoever meets a bad one."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BorderError(ValueError):
    """Bad input at the border (a file, a key, a source), told in one sentence with its remedy."""


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it onto `path` on success, remove it on error.

    Parameters
    ----------
    path : Path or str
        File to write. Its folder is created where missing.

    Yields
    ------
    Path
        Temporary name in the same folder, with the same ending.

    Raises
    ------
    BorderError
        If the disk is full. `path` keeps what it held before.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{os.getpid()}-", suffix=f"-{path.name}", delete=False
        ) as handle:
            temporary = Path(handle.name)
        temporary.unlink()  # writers such as numpy and astropy create the file themselves
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())  # else a power cut may leave the new name and none of its bytes
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BorderError(
                f"{path}: the disk is full, nothing was written; free some space and run the stage again."
            ) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: Path | str, obj: object) -> None:
    """Write `obj` as JSON: sorted keys, one space of indent, a final newline.

    Parameters
    ----------
    path : Path or str
        File to write.
    obj : object
        Nested dicts and lists of numbers and text; numpy scalars are taken as Python's numbers.

    Raises
    ------
    ValueError
        If `obj` holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(obj, indent=1, sort_keys=True, allow_nan=False, default=_plain)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n")


def read_json(path: Path | str) -> object:
    """Read a JSON file.

    Raises
    ------
    BorderError
        If the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BorderError(f"{path} does not exist; run the stage that writes it (dvc repro).") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BorderError(
            f"{path} is not valid JSON ({error}); delete it and run the stage that writes it again."
        ) from error


def sha256(path: Path | str) -> str:
    """SHA-256 digest of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _plain(value: object) -> object:
    """A numpy scalar or array as plain Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
