"""README and the results page: their tables are made from metrics, and their words name what exists."""

import json
import re

import numpy as np
import pytest
import yaml
from astropy.table import Table

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.judge.detection import bimodality
from analysis.report.claims import best_verdict, found_table, heaps_table, heaps_verdict
from analysis.report.readme import PAGES, filled_pages, tables, with_tables
from analysis.report.readme_tables import (
    ablation_table,
    benchmark_table,
    cost_line,
    networks_table,
    runs_table,
    survey_table,
)
from analysis.report.tables import METHODS, calibration_table
from analysis.tools.verify import published_metrics

NOTHING = {"calibration": {}, "validation": {}, "clusters": {}, "networks": {}, "runs": {}}


TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
STAGES = (ROOT / "dvc.yaml").read_text(encoding="utf-8")


def test_readme_is_short():
    lines = TEXTS["README.md"].splitlines()
    assert len(lines) <= 200
    assert len("\n".join(lines).encode()) <= 14_000


@pytest.mark.parametrize(
    "change", [("<!-- begin accuracy -->", ""), ("<!-- begin accuracy -->", "<!-- begin found -->")]
)
def test_a_lost_or_doubled_marker_is_told(change):
    pages = TEXTS | {PAGES[1]: TEXTS[PAGES[1]].replace(*change)}
    names = (
        "ablation, accuracy, benchmark, calibration, checks, claims, clusters, cost, detection, found, heaps,"
        " networks, others, predictive, ranks, runs, simulations, stages, suites, summary, survey, weaker"
    )
    with pytest.raises(BorderError, match=names):
        with_tables(pages, tables("stages: {}", {}, {}, NOTHING, benchmark={}, variants=None, beside=None, suites={}))


def test_tables_alone_are_made_anew():
    pages = {"a.md": "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n", "b.md": "<!-- begin y -->\n<!-- end y -->"}
    filled = with_tables(pages, {"x": lambda: r"new \1", "y": lambda: "other"})
    assert filled["a.md"] == "a\n<!-- begin x -->\nnew \\1\n<!-- end x -->\nb\n"
    assert filled["b.md"] == "<!-- begin y -->\nother\n<!-- end y -->"
    released = filled_pages()
    for name, text in TEXTS.items():
        outside = [re.split(r"<!-- (?:begin|end) \w+ -->", each)[::2] for each in (text, released[name])]
        assert outside[0] == outside[1]
    assert released[PAGES[1]].count("| `reference`: Wiener filter, exact |") == 1


def test_files_that_pages_name_exist_or_are_made():
    outputs = json.dumps(yaml.safe_load(STAGES))
    for page, text in TEXTS.items():
        for link in (link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link):
            path = ((ROOT / page).parent / link).resolve()
            assert path.exists() or str(path.relative_to(ROOT)) in outputs, link


def test_verdicts_follow_from_the_numbers():
    metrics = published_metrics("quick")
    good = metrics | {"accuracy": metrics["accuracy"] | {"rmse_ratio_to_wiener": 0.9, "rmse_ratio_to_wiener_err": 0.04}}
    poor = metrics | {
        "accuracy": metrics["accuracy"] | {"rmse_ratio_to_wiener": 0.9, "rmse_ratio_to_wiener_err": 0.06},
        "prior": metrics["prior"] | {"passed": False},
        "presence": {"cosmos": metrics["presence"]["cosmos"] | {"probability": 0.05, "chance": 0.04}},
    }
    poor["accuracy"]["posterior_mean"] = metrics["accuracy"]["posterior_mean"] | {"rmse_infinite": 1.0}
    verdicts = [[row.split("|")[-2].strip() for row in found_table(each, {}).splitlines()[2:]] for each in (good, poor)]
    assert verdicts[0][1] == "reproduced"
    assert verdicts[1][:4] == ["not reproduced"] * 4


@pytest.mark.parametrize(
    ("rmse", "verdict"),
    [(0.9, "reproduced on mocks"), (0.99, "undecided, best within the errors"), (1.01, "not reproduced")],
)
def test_the_best_map_is_better_by_two_errors(rmse, verdict):
    rows = {
        "posterior_mean": {"rmse_infinite": rmse, "rmse_infinite_err": 0.03},
        "wiener": {"rmse": 1.0, "rmse_err": 0.03},
    }
    assert best_verdict({"accuracy": rows}, ["wiener"]) == verdict


