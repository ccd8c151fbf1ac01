"""Files for other tools: astropy alone reads them back, and finds every corner and cluster where it should be."""

import shutil
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from analysis.__main__ import main
from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.judge.results import DEFAULT, RELEASED
from analysis.posterior.diagnostics import Level
from analysis.posterior.samples import save_samples
from analysis.report import export
from analysis.sky import Grid, Observation, image_hdu, load_observation, save_observation, write_fits
from analysis.survey.clusters import load_clusters

GRIDS = [
    Grid(20, 0.82, 150.1161025, 2.247490268),
    Grid(21, 3.0, 0.1, -33.0),
    Grid(20, 3.0, 359.95, 60.0),
    Grid(24, 5.0, 40.0, 89.5),
    Grid(24, 5.0, 200.0, -89.9),
    Grid(64, 10.0, 0.0, 45.0),
    Grid(21, 0.82, 150.1161025, 2.247490268, "CAR"),
    Grid(24, 3.0, 359.9, 1.0, "CAR"),
]
ABOUT = {"PROFILE": "tiny", "SEED": 3}
LEVELS = [Level(0.1, 0.0, 1.0, 1.0, 0.5, 10, (1.0, 1.0, 1.0, 1.0))]


def corners(grid):
    """Pixel numbers of corners and middles of sides, and where they are by the geometry of the projection alone."""
    x, y = (at.ravel() for at in np.meshgrid([0, grid.pixels / 2, grid.pixels - 1], [0, 3, grid.pixels - 1]))
    across, up = ((at - (grid.pixels - 1) / 2) * grid.pixel_arcmin / 60 for at in (x, y))
    if grid.projection == "CAR":
        return x, y, SkyCoord(grid.ra_deg + across, grid.dec_deg + up, unit="deg")
    angle = np.arctan(np.deg2rad(np.hypot(across, up)))  # from the tangent point; columns run west
    centre = SkyCoord(grid.ra_deg, grid.dec_deg, unit="deg")
    return x, y, centre.directional_offset_by(np.arctan2(-across, up) * u.rad, angle * u.rad)


def check_wcs(header, grid):
    x, y, expected = corners(grid)
    found = WCS(header).celestial.pixel_to_world(x, y)
    assert found.frame.name == "icrs"
    assert found.separation(expected).max() < 1e-6 * grid.pixel_arcmin * u.arcmin
    back = np.array(WCS(header).celestial.world_to_pixel(expected))
    np.testing.assert_allclose(back, [x, y], atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_image_lies_on_the_sky_where_geometry_says(grid, tmp_path):
    zeros = np.zeros((2, *grid.shape))
    save_observation(tmp_path / "observation.fits", Observation(zeros, zeros, zeros[0], grid), cards={}, truth=zeros[0])
    save_samples(tmp_path / "samples.fits", zeros, LEVELS, grid, cards={}, trail=zeros)
    write_fits(tmp_path / "presence.fits", [image_hdu(zeros[0], grid, "PRESENCE")], {})
    export.save_image(tmp_path / "mean.fits", zeros[0], grid, ABOUT)
    seen = []
    for path in tmp_path.iterdir():
        with fits.open(path) as hdus:
            for hdu in hdus:
                if hdu.is_image and hdu.data is not None:
                    check_wcs(hdu.header, grid)
                    seen.append(hdu.name)
    assert sorted(seen) == sorted(
        ["SHEAR", "WEIGHT", "COUNT", "TRUTH", "SAMPLES", "MEAN", "STD", "TRAIL", "PRESENCE", "PRIMARY"]
    )


def test_an_exported_image_is_one_plain_image(tmp_path):
    image = np.arange(400.0).reshape(20, 20)
    export.save_image(tmp_path / "mean.fits", image, GRIDS[0], ABOUT)
    with fits.open(tmp_path / "mean.fits") as hdus:
        assert len(hdus) == 1
        np.testing.assert_array_equal(hdus[0].data, image)
        assert hdus[0].header["NAXIS"] == 2
        assert hdus[0].header["PROFILE"] == "tiny"
    assert [path.name for path in tmp_path.iterdir()] == ["mean.fits"]


def test_clusters_of_cosmos_lie_where_astropy_says():
    """The committed observation, and the pixels that the committed evidence gives its clusters."""
    path = ROOT / "data" / "observation" / "cosmos.fits"
    clusters = load_clusters(ROOT / "data" / "observation" / "cosmos_clusters.ecsv")
    places = SkyCoord(clusters["ra_deg"], clusters["dec_deg"], unit="deg")
    x, y = WCS(fits.getheader(path, "SHEAR")).celestial.world_to_pixel(places)
    found = load_clusters(RELEASED / DEFAULT / "clusters" / "results" / "cosmos_clusters.ecsv")
    rows = {number: row for row, number in enumerate(clusters["id"])}
    seen = [row for row in found if row["observed"]]
    assert len(seen) > 40
    for row in seen:
        assert (row["x"], row["y"]) == pytest.approx((x[rows[row["id"]]], y[rows[row["id"]]]), abs=1e-4)


def parsed(path):
    """RA, Dec, radius in arcsec and label of every circle of a region file."""
    lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0].startswith("# Region file format: DS9")
    assert lines[2] == "icrs"
    circles = []
    for line in lines[3:]:
        shape, _, label = line.partition(" # text={")
        ra, dec, radius = shape.removeprefix("circle(").removesuffix('")').split(",")
        circles.append((float(ra), float(dec), float(radius), label.removesuffix("}")))
    return circles


