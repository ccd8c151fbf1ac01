"""The sampler against exact answers: oscillations, log ratios and the Gaussian posterior."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from analysis.lensing import convergence_from_shear, shear_from_convergence
from analysis.params import load_params
from analysis.posterior import gaussian_posterior_draws, gaussian_posterior_solve
from analysis.power import gaussian_field, wavenumbers
from analysis.sampler import annealer, noise_ladder, trajectory
from analysis.score import Prior, denoised, gaussian_score


def test_leapfrog_follows_the_oscillator_and_errs_as_the_square_of_the_step():
    start = np.random.default_rng(1).standard_normal((1, 4, 4))
    errors = []
    for steps in (8, 16):
        state = (start, -start, np.zeros_like(start))
        kappa, _, momentum, _ = trajectory(lambda x: -x, *state, 1.6 / steps, np.ones((4, 4)), steps=steps)
        errors.append(np.abs(np.asarray(kappa) - start * np.cos(1.6)).max())
        back, _, _, _ = trajectory(lambda x: -x, kappa, -kappa, -momentum, 1.6 / steps, np.ones((4, 4)), steps=steps)
        np.testing.assert_allclose(np.asarray(back), start, atol=1e-12)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.05)


@pytest.mark.parametrize("step", [0.3, 0.15])
def test_work_along_the_path_is_the_log_ratio(step):
    rng = np.random.default_rng(2)
    kappa, momentum = rng.standard_normal((2, 3, 4, 4))
    state = (kappa, -kappa, momentum)
    end, _, _, work = trajectory(lambda x: -x, *state, step, np.ones((4, 4)), steps=4)
    exact = 0.5 * np.sum(kappa**2 - np.asarray(end) ** 2, axis=(1, 2))
    np.testing.assert_allclose(np.asarray(work), exact, atol=1e-12)

    def score(x):  # log-gamma: log p = 3 x - exp(x)
        return 3 - ops.exp(x)

    end, _, _, work = trajectory(score, kappa, score(kappa), momentum, step, np.ones((4, 4)), steps=4)
    end = np.asarray(end)
    exact = np.sum(3 * (end - kappa) - np.exp(end) + np.exp(kappa), axis=(1, 2))
    assert np.abs(np.asarray(work) - exact).max() < 30 * step**4


def test_same_seed_same_samples(field):
    power, gamma, weight = field
    short = dataclasses.replace(load_params().sample, ladder_ratio=0.5, diffused_levels=2)
    anneal = annealer(Prior(power, 0.82), short)
    runs = [anneal(gamma, weight, 3, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2], atol=1e-3)


def test_ladder_ends_where_it_should():
    ladder = noise_ladder(0.3, 0.016, 0.85)
    assert ladder[0] == pytest.approx(0.3)
    assert ladder[-1] == pytest.approx(0.016)
    np.testing.assert_allclose(ladder[1:] / ladder[:-1], 0.85, rtol=0.02)


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(3)
    ell = np.maximum(wavenumbers((32, 32), 0.82), 500)
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


def test_annealed_chains_sample_the_exact_gaussian_posterior(field):
    power, gamma, weight = field
    params = load_params().sample
    chains = 192
    anneal = annealer(Prior(power, 0.82), params)
    samples, _ = anneal(gamma, weight, chains, rng=np.random.default_rng(5))
    exact = gaussian_posterior_draws(gamma, weight, power, 1500, rng=np.random.default_rng(6))
    wiener = np.asarray(gaussian_posterior_solve(convergence_from_shear(weight * gamma)[None], weight, power))[0]
    modes = wavenumbers((32, 32), 0.82)
    for low, high in [(500, 2500), (2500, 5000), (5000, 9000), (9000, 14000)]:
        band = (modes >= low) & (modes < high)

        def band_power(maps, band=band):
            return np.mean(np.abs(np.fft.fft2(maps - wiener, norm="ortho"))[:, band] ** 2, axis=1)

        got, want = band_power(samples), band_power(exact)
        error = np.hypot(got.std() / chains**0.5, want.std() / 1500**0.5)
        assert abs(got.mean() - want.mean()) < 0.05 * want.mean() + 3.3 * error
        mean_error = np.mean(np.abs(np.fft.fft2(samples.mean(0) - wiener, norm="ortho"))[band] ** 2)
        assert mean_error < 1.5 * want.mean() / chains
