"""Suites of published maps: layouts, sources, boxes and bad files."""

import gzip
import hashlib
import io
import logging
import pickle
import tarfile
from functools import partial
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy.io import fits
from messages import rejected
from range_server import serving

from analysis.core.paths import ROOT
from analysis.params import (
    FilesParams,
    KappatngParams,
    MassivenusParams,
    SmailParams,
    SourcesParams,
    Splits,
    TheoryParams,
)
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.suites import folder, kappatng, massivenus, published_suite, reading
from analysis.simulations.suites.kappatng import PLANES, convergence, plane_weights

SIDE = 64
WANTED = {"train": 3, "validation": 1, "test": 2}
COSMOLOGY = {"h": 0.7, "omega_m": 0.3, "omega_b": 0.0455, "a_s": 2.1e-9, "n_s": 0.97}
TNG = {"h": 0.6774, "omega_m": 0.3089, "omega_b": 0.0486, "a_s": 2.14e-9, "n_s": 0.9667}


def theory(cosmology=COSMOLOGY, **sources):
    return TheoryParams(**cosmology, sources=SourcesParams(**(sources or {"redshift": 1.0})), ell_max=5000)


def kappa_of(number, side=SIDE):
    return np.random.default_rng(number).normal(0, 0.02, (side, side)).astype(np.float32)


def fits_bytes(kappa, **cards):
    stream = io.BytesIO()
    hdu = fits.PrimaryHDU(kappa)
    hdu.header.update(cards)
    hdu.writeto(stream)
    return stream.getvalue()


def wcs_cards(arcmin):
    return {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -arcmin / 60, "CDELT2": arcmin / 60}


def numbers_of(maps):
    """Numbers of `kappa_of` that maps are."""
    return [next(i for i in range(99) if np.array_equal(kappa_of(i), kappa)) for _, _, kappa in maps]


# MassiveNuS


def massive_files(names, **cards):
    return {name: fits_bytes(kappa_of(i), **cards) for i, name in enumerate(names)}


def unpacked(tmp_path, files):
    for name, content in files.items():
        path = tmp_path / "suite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "suite"


def packed(tmp_path, files):
    path = tmp_path / "suite.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def massive_params(address, content=b""):
    address = str(address)
    if "://" not in address and address.endswith(".tgz"):
        content = (ROOT / address).read_bytes()
    return MassivenusParams(address=address, bytes=max(len(content), 1), sha256=hashlib.sha256(content).hexdigest())


def massive(address, wanted=WANTED):
    return list(massivenus.open_suite(massive_params(address), theory()).read(wanted))


SINGLE = [f"Maps10/map{i}.fits" for i in range(8)]
FULL = [f"Maps{plane}/WLconv_z{z}_{i:04d}r.fits" for i in range(8) for plane, z in (("05", "0.50"), ("10", "1.00"))]


@pytest.mark.parametrize(("names", "step", "first"), [(SINGLE, 1, 0), (FULL, 2, 1)])
@pytest.mark.parametrize("lay_out", [packed, unpacked])
def test_massivenus_reads_the_plane_at_redshift_one(tmp_path, lay_out, names, step, first):
    maps = massive(lay_out(tmp_path, massive_files(names)))
    assert [split for split, _, _ in maps] == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert {box for _, box, _ in maps} == {0}
    assert numbers_of(maps) == [first + step * i for i in range(6)]
    assert all(kappa.dtype == np.dtype("=f4") for _, _, kappa in maps)


def test_massivenus_keeps_the_order_of_the_archive(tmp_path):
    assert numbers_of(massive(packed(tmp_path, massive_files(SINGLE[::-1])))) == [0, 1, 2, 3, 4, 5]


def test_massivenus_leaves_out_what_states_another_redshift(tmp_path):
    stray = {"Maps10/WLconv_z0.50_0000r.fits": b"", "Maps10/._WLconv_z1.00_0001r.fits": b"", "Maps10/README": b""}
    for lay_out in (packed, unpacked):
        assert numbers_of(massive(lay_out(tmp_path, stray | massive_files(SINGLE)))) == [0, 1, 2, 3, 4, 5]


def test_massivenus_says_what_it_is(tmp_path):
    found = massivenus.open_suite(massive_params(unpacked(tmp_path, massive_files(SINGLE))), theory())
    assert found.pixels == SIDE
    assert found.pixel_arcmin == 0.41015625
    assert "share matter" in found.about["approximation"]
    assert massivenus.COSMOLOGY["omega_b"] == pytest.approx(0.04551, rel=1e-4)


