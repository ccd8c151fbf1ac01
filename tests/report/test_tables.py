"""Tables of results say what was measured, in the units of their headers, and where there is nothing."""

import numpy as np
from astropy.table import Table

from analysis.judge.injection import PUBLISHED
from analysis.report.readme import clusters_of
from analysis.report.tables import clusters_table, detection_table, rivals_table

SEEN = {"listed": 72, "observed": 65, "probability": 0.21, "probability_err": 0.03, "chance": 0.05, "bmode": 0.04}
HALOS = {
    "redshift": 0.5,
    "mass": [9e13, 3e14],
    "realisations": [64, 64],
    "snr": [1.7, 3.85],
    "present": [0.5, 0.9],
    "present_err": [0.06, 0.02],
    "chance": [0.04, 0.04],
}


def cells(table):
    """Rows of a Markdown table below its header, as lists of cells."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_clusters_and_halos_of_both_runs_stand_beside_chance_and_the_published_shares():
    run = {"presence": {"cosmos": SEEN, "bright": SEEN | {"bmode": None}}, "injection": HALOS}
    longer = {"profile": "reference", "metrics": run | {"presence": {"cosmos": SEEN | {"probability": 0.3}}}}
    rows = cells(clusters_table(clusters_of(run, {"clusters": longer})))
    assert len(rows) == 2 + 1 + 2 * 2 + len(PUBLISHED["snr"])
    assert rows[0] == ["`quick`, cosmos: 65 observed X-ray clusters of 72", "", "21 % ± 3 %", "5 %", "4 %"]
    assert rows[1][-1] == "", "a field without a B-mode run"
    assert rows[2][0].startswith("`reference`, cosmos")
    assert rows[2][2] == "30 % ± 3 %"
    assert rows[6] == ["`reference`, 64 halos of 3.0e+14 solar masses, z = 0.5", "3.9", "90 % ± 2 %", "4 %", ""]
    assert [row[2] for row in rows[-3:]] == ["82 %", "94 %", "100 %"]
    assert len(cells(clusters_table(clusters_of(run, {"clusters": {}})))) == 2 + 2 + len(PUBLISHED["snr"])


def test_blind_peaks_that_are_not_there_are_told():
    reliability = {"true": [0.25, None], "true_err": [0.1, None], "predicted": [0.3, None]}
    found = {"level": [0.1, 0.5], "listed": [12, 0], "purity": [0.4, None], "completeness": [0.8, None]}
    first, second = cells(detection_table(found | {"reliability": reliability}))
    assert first == ["≥ 0.1", "12", "0.40", "0.80", "0.25 ± 0.10 (0.30)"]
    assert second == ["≥ 0.5", "0", "none", "none", "none"]


def test_rivals_have_a_line_each_and_the_posterior_mean_another_of_many_samples():
    names = ("rmse", "pearson", "peak_rms", "coverage68", "rmse_infinite")
    row = {f"{name}{end}": value for name in names for end, value in (("", 0.0166), ("_err", 0.0005))}
    power = {"power_ratio": np.array([0.9, 0.1]), "power_ratio_err": np.array([0.1, 0.01])}
    table = Table(rows=[{"method": name} | row | power for name in ("wiener", "posterior_mean")])
    table["coverage68"][0] = np.nan
    wiener, mean, many = cells(rivals_table(table, {"wiener": 0.654}))
    assert wiener[1:] == ["1.660 ± 0.050", "0.017 ± 0.001", "0.90 ± 0.10", "0.10 ± 0.01", "1.66 ± 0.05", "", "0.65"]
    assert mean[6:] == ["1.7 ± 0.1", ""]
    assert many[0] == f"{mean[0]}, many samples"
    assert many[1] == "1.660 ± 0.050"
