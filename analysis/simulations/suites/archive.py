"""Files too large to be copied: downloads that go on where they stopped, and archives read member by member."""

import errno
import lzma
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.exceptions import RequestException
from tqdm import tqdm
from urllib3.exceptions import HTTPError as TransportError

from analysis.core.files import BorderError, sha256
from analysis.core.paths import DATA, ROOT

CACHE = DATA / "cache" / "suites"
TRIES = 5  # in a row that bring nothing new
WAIT_S = 2.0  # before the next try, doubled by each that brought nothing new
TIMEOUT_S = (10, 60)  # to connect, to wait for the next bytes
CHUNK_BYTES = 2**20
MEMBER_BYTES = 64 * 2**20  # far more than a map
EXTENSION_BYTES = 2**20  # of a header that holds a long name or further fields, far more than it needs
UNPACKED_TIMES = 100  # the packed size, and a member: maps are noise, and hardly shrink
EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
REMEDY = "run again, or set the suite's `address` to a copy at hand"


def is_remote(address: str) -> bool:
    """Whether an address is to be downloaded from, rather than a path of this machine."""
    return "://" in address


def local(address: str) -> Path:
    """The path that an address means on this machine; a relative one counts from the repository."""
    return ROOT / Path(address).expanduser()


def cached(address: str) -> Path:
    """Where a download stays: below `data/cache/suites`, by host and path."""
    parts = urlsplit(address)
    names = [name for name in parts.path.split("/") if name not in ("", ".", "..")]
    return CACHE.joinpath(parts.netloc.rpartition("@")[2], *names)


def check_address(address: str) -> None:
    """Raise where an address is neither https nor plain http to this machine itself."""
    parts = urlsplit(address)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise BorderError(f"{address} is no https address; correct it, or give the path of a copy at hand.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise BorderError(
            f"{address} is plain http, which is taken from this machine alone (127.0.0.1); give an https address or"
            " the path of a copy at hand."
        )