def test_massivenus_from_an_address(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    content = packed(tmp_path, massive_files(SINGLE)).read_bytes()
    with serving(content=content) as server:
        found = massivenus.open_suite(massive_params(server.address, content), theory())
        assert server.served == len(content)
        assert numbers_of(found.read(WANTED)) == [0, 1, 2, 3, 4, 5]
        assert server.served == len(content)


def test_massivenus_checks_size_and_digest_of_an_archive(tmp_path):
    path = packed(tmp_path, massive_files(SINGLE))
    params = massive_params(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with rejected(path, f"expected {params.sha256}", "fetch it again"):
        massivenus.open_suite(params, theory())
    path.write_bytes(content[:-1])
    with rejected(path, f"has {len(content) - 1} bytes, expected {len(content)}"):
        massivenus.open_suite(params, theory())
    path.unlink()
    with rejected(path, "does not exist"):
        massivenus.open_suite(params, theory())


def test_massivenus_has_sources_at_redshift_one_alone(tmp_path):
    for sources in ({"redshift": 0.9}, {"smail": SmailParams(alpha=2.0, beta=1.5, z0=0.7)}):
        with rejected("z = 1", "set theory.sources.redshift", "kappatng"):
            massivenus.open_suite(massive_params(tmp_path), theory(**sources))


def test_massivenus_with_too_few_maps(tmp_path):
    path = packed(tmp_path, massive_files(SINGLE[:4]))
    with rejected(path, "has 4 maps, but the splits need 6; lower simulations.maps"):
        massive(path)
    with rejected("has no FITS files in a folder Maps10"):
        massive(packed(tmp_path, massive_files(["Maps05/WLconv_z0.50_0001r.fits"])))


def nan_map():
    kappa = kappa_of(9)
    kappa[3, 4] = np.nan
    return kappa


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (fits_bytes(nan_map()), "holds 1 values that are not finite"),
        (fits_bytes(kappa_of(9)[:-1]), "has shape (63, 64), but a map is a square"),
        (fits_bytes(kappa_of(9, 32)), "is 32 pixels wide, the maps before it 64"),
        (fits_bytes(None), "has no image"),
        (fits_bytes(kappa_of(9))[:5000], "cannot be read as FITS"),
        (b"no map", "cannot be read as FITS"),
        (fits_bytes(kappa_of(9), CDELT1=0.01), "has pixels of 0.6 arcmin by its header, not 0.41016"),
        (fits_bytes(kappa_of(9), CD1_1=-0.01), "has pixels of 0.6 arcmin"),
        (fits_bytes(kappa_of(9), ANGLE=0.64), "has pixels of 0.6 arcmin"),
        (fits_bytes(kappa_of(9), **wcs_cards(0.6)), "has pixels of 0.6 arcmin"),
    ],
)
def test_massivenus_names_a_bad_map(tmp_path, bad, sentence):
    files = massive_files(SINGLE) | {SINGLE[2]: bad}
    for address in (packed(tmp_path, files), unpacked(tmp_path, files)):
        with rejected(SINGLE[2], sentence):
            massive(address)


@pytest.mark.parametrize(
    "cards", [{"CDELT1": 3.5 / 512}, {"CDELT1": 1.0}, {"ANGLE": 3.5 / 512 * SIDE}, wcs_cards(0.41)]
)
def test_massivenus_takes_headers_that_agree_or_say_nothing(tmp_path, cards):
    assert len(massive(unpacked(tmp_path, massive_files(SINGLE, **cards)))) == 6


# kappaTNG


def test_a_source_between_two_planes_is_shared_linearly():
    low, high = PLANES[21:23]
    weights, beyond = plane_weights(np.array([1.0]), np.array([1.0]))
    assert np.flatnonzero(weights).tolist() == [21, 22]
    assert weights[22] == pytest.approx((1.0 - low) / (high - low), rel=1e-12)
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert beyond == 0


def test_sources_on_a_plane_in_front_of_all_and_beyond():
    redshift = np.array([PLANES[0] / 4, PLANES[7], 4.0])
    weights, beyond = plane_weights(redshift, np.array([0.2, 0.5, 0.3]))
    expected = np.zeros(40)
    expected[[0, 7, 39]] = 0.2 / 4, 0.5, 0.3
    np.testing.assert_allclose(weights, expected, atol=1e-15)
    assert beyond == 0.3


