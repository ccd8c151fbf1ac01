"""The profile of a sample: its parts add up, and it names what it timed."""

import numpy as np
from small_prior import POWER, SETTINGS

from analysis.params import load_params
from analysis.prior.network import build_network
from analysis.prior.score import Prior
from analysis.tools import profiling


def test_parts_run_and_their_shares_add_up():
    prior = Prior(POWER.astype("float32"), 0.82, build_network(SETTINGS), margin=2, skip=True)
    rows = list(profiling.profile_rows(prior, load_params().sample))
    shares = [float(measured.split(",")[1].removesuffix("%")) for _, measured, _ in rows if "%" in measured]
    assert len(shares) == 4
    assert abs(sum(shares) - 100) <= 2
    assert "XLA" in rows[-1][0]


def test_time_of_a_part_leaves_the_first_call_out():
    calls = []

    def part():
        calls.append(len(calls))
        return np.zeros(1)

    assert profiling.part_seconds(part) < 1
    assert len(calls) == profiling.REPEATS + 1
