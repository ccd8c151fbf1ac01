"""The samplers against exact answers: oscillations, log ratios, and posteriors that are known otherwise."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from keras import ops
from scipy.stats import ks_2samp
from small_prior import SETTINGS

from analysis.core.files import BorderError
from analysis.flatsky.backend import filtered
from analysis.flatsky.kernel import kaiser_squires_kernel
from analysis.flatsky.lensing import convergence_from_shear, reduced_shear, shear_from_convergence
from analysis.flatsky.power import ell_grid, gaussian_field
from analysis.params import load_params
from analysis.posterior import runner
from analysis.posterior.diagnostics import noisy_power
from analysis.posterior.diffusion import bridge, descend, descent, evaluations_to_clean, prior_draws, reverse_diffusion
from analysis.posterior.dps import levels_of
from analysis.posterior.hmc import from_precision, gaussian_mean, leap, path_work
from analysis.posterior.likelihood import SHARE, added_variance, capped_weight, less_noise, renoised
from analysis.posterior.remy2020 import remy2020_sampler
from analysis.posterior.runner import run_chains
from analysis.posterior.sampler import annealer, field_sampler, transitions
from analysis.posterior.wiener import gaussian_posterior_draws, gaussian_posterior_solve
from analysis.prior.score import Prior, denoised, gate, gaussian_score, score_network, shifted_mean

SAMPLE = load_params().sample
PRESETS = {preset: dataclasses.replace(SAMPLE, preset=preset) for preset in ("gibbs", "hmc")}


def test_steps_turn_exactly_about_the_centre_and_err_as_the_square_of_the_step_under_a_kick():
    """A force -x / 2 on top of the unit oscillator: frequency sqrt(3/2), known at any time; and a constant force."""
    rng = np.random.default_rng(1)
    start, velocity, centre = rng.standard_normal((3, 1, 4, 4))

    def moved(strength, steps, kappa, velocity, time=1.6):
        def kick_of(x):
            return (-strength * (x - centre),) * 2

        force, kick = kick_of(kappa)
        for _ in range(steps):
            state = kappa, velocity, force, kick
            kappa, velocity, force, kick, _ = leap(kick_of, *state, centre, np.asarray(time / steps))
        return np.asarray(kappa), np.asarray(velocity)

    exact = centre + np.cos(1.6) * (start - centre) + np.sin(1.6) * velocity
    np.testing.assert_allclose(moved(0.0, 1, start, velocity)[0], exact, atol=1e-12)
    push = np.full_like(start, 0.3)
    pushed = leap(lambda x: (push, push), start, velocity, push, push, centre, np.asarray(1.6))[0]
    exact = centre + push + np.cos(1.6) * (start - centre - push) + np.sin(1.6) * velocity
    np.testing.assert_allclose(np.asarray(pushed), exact, atol=1e-12)
    rate = 1.5**0.5
    exact = centre + np.cos(1.6 * rate) * (start - centre) + np.sin(1.6 * rate) * velocity / rate
    errors = []
    for steps in (8, 16):
        kappa, end = moved(0.5, steps, start, velocity)
        errors.append(np.abs(kappa - exact).max())
        np.testing.assert_allclose(moved(0.5, steps, kappa, -end)[0], start, atol=1e-12)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.05)


def test_energy_that_kicks_give_is_the_change_of_the_kinetic_energy():
    """Without a centre to turn about, kinetic energy and that of the turn change by the kicks alone."""
    rng = np.random.default_rng(2)
    kappa, velocity, centre = rng.standard_normal((3, 5, 4, 4))

    def kick_of(x):
        return (3 - np.exp(np.asarray(x)),) * 2

    def energy(kappa, velocity):
        return 0.5 * np.sum((np.asarray(kappa) - centre) ** 2 + np.asarray(velocity) ** 2, axis=(1, 2))

    state = leap(kick_of, kappa, velocity, *kick_of(kappa), centre, np.asarray(0.3))
    np.testing.assert_allclose(np.asarray(state[4]), energy(*state[:2]) - energy(kappa, velocity), rtol=1e-12)


@pytest.mark.parametrize("step", [0.3, 0.15])
def test_work_along_a_path_is_the_log_ratio(step):
    rng = np.random.default_rng(2)
    start, pace = rng.standard_normal((2, 3, 4, 4))
    points = np.stack([start + step * i * pace + (step * i) ** 2 * start for i in range(5)])
    symmetric = rng.standard_normal((4, 4))
    forces = -np.einsum("ij,pnjx->pnix", symmetric @ symmetric.T, points)
    exact = 0.5 * np.sum(points[-1] * forces[-1] - points[0] * forces[0], axis=(1, 2))
    np.testing.assert_allclose(path_work(points, forces), exact, atol=1e-12)
    np.testing.assert_allclose(path_work(points[::-1], forces[::-1]), -exact, atol=1e-12)
    # log-gamma: log p = 3 x - exp(x)
    exact = np.sum(3 * (points[-1] - start) - np.exp(points[-1]) + np.exp(start), axis=(1, 2))
    assert np.abs(path_work(points, 3 - np.exp(points)) - exact).max() < 1000 * step**4


def test_gaussian_posterior_of_a_noisy_map_is_that_of_dense_matrices():
    """Mean and covariance of z from p(x), p(gamma | x) and p(z | x, gamma) under a mask."""
    rng = np.random.default_rng(5)
    power = 4e-3 * (np.maximum(ell_grid((6, 6), 0.82), 2000) / 2000) ** -1.5
    weight, rho = rng.uniform(0, 40, (2, 6, 6)), 0.15
    weight[:, 4:] = 0
    gamma = rng.standard_normal((1, 2, 6, 6))
    shear = np.asarray(shear_from_convergence(np.eye(36).reshape(36, 6, 6))).reshape(36, 72).T
    precision = shear.T @ (weight.reshape(72, 1) * shear)
    signal = np.fft.ifft2(np.fft.fft2(np.eye(36).reshape(36, 6, 6)) * power).real.reshape(36, 36)
    clean = np.linalg.inv(np.linalg.inv(signal) + precision)
    shrink = np.eye(36) - rho**2 * precision
    covariance = rho**2 * shrink + shrink @ clean @ shrink
    pull = shear.T @ (weight.ravel() * gamma.ravel())
    mean = shrink @ clean @ pull + rho**2 * pull
    found = np.asarray(from_precision(np.eye(36).reshape(36, 6, 6), rho, weight, power)).reshape(36, 36)
    np.testing.assert_allclose(found, covariance, atol=1e-3 * np.abs(covariance).max())
    found = np.asarray(gaussian_mean(gamma, rho, weight, power)).ravel()
    np.testing.assert_allclose(found, mean, atol=1e-3 * np.abs(mean).max())


def test_power_of_noisy_maps_is_one_in_every_band_for_what_the_prior_expects():
    power = 4e-3 * (np.maximum(ell_grid((32, 32), 0.82), 500) / 500) ** -1.5
    rng = np.random.default_rng(4)
    maps = gaussian_field(power, 400, rng=rng) + 0.05 * rng.standard_normal((400, 32, 32))
    found = np.array(noisy_power(maps, 0.05, power))
    np.testing.assert_allclose(found, 1, atol=0.05)
    long = np.cos(2 * np.pi * np.arange(32) / 32) * np.ones((1, 32, 1))
    added = np.array(noisy_power(maps + long, 0.05, power)) - found
    assert added[0] > 10 > 1e-3 > np.abs(added[2:]).max()


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_samples(field, preset):
    power, gamma, weight = field
    anneal = annealer(Prior(power, 0.82), PRESETS[preset])
    runs = [anneal(gamma, weight, 3, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2], atol=1e-3)


def interrupted(monkeypatch, after):
    """Let a run die right after the state of a level is written."""
    written = runner.save_state

    def save_and_die(path, rng, levels, **arrays):
        written(path, rng, levels, **arrays)
        if len(levels) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "save_state", save_and_die)


@pytest.mark.parametrize("after", [1, 7, -1])
@pytest.mark.parametrize("preset", [*PRESETS, "remy2020", "dps"])
def test_chains_that_were_cut_go_on_and_end_with_the_same_bits(field, tmp_path, monkeypatch, preset, after):
    power, gamma, weight = field
    prior, path = Prior(power, 0.82), tmp_path / "chains.npz"
    settings = dataclasses.replace(SAMPLE, preset=preset)
    anneal = short_remy2020(prior, 150) if preset == "remy2020" else annealer(prior, settings)

    def run(resume):
        seen = []
        samples, levels = anneal(
            gamma, weight, 2, rng=np.random.default_rng(1), further=2, watch=seen.append, resume=resume
        )
        return samples, levels, seen

    samples, levels, seen = run(None)
    with monkeypatch.context() as patch:
        interrupted(patch, after if after > 0 else len(levels))
        with pytest.raises(KeyboardInterrupt):
            run(path)
    again, levels_again, seen_again = run(path)
    np.testing.assert_array_equal(again, samples)
    np.testing.assert_array_equal(seen_again, seen)
    assert repr(levels_again) == repr(levels)  # NaN is NaN there
    with np.load(path) as state:
        trail, clean = state["trail"], state["clean" if preset in ("hmc", "dps") else "kappa"]
    assert len(trail) == 1 + len(levels)
    np.testing.assert_array_equal(trail[-1], clean[0])


def short_remy2020(prior, steps):
    """The original's schedule, cut short."""
    on_field = remy2020_sampler(prior, SAMPLE, steps=steps)
    return lambda gamma, weight, chains, **settings: run_chains(
        on_field(gamma.astype("float32"), weight.astype("float32"), chains), **settings
    )


