"""Samples on disk, a run read back, and figures that are whole and the same every time."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from astropy.table import Table

from analysis import figures
from analysis.core.files import BorderError
from analysis.figures.style import colour_limits
from analysis.flatsky.maps import MapSet
from analysis.judge.results import load_result
from analysis.params import load_params
from analysis.posterior.diagnostics import Level
from analysis.posterior.samples import load_chain, load_samples, save_samples
from analysis.rivals.baselines import save_baselines
from analysis.simulations.evidence import SMOOTHING_ARCMIN, evidence_table
from analysis.sky import Grid, Observation, save_observation
from analysis.survey.clusters import empty_clusters, massive_clusters, save_clusters, showcase

GRID = Grid(32, 2.0, 150.0, 2.0)
SETTINGS = load_params().figures
PEAKS = dataclasses.replace(load_params().clusters, radius_arcmin=2.0)
LEVELS = [Level(0.3, 0.2, 0.9, 1.0, 0.5, 17, (1.0, 0.9)), Level(0.02, 0.0, 1.0, 0.5, 0.2, 30, (1.1, 1.0))]


@pytest.fixture
def project(tmp_path):
    """A project with one run: a cluster in three samples of four, at RA 150, Dec 2."""
    rng = np.random.default_rng(1)
    samples = 0.01 * rng.standard_normal((4, 32, 32))
    samples[:3, 16, 16] += 0.2
    mask = np.zeros((32, 32))
    mask[4:28, 4:28] = 1
    observation = Observation(np.stack([mask, mask]), np.stack([mask, mask]), mask, GRID, "a field")
    cards = {"PROFILE": "tiny"}
    save_observation(tmp_path / "data" / "observation" / "field.fits", observation, cards=cards)
    clusters = empty_clusters()
    clusters.add_row([1, 149.98, 1.99, 0.4, 8.0, 1.5])
    clusters.add_row([2, 150.2, 2.2, 0.3, 4.0, 1.5])
    clusters.add_row([3, 150.1, 2.1, 1.3, 9.0, 1.5])
    save_clusters(tmp_path / "data" / "observation" / "field_clusters.ecsv", clusters)
    save_samples(tmp_path / "data" / "samples" / "run.fits", samples, LEVELS, GRID, cards=cards)
    maps = {name: rng.standard_normal((32, 32)) for name in ("kaiser_squires", "wiener", "gaussian_std")}
    save_baselines(tmp_path / "data" / "baselines" / "run.fits", maps, GRID, cards=cards)
    return tmp_path


RUN = SimpleNamespace(observation="data/observation/field.fits")


def test_samples_and_their_chain_are_read_back(project):
    path = project / "data" / "samples" / "run.fits"
    assert load_samples(path).shape == (4, 32, 32)
    chain = load_chain(path)
    assert list(chain["evaluations"]) == [17, 30]
    np.testing.assert_allclose(chain["sigma"], [0.3, 0.02])
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(BorderError, match=r"run\.fits"):
        load_samples(path)


def test_a_run_is_read_back_with_the_clusters_of_its_mask(project):
    result = load_result(project, "run", RUN)
    assert result.observation.title == "a field"
    assert list(result.clusters["id"]) == [1, 2, 3]
    assert list(massive_clusters(result.clusters, SETTINGS)["id"]) == [1, 2]


def test_showcase_is_the_most_massive_cluster_and_how_often_samples_show_it(project):
    result = load_result(project, "run", RUN)
    marked = massive_clusters(result.clusters, SETTINGS)
    place = showcase(result.samples, marked, result.observation, PEAKS, rng=np.random.default_rng(2))
    assert "0.40" in place["name"]
    assert place["present"] == 0.75
    assert place["chance"] < 0.1
    none = showcase(result.samples, marked[:0], result.observation, PEAKS, rng=np.random.default_rng(2))
    assert (none["x"], none["y"], none["present"]) == (16, 16, 0.75)


MULTIPOLES = {
    "ell": np.array([300.0, 1000.0]),
    "correlation": {"wiener": [0.9, 0.5]},
    "power_to_truth": {"wiener": [0.9, 0.4]},
}
HALOS = {
    "redshift": 0.5,
    "realisations": [2, 2],
    "snr": [2.0, 5.0],
    "present": [0.3, 0.9],
    "present_err": [0.1, 0.05],
    "chance": [0.05, 0.06],
}
BLIND = {
    "level": [0.1, 0.5],
    "completeness": [0.8, None],
    "reliability": {"n": [9, 0], "predicted": [0.2, None], "true": [0.3, None], "true_err": [0.1, None]},
}


def clusters_seen():
    """Evidence of three clusters, one of them not observed."""
    numbers = {"m500": [9.0, 3.0, 1.0], "z": [0.4, 1.2, 0.5], "probability": [0.9, 0.2, np.nan]}
    zeros = {name: [0.1, 0.1, np.nan] for name in ("probability_err", "chance", "bmode")}
    return Table(numbers | zeros | {"observed": [True, True, False]})


@pytest.mark.parametrize("passed", [True, False])
def test_a_figure_says_when_its_network_fails_the_prior_test(passed):
    note = figures.provenance("quick", 1234, 0, passed=passed)
    assert ("FAILS the prior test" in note) is not passed


LEARNT = Table(
    rows=[
        ("as it is", 8, 100, 40, 0.90, 0.8, True),
        ("boxes", 2, 100, 40, 0.92, 1.2, False),
        ("weights", 8, 25, 40, 0.93, 2.0, False),
        ("steps", 8, 100, 160, 0.88, 0.5, True),
    ],
    names=["axis", "boxes", "parameters", "steps", "mean_error", "peak_count_excess", "passed"],
)


def test_a_learning_curve_shows_its_rows_and_marks_what_passed():
    panels = np.reshape(figures.learning_figure(LEARNT, note="a note").axes, (2, 3))
    expected = {2: 0.92, 8: 0.9}, {25: 0.93, 100: 0.9}, {40: 0.9, 160: 0.88}
    for panel, points in zip(panels[0], expected, strict=True):
        np.testing.assert_allclose(panel.lines[0].get_xydata(), list(points.items()))
    passed, failed = panels[1, 0].lines[1:3]
    np.testing.assert_allclose(passed.get_xydata(), [[8, 0.8]])
    np.testing.assert_allclose(failed.get_xydata(), [[2, 1.2]])
    assert passed.get_markerfacecolor() != failed.get_markerfacecolor()


def drawn(project):
    """Every figure, of small maps."""
    result = load_result(project, "run", RUN)
    marked = massive_clusters(result.clusters, SETTINGS)
    place = showcase(result.samples, marked, result.observation, PEAKS, rng=np.random.default_rng(3))
    style = {"colormap": "inferno", "note": "a note"}
    ell = np.geomspace(200, 4000, 6)
    theory = Table({"ell": np.geomspace(10, 1e4, 50), "c_ell": np.geomspace(1e-8, 1e-11, 50)})
    held_out = MapSet(result.samples, np.arange(len(result.samples)))
    skewness = Table({"smoothing_arcmin": SMOOTHING_ARCMIN, "skewness": np.ones(len(SMOOTHING_ARCMIN))})
    evidence = evidence_table(result.samples, held_out, theory, skewness, None, 2.0, boxes=2)
    power = np.geomspace(1e-9, 1e-10, 5)
    return {
        "mock": figures.mock_figure(result.wiener, result, margin=1, **style),
        "field": figures.field_figure(result, marked, place, cutout_arcmin=16, **style),
        "std": figures.std_figure(
            {"a": result.gaussian_std**2, "b": result.wiener**2}, result.observation.mask, GRID, **style
        ),
        "spectra": figures.spectra_figure(
            ell[1:], {"truth": power}, np.stack([power, 2 * power]), {"a": (ell[1:], power / power)}, note="a note"
        ),
        "simulations": figures.simulations_figure(result.wiener, evidence, 2.0, **style),
        "denoiser": figures.denoiser_figure(
            result.wiener, {0.02: {"noisy": result.samples[0], "score": result.samples[1]}}, **style
        ),
        "prior": figures.prior_figure(result.samples[:2], result.samples[2:4], **style),
        "annealing": figures.annealing_figure(result.samples, [0.3, 0.1, 0.02], result.observation.mask, **style),
        "data": figures.data_figure(
            {"a": result.observation, "b": result.observation}, result.clusters, ([0.1, 0.9], [0.8, 0.1]), **style
        ),
        "information": figures.information_figure(
            theory["ell"], theory["c_ell"], {"a": 1e-9}, MULTIPOLES, {"wiener": "Wiener"}, note="a note"
        ),
        "clusters": figures.clusters_figure(
            clusters_seen(), {"quick": HALOS}, {"snr": (3.8,), "present": (0.8,)}, BLIND, threshold=0.06, note="a note"
        ),
        "learning": figures.learning_figure(LEARNT, note="a note"),
        "training": figures.training_figure([1.0, 0.95], {0.01: [0.99, 0.95], 0.1: [1.0, 0.99]}, note="a note"),
    }


@pytest.mark.long
def test_figures_are_the_same_file_every_time(project):
    copies = []
    for run in ("first", "second"):
        for name, figure in drawn(project).items():
            figures.save_figure(figure, project / run, name)
        copies.append({path.name: path.read_bytes() for path in sorted((project / run).iterdir())})
    assert len(copies[0]) == 26
    assert copies[0] == copies[1]
    assert all(len(content) > 4000 for content in copies[0].values())


def test_a_mock_is_drawn_without_its_margin_and_around_its_own_centre(project):
    result = load_result(project, "run", RUN)
    figure = figures.mock_figure(result.wiener, result, margin=3, colormap="inferno", note="")
    first, _, smooth = (axes.images[0] for axes in figure.axes[:3])
    np.testing.assert_array_equal(first.get_array(), result.wiener[3:-3, 3:-3])
    half = GRID.pixel_arcmin * (GRID.pixels / 2 - 3)
    np.testing.assert_allclose(first.get_extent(), [-half, half, -half, half])
    assert smooth.get_clim() == colour_limits(result.kaiser_squires)
    assert first.get_clim() == colour_limits(result.wiener)


def test_a_notebook_shows_a_smaller_jpeg(project):
    path = figures.save_figure(drawn(project)["simulations"], project, "simulations")
    shown = figures.preview(path)
    assert shown.data.startswith(b"\xff\xd8")
    assert len(shown.data) < path.stat().st_size


def test_maps_are_drawn_east_left_on_either_projection(project):
    result = load_result(project, "run", RUN)
    for projection in ("TAN", "CAR"):
        grid = Grid(32, 2.0, 150.0, 2.0, projection)
        figure = figures.std_figure({"a": result.wiener}, result.observation.mask, grid, colormap="inferno", note="")
        axes = figure.axes[0]
        x, y = grid.pixel_positions(np.array([150.3, 149.7]), np.array([2.0, 2.0]))
        shown = axes.transData.transform(np.column_stack([x, y]))
        assert shown[0, 0] < shown[1, 0]


def test_an_animation_has_a_frame_for_every_level(tmp_path):
    trail = np.random.default_rng(1).normal(0, 0.02, (4, 12, 12))
    path = figures.save_annealing(tmp_path / "way.gif", trail, [0.3, 0.1, 0.02], colormap="inferno")
    with PIL.Image.open(path) as movie:
        assert movie.n_frames == 4
        brief = movie.info["duration"]
        movie.seek(3)
        assert movie.info["duration"] > 4 * brief  # the sample is held
