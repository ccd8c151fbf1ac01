"""Published metrics against a run's: every number has a tolerance, and what lies outside one is named."""

import copy
import json

import pytest
import yaml

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.report.comparison import claims, claims_compared, claims_table, compared
from analysis.tools import verify

METRICS = verify.published_metrics("quick")
RELEASED = verify.published_metrics("reference")


@pytest.mark.parametrize("metrics", [METRICS, RELEASED], ids=["quick", "reference"])
def test_every_number_has_a_tolerance_and_agrees_with_itself(metrics):
    rows = list(compared(metrics, metrics))
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
    assert [row[0] for row in compared(changed, METRICS) if not row[-1]] == [".".join(path)]


def test_a_number_that_is_missing_is_named():
    changed = copy.deepcopy(METRICS)
    del changed["spread"]["mse_ratio_over_ideal"]
    assert [row[0] for row in compared(changed, METRICS) if not row[-1]] == ["spread.mse_ratio_over_ideal"]


def test_a_number_that_is_not_described_is_an_error():
    with pytest.raises(BorderError, match=r"the metric luck is not described; add an entry to analysis/judge/defin"):
        list(compared({"luck": 1.0}, {}))


def test_lists_are_compared_entry_by_entry_within_the_errors_of_both_runs():
    found = {"prior": {"band_power_ratio": [1.0, 2.0, None], "band_power_ratio_err": [0.1, 0.1, 0.1]}}
    other = {"prior": {"band_power_ratio": [1.5, 1.0], "band_power_ratio_err": [0.1, 0.1]}}
    rows = {name: (allowed, agrees) for name, _, _, allowed, agrees in compared(found, other)}
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


def test_every_claim_is_of_a_stage_and_rests_on_a_number_that_is_compared():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert {entry["stage"] for entry in claims()} <= set(stages)
    assert len(claims_compared(METRICS, METRICS)) == len(claims())
    assert all(row.agrees and row.expected is not None for _, row in claims_compared(METRICS, METRICS))
    fewer = {key: value for key, value in METRICS.items() if key != "predictive"}  # as of a field without that stage
    assert len(claims_compared(fewer, fewer)) == len(claims()) - 1
    table = claims_table(METRICS, {"train": {"wall_s": 90.0}, "sample_a": {"wall_s": 30.0}, "sample_b": {"wall_s": 30}})
    assert len(table.splitlines()) == 2 + len(claims())
    assert "| `dvc repro train` | 1.5 |" in table
    assert "| `dvc repro sample` | 1.0 |" in table


def test_claims_are_printed_with_their_verdict_and_what_else_differs_below(tmp_path, monkeypatch, capsys):
    changed = copy.deepcopy(METRICS)
    changed["accuracy"]["rmse_ratio_to_wiener"] = 1.1
    changed["theory"]["rms"] *= 2
    for metrics in (METRICS, changed):
        (tmp_path / "run.json").write_text(json.dumps(metrics))
        monkeypatch.setattr(verify, "ROOT", tmp_path)
        monkeypatch.setattr(verify, "RUN", "run.json")
        monkeypatch.setattr(verify, "published_metrics", lambda profile: METRICS)
        if metrics is METRICS:
            verify.main()
            lines = capsys.readouterr().out.splitlines()
            assert len(lines) == 2 + len(claims())
            assert all(line.endswith(" agree") for line in lines[1:-1])
            assert lines[-1].startswith("all ")
    with pytest.raises(
        BorderError, match=r"^2 of \d+ numbers of this run differ from the published ones of the profile"
    ):
        verify.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines if line.endswith("DIFFER")] == [
        "... over that of the exact Wiener filter",
        "theory.rms",
    ]
