"""A map of the field beside one by others: put onto the grid with the right side east, and compared by band."""

import hashlib

import numpy as np
import pytest
from astropy.io import fits

from analysis.core.tables import load_table
from analysis.flatsky.power import gaussian_field
from analysis.judge.results import Result
from analysis.sky import Grid, Observation
from analysis.survey.clusters import empty_clusters
from analysis.tools import glimpse
from analysis.tools.glimpse import EDGES, comparison, on_grid

GRID = Grid(64, 0.82, 150.1, 2.2)
BANDS = len(EDGES) - 1


def finer(values):
    """A map on pixels of half the side, as others keep it: columns with RA, each with its place on the sky."""
    ra_deg, dec_deg = np.meshgrid(np.linspace(149.6, 150.6, 200), np.linspace(1.7, 2.7, 200))
    row, column, inside = GRID.pixel_indices(ra_deg, dec_deg)
    return np.where(inside, values[row, column], 0.0), ra_deg, dec_deg


def test_pixels_of_a_finer_map_are_averaged_where_they_lie():
    values = np.random.default_rng(1).standard_normal((64, 64))
    found = on_grid(*finer(values), GRID)
    np.testing.assert_allclose(found, values)
    assert np.isnan(on_grid(np.ones(1), np.array([150.1]), np.array([2.2]), GRID)).sum() == 64**2 - 1


@pytest.fixture
def maps():
    """A result whose mean is half the other map and half noise, and whose Wiener map is noise; and the other map."""
    rng = np.random.default_rng(2)
    other, noise, rest = gaussian_field(np.full((64, 64), 1e-9), 3, rng=rng)
    noise *= other.std() / noise.std()
    other[20, 30] = 20 * other.std()
    mask = np.ones((2, 64, 64), "float32")
    clusters = empty_clusters()
    for name in ("x", "y"):
        clusters[name] = np.zeros(0)
    clusters.add_row([1, 150.1, 2.2, 0.4, 8.0, 1.5, 30.0, 20.0])
    clusters.add_row([2, 150.2, 2.1, 1.2, 9.0, 1.5, 10.0, 10.0])
    seen = Observation(mask, mask, mask[0], GRID, "a field")
    return Result(seen, np.stack([other + noise] * 2), -other, rest, rest, clusters), other


def test_correlation_is_that_of_what_maps_share(maps):
    compared = comparison(*maps, redshift_max=1.0, seed=3)
    rows = {row["map"]: row for row in compared}
    bands = {name: np.array(list(row.values())[2:], float) for name, row in rows.items()}
    assert len(bands["wiener"]) == BANDS
    np.testing.assert_allclose(bands["glimpse"], 1)
    np.testing.assert_allclose(bands["kaiser_squires"], -1)
    # 64 pixels a side have some 30 modes in the second band, hundreds beyond: 1 / sqrt(2) +- .1
    np.testing.assert_allclose(bands["posterior_mean"][2:], 2**-0.5, atol=0.15)
    assert np.abs(bands["wiener"][3:]).max() < 0.2
    assert 0 < bands["chance"][3:].min() < bands["chance"][3:].max() < 0.2
    assert rows["glimpse"]["snr"] > 5
    assert compared.meta["clusters"] == 1


def test_the_command_keeps_its_table_with_the_digest_of_the_samples(maps, tmp_path, monkeypatch, capsys):
    result, other = maps
    public, samples = tmp_path / "public.fits", tmp_path / "samples" / "cosmos_bright.fits"
    values, ra_deg, dec_deg = finer(other)
    fits.HDUList([fits.PrimaryHDU(values), fits.ImageHDU(ra_deg), fits.ImageHDU(dec_deg)]).writeto(public)
    samples.parent.mkdir()
    samples.write_bytes(b"samples")
    for name, value in {"DATA": tmp_path, "ROOT": tmp_path, "TABLE": tmp_path / "glimpse.ecsv"}.items():
        monkeypatch.setattr(glimpse, name, value)
    monkeypatch.setattr(glimpse, "fetch", lambda name: public)
    monkeypatch.setattr(glimpse, "load_result", lambda *_: result)
    glimpse.main()
    assert capsys.readouterr().out.splitlines()[-1] == "glimpse.ecsv"
    kept = load_table(tmp_path / "glimpse.ecsv")
    assert kept.meta["samples_md5"] == hashlib.md5(b"samples").hexdigest()
    assert {"glimpse", "posterior_mean", "chance"} <= set(kept["map"])
