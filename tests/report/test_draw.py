"""The figure of one run, from its samples and the network's folder alone."""

import dataclasses
import shutil

import numpy as np
import pytest
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.core.tables import save_table
from analysis.flatsky.power import crop_power, save_power
from analysis.params import load_params
from analysis.posterior.diagnostics import Level
from analysis.posterior.samples import save_samples
from analysis.report import draw
from analysis.report.draw import findings, run_result
from analysis.sky import load_observation

PARAMS = load_params()


@pytest.fixture
def project(tmp_path):
    """A project with the committed observation of COSMOS, made-up samples and a spectrum."""
    shutil.copytree(ROOT / "data" / "observation", tmp_path / "data" / "observation")
    observation = load_observation(tmp_path / "data" / "observation" / "cosmos.fits")
    samples = np.random.default_rng(1).standard_normal((3, *observation.grid.shape)).astype("float32")
    level = Level(0.1, 0.0, 1.0, 1.0, 0.5, 10, (1.0, 1.0, 1.0, 1.0))
    cards = {"PROFILE": "quick", "SOURCE": "none", "SEED": 1, "CODEHASH": "none"}
    save_samples(tmp_path / "data" / "samples" / "cosmos.fits", samples, [level], observation.grid, cards=cards)
    save_power(np.full(observation.grid.shape, 1e-3), tmp_path / "data" / "score" / "power.npy")
    return tmp_path, samples


def test_a_run_is_read_without_what_only_mocks_make(project):
    folder, samples = project
    result = run_result(PARAMS, "cosmos", folder)
    np.testing.assert_array_equal(result.samples, samples)
    assert (
        np.corrcoef(result.kaiser_squires[result.observation.mask], result.wiener[result.observation.mask])[0, 1] > 0.3
    )
    assert len(result.clusters) > 20


def test_maps_are_measured_against_a_truth_and_at_clusters(project):
    result = run_result(PARAMS, "cosmos", project[0])
    truth = result.wiener + 0.01
    found = findings(result, truth, PARAMS)
    assert found["samples"] == 3
    assert found["accuracy"]["wiener"]["accuracy.rmse"] == pytest.approx(0, abs=1e-6)  # of maps less their means
    assert found["accuracy"]["wiener"]["accuracy.pearson"] == pytest.approx(1)
    noisy = found["accuracy"]["posterior_mean"]  # of three maps of white noise of variance one
    assert noisy["accuracy.rmse"] == pytest.approx(3**-0.5, rel=0.1)
    assert noisy["accuracy.mse_infinite"] == pytest.approx(0, abs=0.01)
    assert found["cluster_stack_snr"]["n"] > 40
    assert found["cluster_stack_snr"]["wiener"] > 5 > abs(found["cluster_stack_snr"]["posterior_mean"])
    assert "accuracy" not in findings(result, None, PARAMS)


def test_what_cannot_be_drawn_is_told_in_a_sentence(project):
    folder, _ = project
    with pytest.raises(BorderError, match=r"sample\.fields has no run 'goods'; its runs are: mock, cosmos,"):
        run_result(PARAMS, "goods", folder)
    with pytest.raises(BorderError, match=r"cosmos_bright\.fits"):
        run_result(PARAMS, "cosmos_bright", folder)
    save_power(np.full((192, 192), 1e-3), folder / "data" / "other" / "power.npy")
    other = dataclasses.replace(PARAMS, sample=dataclasses.replace(PARAMS.sample, network="data/other"))
    with pytest.raises(BorderError, match=r"has 160 pixels a side, its network 192; run `dvc repro sample@cosmos`"):
        run_result(other, "cosmos", folder)


def test_a_field_larger_than_the_grid_of_its_network_is_filtered_by_the_prior_it_was_sampled_with(project):
    folder, _ = project
    ell = np.geomspace(10, 1e5, 400)
    theory = ell, 1e-9 * (1 + (ell / 1000) ** 2) ** -0.9
    save_table(Table({"ell": theory[0], "c_ell": theory[1]}), folder / "data" / "theory" / "c_ell.ecsv")
    pixel_arcmin, maps = PARAMS.grid.pixel_arcmin, {}
    for side in (160, 80):
        network = f"data/network_{side}"
        save_power(crop_power(*theory, (side, side), pixel_arcmin), folder / network / "power.npy")
        params = dataclasses.replace(PARAMS, sample=dataclasses.replace(PARAMS.sample, network=network))
        maps[side] = run_result(params, "cosmos", folder).wiener
    np.testing.assert_allclose(maps[80], maps[160], atol=0.01 * maps[160].std())


def test_a_control_says_that_it_is_one(project):
    folder, _ = project
    shutil.copy(folder / "data" / "samples" / "cosmos.fits", folder / "data" / "samples" / "cosmos_bmode.fits")
    plain, turned = (run_result(PARAMS, name, folder).observation.title for name in ("cosmos", "cosmos_bmode"))
    assert turned == f"{plain}, shears turned by 45 deg"


def test_only_what_a_released_network_made_is_kept():
    with pytest.raises(BorderError, match=r"sample\.network is data/score, which is not released; --keep needs a"):
        draw.main("cosmos", True)