def test_weights_interpolate_a_function_of_redshift_over_n_of_z():
    redshift, share = source_distribution(SourcesParams(smail=SmailParams(alpha=2.0, beta=1.5, z0=0.5)))
    weights, _ = plane_weights(redshift, share)
    inside = np.minimum(redshift, PLANES[-1])
    assert weights @ PLANES == pytest.approx(share @ inside, rel=1e-12)  # linear: exact
    assert weights @ PLANES**2 == pytest.approx(share @ inside**2, rel=2e-3)  # else but for the spacing


def test_sources_in_front_of_the_first_plane_are_refused():
    with rejected("z = 0.03 at most, in front of the first plane", "farther away"):
        kappatng.open_suite(tng_params("."), theory(redshift=0.03))


def tng_params(address, train=2, validation=1, test=2):
    return KappatngParams(address=str(address), realisations=Splits(train=train, validation=validation, test=test))


def tng_value(box, run, plane):
    """The convergence all over one plane of the toy suite."""
    return box + run / 128 + plane * 4


def write_tng(folder, box, run, planes=(22, 23), side=32):
    path = folder / f"LP{box:03d}" / f"LP{box:03d}_run{run:03d}_maps.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as handle:
        handle.create_group("config")
        for plane in planes:
            handle[f"z{plane:02d}/kappa"] = np.full((side, side), tng_value(box, run, plane), np.float32)
    return path


@pytest.fixture
def tng(tmp_path, monkeypatch):
    monkeypatch.setattr(kappatng, "PIXELS", 32)
    for box in range(1, 6):
        for run in (1, 2):
            write_tng(tmp_path / "tng", box, run)
    return tmp_path / "tng"


def test_kappatng_splits_are_disjoint_and_evenly_used(tng):
    found = kappatng.open_suite(tng_params(tng), theory(redshift=1.0))
    maps = list(found.read(WANTED))
    assert [(split, box) for split, box, _ in maps] == [
        ("train", 1), ("train", 1), ("train", 2), ("validation", 3), ("test", 4), ("test", 5)
    ]  # fmt: skip
    high = (1.0 - PLANES[21]) / (PLANES[22] - PLANES[21])
    for (_, _, kappa), (box, run) in zip(maps, [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1)], strict=True):
        expected = (1 - high) * tng_value(box, run, 22) + high * tng_value(box, run, 23)
        np.testing.assert_allclose(kappa, np.full((32, 32), expected), rtol=1e-6)
    assert found.about["source_redshifts"] == [0.973168, 1.034093]
    assert found.pixels == 32


def test_kappatng_says_what_lies_beyond_its_last_plane(tng, caplog):
    with caplog.at_level(logging.WARNING):
        found = kappatng.open_suite(tng_params(tng), theory(redshift=3.0))
    assert found.about["beyond_last_plane"] == 1
    assert found.about["source_redshifts"] == [PLANES[-1]]
    assert "beyond the last plane of kappatng" in caplog.text


def test_kappatng_from_an_address_is_fetched_map_by_map(tng, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    content = (tng / "LP001" / "LP001_run001_maps.hdf5").read_bytes()
    with serving(content=content, drops=[1000]) as server:
        monkeypatch.setattr("analysis.core.download.WAIT_S", 0.0)
        maps = kappatng.open_suite(tng_params(server.address), theory(redshift=1.0)).read(WANTED)
        assert server.asked == []
        next(maps)
        assert server.served == len(content)
    saved = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.name for path in saved] == ["LP001_run001_maps.hdf5"]
    assert saved[0].read_bytes() == content


def test_kappatng_with_too_few_realisations(tng):
    with rejected("are 101 LP numbers, but kappaTNG has 100"):
        kappatng.open_suite(tng_params(tng, train=98), theory(redshift=1.0))
    with rejected("simulations.maps.train is 201, but 2 LP numbers of kappaTNG have 200 maps", "realisations.train"):
        next(kappatng.open_suite(tng_params(tng), theory(redshift=1.0)).read(WANTED | {"train": 201}))
    with rejected("LP001_run003_maps.hdf5 does not exist", "simulations.kappatng.address"):
        list(kappatng.open_suite(tng_params(tng), theory(redshift=1.0)).read(WANTED | {"train": 6}))


