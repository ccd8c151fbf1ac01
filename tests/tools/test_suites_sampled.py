"""The command `suites`: what is asked of it, the short waves of suites, and a field under two priors."""

import json

import numpy as np
import pytest
from astropy.io import fits

from analysis.core.files import BorderError
from analysis.flatsky.power import ell_grid, gaussian_field, grid_power, multipole_edges
from analysis.params import NetworkParams
from analysis.params.load import composed
from analysis.prior.files import save_prior
from analysis.prior.network import build_network
from analysis.prior.score import Prior
from analysis.report.readme_tables import suites_table, weaker_table
from analysis.sky import Grid, Observation, save_observation
from analysis.survey.clusters import empty_clusters, save_clusters
from analysis.tools import suites

GRID = Grid(32, 0.82, 150.0, 2.0)
POWER = grid_power(np.array([50.0, 1000.0, 30000.0]), np.array([4e-8, 2e-9, 2e-11]), GRID.shape, GRID.pixel_arcmin)
POWER[0, 0] = POWER[0, 1]
PRIOR = Prior(POWER, GRID.pixel_arcmin)
EDGES = multipole_edges(GRID.pixels, GRID.pixel_arcmin)


@pytest.mark.parametrize(
    "text", ["maps.fits", "=0.41", "maps.fits=fine", "maps.fits=0", "maps.fits=-1", "maps.fits=inf"]
)
def test_a_suite_without_path_or_scale_is_refused(text):
    with pytest.raises(BorderError, match=r"does not name a suite; write PATH=ARCMIN, as in maps\.fits=0\.41"):
        suites.main([text], 2)


def test_two_suites_of_one_name_are_refused():
    with pytest.raises(BorderError, match="maps, maps are the names of the suites, but each must have its own"):
        suites.main(["a/maps.fits=0.41", "b/maps.npy=0.82"], 2)


def test_short_waves_of_suites_with_half_the_power_are_halved():
    """The geometric mean of one suite with a quarter and one with all of the power; long waves stay."""
    rng = np.random.default_rng(1)
    maps = [gaussian_field(POWER * factor, 200, rng=rng) for factor in (0.25, 1.0)]
    ratio, ell = suites.short_power(PRIOR, maps), ell_grid(GRID.shape, GRID.pixel_arcmin)
    assert (ratio[ell <= suites.SHORT] == 1).all()
    known = (ell > suites.SHORT) & (ell < 0.9 * ell.max())
    assert ratio[known] == pytest.approx(0.5, rel=0.15)  # bands are wide, the spectrum is steep
    assert np.mean(ratio[known]) == pytest.approx(0.5, rel=0.05)


def test_two_sets_of_samples_of_one_posterior_differ_by_chance():
    rng, mask = np.random.default_rng(2), np.ones(GRID.shape, bool)
    common = 3 * gaussian_field(POWER, 1, rng=rng)[0]
    drawn = {name: common + gaussian_field(POWER, 100, rng=rng) for name in ("one", "two")}
    found = suites.compared(drawn, mask, GRID.pixel_arcmin, EDGES)
    assert found["chance"] == pytest.approx(np.sqrt(0.02))
    assert found["difference"] == pytest.approx(found["chance"], rel=0.4)  # long waves have most of the variance
    assert found["correlation"] == pytest.approx(1, abs=0.02)
    assert found["power_ratio"] == pytest.approx(1, abs=0.1)
    drawn["two"] = common + 2 * (drawn["two"] - common)
    assert np.mean(suites.compared(drawn, mask, GRID.pixel_arcmin, EDGES)["power_ratio"]) > 1.15


@pytest.mark.long
def test_the_command_samples_suites_and_field_and_keeps_what_it_found(tmp_path, monkeypatch, capsys):
    settings = NetworkParams(**composed("tiny")["train"]["network"])
    prior = Prior(POWER.astype("float32"), 0.82, build_network(settings), noise_range=(0.002, 1.0), margin=4)
    save_prior(prior, settings, tmp_path / "released" / "reference" / "score")
    (tmp_path / "released" / "reference" / "score.dvc").write_text("outs: [{md5: abc.dir}]")
    weight = np.zeros((2, *GRID.shape))
    weight[:, 4:28, 4:28] = 400.0
    seen = Observation(np.zeros_like(weight), weight, weight[0] > 0, GRID, "a field")
    cards = {"PROFILE": "tiny", "SOURCE": "a field", "SEED": 1, "CODEHASH": "none"}
    save_observation(tmp_path / "observation" / "cosmos.fits", seen, cards=cards)
    clusters = empty_clusters()
    clusters.add_row([1, 150.0, 2.0, 0.5, 5.0, 2.0])
    save_clusters(tmp_path / "observation" / "cosmos_clusters.ecsv", clusters)
    fits.writeto(tmp_path / "one.fits", gaussian_field(POWER, 1, rng=np.random.default_rng(4))[0].astype("float32"))
    for name, value in {
        "DATA": tmp_path,
        "ROOT": tmp_path,
        "RELEASED": tmp_path / "released",
        "RESULT": tmp_path / "released" / "suites.json",
    }.items():
        monkeypatch.setattr(suites, name, value)
    suites.main([f"{tmp_path / 'one.fits'}=0.82"], 2)
    assert capsys.readouterr().out.splitlines()[-1] == "released/suites.json"
    found = json.loads((tmp_path / "released" / "suites.json").read_text())
    assert [(row["name"], row["prior"]) for row in found["suites"]] == [("one", "as trained"), ("one", "its own")]
    assert found["network"] == "abc.dir"
    assert suites_table(found).count("| one (1) |") == 2
    assert "correlation of the two means" in weaker_table(found)


def test_tables_of_nothing_say_how_to_make_them():
    assert suites_table({}) == weaker_table({}) == "Not measured at this commit: `python -m analysis suites` does it."