@pytest.mark.parametrize(
    ("p_values", "power", "verdict"),
    [
        ([0.01], 0.1, "reproduced"),
        ([0.3, 0.4], 0.9, "undecided: no equal heaps"),
        ([0.3], 0.5, "undecided, too few samples"),
        ([0.01, 0.3], 0.9, "undecided, samplers differ"),
    ],
)
def test_a_test_without_power_decides_nothing(p_values, power, verdict):
    assert heaps_verdict([{"central_p_value": p, "power": power} for p in p_values]) == verdict


def test_two_heaps_are_judged_by_the_many_samples_of_a_long_run_where_there_is_one():
    few = {
        "n": 12,
        "clusters": 15,
        "min_p_holm": 1.0,
        "power": 0.1,
        "central_p_value": 0.7,
        "central_redshift": 0.93,
        "central_present": 0.4,
    }
    metrics = published_metrics("quick")
    metrics["bimodality"]["cosmos_bright"] |= few
    many = few | bimodality(np.arange(132.0), rng=np.random.default_rng(1)) | {"central_p_value": 0.2}
    longer = {"bimodality": {"cosmos_bright_many": many, "cosmos_bright_gibbs": many | {"central_present": 0.3}}}
    row = found_table(metrics, longer).splitlines()[6]
    assert "`reference`, annealed HMC: 40 % of 132 samples have a peak" in row
    assert "; `reference`, split Gibbs: 30 % of 132 samples" in row
    assert row.endswith("| undecided: no equal heaps |")
    assert "undecided, too few samples" in found_table(metrics, {})
    rows = heaps_table({"quick": {"bimodality": {"cosmos_bright": few, "mock": {"dip": 0.1}}}, "reference": longer})
    assert [row.split(" | ")[:3] for row in rows.splitlines()[2:]] == [
        ["| `quick`, bright galaxies, annealed HMC", "12", "40 %"],
        ["| `reference`, bright galaxies, annealed HMC", "132", "40 %"],
        ["| `reference`, bright galaxies, split Gibbs", "132", "30 %"],
    ]


def test_the_cost_of_a_run_is_that_of_its_stages():
    assert "Not measured" in cost_line({"a": {}}, {})
    times = {"a_x": {"wall_s": 200, "peak_memory_gb": 1.0}, "a_y": {"wall_s": 400, "peak_memory_gb": 2.5}}
    told = cost_line({"a": {}}, times | {"other": {"wall_s": 999, "peak_memory_gb": 9.0}})
    assert "10 minutes" in told
    assert "2.5 GB" in told


def test_a_released_run_has_a_column_of_its_own_and_its_warning():
    metrics = published_metrics("quick")
    longer = metrics | {"peaks": {"lowest": metrics["peaks"]["lowest"], "n": 0, "rms_error": dict.fromkeys(METHODS)}}
    longer["peaks"]["rms_error"] |= {"posterior_mean_infinite": None}
    released = NOTHING | {"validation": {"metrics": longer, "warning": "something has changed"}}
    text = with_tables(
        TEXTS, tables(STAGES, metrics, {}, released, benchmark={}, variants=None, beside=None, suites={})
    )[PAGES[1]]
    assert "| check | `quick` | `reference` | asked |" in text
    assert "Warning: something has changed." in text
    assert text.count("| `reference`: Wiener filter, exact |") == 1
    peaks = next(line for line in text.splitlines() if line.startswith("| rms error at the truths' peaks"))
    assert peaks.split("|")[3].strip() == "none"


def test_each_kind_of_small_mock_has_a_column_where_it_was_measured():
    current = published_metrics("quick")["calibration"]
    few, many, short = (
        calibration_table({"metrics": metrics, "warning": ""}, current, short=short).splitlines()
        for metrics, short in (
            ({name: value for name, value in current.items() if name not in ("self", "second", "dps")}, False),
            (current | {"dps": current["second"]}, False),
            (current, True),
        )
    )
    columns = [[cell.strip() for cell in lines[0].strip("|").split("|")] for lines in (few, many, short)]
    n = current["second"]["n_mocks"]
    added = [f"{current['self']['n_mocks']} with truths of the network's prior"]
    added += [f"{n} of them by split Gibbs", f"{n} of them by diffusion posterior sampling"]
    assert columns[1] == [*columns[0][:3], *added, *columns[0][3:]]
    assert columns[2] == columns[0]
    (agreement,) = (line.strip("|").split("|") for line in many if line.startswith("| power of annealed HMC's"))
    told = dict(zip(columns[1], map(str.strip, agreement), strict=True))
    first, error = (current["second"]["agreement"][name][0] for name in ("band_ratio", "band_ratio_err"))
    assert told[added[1]].startswith(f"{first:.3f} ± {error:.3f}, ")
    assert told[columns[0][1]] == ""


