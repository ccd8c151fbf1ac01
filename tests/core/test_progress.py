"""Progress: share and time left at a fake clock, parts of a whole, and every long step tells it to its end."""

import dataclasses

import numpy as np
import pytest

from analysis.core.progress import INTERVAL_S, followed, progress, spoken, within
from analysis.flatsky.power import ell_grid
from analysis.params import load_params
from analysis.posterior import wiener as posterior
from analysis.posterior.remy2020 import remy2020_sampler
from analysis.posterior.runner import run_chains
from analysis.posterior.sampler import annealer
from analysis.posterior.wiener import gaussian_posterior_draws, gaussian_posterior_solve
from analysis.prior.score import Prior
from analysis.prior.training import Progress
from analysis.survey import nulls

SAMPLE = load_params().sample
POWER = 4e-3 * (np.maximum(ell_grid((16, 16), 0.82), 500) / 500) ** -1.5
WEIGHT = np.full((2, 16, 16), 20.0)


def heard(step):
    """How much of its whole a step told, each time it did."""
    parts = []
    with within(parts.append):
        step()
        told = np.array(parts)
    assert {type(part) for part in parts} == {float}  # a worker sends no other number
    assert sum(parts) == pytest.approx(1)  # the end of the block completes it
    return told


@pytest.fixture
def clock():
    """Make a clock that a test sets."""
    now = [0.0]
    return now, lambda: now[0]


def test_share_and_time_left_are_told_every_few_seconds(clock, capsys):
    now, time = clock
    advance = progress("chains", 100, clock=time)
    for second in range(1, 101):
        now[0] = float(second)
        advance()
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[:2] == ["  chains: 8 % done, about 92 s left", "  chains: 16 % done, about 84 s left"]
    assert len(lines) == 100 // INTERVAL_S


def test_what_was_done_before_an_interruption_says_nothing_of_the_speed(clock, capsys):
    now, time = clock
    advance = progress("training", 1000, done=900, clock=time)
    now[0] = 1000.0
    advance(50)
    assert capsys.readouterr().err == "  training: 95 % done, about 17 min left\n"


def test_a_start_that_compiles_tells_no_time(clock, capsys):
    now, time = clock
    advance = progress("chains", 1000, clock=time)
    now[0] = 60.0
    advance(5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "words"), [(44.7, "45 s"), (99, "99 s"), (120, "2 min"), (9000, "2.5 h")])
def test_times_have_the_unit_that_people_use(seconds, words):
    assert spoken(seconds) == words


def test_steps_within_steps_count_as_their_parts(clock, capsys):
    now, time = clock
    advance = progress("boxes", 4, clock=time)
    with within(advance):
        inner = progress("steps", 10, clock=time)
        now[0] = 20.0
        inner(5)
        inner(4)
    now[0] = 40.0
    with within(advance, 2):
        progress("maps", 2)()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["  boxes: 12 % done, about 2 min left", "  boxes: 50 % done, about 40 s left"]


def test_a_loop_is_followed_to_its_end():
    np.testing.assert_allclose(heard(lambda: list(followed(range(4), "maps"))), [0.25] * 4)


@pytest.mark.parametrize("preset", ["gibbs", pytest.param("hmc", marks=pytest.mark.long), "remy2020"])
def test_chains_tell_their_progress_to_the_end(preset):
    settings = dataclasses.replace(SAMPLE, preset=preset)
    prior = Prior(POWER, 0.82)
    gamma, chained = np.zeros((2, 16, 16)), {"further": 2, "watch": lambda kappa: None}
    if preset == "remy2020":
        sampler = remy2020_sampler(prior, settings, steps=40)(gamma.astype("float32"), WEIGHT.astype("float32"), 2)
        parts = heard(lambda: run_chains(sampler, rng=np.random.default_rng(1), **chained))
    else:
        parts = heard(lambda: annealer(prior, settings)(gamma, WEIGHT, 2, rng=np.random.default_rng(1), **chained))
    assert len(parts) > 30
    assert 0 <= parts.min() <= parts.max() < 0.1
    assert 0.9 < parts.sum() <= 1 + 1e-9


def test_conjugate_gradients_tell_their_progress_and_give_the_same_bits(monkeypatch):
    weight, rng = WEIGHT * (np.arange(16) > 5) * 1e4, np.random.default_rng(1)
    target = rng.standard_normal((3, 16, 16))
    whole = np.asarray(posterior.compiled(gaussian_posterior_solve)(target, weight, POWER))
    np.testing.assert_array_equal(posterior.gaussian_posterior_mean(target, weight, POWER), whole)
    gamma = rng.standard_normal((2, 16, 16))
    parts = heard(lambda: gaussian_posterior_draws(gamma, weight, POWER, 3, rng=rng))
    assert len(parts) > 1
    assert 0.2 < parts.sum() < 1


def test_null_tests_tell_their_progress():
    params = dataclasses.replace(load_params().nulls, realisations=24, bands=3)
    setting = np.ones((2, 16, 16)), WEIGHT * (np.arange(16) > 3), params, 0.82
    parts = heard(lambda: nulls.mode_statistics(*setting, rng=np.random.default_rng(1)))
    assert len(parts) == 4


def test_a_training_that_goes_on_tells_its_progress_to_the_end():
    def train():
        callback = Progress(10, done=4)
        callback.on_train_begin()
        for batch in range(6):
            callback.on_train_batch_end(batch)

    assert heard(train).sum() == pytest.approx(1)