def test_a_damaged_state_is_told_in_a_sentence(field, tmp_path):
    power, gamma, weight = field
    path = tmp_path / "chains.npz"
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(BorderError, match=r"chains\.npz cannot be read .*; delete it to start the chains again"):
        annealer(Prior(power, 0.82), SAMPLE)(gamma, weight, 2, rng=np.random.default_rng(1), resume=path)


@pytest.mark.parametrize("preset", PRESETS)
def test_further_transitions_are_watched_and_leave_the_samples(field, preset):
    power, gamma, weight = field
    anneal = annealer(Prior(power, 0.82), PRESETS[preset])
    seen = []
    samples, _ = anneal(gamma, weight, 2, rng=np.random.default_rng(1), further=3, watch=seen.append)
    assert [maps.shape for maps in seen] == [(2, 32, 32)] * 3
    assert not np.allclose(seen[0], seen[1], atol=1e-3)
    np.testing.assert_array_equal(samples, anneal(gamma, weight, 2, rng=np.random.default_rng(1))[0])


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(3)
    ell = np.maximum(ell_grid((32, 32), 0.82), 500)
    power = 4e-3 * (ell / 500) ** -1.5
    observed = np.ones((32, 32))
    observed[:, :10] = 0
    weight = np.stack([observed, observed]) / 0.04**2 * rng.uniform(0.7, 1.3, (2, 32, 32))
    kappa = gaussian_field(power, 1, rng=rng)[0]
    noise = 0.04 * rng.standard_normal((2, 32, 32))
    return power, (np.asarray(shear_from_convergence(kappa)) + noise) * observed, weight


