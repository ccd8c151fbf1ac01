"""Archives read member by member, and where downloads are kept."""

import gzip
import io
import tarfile

import pytest
from messages import rejected
from range_server import CONTENT

from analysis.simulations.suites import reading
from analysis.simulations.suites.reading import cached, members


def test_downloads_of_two_addresses_do_not_meet_in_the_cache():
    places = {cached(f"https://a.org/{kind}/maps/LP001/x.hdf5") for kind in ("full", "dm")}
    assert len(places) == 2
    assert cached("https://name:secret@a.org/../../x.tgz?token=1") == reading.CACHE / "a.org" / "x.tgz"


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
        with rejected(name, "not a whole tar archive", "fetch it again"):
            list(members(tmp_path / name, r"\.fits$"))


def test_something_else_is_no_archive(tmp_path):
    for content in (b"<html>not found</html>" * 100, gzip.compress(b"<html>" * 1000)):
        (tmp_path / "a.tgz").write_bytes(content)
        with rejected("not a whole tar archive"):
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
    with rejected(path, getattr(member, "name", member), "from a source you trust"):
        list(members(path, r"\.fits$"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_member_larger_than_any_map_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MEMBER_BYTES", 999)
    path = pack(tmp_path / "a.tgz", FILES)
    with rejected("'maps/0.fits' has 1000 bytes, and no map has more than 999"):
        list(members(path, r"\.fits$"))


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MEMBER_BYTES", 100_000)
    path = pack(tmp_path / "a.tgz", [(f"maps/{i}.txt", bytes(90_000)) for i in range(40)])
    assert path.stat().st_size < 20_000
    with rejected(path, "unpacks to more than 100 times its size"):
        list(members(path, r"\.fits$"))


def test_a_header_that_claims_to_be_huge_is_not_taken_into_memory(tmp_path):
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 4 * 2**30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(10 * tarfile.BLOCKSIZE))
    with rejected(path, "not a whole tar archive (a header of 4294967296 bytes)"):
        list(members(path, r"\.fits$"))
