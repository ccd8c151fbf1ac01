"""Archives too large to be unpacked, read member by member, and where a suite's files lie on this machine."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from analysis.core.files import BorderError
from analysis.core.paths import DATA, ROOT

CACHE = DATA / "cache" / "suites"
MEMBER_BYTES = 64 * 2**20  # far more than a map
EXTENSION_BYTES = 2**20  # of a header that holds a long name or further fields, far more than it needs
UNPACKED_TIMES = 100  # the packed size, and a member: maps are noise, and hardly shrink
EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


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
