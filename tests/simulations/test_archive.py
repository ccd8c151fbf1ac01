"""Large files: downloads that go on where they stopped, and archives read member by member."""

import errno
import gzip
import hashlib
import io
import tarfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from range_server import CONTENT, serving

from analysis.core.files import BorderError
from analysis.simulations.suites import archive
from analysis.simulations.suites.archive import cached, download, members

SIZE = len(CONTENT)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/maps.tgz"  # the discard port, where nobody listens


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(archive, "WAIT_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "maps.tgz"


def part_of(path):
    return path.with_name("maps.tgz.part")


def get(server, path, *, size=SIZE, digest=DIGEST):
    return download(server.address, path, size=size, digest=digest)


@contextmanager
def told(*parts):
    """A BorderError of one sentence that holds these parts."""
    with pytest.raises(BorderError) as caught:
        yield caught
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in parts:
        assert str(part) in sentence


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
    with serving(drops=[200_000] * 2 * archive.TRIES) as server:
        get(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("size", "digest"), [(SIZE, DIGEST), (None, None)])
def test_a_second_run_goes_on_from_the_part_of_the_first(path, size, digest):
    with serving(drops=[1_000_000] + [0] * archive.TRIES) as server:
        with told("broke off", "after 1000000 of", "which are kept; run again"):
            get(server, path, size=size, digest=digest)
        assert not path.exists()
        assert len(server.asked) == 1 + archive.TRIES
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
        with told("broke off 5 times in a row"):
            get(server, path)
        assert len(server.asked) == archive.TRIES + 1
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
    assert download(NOWHERE, path, size=SIZE, digest=DIGEST).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(path):
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1] + b"?")
    with serving() as server:
        get(server, path)
    assert path.read_bytes() == CONTENT


def test_another_content_is_told_and_not_kept(path):
    other = CONTENT[:-1] + b"?"
    with serving(content=other) as server, told(hashlib.sha256(other).hexdigest(), f"expected {DIGEST}", "run again"):
        get(server, path)
    assert list(path.parent.iterdir()) == []


def test_another_size_is_told_before_a_byte_is_written(path):
    with serving(content=CONTENT[:-1]) as server, told("has 2999999 bytes, expected 3000000"):
        get(server, path)
    assert list(path.parent.iterdir()) == []


def test_a_file_that_is_not_there_is_told_at_once(path):
    with serving(statuses=[404]) as server:
        with told("answers HTTP 404", "correct the address"):
            get(server, path)
        assert len(server.asked) == 1
    assert list(path.parent.iterdir()) == []


def test_a_busy_server_is_asked_again(path):
    with serving(statuses=[503, 429]) as server:
        get(server, path)
        assert len(server.asked) == 3
    with serving(statuses=[503] * archive.TRIES) as server, told("cannot be reached (HTTP 503"):
        get(server, path.with_name("other.tgz"))


def test_nobody_there_is_told(path):
    with told("cannot be reached (ConnectionError)", "restore the network"):
        download(NOWHERE, path, size=SIZE, digest=DIGEST)


def test_a_server_that_does_not_say_the_length(path):
    with serving(length=False) as server:
        assert get(server, path).read_bytes() == CONTENT
        path.unlink()
        with told("does not say how long it is"):
            get(server, path, size=None, digest=None)


@pytest.mark.parametrize("address", ["http://example.org/maps.tgz", "ftp://example.org/maps.tgz", "https:///maps.tgz"])
def test_an_address_that_is_not_secure_is_refused(address, path):
    with told(address, "https address"):
        download(address, path, size=None, digest=None)


def test_a_redirection_to_an_address_that_is_not_secure_is_refused(path, monkeypatch):
    class Redirected(SimpleNamespace):
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    answer = Redirected(url="http://example.org/maps.tgz")
    monkeypatch.setattr(archive.requests, "get", lambda *_, **__: answer)
    with told("http://example.org/maps.tgz is plain http"):
        download("https://example.org/maps.tgz", path, size=None, digest=None)


