"""Downloads: they continue where they stopped, and only a file that is whole and right appears."""

import errno
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from messages import rejected
from range_server import CONTENT, serving

from analysis.core import download
from analysis.core.download import SourceUnavailable

SIZE = len(CONTENT)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/maps.tgz"  # the discard port, where nobody listens


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(download, "WAIT_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "maps.tgz"


def part_of(path):
    return path.with_name("maps.tgz.part")


def get(server, path, *, size=SIZE, digest=DIGEST):
    return download.download(server.address, path, size=size, digest=digest)


def test_a_file_is_fetched_once_as_it_is(path):
    with serving() as server:
        assert get(server, path) == path
        assert get(server, path) == path
        assert server.served == SIZE
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_broken_connection_is_taken_up_where_it_broke(path):
    with serving(drops=[2_000_000, 400_000]) as server:
        get(server, path)
        assert server.asked == [None, "bytes=2000000-", "bytes=2400000-"]
        assert server.served == SIZE
    assert path.read_bytes() == CONTENT


def test_more_breaks_than_tries_are_no_harm_while_the_file_grows(path):
    with serving(drops=[200_000] * 2 * download.TRIES) as server:
        get(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("size", "digest"), [(SIZE, DIGEST), (None, None)])
def test_a_second_run_goes_on_from_the_part_of_the_first(path, size, digest):
    with serving(drops=[1_000_000] + [0] * download.TRIES) as server:
        with rejected("broke off", "after 1000000 of", "which are kept; run again"):
            get(server, path, size=size, digest=digest)
        assert not path.exists()
        assert len(server.asked) == 1 + download.TRIES
    assert part_of(path).read_bytes() == CONTENT[:1_000_000]
    with serving() as server:
        get(server, path, size=size, digest=digest)
        assert server.asked == ["bytes=1000000-"]
        assert server.served == SIZE - 1_000_000
    assert path.read_bytes() == CONTENT
    assert not part_of(path).exists()


def test_a_server_without_ranges_starts_again(path):
    with serving(ranges=False, drops=[2_000_000]) as server:
        get(server, path)
        assert server.asked == [None, "bytes=2000000-"]
        assert server.served == 2_000_000 + SIZE
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(path):
    with serving(ranges=False, drops=[SIZE // 2] * 20) as server:
        with rejected("broke off 5 times in a row"):
            get(server, path)
        assert len(server.asked) == download.TRIES + 1
    assert not path.exists()


@pytest.mark.parametrize(("size", "answer"), [(SIZE, None), (None, "bytes=3000005-")])
def test_a_part_that_is_too_long_is_thrown_away(path, size, answer):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT + b"extra")
    with serving() as server:
        get(server, path, size=size)
        assert server.asked == ([None] if answer is None else [answer, None])
    assert path.read_bytes() == CONTENT


def test_an_answer_from_another_place_of_the_file_is_not_appended(path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT[:1000])
    with serving(shift=7) as server:
        get(server, path)
    assert path.read_bytes() == CONTENT


def test_a_whole_part_is_only_verified(path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT)
    assert download.download(NOWHERE, path, size=SIZE, digest=DIGEST).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(path):
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1] + b"?")
    with serving() as server:
        get(server, path)
    assert path.read_bytes() == CONTENT


def test_another_content_is_told_and_not_kept(path):
    other = CONTENT[:-1] + b"?"
    with (
        serving(content=other) as server,
        rejected(hashlib.sha256(other).hexdigest(), f"expected {DIGEST}", "run again"),
    ):
        get(server, path)
    assert list(path.parent.iterdir()) == []


def test_another_size_is_told_before_a_byte_is_written(path):
    with serving(content=CONTENT[:-1]) as server, rejected("has 2999999 bytes, expected 3000000"):
        get(server, path)
    assert list(path.parent.iterdir()) == []


