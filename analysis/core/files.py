"""Files that are written whole or not at all, JSON, digests, and `BorderError` for bad input."""

import errno
import glob
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import psutil

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, the largest file that a process may write
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # NumPy's short-write message; its error has no number
HOST = re.sub(r"\W", "_", socket.gethostname())
TEMPORARY = re.compile(r"\.(?P<host>\w+)-(?P<process>\d+)-[0-9a-f]{8}-(?P<name>.+)", re.DOTALL)
DAY_S = 86400.0
DIGITS = 6  # significant digits of a metric: in further ones two CPUs differ by the order of their sums


class BorderError(ValueError):
    """Bad input (a file, a key, a source); its message is one sentence with value, rule and remedy."""


def expanded(path: str) -> str:
    """A path with the home folder in place of a leading `~`, as in a shell.

    Raises
    ------
    BorderError
        If no such user has a home folder.
    """
    whole = os.path.expanduser(path)
    if whole.startswith("~"):
        raise BorderError(f"{path} begins with the home folder of an unknown user; write the path out.")
    return whole


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
        If the disk is full, or `path` is a folder. `path` keeps what it held before.
    """
    path = Path(path)
    temporary = None
    if path.is_dir():
        raise BorderError(f"{path} is a folder, but a file must be written there; move the folder away.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        temporary = temporary_beside(path)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())  # without this a power cut may leave the new name without its bytes
        os.replace(temporary, path)
    except OSError as error:
        if is_full(error):
            raise BorderError(
                f"{path}: the disk is full, nothing was written; free some space and run the stage again."
            ) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """An unused name beside `path`, with the same ending and the number of this process."""
    return path.with_name(f".{HOST}-{os.getpid()}-{token_hex(4)}-{path.name}")


def sweep(path: Path) -> None:
    """Remove the temporary files that killed processes left beside `path`."""
    for other in path.parent.glob(f".*-{glob.escape(path.name)}"):
        with suppress(OSError):  # another process may sweep too
            if _left_behind(other, path.name):
                other.unlink()


def _left_behind(temporary: Path, name: str) -> bool:
    """Whether a file is a temporary one of `name` whose process has ended (on another machine: is a day old)."""
    parts = TEMPORARY.fullmatch(temporary.name)
    if parts is None or parts["name"] != name:
        return False
    written = temporary.stat().st_mtime
    if parts["host"] != HOST:
        return time.time() - written > DAY_S
    try:
        process = psutil.Process(int(parts["process"]))
        another = process.create_time() > written + 1  # with the same number
        return another or process.status() == psutil.STATUS_ZOMBIE  # ended, and nobody has asked how
    except psutil.NoSuchProcess:
        return True


def is_full(error: OSError) -> bool:
    """Whether a write failed because there was no space."""
    return error.errno in FULL or SHORT_WRITE.search(str(error)) is not None


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
        If `obj` holds NaN or infinity, which JSON cannot express.
    """
    text = json.dumps(obj, indent=1, sort_keys=True, allow_nan=False, default=_plain)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n")


def write_metrics(path: Path | str, metrics: Mapping) -> None:
    """Write metrics as JSON, rounded to `DIGITS` significant digits; as `write_json` otherwise."""
    write_json(path, _rounded(metrics))


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


def _rounded(value: object) -> object:
    """Nested dicts and lists with every float rounded."""
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _plain(value: object) -> object:
    """A numpy scalar or array as plain Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