def test_kappatng_names_a_bad_file(tng):
    weights, _ = plane_weights(np.array([1.0]), np.array([1.0]))
    path = write_tng(tng, 1, 1, planes=(22,))
    with rejected(path, "has no dataset z23/kappa"):
        convergence(path, weights)
    path = write_tng(tng, 1, 1, side=16)
    with rejected(path, "z22/kappa has shape (16, 16), expected (32, 32)"):
        convergence(path, weights)
    with h5py.File(write_tng(tng, 1, 1), "a") as handle:
        handle["z23/kappa"][3, 4] = np.nan
    with rejected(path, "z23/kappa holds 1 values that are not finite"):
        convergence(path, weights)
    path.write_bytes(path.read_bytes()[:2000])
    with rejected(path, "cannot be read as HDF5", "delete it and fetch it again"):
        convergence(path, weights)


# a folder of maps


def write_maps(root, ending, names):
    """One file a name, with the maps `kappa_of(0)`, `kappa_of(1)`, ..."""
    for i, name in enumerate(names):
        write_map(root / f"{name}{ending}", kappa_of(i))
    return root


def write_map(path, kappa):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, kappa)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as handle:
            handle["maps/kappa"] = kappa
    else:
        content = fits_bytes(kappa)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def folder_of(root, dataset="maps/kappa", pixel_arcmin=0.5):
    params = FilesParams(folder=str(root), pixel_arcmin=pixel_arcmin, dataset=dataset)
    return folder.open_suite(params, theory())


NAMES = [f"{box}/{i}" for box in "abcdef" for i in range(2)]


@pytest.mark.parametrize("ending", [".fits", ".fits.gz", ".npy", ".h5"])
def test_every_format_gives_the_same_maps(tmp_path, ending):
    found = folder_of(write_maps(tmp_path, ending, NAMES))
    maps = list(found.read(WANTED))
    assert (found.pixels, found.pixel_arcmin, found.about["boxes"]) == (SIDE, 0.5, 6)
    assert numbers_of(maps) == [0, 2, 4, 6, 8, 10]  # boxes abc, d, ef: one map of each
    assert [box for _, box, _ in maps] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("ending", [".npy", ".h5"])
def test_stacks_give_their_maps_and_are_one_box(tmp_path, ending):
    for box in range(3):
        write_map(tmp_path / f"{box}{ending}", np.stack([kappa_of(3 * box + i) for i in range(3)]))
    maps = list(folder_of(tmp_path).read(WANTED))
    assert [(split, box) for split, box, _ in maps] == [("train", 0)] * 3 + [("validation", 1)] + [("test", 2)] * 2
    assert numbers_of(maps) == [0, 1, 2, 3, 6, 7]


@pytest.mark.parametrize("boxes", range(3, 30))
def test_splits_share_no_box(boxes):
    places = [SimpleNamespace(box=box) for box in range(boxes)]
    hashable = [folder.Place(None, i, place.box) for place in places for i in range(40)]
    for wanted in (WANTED, {"train": 38, "validation": 1, "test": 1}, {"train": 1, "validation": 1, "test": 38}):
        dealt = folder.deal(hashable, wanted)
        used = [{place.box for place in dealt[split]} for split in wanted]
        assert not used[0] & used[1]
        assert not used[1] & used[2]
        assert not used[0] & used[2]
        assert {split: len(dealt[split]) for split in wanted} == wanted


def test_boxes_are_dealt_in_proportion_and_evenly_used():
    places = [folder.Place(None, i, box) for box in range(10) for i in range(7)]
    dealt = folder.deal(places, {"train": 16, "validation": 2, "test": 5})
    per_box = {split: np.unique([p.box for p in found], return_counts=True) for split, found in dealt.items()}
    assert per_box["train"][0].tolist() == list(range(7))
    assert per_box["train"][1].tolist() == [3, 3, 2, 2, 2, 2, 2]
    assert per_box["validation"][0].tolist() == [7]
    assert per_box["test"][0].tolist() == [8, 9]


def test_fewer_than_three_boxes_are_split_by_order_and_told(tmp_path, caplog):
    write_maps(tmp_path, ".npy", [f"only/{i}" for i in range(6)])
    with caplog.at_level(logging.WARNING):
        found = folder_of(tmp_path)
    assert found.about["splits_share_boxes"]
    assert "share matter" in caplog.text
    assert numbers_of(found.read(WANTED)) == [0, 1, 2, 3, 4, 5]
    with rejected("train has 6 and needs 9, validation has 0 and needs 1", "lower simulations.maps"):
        next(found.read(WANTED | {"train": 9}))


def test_a_file_in_the_folder_itself_is_a_box(tmp_path):
    found = folder_of(write_maps(tmp_path, ".npy", ["a", "b", "c"]))
    assert found.about == {"suite": "maps of a folder", "boxes": 3, "splits_share_boxes": False}
    with rejected("too few maps in 3 box(es): train has 1 and needs 3, validation has 1 and needs 1"):
        next(found.read(WANTED))