def test_wiener_map_solves_its_equation(field):
    power, gamma, weight = field
    pull = convergence_from_shear(weight * gamma)[None]
    wiener = gaussian_posterior_solve(pull, weight, power)
    back = np.fft.ifft2(np.fft.fft2(np.asarray(wiener)) / power).real
    back = back + np.asarray(convergence_from_shear(weight * shear_from_convergence(wiener)))
    np.testing.assert_allclose(back, np.asarray(pull), atol=1e-6 * np.abs(pull).max())


def test_denoising_a_gaussian_field_is_the_wiener_filter(field):
    power = field[0]
    kappa = gaussian_field(power, 2, rng=np.random.default_rng(4))
    sigma = np.array([0.02, 0.1])
    exact = np.fft.ifft2(np.fft.fft2(kappa) * power / (power + sigma[:, None, None] ** 2)).real
    np.testing.assert_allclose(np.asarray(denoised(kappa, sigma, gaussian_score(kappa, sigma, power))), exact)


def band_powers(maps, wiener):
    """Mean power of maps about the Wiener map in bands of multipole, (n, bands)."""
    modes = ell_grid(maps.shape[-2:], 0.82)
    power = np.abs(np.fft.fft2(maps - wiener, norm="ortho")) ** 2
    edges = [(-1, 500), (500, 2500), (2500, 5000), (5000, 9000), (9000, 14000)]
    return np.stack([power[:, (modes >= low) & (modes < high)].mean(axis=1) for low, high in edges], axis=1)


def assert_same_mean(got, want):
    """Means over samples agree within 3.3 Monte-Carlo errors."""
    error = np.sqrt(got.var(axis=0) / len(got) + want.var(axis=0) / len(want))
    assert (np.abs(got.mean(axis=0) - want.mean(axis=0)) < 3.3 * error).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_chains_sample_the_exact_gaussian_posterior_under_any_mask(field, preset):
    power, gamma, weight = field
    chains = 256
    samples, levels = annealer(Prior(power, 0.82), PRESETS[preset])(gamma, weight, chains, rng=np.random.default_rng(5))
    exact = gaussian_posterior_draws(gamma, weight, power, 1500, rng=np.random.default_rng(6))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, power))[0]
    assert_same_mean(band_powers(samples, wiener), band_powers(exact, wiener))
    # the mean: its error in units of the posterior's, mode by mode, is that of `chains` samples
    chi_squared = np.mean((samples.mean(axis=0) - wiener) ** 2 / (exact.var(axis=0) / chains))
    assert abs(chi_squared - 1) < 0.25
    if preset == "hmc":  # no error of the time step, and in equilibrium at every level
        assert min(level.acceptance for level in levels) > 0.999
        # the ratio is of a sum over modes that some ten long waves dominate: 3 sqrt(2 / 10 / 256), of two such sums
        assert max(abs(level.stein - 1) for level in levels) < 0.12


@pytest.mark.parametrize("preset", PRESETS)
def test_transitions_keep_exact_draws_of_the_posterior(field, preset):
    """Chains that begin as constrained realisations stay such, and forget where they began."""
    power, gamma, weight = field
    exact = gaussian_posterior_draws(gamma, weight, power, 512, rng=np.random.default_rng(6)).astype("float32")
    on_field = field_sampler(Prior(power, 0.82), PRESETS[preset])
    moved = transitions(on_field, gamma, weight, exact[:256], 3, rng=np.random.default_rng(7))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, power))[0]
    assert_same_mean(band_powers(moved, wiener), band_powers(exact[256:], wiener))
    chi_squared = np.mean((moved.mean(axis=0) - wiener) ** 2 / (exact.var(axis=0) / 256))
    assert abs(chi_squared - 1) < 0.25
    before, after = (maps.reshape(256, -1) - wiener.ravel() for maps in (exact[:256], moved))
    assert np.mean(before * after) < 0.9 * np.mean(before**2)


@pytest.mark.parametrize("preset", PRESETS)
def test_reduced_shear_leaves_the_same_map_as_the_shear_itself(preset):
    """Taken for the shear, g = gamma / (1 - kappa) makes high places too high: an error that grows as kappa squared."""
    noise, powers = 0.03, 0.2 * (np.maximum(ell_grid((32, 32), 0.82), 500) / 500) ** -1.5
    weight, anneal, errors = np.full((2, 32, 32), noise**-2), annealer(Prior(powers, 0.82), PRESETS[preset]), []
    for seed in range(3):
        rng = np.random.default_rng([21, seed])
        kappa = gaussian_field(powers, 1, rng=rng)[0]
        shear = np.asarray(shear_from_convergence(kappa[None]))[0]
        scatter, square = noise * rng.standard_normal(shear.shape), kappa**2 - np.mean(kappa**2)
        data = ((shear, False), (reduced_shear(shear, kappa), False), (reduced_shear(shear, kappa), True))
        runs = [anneal(d + scatter, weight, 16, reduced=r, rng=np.random.default_rng(3))[0] for d, r in data]
        slopes = [np.sum((maps.mean(axis=0) - kappa) * square) / np.sum(square**2) for maps in runs]
        errors.append(np.subtract(slopes[1:], slopes[0]))  # same noise, same random numbers: only the shear differs
    ignored, corrected = np.mean(errors, axis=0)
    assert ignored > 0.15
    assert abs(corrected) < 0.05