def test_regions_are_circles_of_ds9(tmp_path):
    table = Table({"id": [7, 8], "ra_deg": [-0.5, 150.25], "dec_deg": [2.5, -89.0], "r500_arcmin": [1.5, 2.0]})
    table["z"], table["probability"] = [0.35, 1.1], [0.75, np.nan]
    export.save_regions(tmp_path / "a.reg", export.regions(table, 9.0), "white")
    assert parsed(tmp_path / "a.reg") == [
        (359.5, 2.5, 90.0, "7 z=0.35 p=0.75"),
        (150.25, -89.0, 120.0, "8 z=1.10"),
    ]
    peaks = Table({"ra_deg": [10.0], "dec_deg": [1.0], "probability": [0.5]})
    assert export.regions(peaks, 1.5) == [(10.0, 1.0, 1.5, "p=0.50")]


@pytest.mark.parametrize("grid", [GRIDS[0], GRIDS[2], GRIDS[3], GRIDS[5], GRIDS[7]])
def test_healpix_holds_the_map_at_the_centres_of_its_pixels(grid, tmp_path):
    """A map that is linear in its pixels is interpolated exactly, whatever the place on the sky."""
    astropy_healpix = pytest.importorskip("astropy_healpix", reason="NOT TESTED: needs astropy-healpix")
    nside = 2048 if grid.pixel_arcmin < 2 else 256
    rows, columns = np.indices(grid.shape)
    pixels = export.healpix_pixels(0.1 * columns - 0.03 * rows + 1, grid, nside)
    export.save_healpix(tmp_path / "a.fits", pixels, nside, ABOUT)
    table, header = fits.getdata(tmp_path / "a.fits", 1), fits.getheader(tmp_path / "a.fits", 1)
    assert (header["PIXTYPE"], header["ORDERING"], header["COORDSYS"]) == ("HEALPIX", "NESTED", "C")
    assert (header["INDXSCHM"], header["NSIDE"], header["PROFILE"]) == ("EXPLICIT", nside, "tiny")
    sphere = astropy_healpix.HEALPix(nside, order="nested", frame="icrs")
    x, y = WCS(grid.header()).world_to_pixel(sphere.healpix_to_skycoord(table["PIXEL"]))
    x, y = np.clip(x, 0, grid.pixels - 1), np.clip(y, 0, grid.pixels - 1)
    np.testing.assert_allclose(table["KAPPA"], 0.1 * x - 0.03 * y + 1, atol=2e-6)
    expected = (grid.pixels * grid.pixel_arcmin) ** 2 / sphere.pixel_area.to_value(u.arcmin**2)
    assert len(table) == pytest.approx(expected, abs=0.03 * expected + 1.3 * expected**0.5)
    assert (np.diff(table["PIXEL"]) > 0).all()


