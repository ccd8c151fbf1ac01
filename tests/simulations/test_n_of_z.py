"""Source redshifts: one plane, files good and bad, the Smail form; lensing efficiency."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy.special import gamma

from analysis.core.files import BorderError
from analysis.params import SmailParams, SourcesParams, load_params
from analysis.simulations.n_of_z import source_distribution
from analysis.simulations.theory import comoving_distance, efficiency_at, lensing_efficiency


def written(tmp_path, text):
    path = tmp_path / "nz.txt"
    path.write_text(text)
    return SourcesParams(file=str(path))


def test_a_plane_has_all_sources():
    redshift, share = source_distribution(SourcesParams(redshift=0.8))
    assert (redshift.tolist(), share.tolist()) == ([0.8], [1.0])


def test_smail_sources_have_the_mean_of_the_form():
    redshift, share = source_distribution(SourcesParams(smail=SmailParams(alpha=2.0, beta=1.5, z0=0.64)))
    assert np.sum(share) == pytest.approx(1)
    exact = 0.64 * gamma(4 / 1.5) / gamma(3 / 1.5)
    assert np.sum(share * redshift) == pytest.approx(exact, rel=1e-3)


def test_a_file_of_the_smail_form_is_the_smail_form(tmp_path):
    z = np.linspace(0, 5, 301)
    table = np.column_stack([z, z**2 * np.exp(-((z / 0.64) ** 1.5))])
    np.savetxt(tmp_path / "nz.txt", table, header="z n(z)")
    means = [
        np.sum(np.multiply(*source_distribution(sources)))
        for sources in (
            SourcesParams(file=str(tmp_path / "nz.txt")),
            SourcesParams(smail=SmailParams(alpha=2.0, beta=1.5, z0=0.64)),
        )
    ]
    assert means[0] == pytest.approx(means[1], rel=1e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.1 1\n0.2 -1\n0.3 2\n", "n\\(z\\) is -1 at redshift 0.2"),
        ("0.3 1\n0.2 1\n", "row 2 has the redshift 0.2 after 0.3"),
        ("0.1 1\n0.1 1\n", "row 2"),
        ("-0.1 1\n0.2 1\n", "first redshift is -0.1"),
        ("300 1\n2000 1\n", "another unit"),
        ("0.1 0\n0.2 0\n", "zero everywhere"),
        ("0.1 1\n0.2 nan\n", "not finite"),
        ("0.1 1 2\n0.2 1 2\n", "2 rows and 3 columns"),
        ("0.1 1\n", "1 rows"),
        ("z n\n0.1 1\n", "could not convert"),
    ],
)
def test_a_file_that_is_no_distribution_is_told_in_a_sentence(tmp_path, text, told):
    with pytest.raises(BorderError, match=told) as caught:
        source_distribution(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "nz.txt" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BorderError, match="absent"):
        source_distribution(SourcesParams(file=str(tmp_path / "absent.txt")))


def test_efficiency_of_a_single_plane_of_sources():
    chi = np.array([0.0, 500.0, 1500.0, 2000.0, 2500.0])
    np.testing.assert_allclose(lensing_efficiency(chi, np.array([2000.0]), np.ones(1)), [1, 0.75, 0.25, 0, 0])


def test_a_narrow_distribution_is_a_single_plane():
    chi = np.linspace(0, 2400, 20)
    z = np.linspace(0.99, 1.01, 21)
    share = np.exp(-0.5 * ((z - 1) / 0.003) ** 2)
    single = lensing_efficiency(chi, comoving_distance(np.array([1.0]), 0.3), np.ones(1))
    narrow = lensing_efficiency(chi, comoving_distance(z, 0.3), share / share.sum())
    np.testing.assert_allclose(narrow, single, atol=2e-3)


def test_lensing_efficiency_falls_from_one_to_none_at_the_sources():
    theory = load_params().theory
    cosmology = FlatLambdaCDM(H0=70, Om0=theory.omega_m)
    z = np.array([1e-4, 0.3, 0.7, 1.0, 1.5])
    far = cosmology.comoving_distance(1.0)
    expected = np.clip([float(1 - cosmology.comoving_distance(one) / far) for one in z], 0, None)
    np.testing.assert_allclose(efficiency_at(z, theory), expected, atol=1e-4)
