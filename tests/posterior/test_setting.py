"""Before a run: observations that cannot be sampled are told in a sentence, fields at the border get room."""

import dataclasses
import re

import numpy as np
import pytest
import yaml

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.flatsky.power import ell_grid, grid_power, larger_power, resampled_power
from analysis.params import checked_params, load_params
from analysis.posterior.setting import check_run, check_theory, on_field, with_room
from analysis.prior.score import Prior, theory_points
from analysis.sky import Grid, Observation, training_command

SAMPLE = load_params().sample
GRID = Grid(32, 0.82, 150.0, 2.0)
POWER = 4e-3 * (np.maximum(ell_grid((32, 32), 0.82), 500) / 500) ** -1.5
PRIOR = Prior(POWER, 0.82, network=object(), noise_range=(0.002, 1.0), margin=4)
ELL = np.geomspace(2, 20000, 50)


def observation(weight=400.0, edge=6):
    """A field seen but for `edge` pixels along its border."""
    weights = np.zeros((2, 32, 32))
    weights[:, edge : 32 - edge, edge : 32 - edge] = weight
    return Observation(0 * weights, weights, weights[0], GRID, "a field")


def test_a_field_that_can_be_sampled_passes():
    check_run(PRIOR, observation(), SAMPLE, name="mine")
    check_theory(dataclasses.replace(PRIOR, theory=theory_points(ELL, ELL**-1.5)), ELL, 1.01 * ELL**-1.5, name="mine")


@pytest.mark.parametrize(
    ("prior", "field", "sentence"),
    [
        ({"pixel_arcmin": 0.41}, {}, "0.41 arcmin, the observation has 32x32 of 0.82"),
        ({}, {"weight": 0.0}, "a field has no observed pixel"),
        ({}, {"weight": 1.0}, "least noise of a field is 1 a pixel, above 0.5"),
        ({"noise_range": (0.002, 0.1)}, {}, "trained from 0.002 to 0.1"),
        ({"noise_range": (0.005, 1.0)}, {}, "trained from 0.005 to 1"),
    ],
)
def test_what_cannot_be_sampled_is_told(prior, field, sentence):
    with pytest.raises(BorderError, match=sentence):
        check_run(dataclasses.replace(PRIOR, **prior), observation(**field), SAMPLE, name="mine")


@pytest.mark.parametrize(("weight", "amplitude"), [(400.0, 30.0), (4e4, 3.0), (4e5, 1.0)])
def test_data_that_ask_for_levels_below_the_training_are_told(weight, amplitude):
    with pytest.raises(
        BorderError, match=f"at amplitude {amplitude:g}, but the network was trained from 0.002"
    ) as caught:
        check_run(PRIOR, observation(weight), SAMPLE, name="mine", amplitude=amplitude)
    assert "-S train.sigma_min=0.00" in str(caught.value)
    check_run(PRIOR, observation(weight), SAMPLE, name="mine", amplitude=min(1.0, 8 / weight**0.5))


def test_a_network_of_another_universe_is_told():
    trained = dataclasses.replace(PRIOR, theory=theory_points(ELL, ELL**-1.5))
    with pytest.raises(BorderError, match="C_ell of the parameters is 10 % off"):
        check_theory(trained, ELL, 1.1 * ELL**-1.5, name="mine")


@pytest.mark.parametrize(
    ("prior", "settings"),
    [
        ({"pixel_arcmin": 0.41}, ""),
        ({"noise_range": (0.005, 0.2)}, " -S train.sigma_min=0.0025 -S train.sigma_max=0.25"),
    ],
)
def test_the_refusal_names_the_command_that_trains_a_network_that_fits(prior, settings):
    command = (
        "`dvc exp run -S sample.network=data/score -S grid.pixels=32 -S grid.pixel_arcmin=0.82"
        f" -S train.crop_pixels=32{settings} sample@mine`"
    )
    with pytest.raises(BorderError) as caught:
        check_run(dataclasses.replace(PRIOR, **prior), observation(), SAMPLE, name="mine")
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)
    assert " -S simulations.map_pixels=384 -S simulations.mock_pixels=384 " in training_command(320, 0.41, "mine")


def test_the_refusal_names_the_file_of_a_field_that_has_one():
    for run, field in (("cosmos_bright_many", " -S field=cosmos_many"), ("cosmos_bright", "")):
        with pytest.raises(BorderError, match=rf"0\.82 -S train\.crop_pixels=32{field} sample@{run}`"):
            check_run(dataclasses.replace(PRIOR, pixel_arcmin=0.41), observation(), SAMPLE, name=run)


def test_the_command_is_one_that_the_params_take():
    """Each setting that a message names is a key, with the values a valid whole."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for pixels in (64, 96, 320, 640):
        for setting in re.findall(r"-S (\S+)=(\S+)", training_command(pixels, 0.5, "cosmos")):
            section, key = setting[0].split(".")
            assert key in content[section]
            content[section][key] = yaml.safe_load(setting[1])
        content["train"]["margin"] = 12
        assert checked_params(content, "params").grid.pixels == pixels


def wide(pixels, pixel_arcmin=0.82):
    """A field of another size, all of it seen."""
    weight = np.full((2, pixels, pixels), 400.0)
    return Observation(0 * weight, weight, weight[0], Grid(pixels, pixel_arcmin, 150.0, 2.0), "a wide field")


def test_a_larger_field_takes_the_prior_along():
    c_ell = 1e-9 * (ELL / 1000) ** -1.3
    prior = on_field(PRIOR, wide(64), ELL, c_ell, multiple=8)
    check_run(prior, wide(64), SAMPLE, name="mine")
    np.testing.assert_allclose(prior.power, larger_power(POWER, 64, ELL, c_ell, 0.82))
    same = dataclasses.replace(prior, power=PRIOR.power)
    assert all(getattr(same, field.name) is getattr(PRIOR, field.name) for field in dataclasses.fields(PRIOR))
    with pytest.raises(BorderError, match=r"a wide field has 60 pixels a side, .* multiple of 8, such as 64"):
        on_field(PRIOR, wide(60), ELL, c_ell, multiple=8)


@pytest.mark.parametrize("field", [wide(32), wide(24), wide(64, 0.41)])
def test_no_other_field_does(field):
    assert on_field(PRIOR, field, ELL, ELL**-1.5, multiple=8) is PRIOR


def test_a_field_away_from_the_border_is_left_alone():
    prior, _, weight, added = with_room(PRIOR, observation(edge=4), multiple=8)
    assert added == 0
    assert prior is PRIOR
    assert weight.shape == (2, 32, 32)


def test_a_field_at_the_border_gets_room_on_a_grid_that_the_network_can_halve():
    seen = observation(edge=2)
    prior, gamma, weight, added = with_room(PRIOR, seen, multiple=8)
    assert added == 4
    assert prior.power.shape == gamma.shape[1:] == weight.shape[1:] == (40, 40)
    np.testing.assert_array_equal(weight[:, 4:-4, 4:-4], seen.weight)
    assert weight.sum() == seen.weight.sum()
    assert with_room(PRIOR, seen, multiple=16)[3] == 8


def test_spectrum_on_another_grid_is_that_of_the_same_sky():
    c_ell = 1e-9 * (ELL / 1000) ** -1.3
    power, larger = (grid_power(ELL, c_ell, (side, side), 0.82) for side in (32, 48))
    inside = (ell_grid((48, 48), 0.82) >= 700) & (ell_grid((48, 48), 0.82) <= 12000)
    np.testing.assert_allclose(resampled_power(power, 48)[inside], larger[inside], rtol=0.1)
