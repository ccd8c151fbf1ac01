"""Public files by name: from a mirror, from an earlier run, or from their public addresses."""

import hashlib
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler

import pytest
from range_server import listening

from analysis.core import download
from analysis.core.download import REGISTRY, SourceUnavailable, fetch, registered
from analysis.core.files import BorderError

NAME = "cosmos/ra.fits"
CONTENT = b"right ascensions" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9"  # the discard port, where nobody listens


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class BreaksOff(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])

    def log_message(self, *_):
        pass


def server(handler):
    return listening(handler, requests=0)


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "WAIT_S", 0.0)


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    (folder / "cosmos").mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    return folder


@pytest.fixture
def get(tmp_path):
    """`fetch` with its own cache and registry; the public address is an argument."""

    def get(name=NAME, public=NOWHERE):
        registry = tmp_path / "registry.txt"
        registry.write_text(f"{NAME} sha256:{DIGEST} {public}/{NAME}\n")
        return fetch(name, cache=tmp_path / "cache", registry=registry)

    return get


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_mirror_folder_is_used_in_place(get, mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(mirror))
    assert get() == mirror / NAME
    assert not (tmp_path / "cache").exists()


def test_a_mirror_address_fills_the_cache(get, mirror, tmp_path, monkeypatch):
    with server(partial(Quiet, directory=mirror)) as running:
        monkeypatch.setenv("DATA_MIRROR", running.address + "/")
        path = get()
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert get() == path  # a verified copy, with the mirror gone
    monkeypatch.delenv("DATA_MIRROR")
    assert get() == path


def test_the_public_address_is_the_last_source(get, mirror, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    for source in ("", str(tmp_path / "empty"), NOWHERE):
        monkeypatch.setenv("DATA_MIRROR", source)
        with server(partial(Quiet, directory=mirror)) as running:
            assert get(public=running.address).read_bytes() == CONTENT
        (tmp_path / "cache" / NAME).unlink()


def test_the_mirror_is_asked_before_the_public_address(get, mirror, monkeypatch):
    with server(partial(Quiet, directory=mirror)) as near, server(BreaksOff) as public:
        monkeypatch.setenv("DATA_MIRROR", near.address)
        assert get(public=public.address).read_bytes() == CONTENT
        assert public.requests == 0


def test_a_damaged_copy_in_the_cache_is_fetched_again(get, mirror, tmp_path):
    (tmp_path / "cache" / "cosmos").mkdir(parents=True)
    (tmp_path / "cache" / NAME).write_bytes(CONTENT[:-1])
    with server(partial(Quiet, directory=mirror)) as running:
        assert get(public=running.address).read_bytes() == CONTENT


def test_a_wrong_checksum_names_file_digests_and_remedy(get, mirror, tmp_path, monkeypatch):
    (mirror / NAME).write_bytes(CONTENT[:-1])
    found = hashlib.sha256(CONTENT[:-1]).hexdigest()
    sentence = rf"cosmos/ra.fits has SHA-256 {found}, expected {DIGEST}; it is"
    monkeypatch.setenv("DATA_MIRROR", str(mirror))
    with pytest.raises(BorderError, match=rf"{sentence} .* replace it"):
        get()
    monkeypatch.delenv("DATA_MIRROR")
    with server(partial(Quiet, directory=mirror)) as running, pytest.raises(BorderError, match=sentence):
        get(public=running.address)
    assert files(tmp_path / "cache") == []


def test_an_interrupted_download_is_tried_again_then_told(get, tmp_path):
    with server(BreaksOff) as running:
        with pytest.raises(
            BorderError, match=r"cosmos/ra.fits broke off 5 times in a row .* bytes, which are kept; run again"
        ) as caught:
            get(public=running.address)
        assert running.requests == 1 + download.TRIES
    assert not isinstance(caught.value, SourceUnavailable)
    assert [path.name for path in files(tmp_path / "cache")] == ["ra.fits.part"]


def test_no_source_names_the_three_ways_out(get, tmp_path):
    with pytest.raises(SourceUnavailable) as caught:
        get()
    sentence = str(caught.value)
    for part in (NAME, NOWHERE, "set DATA_MIRROR", "restore the network", "use a grid", "data/released"):
        assert part in sentence
    assert "\n" not in sentence
    assert files(tmp_path / "cache") == []


def test_a_file_that_is_not_at_its_address_is_no_source(get, mirror):
    (mirror / NAME).unlink()
    with server(partial(Quiet, directory=mirror)) as running, pytest.raises(SourceUnavailable, match="HTTP 404"):
        get(public=running.address)


def test_a_mistyped_mirror_is_told(get, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirrror"))
    with pytest.raises(BorderError, match="neither a folder nor an http"):
        get()


def test_an_unknown_name_is_told(get):
    with pytest.raises(BorderError, match=r"cosmos/e3.fits is not in .*registry.txt; add a line"):
        get("cosmos/e3.fits")


def test_the_registry_pins_every_public_file():
    names = [line.split()[0] for line in REGISTRY.read_text().splitlines() if not line.startswith("#")]
    assert "cosmos/ra.fits" in names
    for name in names:
        file = registered(name)
        assert len(bytes.fromhex(file.digest)) == 32
        assert file.url.startswith("https://")
