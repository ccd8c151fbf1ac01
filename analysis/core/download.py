"""Verified files from elsewhere: public files by name, and downloads that continue where they stopped.

A download stays in `<file>.part` until it is whole and its digest right. Pooch cannot continue a download, so none of
this uses it.
"""

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.exceptions import RequestException
from tqdm import tqdm
from urllib3.exceptions import HTTPError as TransportError

from analysis.core.files import BorderError, is_full, sha256
from analysis.core.paths import DATA, ROOT

REGISTRY = Path(__file__).with_name("registry.txt")
CACHE = DATA / "cache"
TRIES = 5  # in a row without a new byte
WAIT_S = 2.0  # before the next try; doubled by each try without a new byte
TIMEOUT_S = (10, 60)  # to connect, to wait for the next bytes
CHUNK_BYTES = 2**20
LOOPBACK = ("127.0.0.1", "::1", "localhost")

REMEDY = "run again, or use a copy of the file on this machine"
REMEDIES = (
    "set DATA_MIRROR to a folder or address that has the file, restore the network,"
    " or use a grid whose observation is at hand (the quick grid, or one under data/released)"
)


class SourceUnavailable(BorderError):  # noqa: N818
    """No source of a file answers or has it; `reason` says why in a few words."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PublicFile:
    """A file of the registry: its name below a mirror, its SHA-256 digest, its public address."""

    name: str
    digest: str
    url: str


def fetch(name: str, *, cache: Path = CACHE, registry: Path = REGISTRY) -> Path:
    """Path of a public file whose SHA-256 digest is right.

    Looked for, in this order, in the folder or address named by the environment variable DATA_MIRROR (a file in a
    folder is used in place), in `cache`, and at its public address. A relative folder counts from the repository.

    Parameters
    ----------
    name : str
        Name in the registry, such as `cosmos/ra.fits`.
    cache : Path
        Folder of downloaded files.
    registry : Path
        Names, digests and addresses.

    Raises
    ------
    SourceUnavailable
        If no source answers.
    BorderError
        If a source answers with another file, a download breaks off, the disk is full, or the name is not registered.
    """
    wanted = registered(name, registry)
    mirror = os.environ.get("DATA_MIRROR", "").rstrip("/")
    addresses = [wanted.url]
    if urlsplit(mirror).scheme in ("http", "https"):
        addresses.insert(0, f"{mirror}/{name}")
    elif mirror and not (ROOT / mirror).is_dir():
        raise BorderError(f"DATA_MIRROR is {mirror!r}, which is neither a folder nor an http(s) address; correct it.")
    elif mirror and (ROOT / mirror / name).exists():
        return verified(ROOT / mirror / name, wanted.digest)
    failures = []
    for address in addresses:
        try:
            return download(address, cache / name, digest=wanted.digest)
        except SourceUnavailable as error:
            failures.append(f"{address} ({error.reason})")
    looked = f"the folder {mirror}, " if mirror and len(addresses) == 1 else ""
    raise SourceUnavailable(
        f"{name} is not available from {looked}{cache / name} or {' or '.join(failures)}; {REMEDIES}."
    )


def registered(name: str, registry: Path = REGISTRY) -> PublicFile:
    """The registry's entry for a file.

    Raises
    ------
    BorderError
        If there is none.
    """
    for line in registry.read_text(encoding="utf-8").splitlines():
        if line.split()[:1] == [name]:
            _, digest, url = line.split()
            return PublicFile(name, digest.removeprefix("sha256:"), url)
    raise BorderError(f"{name} is not in {registry}; add a line with its name, sha256:<digest> and public address.")


def verified(path: Path, digest: str) -> Path:
    """`path`, if its SHA-256 digest is `digest`.

    Raises
    ------
    BorderError
        If it has another digest.
    """
    found = sha256(path)
    if found != digest:
        raise BorderError(
            f"{path} has SHA-256 {found}, expected {digest}; it is damaged or another file: replace it by the original,"
            f" set DATA_MIRROR to another source, or correct {REGISTRY.name}."
        )
    return path


def check_address(address: str, digest: str | None = None) -> None:
    """Raise unless an address is https, or plain http to this machine or for a file with a known digest."""
    parts = urlsplit(address)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise BorderError(f"{address} is not an https address; correct it, or give the path of a copy at hand.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and digest is None:
        raise BorderError(
            f"{address} is plain http, which is allowed from this machine (127.0.0.1) or with the file's SHA-256; give"
            " an https address or the path of a copy at hand."
        )


def download(address: str, path: Path, *, digest: str | None, size: int | None = None) -> Path:
    """Path of a downloaded file; it appears there only when it is whole and its digest right.

    The bytes received so far stay in `<path>.part` through broken connections, full disks and interrupted runs, and the
    next try asks for the rest alone. A file at `path` that is right is not fetched again.

    Parameters
    ----------
    address : https address; plain http where `digest` is given, or from this machine
    digest : SHA-256 in hexadecimal; None where none is published
    size : bytes; None holds the file to the length that the server states

    Raises
    ------
    SourceUnavailable
        If nobody answers at the address, or the file is not there.
    BorderError
        If the address is not secure, the connection breaks off again and again, the disk is full, or the file is
        another.
    """
    check_address(address, digest)
    if path.is_file() and _fault(path, size, digest) is None:
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _fetch(address, part, size, digest)
    except OSError as error:
        if not is_full(error):
            raise
        raise BorderError(
            f"the disk is full after {_length(part)} bytes of {address}; free some space and run again; it continues"
            f" from {part}."
        ) from error
    if fault := _fault(part, size, digest):
        part.unlink()
        raise BorderError(f"{address} {fault}; it is another file or was damaged on its way: {REMEDY}.")
    os.replace(part, path)
    return path


def _fault(path: Path, size: int | None, digest: str | None) -> str | None:
    """How a file differs from the expected one, or None. The slow digest is computed only if the size is right."""
    if size is not None and _length(path) != size:
        return f"has {_length(path)} bytes, expected {size}"
    found = digest and sha256(path)
    return f"has SHA-256 {found}, expected {digest}" if found != digest else None


def _length(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _fetch(address: str, part: Path, size: int | None, digest: str | None) -> None:
    """Fill `part` to the end of the file; give up after several tries in a row without a new byte."""
    begun = furthest = _length(part)
    failures = 0
    while True:
        try:
            return _continue(address, part, size, digest)
        except (RequestException, TransportError) as error:
            failures = 0 if _length(part) > furthest else failures + 1
            furthest = max(furthest, _length(part))
            busy = isinstance(error, requests.HTTPError)
            reason = str(error) if busy else type(error).__name__
            nobody = furthest == begun and isinstance(error, RequestException) and not busy
            if nobody or (failures == TRIES and not furthest):
                raise SourceUnavailable(
                    f"{address} does not answer ({reason}); restore the network, {REMEDY}.", reason
                ) from error
            if failures == TRIES:
                raise BorderError(
                    f"the download of {address} broke off {TRIES} times in a row ({reason}) after {_length(part)} of"
                    f" {size or 'all'} bytes, which are kept; {REMEDY}."
                ) from error
        time.sleep(WAIT_S * 2**failures)


def _continue(address: str, part: Path, size: int | None, digest: str | None) -> None:
    """Ask once for the missing bytes of a file, and append them to `part`.

    Raises
    ------
    requests.exceptions.RequestException, urllib3.exceptions.HTTPError
        If the connection breaks off, or the server is busy.
    """
    have = _length(part)
    if have == size:
        return
    if size is not None and have > size:
        return _again(address, part, size, digest)
    # ask for the bytes as stored: a server may otherwise label a .tgz as a compressed .tar
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        check_address(response.url, digest)  # a redirection may lead elsewhere
        start, total = _extent(response)
        if have and (response.status_code == 416 or start not in (0, have)):
            return _again(address, part, size, digest)
        _check_answer(response, address, total, size, digest)
        _check_room(part, address, (total or size or have) - have)
        _append(response, part, start, total)
    if total is not None and _length(part) != total:
        raise TransportError(f"{_length(part)} of {total} bytes")


def _again(address: str, part: Path, size: int | None, digest: str | None) -> None:
    """Start from the first byte, where `part` cannot be the beginning of the file."""
    part.unlink()
    _continue(address, part, size, digest)


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """Where in the file an answer starts (-1 where it does not say), and the length of the whole file, if known."""
    if response.status_code != 206:  # the whole file, whatever was asked for
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not stated:
        return -1, None
    return int(stated[1]), None if stated[2] == "*" else int(stated[2])


def _check_answer(
    response: requests.Response, address: str, total: int | None, size: int | None, digest: str | None
) -> None:
    """Raise where an answer is not the wanted file, or the server is busy."""
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        raise requests.HTTPError(status)
    if response.status_code not in (200, 206):
        raise SourceUnavailable(f"{address} answers {status}; correct the address, or use a copy at hand.", status)
    if size is not None and total not in (None, size):
        raise BorderError(
            f"{address} has {total} bytes, expected {size}; it is another file: correct the address or the size."
        )
    if size is total is digest is None:
        raise BorderError(f"{address} does not say how long it is, so a cut would not be seen; give a copy at hand.")


def _check_room(part: Path, address: str, needed: int) -> None:
    """Raise where the disk has no room for the missing bytes."""
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise BorderError(
            f"{address} needs {needed / 1e9:.3g} GB more, but {part.parent} has {free / 1e9:.3g} GB free; free some"
            " space and run again."
        )


def _append(response: requests.Response, part: Path, start: int, total: int | None) -> None:
    """Write the bytes of an answer as they arrive, after the first `start` bytes of the file."""
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, mininterval=1, desc=part.stem)
    with bar, part.open("ab" if start else "wb") as handle:
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            handle.write(chunk)
            bar.update(len(chunk))