def test_a_benchmark_is_told_by_sampler_or_that_there_is_none():
    assert "dvc repro data/benchmark/dvc.yaml" in benchmark_table({})
    cost = {"evaluations": 127, "seconds": 1.234, "memory_gb": 0.8, "largest_difference": 1.5}
    table = benchmark_table({"samplers": {"gibbs": cost, "remy2020": cost}, "by_side": {"gibbs": {"exponent": 2.04}}})
    assert "| split Gibbs | 127 | 1.23 | 0.8 | 1.5 | 2.0 |" in table
    assert "| the original's schedule | 127 | 1.23 | 0.8 | 1.5 |  |" in table


def test_a_survey_costs_its_patches():
    assert "dvc repro data/benchmark/dvc.yaml" in survey_table({})
    grown = {"seconds": [0.5, 8.0], "memory_gb": [0.5, 1.0]}
    maps = {"pixel_arcmin": 1.0, "margin": 15, "sides": [60, 360], "by_side": {"gibbs": grown}}
    (row,) = survey_table(maps).splitlines()[2:]  # of 60 pixels nothing is left between edges of 30
    # 300 pixels are 5 deg: 14000 / 25 patches, of 100 samples of 8 s each, of 4 x 300^2 bytes
    assert row == "| 6.0° (360 pixels) | 5.0° | 560 | 124 | 1.0 | 20 |"


def test_variants_of_the_network_are_told_in_their_order_or_that_there_are_none():
    assert "make ablation" in ablation_table(None)
    numbers = {"steps": 1800, "parameters": 464865, "mean_error": 0.91234, "error_0.01": 0.88, "at_bound": 0.015625}
    judged = {"band_power_max_departure": 0.06, "peak_count_excess": 0.7}
    table = ablation_table(Table([{"row": name} | numbers | judged for name in ("best", "worst")]))
    best, worst = table.splitlines()[-2:]
    assert best == "| best | 1800 | 464,865 | 0.9123 | 0.880 | 0.06 | 0.70 | 1.56 % |"
    assert worst.startswith("| worst |")


def test_a_network_is_named_with_what_it_cost_where_that_was_recorded():
    grid = {"pixels": 320, "pixel_arcmin": 0.41016}
    cost = {"weights": 284401, "steps": 4800, "seconds": 1500.0, "hardware": "2 cores", "backend": "jax"}
    text = networks_table({"paper": {**grid, "precision": "float32", **cost}, "reference": grid})
    assert "| `paper` | 320², 0.41' | 284,401 | 4,800 | 25 | 2 cores, jax, float32 |" in text
    assert "| `reference` | 320², 0.41' | not recorded |" in text


def test_runs_of_released_networks_are_told_by_method():
    errors = {"accuracy.rmse": 0.0123, "accuracy.pearson": 0.71, "accuracy_in_mask.rmse": 0.0122}
    errors |= {"accuracy_in_mask.pearson": 0.72, "accuracy.mse_infinite": 1e-4, "accuracy.pearson_infinite": 0.8}
    errors |= {"accuracy_in_mask.mse_infinite": 1e-4, "accuracy_in_mask.pearson_infinite": 0.8}
    mock = {"title": "a mock", "samples": 12, "accuracy": {"wiener": errors, "posterior_mean": errors}}
    field = {"title": "a field", "samples": 16, "cluster_stack_snr": {"posterior_mean": 9.87, "n": 50}}
    lines = runs_table({"paper": [mock, field]}).splitlines()[2:]
    assert lines[0] == "| `paper` | a mock | Wiener filter, exact | 1.230 | 0.710 | 1.220 | 0.720 |  |"
    assert lines[2] == "| `paper` | a mock | posterior mean, many samples (of 12) | 1.000 | 0.800 | 1.000 | 0.800 |  |"
    assert lines[3] == "| `paper` | a field | posterior mean |  |  |  |  | 9.9 |"
    assert len(lines) == 4
