"""Peaks and apertures of maps with known peaks."""

import numpy as np
import pytest

from analysis.flatsky.lensing import convergence_from_shear
from analysis.flatsky.peaks import (
    aperture_mass,
    aperture_noise,
    blind_peaks,
    matched,
    nearest_peak,
    peak_count_ratio,
    peak_height,
    peak_heights,
    peak_places,
    presence,
    presence_map,
)


def disc(shape, x, y, radius):
    rows, columns = np.indices(shape)
    return (np.hypot(columns - x, rows - y) <= radius).astype(float)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8])
def test_aperture_mass_of_a_disc(fraction):
    kappa = disc((161, 161), 80, 80, fraction * 60)
    expected = 3 * fraction**2 * (1 - fraction**2) ** 2
    assert aperture_mass(kappa, 80, 80, 60) == pytest.approx(expected, rel=0.02)


def test_aperture_mass_sees_no_constant_and_no_slope():
    rows, columns = np.indices((40, 40))
    maps = np.stack([np.ones((40, 40)), rows - 0.3 * columns, disc((40, 40), 20, 18, 3)])
    masses = aperture_mass(maps, 20, 18, 8)
    assert masses.shape == (3,)
    np.testing.assert_allclose(masses[:2], 0, atol=1e-12)
    assert masses[2] > 0.1
    assert aperture_mass(maps[0], 0, 39, 8) == pytest.approx(0, abs=1e-12)  # cut by the corner


def test_peak_height_takes_the_highest_peak_within_reach():
    kappa = np.zeros((30, 30))
    kappa[10, 12], kappa[10, 15], kappa[10, 20] = 1, 2, 5
    assert peak_height(kappa, 12, 10, 2) == 1
    assert peak_height(kappa, 12, 10, 4) == 2
    assert peak_height(kappa, 12.4, 10.3, 30) == 5


def test_the_flank_of_a_peak_out_of_reach_is_no_peak():
    rows, columns = np.indices((30, 30))
    hill = -np.hypot(columns - 20, rows - 15)
    assert peak_height(hill, 15, 15, 3) == -np.inf
    assert peak_height(hill, 17, 15, 3) == 0


def test_presence_counts_the_samples_with_a_peak():
    samples = np.zeros((4, 20, 20))
    samples[:3, 5, 6] = [0.1, 0.2, 0.3]
    found = presence(samples, np.array([6, 15]), np.array([5, 15]), radius=2, threshold=0.15)
    np.testing.assert_array_equal(found, [0.5, 0])


def test_presence_takes_a_radius_for_each_place():
    samples = np.zeros((1, 20, 20))
    samples[0, 5, 9] = 1.0
    found = presence(samples, np.array([6, 6]), np.array([5, 5]), radius=np.array([2.9, 3.1]), threshold=0.5)
    np.testing.assert_array_equal(found, [0, 1])


def smooth_maps(n, side=40):
    """Maps with many peaks."""
    rng = np.random.default_rng(4)
    return np.array([np.convolve(row, np.ones(3), "same") for row in rng.normal(0, 1, (n * side, side))]).reshape(
        n, side, side
    )


def test_presence_is_the_share_of_samples_whose_highest_peak_near_reaches_the_threshold():
    samples, rng = smooth_maps(5), np.random.default_rng(5)
    x, y = rng.uniform(3, 36, (2, 30))
    expected = [np.mean(peak_height(samples, *place, 2.5) >= 2.0) for place in zip(x, y, strict=True)]
    assert 0 < np.mean(expected) < 1
    np.testing.assert_array_equal(presence(samples, x, y, radius=2.5, threshold=2.0), expected)


def test_presence_map_is_presence_at_every_pixel():
    samples = smooth_maps(3, 24)
    rows, columns = np.indices((24, 24))
    expected = presence(samples, columns.ravel(), rows.ravel(), radius=2.0, threshold=3.0).reshape(24, 24)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(presence_map(samples, radius=2.0, threshold=3.0), expected)


def test_a_map_without_peaks_is_infinitely_far():
    distances = nearest_peak(np.zeros((2, 8, 8)), np.array([3.0]), np.array([3.0]), threshold=0.1)
    assert np.isinf(distances).all()
    assert not presence_map(np.zeros((2, 8, 8)), radius=50, threshold=0.1).any()


def test_peak_places_are_x_and_y():
    kappa = np.zeros((8, 8))
    kappa[2, 5] = 1
    x, y = peak_places(kappa, threshold=0.5)
    assert (x[0], y[0]) == (5, 2)


def test_blind_peaks_come_by_probability_and_their_discs_do_not_overlap():
    samples = np.zeros((4, 40, 40))
    samples[:, 10, 10] = 0.2
    samples[:3, 10, 12] = 0.2  # within two radii of the first: one place
    samples[:2, 30, 25] = 0.2
    samples[:, 35, 5] = 0.2  # not observed
    samples[0, 20, 35] = 0.2  # too rare
    mask = np.ones((40, 40), bool)
    mask[32:] = False
    found = blind_peaks(samples, mask, radius=2, threshold=0.1, lowest=0.5)
    assert list(found["probability"]) == [1.0, 0.5]
    assert np.hypot(found["x"][0] - 10, found["y"][0] - 10) <= 2
    assert np.hypot(found["x"][1] - 25, found["y"][1] - 30) <= 2
    assert len(blind_peaks(samples, ~mask & (np.indices((40, 40))[1] > 30), radius=2, threshold=0.1, lowest=0.5)) == 0


def test_every_true_place_is_matched_once_and_the_nearest_first():
    x, y = np.array([0.0, 1.0, 9.0]), np.zeros(3)
    true = np.array([0.4, 5.0])
    np.testing.assert_array_equal(matched(x, y, true, np.zeros(2), radius=2.0), [0, -1, -1])
    np.testing.assert_array_equal(matched(x, y, true, np.zeros(2), radius=5.0), [0, 1, -1])
    np.testing.assert_array_equal(matched(x, y, true[:0], true[:0], radius=5.0), [-1, -1, -1])


def test_aperture_noise_is_the_scatter_of_noise_maps():
    rng = np.random.default_rng(3)
    weight = rng.uniform(100, 400, (2, 32, 32))
    weight[:, :, 20:] = 0
    sigma = np.where(weight > 0, weight, np.inf) ** -0.5
    maps = np.asarray(convergence_from_shear(sigma * rng.standard_normal((2000, 2, 32, 32))))
    masses = aperture_mass(maps, 15.0, 14.0, 6.0)
    assert aperture_noise(weight, 15.0, 14.0, 6.0) == pytest.approx(masses.std(), rel=4 / (2 * 2000) ** 0.5)


def test_peaks_are_counted_once_and_not_on_edges():
    maps = np.zeros((2, 8, 8)) - np.arange(64).reshape(8, 8) * 1e-6
    maps[0, 3, 3], maps[0, 3, 4], maps[0, 6, 1], maps[1, 0, 5] = 0.3, 0.2, 0.1, 0.4
    heights = peak_heights(maps)
    np.testing.assert_allclose(np.sort(heights[heights > 0.05]), [0.1, 0.3])
    ratio = peak_count_ratio(maps, maps[:1], (0.05, 0.15, 0.25, 0.35, 0.45))
    np.testing.assert_allclose(ratio, [0.5, np.nan, 0.5, np.nan])
