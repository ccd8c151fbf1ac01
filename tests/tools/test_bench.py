"""The table of `make bench`: the parts of a sample add up, and the first call, which compiles, is left out."""

import time

from small_prior import POWER, SETTINGS

from analysis.params import load_params
from analysis.prior.score import Prior, score_network
from analysis.tools import bench


def test_parts_run_and_their_shares_add_up():
    prior = Prior(POWER.astype("float32"), 0.82, score_network(SETTINGS, gain=True), margin=2, gain=True)
    rows = list(bench.part_rows(prior, load_params().sample))
    shares = [float(measured.split(",")[1].removesuffix("%")) for _, measured, _ in rows if "%" in measured]
    assert len(shares) == 4
    assert abs(sum(shares) - 100) <= 2


def test_time_of_a_part_leaves_the_first_call_out():
    calls = []

    def part():
        calls.append(time.sleep(0 if calls else 1))
        return 0.0

    assert bench._median_seconds(part) < 0.5
    assert len(calls) == bench.REPEATS + 1