def test_a_file_that_is_not_there_is_told_at_once(path):
    with serving(statuses=[404]) as server:
        with rejected("answers HTTP 404", "correct the address"):
            get(server, path)
        assert len(server.asked) == 1
    assert list(path.parent.iterdir()) == []


def test_a_busy_server_is_asked_again(path):
    with serving(statuses=[503, 429]) as server:
        get(server, path)
        assert len(server.asked) == 3
    with serving(statuses=[503] * download.TRIES) as server, rejected("does not answer (HTTP 503") as caught:
        get(server, path.with_name("other.tgz"))
    assert isinstance(caught.value, SourceUnavailable)


def test_nobody_there_is_told_at_once(path, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda _: pytest.fail("waited for nobody"))
    for address in (NOWHERE, "https://a b/maps.tgz"):
        with rejected("does not answer", "restore the network") as caught:
            download.download(address, path, size=SIZE, digest=DIGEST)
        assert isinstance(caught.value, SourceUnavailable)
    assert not path.exists()


def test_a_network_that_goes_away_amid_a_file_is_waited_for(path, monkeypatch):
    get_from_server, calls = download.requests.get, []

    def often_nobody(*arguments, **settings):
        calls.append(settings["headers"].get("Range"))
        if len(calls) in (2, 3):
            raise download.requests.ConnectionError
        return get_from_server(*arguments, **settings)

    monkeypatch.setattr(download.requests, "get", often_nobody)
    with serving(drops=[1000]) as server:
        get(server, path)
    assert calls == [None, *["bytes=1000-"] * 3]
    assert path.read_bytes() == CONTENT


def test_a_server_that_does_not_say_the_length(path):
    with serving(length=False) as server:
        assert get(server, path).read_bytes() == CONTENT
        path.unlink()
        with rejected("does not say how long it is"):
            get(server, path, size=None, digest=None)


@pytest.mark.parametrize("address", ["http://example.org/maps.tgz", "ftp://example.org/maps.tgz", "https:///maps.tgz"])
def test_an_address_that_is_not_secure_is_refused(address, path):
    with rejected(address, "https address"):
        download.download(address, path, size=None, digest=None)


def test_plain_http_is_taken_where_a_digest_guards_the_file():
    download.check_address("http://example.org/maps.tgz", DIGEST)
    with rejected("ftp://example.org"):
        download.check_address("ftp://example.org/maps.tgz", DIGEST)


def test_a_redirection_to_an_address_that_is_not_secure_is_refused(path, monkeypatch):
    class Redirected(SimpleNamespace):
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    answer = Redirected(url="http://example.org/maps.tgz")
    monkeypatch.setattr(download.requests, "get", lambda *_, **__: answer)
    with rejected("http://example.org/maps.tgz is plain http"):
        download.download("https://example.org/maps.tgz", path, size=None, digest=None)


def test_a_disk_that_is_too_small_is_told_beforehand(path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    with serving() as server:
        with rejected("needs 0.003 GB more", "has 0.002 GB free", "free some space"):
            get(server, path)
        assert not part_of(path).exists()
        path.parent.mkdir(exist_ok=True)
        part_of(path).write_bytes(CONTENT[:1_500_000])
        get(server, path)  # the rest has room


def test_a_disk_that_fills_up_keeps_the_part(path, monkeypatch):
    opened = Path.open

    def full(self, *arguments):
        handle = opened(self, *arguments)
        if self.suffix != ".part":
            return handle
        handle.write(CONTENT[:1000])
        handle.flush()
        return FullDisk(handle)

    with serving() as server:
        monkeypatch.setattr(Path, "open", full)
        with rejected("the disk is full after 1000 bytes", "free some space and run again"):
            get(server, path)
        monkeypatch.setattr(Path, "open", opened)
        assert not path.exists()
        get(server, path)
        assert server.asked == [None, "bytes=1000-"]
    assert path.read_bytes() == CONTENT


class FullDisk:
    """A file that takes nothing more."""

    def __init__(self, handle):
        self.handle = handle

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.handle.close()

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")