@pytest.mark.parametrize("preset", PRESETS)
def test_one_network_serves_a_prior_of_any_amplitude(field, preset):
    """As `setting.Setting` has it: data and noise over the amplitude, samples times it."""
    power, gamma, weight = field
    amplitude, chains = 0.6, 256
    anneal = annealer(Prior(power, 0.82), PRESETS[preset])
    samples, _ = anneal(gamma / amplitude, amplitude**2 * weight, chains, rng=np.random.default_rng(5))
    weaker = amplitude**2 * power
    exact = gaussian_posterior_draws(gamma, weight, weaker, 1500, rng=np.random.default_rng(6))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, weaker))[0]
    assert_same_mean(band_powers(amplitude * samples, wiener), band_powers(exact, wiener))
    chi_squared = np.mean((amplitude * samples.mean(axis=0) - wiener) ** 2 / (exact.var(axis=0) / chains))
    assert abs(chi_squared - 1) < 0.25


def test_draws_of_a_gaussian_prior_have_its_power(field):
    power = field[0]
    prior = Prior(power, 0.82, noise_range=(0.0025, 0.5))
    draws, levels = prior_draws(prior, reverse_diffusion(prior), 400, rng=np.random.default_rng(9))
    modes = np.abs(np.fft.fft2(draws, norm="ortho")) ** 2
    ratio = modes / power
    assert abs(ratio.mean() - 1) < 4 * (2 / ratio.size) ** 0.5
    assert ratio.mean(axis=0).std() == pytest.approx((1 / 400) ** 0.5, rel=0.5)  # no mode stands out
    assert [level.sigma for level in levels[:: len(levels) - 1]] == pytest.approx([0.5, 0.0025])
    assert max(abs(level.stein - 1) for level in levels) < 4 * (2 / ratio.size) ** 0.5
    np.testing.assert_allclose([level.power for level in levels], 1, atol=4 * (2 / 400 / 4) ** 0.5)


def test_the_descent_alone_brings_chains_to_the_wiener_map(field):
    """Steps so short that HMC does nothing: start, reverse diffusion, and the moves to better data are seen alone."""
    power, gamma, weight = field
    still = dataclasses.replace(SAMPLE.hmc, step=1e-4, leapfrog_steps=2, last_trajectories=0)
    anneal = annealer(Prior(power, 0.82), dataclasses.replace(SAMPLE, preset="hmc", hmc=still))
    chains = 256
    samples, _ = anneal(gamma, weight, chains, rng=np.random.default_rng(5))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, power))[0]
    chi_squared = np.mean((samples.mean(axis=0) - wiener) ** 2 / (samples.var(axis=0) / chains))
    assert abs(chi_squared - 1) < 0.25
    # data that no level has to make worse: the spread is exact too
    weight = np.minimum(weight, 0.9 / SAMPLE.sigma_start**2)
    samples, _ = anneal(gamma, weight, chains, rng=np.random.default_rng(6))
    exact = gaussian_posterior_draws(gamma, weight, power, 1500, rng=np.random.default_rng(7))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, power))[0]
    assert_same_mean(band_powers(samples, wiener), band_powers(exact, wiener))


def test_split_of_two_denoising_steps_is_exact_for_a_gaussian_prior(field):
    power, gamma, weight = field
    crude = dataclasses.replace(SAMPLE.gibbs, cycles=16, spacing=10.0)
    anneal = annealer(Prior(power, 0.82), dataclasses.replace(SAMPLE, preset="gibbs", gibbs=crude))
    samples, levels = anneal(gamma, weight, 1500, rng=np.random.default_rng(7))
    assert levels[-1].evaluations == 2 * len(levels)
    exact = gaussian_posterior_draws(gamma, weight, power, 1500, rng=np.random.default_rng(8))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, power))[0]
    assert_same_mean(band_powers(samples, wiener), band_powers(exact, wiener))


def test_renoised_maps_have_the_mean_and_covariance_of_the_split():
    rng = np.random.default_rng(9)
    kappa = 0.1 * rng.standard_normal((1, 6, 6))
    gamma, weight, rho = rng.standard_normal((2, 6, 6)), rng.uniform(0, 40, (2, 6, 6)), 0.15
    assert rho**2 * weight.max() < SHARE
    n = 40000
    draws = np.asarray(
        renoised(kappa, rho, gamma, weight, rng.standard_normal((n, 2, 6, 6)), rng.standard_normal((n, 6, 6)))
    ).reshape(n, 36)
    shear = np.asarray(shear_from_convergence(np.eye(36).reshape(36, 6, 6))).reshape(36, 72).T  # P as a matrix
    mean = kappa.ravel() + rho**2 * shear.T @ (weight.ravel() * (gamma.ravel() - shear @ kappa.ravel()))
    covariance = rho**2 * (np.eye(36) - rho**2 * shear.T @ (weight.reshape(72, 1) * shear))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=4.5 * rho / n**0.5)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=5.5 * rho**2 / n**0.5)


