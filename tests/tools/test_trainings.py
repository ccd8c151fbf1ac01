"""Trainings that differ in one choice: each row changes what it says and has a name of its own."""

import dataclasses

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.params import load_params
from analysis.tools import trainings
from analysis.tools.trainings import VARIANTS, changed, digest, learning_rows

PARAMS = load_params()


def differences(one, other, prefix=""):
    """Dotted keys whose values differ between two records."""
    found = set()
    for field in dataclasses.fields(one):
        before, after = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(before):
            found |= differences(before, after, f"{prefix}{field.name}.")
        elif before != after:
            found.add(prefix + field.name)
    return found


@pytest.mark.parametrize("row", VARIANTS)
def test_a_variant_changes_what_it_says_and_nothing_else(row):
    assert differences(PARAMS, changed(PARAMS, VARIANTS[row])) == set(VARIANTS[row])


def test_the_learning_curve_changes_one_number_at_a_time():
    rows = list(learning_rows(PARAMS, 2))
    assert len({digest(params, None) for _, params in rows}) == len(rows)
    keys = {
        "as it is": set(),
        "boxes": {"simulations.nbody.boxes.train"},
        "weights": {"train.network.widths"},
        "steps": {"train.epochs"},
    }
    for about, params in rows:
        found = differences(PARAMS, params) - {"train.seed", "simulations.maps.train"}
        assert params.simulations.maps.train > 0.9 * PARAMS.simulations.maps.train
        assert found == keys[about["axis"]]
        assert params.train.seed == about["seed"]
    steps = {about["factor"]: params.train.epochs for about, params in rows if about["axis"] == "steps"}
    assert steps == {0.25: PARAMS.train.epochs / 4, 4.0: 4 * PARAMS.train.epochs}
    widths = {about["factor"]: params.train.network.widths for about, params in rows if about["axis"] == "weights"}
    assert widths[4.0] == [2 * width for width in PARAMS.train.network.widths]  # a convolution has width^2 weights


def test_the_time_of_a_variant_is_part_of_its_name():
    assert len({digest(PARAMS, minutes) for minutes in (None, 1.0, 2.0)}) == 3


def test_without_maps_or_with_those_of_another_grid_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
    with pytest.raises(BorderError, match="there are no maps in data/simulations; make them with"):
        trainings.checked(PARAMS)
    folder = tmp_path / "data" / "simulations"
    folder.mkdir(parents=True)
    np.save(folder / "power.npy", np.ones((32, 32)))
    with pytest.raises(BorderError, match=r"maps for 32 pixels a side, params\.yaml has 160"):
        trainings.checked(PARAMS)