def test_maps_are_loaded_one_after_the_other(tmp_path):
    maps = folder_of(write_maps(tmp_path, ".fits", NAMES)).read(WANTED)
    next(maps)
    (tmp_path / "b" / "0.fits").write_bytes(b"gone bad")
    with rejected(tmp_path / "b" / "0.fits", "cannot be read as FITS"):
        next(maps)


def test_a_folder_without_maps(tmp_path):
    with rejected(tmp_path / "none", "is not a folder"):
        folder_of(tmp_path / "none")
    (tmp_path / "README.txt").write_text("no maps")
    with rejected(tmp_path, "has no maps (.fits, .fits.gz, .npy, .hdf5, .h5)"):
        folder_of(tmp_path)


@pytest.mark.parametrize("ending", [".fits", ".npy", ".h5"])
def test_a_folder_names_a_bad_map(tmp_path, ending):
    read = partial(write_maps, tmp_path, ending, NAMES)
    for bad, sentence in [
        (nan_map(), "holds 1 values that are not finite"),
        (kappa_of(9)[:-1], "has shape (63, 64), but a map is a square"),
        (kappa_of(9, 32), "is 32 pixels wide, the maps before it 64"),
        (kappa_of(9)[0], "has shape (64,)"),
    ]:
        read()
        path = write_map(tmp_path / f"b/0{ending}", bad)
        with rejected(path, sentence):
            list(folder_of(tmp_path).read(WANTED))
    path.write_bytes(path.read_bytes()[:100])
    with rejected(path, "cannot be read as"):
        list(folder_of(tmp_path).read(WANTED))


def test_pickled_and_complex_arrays_are_refused(tmp_path):
    path = write_maps(tmp_path, ".npy", ["a"]) / "a.npy"
    for content in (np.array([{"a": 1}], dtype=object), None):
        np.save(path, content, allow_pickle=True)
        with rejected(path, "cannot be read as an array of numbers"):
            folder_of(tmp_path)
    path.write_bytes(pickle.dumps(kappa_of(0)))
    with rejected(path, "cannot be read as an array of numbers"):
        folder_of(tmp_path)
    np.save(path, kappa_of(0) * 1j)
    with rejected(path, "holds complex64, but convergence is a real number"):
        folder_of(tmp_path)


def test_an_hdf5_file_needs_the_name_of_its_array(tmp_path):
    write_maps(tmp_path, ".h5", NAMES)
    for name in (None, "kappa", "maps"):
        with rejected("0.h5", f"has no dataset {name!r} (datasets: maps/kappa); set simulations.files.dataset"):
            folder_of(tmp_path, dataset=name)


def test_a_header_that_contradicts_the_pixel_scale(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(fits_bytes(kappa_of(0), **wcs_cards(0.504)))
    assert folder_of(tmp_path).pixels == SIDE
    path.write_bytes(fits_bytes(kappa_of(0), **wcs_cards(0.506)))
    with rejected(path, "has pixels of 0.506 arcmin by its header, not 0.5; set simulations.files.pixel_arcmin"):
        folder_of(tmp_path)
    path.write_bytes(fits_bytes(kappa_of(0), CDELT1=0.01))  # not of the sky
    assert folder_of(tmp_path).pixels == SIDE


# one interface


def simulations(source, section):
    return SimpleNamespace(source=source, **{source: section})


def test_one_interface_for_every_suite(tmp_path, tng):
    maps = write_maps(tmp_path / "maps", ".npy", NAMES)
    nus = massive_params(unpacked(tmp_path, massive_files(SINGLE)))
    files = FilesParams(folder=str(maps), pixel_arcmin=0.5)
    assert published_suite(simulations("massivenus", nus), theory()).pixel_arcmin == 0.41015625
    assert published_suite(simulations("kappatng", tng_params(tng)), theory(TNG)).pixel_arcmin == 0.29296875
    assert published_suite(simulations("files", files), theory()).pixel_arcmin == 0.5


@pytest.mark.parametrize(("key", "value"), [("omega_m", 0.31), ("h", 0.6774), ("a_s", 2.14e-9), ("omega_b", 0.0486)])
def test_another_cosmology_is_told_before_anything_is_read(key, value):
    missing = simulations("massivenus", massive_params("nowhere"))
    with rejected(f"theory.{key} is {value:g}, but", "`-S simulations=massivenus`", f"or change theory.{key}"):
        published_suite(missing, theory(COSMOLOGY | {key: value}))