def test_weights_are_capped_where_the_split_would_not_exist():
    weight = np.array([0.0, 100.0, 900.0])
    np.testing.assert_allclose(capped_weight(weight, 0.1), [0, SHARE / 0.01, SHARE / 0.01], rtol=1e-6)
    np.testing.assert_allclose(capped_weight(weight, 0.03), weight)


def test_added_noise_brings_data_down_to_the_capped_weight_and_leaves_again_as_it_came():
    weight = np.array([0.0, 100.0, 900.0]).reshape(1, 1, 3).repeat(2, axis=0)
    before, after = added_variance(weight, 0.2), added_variance(weight, 0.06)
    np.testing.assert_allclose(1 / (before + 1 / weight[:, :, 1:].max())[0, 0, 2], SHARE / 0.04)
    assert not before[..., 0].any()  # data of no weight have all the noise there is
    assert not after[..., :2].any()
    rng, n = np.random.default_rng(10), 40000
    noise = np.sqrt(before) * rng.standard_normal((n, *weight.shape))
    less = less_noise(noise, before, after, rng.standard_normal(noise.shape))
    # what was taken away is independent of what is left
    np.testing.assert_allclose(less.var(axis=0), after, rtol=5 * (2 / n) ** 0.5)
    error = np.sqrt(before * after / n)
    assert (np.abs(np.mean(less * (noise - less), axis=0)) <= 5 * error).all()


def test_descent_steps_evenly_in_the_cube_root():
    levels = descent(0.5, 0.008, 0.03)
    assert levels[[0, -1]] == pytest.approx([0.5, 0.008])
    np.testing.assert_allclose(np.diff(np.cbrt(levels)), -0.03, rtol=0.05)
    assert len(descent(0.01, 0.008, 10.0)) == 2


class ClosedForm:
    """Stands for a network: the mean m that belongs to a denoiser known in closed form."""

    def __init__(self, power, denoise):
        self.power, self.denoise = power.astype("float32"), denoise

    def __call__(self, inputs, *, training=False):
        maps, noise = inputs
        variance = ops.mean(self.power)
        sigma = ops.exp(noise[:, 0]) * ops.sqrt(variance)
        kappa = maps[..., 0] * ops.sqrt(variance + sigma**2)[:, None, None]
        score = (self.denoise(kappa, sigma[:, None, None]) - kappa) / sigma[:, None, None] ** 2
        mean = kappa - filtered(-score, self.power + sigma[:, None, None] ** 2)
        return (mean / gate(sigma, self.power, OPEN)[:, None, None])[..., None]


OPEN = 1e4  # a gate that never closes


def closed_form_prior(power, denoise):
    """A prior whose score is exact at every noise level."""
    return Prior(power, 0.82, ClosedForm(power, denoise), gate_sigma=OPEN)


def test_draws_of_a_mixture_have_its_odds():
    """A map is there in three of ten: without the network no draw would have it."""
    power = 4e-4 * (np.maximum(ell_grid((16, 16), 0.82), 500) / 500) ** -1.5
    bump = 0.15 * np.exp(-np.sum((np.mgrid[:16, :16] - 8) ** 2, axis=0) / 2 / 1.2**2).astype("float32")
    means, odds, p = np.stack([0 * bump, bump]), np.array([0.7, 0.3], "float32"), power.astype("float32")

    def share_of(kappa, variance):
        squares = [ops.sum((kappa - m) * filtered(kappa - m, 1 / variance), axis=(-2, -1)) for m in means]
        return ops.softmax(-0.5 * ops.stack(squares, axis=-1) + np.log(odds), axis=-1)

    def denoise(kappa, sigma):
        mean = ops.einsum("nk,kyx->nyx", share_of(kappa, p + sigma**2), means)
        return mean + filtered(kappa - mean, p / (p + sigma**2))

    prior = dataclasses.replace(closed_form_prior(power, denoise), noise_range=(0.0025, 0.5))
    draws = prior_draws(prior, reverse_diffusion(prior), 800, rng=np.random.default_rng(9))[0]
    there = np.asarray(share_of(draws, p))[:, 1].mean()
    assert abs(there - 0.3) < 0.01 + 3.3 * (0.3 * 0.7 / 800) ** 0.5


SMOOTH = 0.4  # of the power, in a void


def prior_with_a_void(power):
    """White maps of variance `power`, in their left half of `SMOOTH` times that; and the variances."""
    variance = np.full((16, 16), power, "float32")
    variance[:, :8] *= SMOOTH
    prior = closed_form_prior(np.full((16, 16), power), lambda kappa, s: kappa * variance / (variance + s**2))
    return dataclasses.replace(prior, noise_range=(0.0025, 0.5)), variance