def test_a_disk_that_is_too_small_is_told_beforehand(path, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    with serving() as server:
        with told("needs 0.003 GB more", "has 0.002 GB free", "free some space"):
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
        with told("the disk is full after 1000 bytes", "free some space and run again"):
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


def test_downloads_of_two_addresses_do_not_meet_in_the_cache():
    places = {cached(f"https://a.org/{kind}/maps/LP001/x.hdf5") for kind in ("full", "dm")}
    assert len(places) == 2
    assert cached("https://name:secret@a.org/../../x.tgz?token=1") == archive.CACHE / "a.org" / "x.tgz"


def pack(path, files, mode="w:gz"):
    """A tar archive of names and contents; a TarInfo stands for itself."""
    with tarfile.open(path, mode) as tar:
        for name, content in files:
            if isinstance(name, tarfile.TarInfo):
                tar.addfile(name)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


FILES = [(f"maps/{i}.fits", CONTENT[1000 * i : 1000 * (i + 1)]) for i in range(20)]


@pytest.mark.parametrize(("name", "mode"), [("a.tgz", "w:gz"), ("a.tar", "w"), ("a.tar.xz", "w:xz")])
def test_members_come_in_order_and_nothing_is_unpacked(tmp_path, name, mode):
    path = pack(tmp_path / name, [("maps/README", b"hello"), *FILES], mode)
    assert list(members(path, r"\.fits$")) == FILES
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_is_read_no_farther_than_asked(tmp_path):
    whole = pack(tmp_path / "a.tar", FILES, "w").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:20_000])
    maps = members(tmp_path / "cut.tar", r"\.fits$")
    assert [next(maps) for _ in range(5)] == FILES[:5]


@pytest.mark.parametrize("length", [0, 100, 1024, 1536, 20_000, 30_720])  # inside data, in a header, between two
def test_a_cut_archive_is_told(tmp_path, length):
    whole = pack(tmp_path / "a.tar", FILES, "w").read_bytes()
    assert len(whole) > 30_720
    packed = gzip.compress(whole)
    for name, content in (("cut.tar", whole[:length]), ("cut.tgz", packed[: len(packed) * length // len(whole)])):
        (tmp_path / name).write_bytes(content)
        with told(name, "no whole tar archive", "fetch it again"):
            list(members(tmp_path / name, r"\.fits$"))


def test_something_else_is_no_archive(tmp_path):
    for content in (b"<html>not found</html>" * 100, gzip.compress(b"<html>" * 1000)):
        (tmp_path / "a.tgz").write_bytes(content)
        with told("no whole tar archive"):
            list(members(tmp_path / "a.tgz", "."))


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("../evil.fits", b"x"),
        ("maps/../../evil.fits", b"x"),
        (special("maps/1.fits", tarfile.SYMTYPE, "/etc/hostname"), b""),
        (special("maps/1.fits", tarfile.SYMTYPE, "0.fits"), b""),
        (special("maps/1.fits", tarfile.LNKTYPE, "maps/0.fits"), b""),
        (special("maps/1.fits", tarfile.CHRTYPE), b""),
        (special("maps/1.fits", tarfile.FIFOTYPE), b""),
    ],
)
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, member, content):
    path = pack(tmp_path / "a.tgz", [FILES[0], (member, content)])
    with told(path, getattr(member, "name", member), "from a source you trust"):
        list(members(path, r"\.fits$"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_member_larger_than_any_map_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MEMBER_BYTES", 999)
    path = pack(tmp_path / "a.tgz", FILES)
    with told("'maps/0.fits' has 1000 bytes, and no map has more than 999"):
        list(members(path, r"\.fits$"))


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MEMBER_BYTES", 100_000)
    path = pack(tmp_path / "a.tgz", [(f"maps/{i}.txt", bytes(90_000)) for i in range(40)])
    assert path.stat().st_size < 20_000
    with told(path, "unpacks to more than 100 times its size"):
        list(members(path, r"\.fits$"))


def test_a_header_that_claims_to_be_huge_is_not_taken_into_memory(tmp_path):
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 4 * 2**30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(10 * tarfile.BLOCKSIZE))
    with told(path, "no whole tar archive (a header of 4294967296 bytes)"):
        list(members(path, r"\.fits$"))
