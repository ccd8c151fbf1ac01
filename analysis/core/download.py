"""Public files, verified: from a mirror, from an earlier run, or from their public addresses."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch
from requests.exceptions import ConnectionError as Unreachable
from requests.exceptions import HTTPError, RequestException

from analysis.core.files import BorderError, atomic, sha256
from analysis.core.paths import DATA, ROOT

REGISTRY = Path(__file__).with_name("registry.txt")
CACHE = DATA / "cache"
TRIES = 3
TIMEOUT_S = (5, 30)  # to connect, to wait for the next bytes

REMEDIES = (
    "set DATA_MIRROR to a folder or address that has the file, restore the network,"
    " or use a grid whose observation is at hand (the quick grid, or one under data/released)"
)


class SourceUnavailable(BorderError):  # noqa: N818
    """No source of a file answers; the message names the three ways out."""


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
    copy = cache / name
    if copy.exists() and sha256(copy) == wanted.digest:
        return copy
    failures = []
    for address in addresses:
        try:
            return download(address, wanted.digest, copy)
        except (Unreachable, HTTPError) as error:
            failures.append(f"{address} ({type(error).__name__})")
    looked = f"the folder {mirror}, " if mirror and len(addresses) == 1 else ""
    raise SourceUnavailable(f"{name} is not to be had from {looked}{copy} or {' or '.join(failures)}; {REMEDIES}.")


def registered(name: str, registry: Path = REGISTRY) -> PublicFile:
    """The registry's entry for a file.

    Raises
    ------
    BorderError
        If there is none.
    """
    known = pooch.create(path=CACHE, base_url="")
    known.load_registry(registry)
    if name not in known.registry:
        raise BorderError(f"{name} is not in {registry}; add a line with its name, sha256:<digest> and public address.")
    return PublicFile(name, known.registry[name].removeprefix("sha256:"), known.urls[name])


def verified(path: Path, digest: str, *, source: object = None) -> Path:
    """`path`, if its SHA-256 digest is `digest`.

    Raises
    ------
    BorderError
        If it is another; `source` (by default `path`) is where the file came from.
    """
    found = sha256(path)
    if found != digest:
        raise BorderError(
            f"{source or path} has SHA-256 {found}, expected {digest}; it is damaged or another file: replace it by"
            f" the original, set DATA_MIRROR to another source, or correct {REGISTRY.name}."
        )
    return path


def download(url: str, digest: str, path: Path) -> Path:
    """Download a file with a progress bar; it appears at `path` only when it is whole and its digest right.

    Raises
    ------
    BorderError
        If the last of several tries breaks off, or a file comes that is another, or the disk is full.
    requests.exceptions.ConnectionError, requests.exceptions.HTTPError
        If nobody answers, or the file is not there.
    """
    get = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)
    for attempt in range(1, TRIES + 1):
        try:
            with atomic(path) as temporary:
                get(url, str(temporary), None)
                verified(temporary, digest, source=url)
            return path
        except (Unreachable, HTTPError):
            raise
        except RequestException as error:
            if attempt == TRIES:
                raise BorderError(
                    f"the download of {url} broke off {TRIES} times ({type(error).__name__}) and nothing was kept;"
                    " run again when the network is steady, or set DATA_MIRROR."
                ) from error
    raise AssertionError("every try returns or raises")
