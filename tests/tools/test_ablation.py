"""The ablation: rows that can be run, each one choice away from the first, and a table with the best on top."""

import dataclasses

import pytest

from analysis.core.files import BorderError
from analysis.tools import ablation
from analysis.tools.ablation import LEVELS, ROWS, ablation_table, experiment_name, row_params


@pytest.mark.parametrize("row", ROWS)
def test_a_row_changes_what_it_says_and_nothing_else(row):
    before, after = row_params("reference", "as it is"), row_params("reference", row)
    changed = {
        f"{section}.{key}"
        for section, one, other in (
            ("train", before.train, after.train),
            ("train.network", before.train.network, after.train.network),
        )
        for key, value in dataclasses.asdict(one).items()
        if value != dataclasses.asdict(other)[key] and key != "network"
    }
    assert changed == {override.partition("=")[0] for override in ROWS[row]}
    assert dataclasses.replace(after, train=before.train) == before


def test_names_of_experiments_differ_and_are_plain():
    names = {experiment_name("tiny", minutes, row) for row in ROWS for minutes in (1, 2)}
    assert len(names) == 2 * len(ROWS)
    assert all(name.replace("-", "").isalnum() for name in names)


def reached(error):
    """What an experiment of one error at every level measured."""
    prior = {"band_power_max_departure": 0.1, "peak_count_excess": 0.5, "at_bound": 0.0}
    train = {"parameters": 100} | dict.fromkeys((f"error_{level}" for level in LEVELS), error)
    return {"train": train, "prior": prior, "steps": 40}


def test_the_best_row_is_on_top():
    table = ablation_table({"worse": reached(0.95), "better": reached(0.9)})
    assert list(table["row"]) == ["better", "worse"]
    assert table["mean_error"][0] == pytest.approx(0.9)


def test_a_tree_without_git_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "ROOT", tmp_path)
    with pytest.raises(BorderError, match=r"this tree has no \.git; clone the project"):
        ablation.main("tiny", 1, 1)