@pytest.mark.parametrize(
    ("nside", "told"), [(100, "a power of"), (0, "a power of"), (2**15, "a power of"), (1, "no pixel")]
)
def test_nside_that_cannot_be_is_told(nside, told):
    pytest.importorskip("astropy_healpix", reason="NOT TESTED: needs astropy-healpix")
    with pytest.raises(BorderError, match=f"--healpix is {nside}.* (give a power of two|give a larger number)"):
        export.healpix_pixels(np.zeros((20, 20)), GRIDS[0], nside)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "astropy_healpix", None)
    with pytest.raises(BorderError, match="pip install astropy-healpix"):
        export.healpix_pixels(np.zeros((20, 20)), GRIDS[0], 64)


def test_samples_are_hdf5_with_named_axes(tmp_path):
    samples = np.random.default_rng(1).standard_normal((3, 20, 20)).astype("float32")
    grid = GRIDS[0]
    export.save_samples_hdf5(tmp_path / "samples.h5", samples, grid, ABOUT)
    with h5py.File(tmp_path / "samples.h5") as file:
        np.testing.assert_array_equal(file["kappa"], samples)
        assert [dim[0].name for dim in file["kappa"].dims] == ["/sample", "/y", "/x"]
        sky = SkyCoord(file["ra"][()], file["dec"][()], unit="deg")
        east, north = grid.offsets_arcmin(file["ra"][4, 7], file["dec"][4, 7])
        assert (file["x"][7], file["y"][4]) == pytest.approx((east, north))
        assert dict(file.attrs)["profile"] == "tiny"
    x, y = WCS(grid.header()).world_to_pixel(sky)
    np.testing.assert_allclose([y, x], np.indices(grid.shape), atol=1e-6)


def test_xarray_opens_the_samples(tmp_path):
    xarray = pytest.importorskip("xarray", reason="NOT TESTED: needs xarray")
    pytest.importorskip("h5netcdf", reason="NOT TESTED: needs h5netcdf")
    samples = np.random.default_rng(1).standard_normal((3, 20, 20)).astype("float32")
    export.save_samples_hdf5(tmp_path / "samples.h5", samples, GRIDS[0], ABOUT)
    with xarray.open_dataset(tmp_path / "samples.h5", engine="h5netcdf") as found:
        assert dict(found.sizes) == {"sample": 3, "y": 20, "x": 20}
        assert set(found.coords) == {"sample", "x", "y", "ra", "dec"}
        np.testing.assert_array_equal(found["kappa"].mean("sample"), samples.mean(axis=0))
        assert found["x"].attrs["units"] == "arcmin"
        assert found.attrs["seed"] == 3
        assert found.attrs["pixel_arcmin"] == pytest.approx(0.82)


@pytest.fixture
def sampled(tmp_path, monkeypatch):
    """Make a project whose run `cosmos` was sampled, with what the repository holds of its clusters."""
    monkeypatch.setattr(export, "DATA", tmp_path)
    monkeypatch.setattr(export, "ROOT", tmp_path)
    samples = np.random.default_rng(2).standard_normal((3, 20, 20))
    save_samples(tmp_path / "samples" / "cosmos.fits", samples, LEVELS, GRIDS[0], cards=ABOUT | {"SOURCE": "a field"})
    weight = np.ones((2, 20, 20))
    weight[:, :3] = 0
    seen = Observation(np.zeros((2, 20, 20)), weight, 5 * (weight[0] > 0), GRIDS[0])
    save_observation(tmp_path / "data" / "observation" / "cosmos.fits", seen, cards={})
    listed = "data/observation/cosmos_clusters.ecsv"
    shutil.copy(ROOT / listed, tmp_path / listed)
    return tmp_path