def download(address: str, path: Path, *, size: int | None, digest: str | None) -> Path:
    """Download a large file; it appears at `path` only when it is whole and its digest right.

    What has come stays in `<path>.part`, through broken connections, full disks and interrupted runs, and the next
    try asks for the rest alone. A file at `path` that is right is not fetched again.

    Parameters
    ----------
    address : https address, or http of this machine
    size : bytes; None holds the file to the length that the server states
    digest : SHA-256 in hexadecimal; None where the suite publishes none

    Returns
    -------
    `path`

    Raises
    ------
    BorderError
        If the address is not secure, the server does not have the file or cannot be reached, the connection breaks
        off again and again, the disk is full, or the file is another.
    """
    check_address(address)
    if path.is_file() and _fault(path, size, digest) is None:
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _fetch(address, part, size, digest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BorderError(
            f"the disk is full after {_length(part)} bytes of {address}; free some space and run again, which goes on"
            f" from {part}."
        ) from error
    fault = _fault(part, size, digest)
    if fault:
        part.unlink()
        raise BorderError(f"{address} {fault}; it is another file or was damaged on its way, {REMEDY}.")
    os.replace(part, path)
    return path


def _fault(path: Path, size: int | None, digest: str | None) -> str | None:
    """What is wrong with a file; the digest, which takes minutes, only where the size is right."""
    if size is not None and _length(path) != size:
        return f"has {_length(path)} bytes, expected {size}"
    found = digest and sha256(path)
    return f"has SHA-256 {found}, expected {digest}" if found != digest else None


def _length(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _fetch(address: str, part: Path, size: int | None, digest: str | None) -> None:
    """Fill `part` to the end of the file; give up after several tries in a row that bring nothing new."""
    furthest, failures = _length(part), 0
    while True:
        try:
            return _continue(address, part, size, digest)
        except (RequestException, TransportError) as error:
            failures = 0 if _length(part) > furthest else failures + 1
            furthest = max(furthest, _length(part))
            if failures == TRIES:
                raise BorderError(_broken(address, part, size, error)) from error
        time.sleep(WAIT_S * 2**failures)


def _broken(address: str, part: Path, size: int | None, error: Exception) -> str:
    """The sentence for a download that does not get on."""
    reason = str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
    if not _length(part):
        return f"{address} cannot be reached ({reason}); restore the network and {REMEDY}."
    return (
        f"the download of {address} broke off {TRIES} times in a row ({reason}) after {_length(part)} of"
        f" {size or 'all'} bytes, which are kept; {REMEDY}."
    )


def _continue(address: str, part: Path, size: int | None, digest: str | None) -> None:
    """Ask once for what is missing of a file, and append it to `part`.

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
    # the bytes as they lie there: a server may else call a .tgz a packed .tar
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        check_address(response.url)  # a redirection may lead elsewhere
        start, total = _extent(response)
        if have and (response.status_code == 416 or start not in (0, have)):
            return _again(address, part, size, digest)
        _check_answer(response, address, total, size, digest)
        _check_room(part, address, (total or size or have) - have)
        _append(response, part, start, total)
    if total is not None and _length(part) != total:
        raise requests.ConnectionError(f"{_length(part)} of {total} bytes")


def _again(address: str, part: Path, size: int | None, digest: str | None) -> None:
    """Start from the first byte, where what is there cannot be the beginning of the file."""
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
    """Raise where an answer is not the file that is wanted, or no answer yet."""
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        raise requests.HTTPError(status)
    if response.status_code not in (200, 206):
        raise BorderError(f"{address} answers {status}; correct the address, or set it to a copy at hand.")
    if size is not None and total not in (None, size):
        raise BorderError(
            f"{address} has {total} bytes, expected {size}; it is another file: correct the address or the size."
        )
    if size is total is digest is None:
        raise BorderError(f"{address} does not say how long it is, so a cut would not be seen; give a copy at hand.")


def _check_room(part: Path, address: str, needed: int) -> None:
    """Raise where the disk cannot take what is still to come."""
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise BorderError(
            f"{address} needs {needed / 1e9:.3g} GB more, but {part.parent} has {free / 1e9:.3g} GB free; free some"
            " space and run again."
        )


def _append(response: requests.Response, part: Path, start: int, total: int | None) -> None:
    """Write an answer's bytes behind the `start` bytes that are there, as they come."""
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, mininterval=1, desc=part.stem)
    with bar, part.open("ab" if start else "wb") as handle:
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            handle.write(chunk)
            bar.update(len(chunk))


def members(path: Path, wanted: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of a .tar or .tgz whose name matches, in the archive's order; nothing is unpacked.

    Parameters
    ----------
    wanted : regular expression, searched in the name

    Raises
    ------
    BorderError
        If the archive is cut short or none, a name leads out of it, a member is a link or a device, one is far
        larger than a map, or all of them are far larger than the archive.
    """
    try:
        most = UNPACKED_TIMES * path.stat().st_size + MEMBER_BYTES
        with tarfile.open(path, "r|*", tarinfo=_Header) as archive:
            for member in archive:
                _check_member(member, path)
                if archive.offset > most:
                    raise BorderError(
                        f"{path} unpacks to more than {UNPACKED_TIMES} times its size, which maps do not; take an"
                        " archive of maps from a source you trust."
                    )
                if member.isfile() and re.search(wanted, member.name):
                    yield member.name, archive.extractfile(member).read()
            # tarfile takes a cut between two members for the end, which is a block of zeros
            if archive.fileobj.tell() < archive.offset + tarfile.BLOCKSIZE:
                raise EOFError("the end is missing")
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise BorderError(
            f"{path} is no whole tar archive ({' '.join(str(error).split())}); fetch it again."
        ) from error


class _Header(tarfile.TarInfo):
    """A header of an archive; tarfile keeps those that extend another in memory, whatever size they claim."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Header":
        """The header of one block."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENSIONS and header.size > EXTENSION_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Raise where a member is not a plain file or folder inside the archive, or too large to be read at once."""
    try:
        tarfile.data_filter(member, str(path.with_name(f"{path.name}.unpacked")))
        fault = "is a link" if member.issym() or member.islnk() else None
    except tarfile.FilterError as error:
        fault = f"is refused ({' '.join(str(error).split())})"
    if member.size > MEMBER_BYTES:
        fault = f"has {member.size} bytes, and no map has more than {MEMBER_BYTES}"
    if fault:
        raise BorderError(
            f"{path}: the member {member.name!r} {fault}; take an archive of maps from a source you trust."
        )
