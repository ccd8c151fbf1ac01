"""Published metrics against a run's: every number has a tolerance, and what lies outside one is named."""

import copy
import json

import pytest

from analysis.core.files import BorderError
from analysis.tools import verify

METRICS = verify.published_metrics("quick")
RELEASED = verify.published_metrics("reference")


@pytest.mark.parametrize("metrics", [METRICS, RELEASED], ids=["quick", "reference"])
def test_every_number_has_a_tolerance_and_agrees_with_itself(metrics):
    rows = list(verify.compared(metrics, metrics))
    assert len(rows) > 300
    assert all(agrees for *_, agrees in rows)


@pytest.mark.parametrize(
    ("path", "factor"),
    [
        (("accuracy", "posterior_mean", "rmse"), 1.2),
        (("accuracy", "rmse_ratio_to_wiener"), 1.2),
        (("observation", "cosmos", "n_eff"), 1.001),
        (("sampler", "evaluations_per_sample"), 2),
        (("cosmos", "cluster_stack_snr"), 0.7),
        (("train", "error_0.02"), 1.1),
        (("calibration", "mse_ratio_over_ideal"), 1.2),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_number_that_is_off_is_named(path, factor):
    changed = copy.deepcopy(METRICS)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] *= factor
    assert [row[0] for row in verify.compared(changed, METRICS) if not row[-1]] == [".".join(path)]


def test_a_number_that_is_missing_is_named():
    changed = copy.deepcopy(METRICS)
    del changed["spread"]["mse_ratio_over_ideal"]
    assert [row[0] for row in verify.compared(changed, METRICS) if not row[-1]] == ["spread.mse_ratio_over_ideal"]


def test_a_number_that_is_not_described_is_an_error():
    with pytest.raises(BorderError, match=r"the metric luck is not described; add an entry to analysis/judge/defin"):
        list(verify.compared({"luck": 1.0}, {}))


def test_lists_are_compared_entry_by_entry_within_the_errors_of_both_runs():
    found = {"prior": {"band_power_ratio": [1.0, 2.0, None], "band_power_ratio_err": [0.1, 0.1, 0.1]}}
    other = {"prior": {"band_power_ratio": [1.5, 1.0], "band_power_ratio_err": [0.1, 0.1]}}
    rows = {name: (allowed, agrees) for name, _, _, allowed, agrees in verify.compared(found, other)}
    assert rows["prior.band_power_ratio.0"] == (pytest.approx(0.1 + 0.3 * 1.5 + 2 * 0.1 * 2**0.5), True)
    assert not rows["prior.band_power_ratio.1"][1]
    assert rows["prior.band_power_ratio.2"][1], "no value in either run"


def test_published_are_the_released_without_git(tmp_path):
    with pytest.raises(BorderError, match=r"no metrics of the profile tiny are published: data/released/tiny/.*`make"):
        verify.published_metrics("tiny", tmp_path)
    released = tmp_path / "data/released/tiny/validation/metrics.json"
    released.parent.mkdir(parents=True)
    released.write_text(json.dumps({"a": 3}))
    assert verify.published_metrics("tiny", tmp_path) == {"a": 3}