def test_a_run_is_exported(sampled, capsys):
    assert main(["export", "cosmos", "--xarray"]) == 0
    folder = sampled / "export" / "cosmos"
    assert sorted(path.name for path in folder.iterdir()) == [
        "clusters.reg",
        "mass_map.fits",
        "mean.fits",
        "samples.h5",
        "std.fits",
    ]
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("no peaks of cosmos are listed: run `dvc repro clusters`")
    names = ("mass_map.fits", "mean.fits", "std.fits", "samples.h5", "clusters.reg")
    assert told[1:] == [str(folder / name) for name in names]
    assert len(parsed(folder / "clusters.reg")) == 72
    assert fits.getheader(folder / "std.fits")["SOURCE"] == "a field"
    with fits.open(folder / "mass_map.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["MEAN", "STD", "SNR", "COUNT", "MASK", "SAMPLES"]
        header = hdus[0].header
        assert (header["NSAMPLES"], header["SEED"]) == (3, 3)
        assert (header["SOFTNAME"], header["PROJ"]) == ("probabilistic-mass-mapping", GRIDS[0].projection)
        sides = np.abs(proj_plane_pixel_scales(WCS(hdus["MEAN"].header)))
        np.testing.assert_allclose(sides, header["PIXSIZE"])
        np.testing.assert_allclose(20 * sides, header["PWIDTH"])
        assert header["NGAL"] == hdus["COUNT"].data.sum() == 5 * 17 * 20
        samples = hdus["SAMPLES"].data
        np.testing.assert_allclose(hdus["SNR"].data * samples.std(axis=0, ddof=1), samples.mean(axis=0), atol=1e-5)
        np.testing.assert_array_equal(hdus["COUNT"].data, 5 * hdus["MASK"].data)
        for hdu in hdus[1:6]:
            check_wcs(hdu.header, GRIDS[0])


@pytest.mark.parametrize("other", [GRIDS[3], replace(GRIDS[0], ra_deg=150.2), replace(GRIDS[0], projection="CAR")])
def test_samples_of_another_grid_than_the_observation_are_told(sampled, capsys, other):
    seen = Observation(*(np.ones((2, *other.shape)) for _ in range(2)), np.ones(other.shape), other)
    path = sampled / "data" / "observation" / "cosmos.fits"
    path.unlink()
    save_observation(path, seen, cards={})
    assert main(["export", "cosmos"]) == 1
    assert (
        "cosmos.fits is of another grid than its observation; run `dvc repro sample@cosmos`" in capsys.readouterr().err
    )


def test_what_cannot_be_exported_is_told(sampled, capsys):
    assert main(["export", "cosmoz"]) == 1
    assert "sample.fields has no run 'cosmoz'; choose one of: mock, cosmos" in capsys.readouterr().err
    assert main(["export", "mock", "--folder", str(sampled / "out")]) == 1
    assert "mock.fits does not exist; run the stage" in capsys.readouterr().err
    assert not (sampled / "out").exists()


@pytest.mark.parametrize("taken", ["out", "out/deep", "loop", "~nobody-of-that-name/out"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is(sampled, capsys, taken):
    (sampled / "out").write_text("a file")
    (sampled / "loop").symlink_to("loop")
    folder = taken if taken.startswith("~") else str(sampled / taken)
    assert main(["export", "cosmos", "--folder", folder]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "give another --folder" in told or "write the path out" in told
    assert not list(sampled.rglob("mean.fits"))


def test_a_folder_may_lie_at_home_and_hold_others(sampled, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(sampled / "home"))
    assert main(["export", "cosmos", "--folder=~/out"]) == 0
    assert (sampled / "home" / "out" / "mean.fits").is_file()
    (sampled / "home" / "out" / "std.fits").unlink()
    (sampled / "home" / "out" / "std.fits").mkdir()
    capsys.readouterr()
    assert main(["export", "cosmos", "--folder=~/out"]) == 1
    assert "std.fits is a folder, but a file must be written there" in capsys.readouterr().err


def test_what_is_asked_for_wrongly_leaves_nothing(sampled, capsys):
    pytest.importorskip("astropy_healpix", reason="NOT TESTED: needs astropy-healpix")
    assert main(["export", "cosmos", "--healpix", "100"]) == 1
    assert not (sampled / "export").exists()


@pytest.mark.parametrize(
    ("title", "card"),
    [
        ("Abell 370\n", "Abell 370"),
        ("a\n b\tc", "a b c"),
        ("Schr\N{LATIN SMALL LETTER O WITH DIAERESIS}der \N{GREEK SMALL LETTER ZETA}", "Schroder ?"),
        ("bell \a and \x7f", "bell ? and ?"),
        ("O'Neill's & " * 40, ("O'Neill's & " * 40).removesuffix(" & ")),
        ("AT&", "AT"),  # it would go on in a next card
        ("", ""),
    ],
)
def test_any_title_fits_a_card(title, card, tmp_path):
    zeros = np.zeros((2, 20, 20))
    save_observation(tmp_path / "a.fits", Observation(zeros, zeros, zeros[0], GRIDS[0], title), cards={"SOURCE": title})
    assert load_observation(tmp_path / "a.fits").title == card
    assert fits.getheader(tmp_path / "a.fits")["SOURCE"] == card