def test_the_last_step_draws_noise_of_the_local_covariance():
    """The answer to first order in the derivative of the mean; the Gaussian model's has 1.5 times the variance."""
    power, n = 4e-4, 4000
    (prior, variance), sigma, rng = prior_with_a_void(power), 0.02, np.random.default_rng(2)
    noisy = np.sqrt(variance + sigma**2) * rng.standard_normal((n, 16, 16), "float32")
    spent = []
    drawn = reverse_diffusion(prior)(noisy, np.array([sigma]), end=0.0, rng=rng, advance=lambda: spent.append(1))
    assert len(spent) == evaluations_to_clean(prior, np.array([sigma])) == 2
    kept, share = variance / (variance + sigma**2), power / (power + sigma**2)
    expected = kept * variance + (sigma * (share + kept) / (2 * np.sqrt(share))) ** 2
    for half in (np.s_[:, :8], np.s_[:, 8:]):
        found = np.asarray(drawn)[:, *half].var()
        assert found == pytest.approx(expected[half].mean(), rel=5 * (2 / n / 128) ** 0.5)
        assert found == pytest.approx(variance[half].mean(), rel=0.07)


def test_local_noise_is_the_derivative_at_the_map_that_the_network_saw():
    """A coloured spectrum and a linear mean, two levels: the noise of the last step, from its formula as matrices."""
    side, sigmas = 6, np.array([0.03, 0.012])
    power = (4e-4 * (np.maximum(ell_grid((side, side), 0.82), 500) / 500) ** -0.5).astype("float32")
    variance = np.broadcast_to(np.where(np.arange(side) < 3, 0.4, 1.2) * 4e-4, (side, side)).astype("float32")
    prior = closed_form_prior(power, lambda kappa, s: kappa * variance / (variance + s**2))
    units, seed = np.eye(side**2, dtype="float32").reshape(-1, side, side), 3
    rng = np.random.default_rng(seed)
    noise = [rng.standard_normal((1, side, side), "float32") for _ in sigmas]
    start = np.full((1, side, side), 0.03, "float32")
    drawn = reverse_diffusion(prior)(start, sigmas, end=0.0, rng=np.random.default_rng(seed), advance=lambda: None)
    known = descend(
        lambda kappa, sigma: shifted_mean(prior, kappa, np.full(1, sigma)),
        lambda kappa, seen, high, low: lambda mean: bridge(kappa, mean, high, low, power, noise[int(low == 0)]),
        start,
        sigmas,
    )  # the same without local noise
    low = sigmas[-1]
    share = power / (power + low**2)
    columns = np.asarray(shifted_mean(prior, units, np.full(side**2, low, "float32")))  # of M
    mean = columns.reshape(side**2, -1)
    raised = np.asarray(filtered(noise[1], share**-0.5)).reshape(1, -1)
    expected = filtered((raised @ mean).reshape(1, side, side), low * (1 - share) / 2)
    np.testing.assert_allclose(np.asarray(drawn) - np.asarray(known), expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("preset", PRESETS)
def test_evaluations_are_counted_to_the_last(preset):
    prior, _ = prior_with_a_void(4e-4)
    spent, data = [], (np.zeros((2, 16, 16), "float32"), np.full((2, 16, 16), 400.0, "float32"))
    sampler = field_sampler(prior, PRESETS[preset])(*data, 2)
    rng, levels = np.random.default_rng(1), []
    state = sampler.init(rng, lambda *_: None)
    while (moved := sampler.step(state, len(levels), rng, lambda: spent.append(1))) is not None:
        state, level = moved
        levels.append(level)
        assert len(spent) == level.evaluations
    sampler.samples(state, rng, lambda: spent.append(1))
    assert len(spent) == sampler.evaluations == levels[-1].evaluations + sampler.evaluations_ending
    assert annealer(prior, PRESETS[preset])(*data, 2, rng=np.random.default_rng(1))[1][-1].evaluations == len(spent)


def test_local_noise_is_left_out_where_its_expansion_is_too_bold():
    prior, _ = prior_with_a_void(4e-4)
    for sigma, evaluations in ((0.034, 3), (0.035, 2)):  # three times the power is between their squares
        assert evaluations_to_clean(prior, np.array([0.1, sigma])) == evaluations
    assert evaluations_to_clean(dataclasses.replace(prior, network=None), np.array([0.1, 0.01])) == 2


@pytest.mark.parametrize("start", [0.5, 0.03])
def test_draws_of_the_prior_are_smooth_in_a_void(start):
    """From noise as small as pixels vary, a last step of the Gaussian model would leave a tenth more."""
    (prior, variance), rng = prior_with_a_void(3.5e-5), np.random.default_rng(4)
    noisy = np.sqrt(variance + start**2) * rng.standard_normal((600, 16, 16), "float32")
    fall, ladder = reverse_diffusion(prior), descent(start, SAMPLE.hmc.sigma_end, SAMPLE.hmc.spacing)
    draws = np.asarray(fall(noisy, ladder, end=0.0, rng=rng, advance=lambda: None))
    for half in (np.s_[:, :8], np.s_[:, 8:]):
        assert draws[:, *half].var() == pytest.approx(variance[half].mean(), rel=0.005 + 3 * (2 / 600 / 128) ** 0.5)


HALVED = dataclasses.replace(SAMPLE.hmc, step=SAMPLE.hmc.step / 2, leapfrog_steps=2 * SAMPLE.hmc.leapfrog_steps)


@pytest.mark.parametrize(
    "settings",
    [*PRESETS.values(), dataclasses.replace(PRESETS["hmc"], hmc=HALVED)],
    ids=[*PRESETS, "hmc with half the step"],
)
def test_a_bimodal_cluster_has_its_exact_odds(settings):
    """One cluster, two, or none: the prior is a mixture of Gaussian fields about each, the odds are integrals."""
    pixels, noise, rng = 16, 0.15, np.random.default_rng(3)
    shape = (pixels, pixels)
    power = 4e-3 * (np.maximum(ell_grid(shape, 0.82), 500) / 500) ** -1.5
    y, x = np.mgrid[:pixels, :pixels]
    left, right = (0.15 * np.exp(-((y - 8) ** 2 + (x - column) ** 2) / 2 / 1.2**2) for column in (6, 11))
    means, odds = np.stack([0 * left, left, left + right, right]), np.array([0.4, 0.2, 0.2, 0.2])

    def log_odds(kappa, variance):
        centred = [kappa - mean.astype("float32") for mean in means]
        squares = [ops.sum(d * filtered(d, 1 / variance), axis=(-2, -1)) for d in centred]
        return ops.stack([-0.5 * s for s in squares], axis=-1) + np.log(odds).astype("float32")

    def denoise(kappa, sigma):
        share = ops.softmax(log_odds(kappa, power.astype("float32") + sigma**2), axis=-1)
        mean = ops.einsum("nk,kyx->nyx", share, means.astype("float32"))
        return mean + filtered(kappa - mean, power.astype("float32") / (power.astype("float32") + sigma**2))

    observed = np.ones(shape)
    observed[:, 12:] = 0
    weight = np.stack([observed, observed]) / noise**2
    truth = gaussian_field(power, 1, rng=rng)[0] + means[2]
    gamma = (np.asarray(shear_from_convergence(truth)) + noise * rng.standard_normal((2, *shape))) * observed
    # evidence of each Gaussian by dense matrices
    seen = weight.ravel() > 0
    shear = np.asarray(shear_from_convergence(np.eye(pixels**2).reshape(-1, *shape))).reshape(pixels**2, -1).T[seen]
    signal = np.fft.ifft2(np.fft.fft2(np.eye(pixels**2).reshape(-1, *shape)) * power).real.reshape(pixels**2, -1)
    covariance = shear @ signal @ shear.T + noise**2 * np.eye(seen.sum())
    residuals = gamma.ravel()[seen] - means.reshape(4, -1) @ shear.T
    log_evidence = -0.5 * np.sum(residuals * np.linalg.solve(covariance, residuals.T).T, axis=1)
    exact = odds * np.exp(log_evidence - log_evidence.max())
    exact /= exact.sum()
    assert exact.max() < 0.8  # the data leave it open

    n = 800
    anneal = annealer(closed_form_prior(power, denoise), settings)
    samples, _ = anneal(gamma, weight, n, rng=np.random.default_rng(5))
    share = np.asarray(ops.softmax(log_odds(samples, power.astype("float32")), axis=-1)).mean(axis=0)
    assert (np.abs(share - exact) < 0.01 + 3.3 * np.sqrt(exact * (1 - exact) / n)).all(), (share, exact)


@pytest.mark.long
@pytest.mark.parametrize("preset", PRESETS)
def test_lognormal_pixels_agree_with_a_long_langevin_chain(preset):
    """A prior with the long tail of convergence, and data that mix its pixels; the reference knows the density."""
    shape, spread, shift, noise, n = (8, 8), 0.8, 0.05, 0.05, 800
    rng = np.random.default_rng(11)
    nodes = np.linspace(-5, 5, 161)
    values = shift * (np.exp(spread * nodes - spread**2 / 2) - 1)  # convergence of a normal number
    prior_odds = -0.5 * nodes**2

    def denoise(kappa, sigma):
        distance = (kappa[..., None] - values.astype("float32")) / sigma[..., None]
        share = ops.softmax(-0.5 * distance**2 + prior_odds.astype("float32"), axis=-1)
        return ops.sum(share * values.astype("float32"), axis=-1)

    power = np.full(shape, shift**2 * (np.exp(spread**2) - 1))

    def convergence(g):
        return shift * (np.exp(spread * g - spread**2 / 2) - 1)

    observed = np.ones(shape)
    observed[:, 6:] = 0
    weight = np.stack([observed, observed]) / noise**2
    truth = convergence(rng.standard_normal(shape))
    gamma = (np.asarray(shear_from_convergence(truth)) + noise * rng.standard_normal((2, *shape))) * observed

    def log_density_and_slope(g):
        kappa = convergence(g)
        residual = gamma - np.asarray(shear_from_convergence(kappa))
        log_density = -0.5 * np.sum(weight * residual**2, axis=(1, 2, 3)) - 0.5 * np.sum(g**2, axis=(1, 2))
        pull = np.asarray(convergence_from_shear(weight * residual))
        return log_density, pull * spread * (kappa + shift) - g

    step, g = 0.35, rng.standard_normal((n, *shape))
    log_density, slope = log_density_and_slope(g)
    accepted = []
    for _ in range(800):  # Metropolis-adjusted Langevin
        proposal = g + 0.5 * step**2 * slope + step * rng.standard_normal(g.shape)
        proposed, there = log_density_and_slope(proposal)
        forth = np.sum((proposal - g - 0.5 * step**2 * slope) ** 2, axis=(1, 2))
        back = np.sum((g - proposal - 0.5 * step**2 * there) ** 2, axis=(1, 2))
        taken = np.log(rng.random(n)) < proposed - log_density + (forth - back) / 2 / step**2
        accepted.append(taken.mean())
        g = np.where(taken[:, None, None], proposal, g)
        log_density, slope = np.where(taken, proposed, log_density), np.where(taken[:, None, None], there, slope)
    assert 0.4 < np.mean(accepted) < 0.98
    reference = convergence(g)

    fine = dataclasses.replace(
        SAMPLE,
        preset=preset,
        gibbs=dataclasses.replace(SAMPLE.gibbs, spacing=0.012, last_cycles=10),
        hmc=dataclasses.replace(SAMPLE.hmc, spacing=0.012, last_trajectories=4),
    )
    samples, _ = annealer(closed_form_prior(power, denoise), fine)(gamma, weight, n, rng=np.random.default_rng(12))
    for statistic in (
        lambda maps: maps.max(axis=(1, 2)),
        lambda maps: maps[:, :, :6].std(axis=(1, 2)),
        lambda maps: maps[:, 3, 3],
        lambda maps: maps[:, 4, 7],  # unobserved
        lambda maps: maps.mean(axis=(1, 2)),
    ):
        assert ks_2samp(statistic(samples), statistic(reference)).pvalue > 1e-3, (
            statistic(samples).mean(),
            statistic(reference).mean(),
        )


@pytest.mark.long
def test_the_schedule_of_the_original_samples_a_gaussian_posterior():
    rng = np.random.default_rng(13)
    power = np.full((8, 8), 4e-4)
    weight = np.full((2, 8, 8), 600.0)
    gamma = 0.05 * rng.standard_normal((2, 8, 8))
    chains = 64
    anneal = short_remy2020(Prior(power, 0.82), 3500)
    samples, levels = anneal(gamma, weight, chains, rng=np.random.default_rng(14))
    exact = gaussian_posterior_draws(gamma, weight, power, 1500, rng=np.random.default_rng(15))
    assert levels[-1].sigma < 0.004
    np.testing.assert_allclose(samples[:, 1:, 1:].var(axis=0).mean(), exact[:, 1:, 1:].var(axis=0).mean(), rtol=0.1)


@pytest.mark.parametrize("preset", [*PRESETS, "remy2020", "dps"])
def test_a_network_that_fails_ends_the_run_in_one_sentence(preset):
    power = np.full((8, 8), 1e-3)
    prior = closed_form_prior(power, lambda kappa, sigma: kappa * np.float32(np.nan))
    with pytest.raises(BorderError, match="not finite at noise level"):
        annealer(prior, dataclasses.replace(SAMPLE, preset=preset))(
            np.zeros((2, 8, 8)), np.ones((2, 8, 8)), 2, rng=np.random.default_rng(1)
        )


def test_diffusion_posterior_sampling_takes_the_derivative_of_the_rule_for_peaks():
    """A map of the first levels is far below the noise: there the rule, and its derivative, have to vanish."""
    power = np.full((16, 16), 6e-7, "float32")  # of an rms of a third of the last noise, where the rule is still closed
    network = score_network(SETTINGS, gain=True)
    prior = Prior(power, 0.82, network, noise_range=(0.005, 0.5), gain=True, skip=True)
    weight = np.full((2, 16, 16), 1e4)
    dps = dataclasses.replace(SAMPLE, preset="dps")
    found = annealer(prior, dps)(np.zeros((2, 16, 16)), weight, 4, rng=np.random.default_rng(1))[0]
    plain = annealer(Prior(power, 0.82, noise_range=(0.005, 0.5)), dps)
    wanted = plain(np.zeros((2, 16, 16)), weight, 4, rng=np.random.default_rng(1))[0]
    np.testing.assert_allclose(found, wanted, atol=0.1 * wanted.std())


def test_diffusion_posterior_sampling_has_the_law_of_its_recursion_and_is_too_narrow():
    """White Gaussian prior and noise: every mode that shear shows follows one linear recursion, whose end is known."""
    side, power, noise, chains = 16, 4e-4, 2e-4, 256
    prior, params = Prior(np.full((side, side), power), 0.82), dataclasses.replace(SAMPLE, preset="dps")
    truth = gaussian_field(prior.power, 1, rng=np.random.default_rng(1))
    gamma, weight = np.asarray(shear_from_convergence(truth))[0], np.full((2, side, side), 1 / noise)
    found = annealer(prior, params)(gamma, weight, chains, rng=np.random.default_rng(2))[0]
    sigmas = levels_of(prior, params.sigma_start, params.sigma_final)
    share, variance = 0.0, power + sigmas[0] ** 2  # of the truth in the map, and of the rest
    for high, low in pairwise([*sigmas, 0.0]):
        wiener, kept, step = power / (power + high**2), (low / high) ** 2, high**2 - low**2
        linear = wiener + kept * (1 - wiener) - step * wiener**2 / noise
        share = linear * share + step * wiener / noise
        variance = linear**2 * variance + low**2 * (1 - kept)
    p1, p2 = kaiser_squires_kernel(side, side)
    shown = p1**2 + p2**2 > 0.999
    modes, known = (np.fft.fft2(maps, norm="ortho")[:, shown] for maps in (found, truth))
    fitted = np.sum((modes.mean(axis=0) * known.conj()).real) / np.sum(np.abs(known) ** 2)
    assert fitted == pytest.approx(share, abs=4 * (variance / chains / np.sum(np.abs(known) ** 2)) ** 0.5)
    squares = np.abs(modes - share * known) ** 2
    assert squares.mean() == pytest.approx(variance, rel=4 * (2 / squares.size) ** 0.5)
    assert variance < 0.8 * power * noise / (power + noise)
