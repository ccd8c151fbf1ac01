"""Samples on disk, a run read back, and figures that are whole and the same every time."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from astropy.table import Table

from analysis import figures
from analysis.core.files import BorderError
from analysis.figures.shown import DRAWN, keep
from analysis.figures.shown import load as load_shown
from analysis.figures.style import colour_limits
from analysis.flatsky.maps import MapSet
from analysis.judge.agreement import field_agreement
from analysis.judge.results import load_result
from analysis.params import load_params
from analysis.posterior.diagnostics import Level
from analysis.posterior.samples import load_chain, load_samples, save_samples
from analysis.rivals.baselines import save_baselines
from analysis.simulations.evidence import SMOOTHING_ARCMIN, evidence_table
from analysis.sky import Grid, Observation, save_observation
from analysis.survey.clusters import empty_clusters, massive_clusters, save_clusters, showcase
from analysis.tools.redraw import main as redraw_all

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


def calibrated():
    """Ranks of ten mocks of two kinds, and what the calibration figure says of them."""
    rng = np.random.default_rng(4)
    names = ("band_0", "peak_count")
    tables = {kind: Table({name: rng.integers(0, 4, 10) for name in (*names, "tarp")}) for kind in ("own", "sky")}
    found = {key: dict.fromkeys(names, 0.66) for key in ("coverage68_by_statistic", "coverage68_by_statistic_err")}
    return {"tables": tables, "metrics": {**found, "n_samples": 3, "tarp_band95": 0.2, "sky": found}}


def shown(project):
    """What every figure shows, of small maps."""
    result = load_result(project, "run", RUN)
    marked = massive_clusters(result.clusters, SETTINGS)
    place = showcase(result.samples, marked, result.observation, PEAKS, rng=np.random.default_rng(3))
    note = {"note": "a note"}
    style = {"colormap": "inferno", **note}
    mask, density = result.observation.mask, result.observation.count
    theory = Table({"ell": np.geomspace(10, 1e4, 50), "c_ell": np.geomspace(1e-8, 1e-11, 50)})
    held_out = MapSet(result.samples, np.arange(len(result.samples)))
    skewness = Table({"smoothing_arcmin": SMOOTHING_ARCMIN, "skewness": np.ones(len(SMOOTHING_ARCMIN))})
    evidence = evidence_table(result.samples, held_out, theory, skewness, None, 2.0, boxes=2)
    ell, power = np.geomspace(300, 4000, 5), np.geomspace(1e-9, 1e-10, 5)
    field = {**figures.field_shown(result, marked, place), "cutout_arcmin": 16, **style}
    other = dataclasses.replace(result, samples=result.samples[::-1] + 0.01)
    agreement = field_agreement(result.samples, other.samples, mask, 2.0)
    injected = {"injections": {"quick": HALOS}, "published": {"snr": (3.8,), "present": (0.8,)}, "detection": BLIND}
    return {
        "annealing": {"maps": figures.stills(result.samples, [0.3, 0.1, 0.02]), "mask": mask, **style},
        "calibration": {**calibrated(), **note},
        "clusters": {"evidence": clusters_seen(), **injected, "threshold": 0.06, **note},
        "data": {
            "counts": {"a": density, "b": density},
            "masks": {"a": mask, "b": mask},
            "clusters": result.clusters["x", "y", "z"],
            "efficiency": ([0.1, 0.9], [0.8, 0.1]),
            "grid": GRID,
            **style,
        },
        "denoiser": {
            "truth": result.wiener,
            "rows": {0.02: {"noisy": result.samples[0], "score": result.samples[1]}},
            **style,
        },
        "figure1_mock": {**figures.mock_shown(result.wiener, result), "margin": 1, **style},
        "figure2_cosmos": field,
        "figure2_cosmos_bright": {**field, "title": "bright"},
        "information": {
            "ell": np.asarray(theory["ell"]),
            "c_ell": np.asarray(theory["c_ell"]),
            "noise": {"a": 1e-9},
            "found": MULTIPOLES,
            "labels": {"wiener": "Wiener"},
            **note,
        },
        "learning": {"learning": LEARNT, **note},
        "posterior_std": {
            "stds": {"a": result.gaussian_std**2, "b": result.wiener**2},
            "mask": mask,
            "grid": GRID,
            **style,
        },
        "power_spectra": {
            "ell": ell,
            "spectra": {"truth": power},
            "samples": np.stack([power, 2 * power]),
            "ratios": {"a": (ell, power / power)},
            **note,
        },
        "prior": {"held_out": result.samples[:2], "samples": result.samples[2:4], **style},
        "samplers": {**figures.agreement_shown({"one": result, "other": other}), "found": agreement, **style},
        "simulations": {"kappa": result.wiener, "evidence": evidence, "pixel_arcmin": 2.0, **style},
        "training": {"loss": [1.0, 0.95], "errors": {0.01: [0.99, 0.95], 0.1: [1.0, 0.99]}, **note},
    }


@pytest.mark.long
def test_a_figure_drawn_from_what_is_kept_of_it_is_the_same_file(project):
    for name, arguments in shown(project).items():
        figures.save_figure(DRAWN[name](**arguments), project / "at once", name)
        keep(project / "kept" / f"{name}.npz", arguments)
        figures.redraw(project / "kept" / f"{name}.npz", project / "again")
    files = {path.name: path.read_bytes() for path in (project / "at once").iterdir()}
    assert len(files) == 2 * len(DRAWN)
    assert files == {path.name: path.read_bytes() for path in (project / "again").iterdir()}
    assert all(len(content) > 4000 for content in files.values())


def test_what_a_figure_shows_is_kept_as_it_was_and_as_the_same_bytes(project):
    found = shown(project)["samplers"] | {"table": LEARNT, "nothing": None, "by level": {0.02: (1, True, "a")}}
    paths = [project / "first.npz", project / "second.npz"]
    for path in paths:
        keep(path, found)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    again = load_shown(paths[0])
    assert list(again) == list(found)
    np.testing.assert_array_equal(again["difference"], found["difference"])
    assert again["means"]["other"].dtype == found["means"]["other"].dtype
    assert (again["grid"], again["nothing"], again["by level"]) == (GRID, None, {0.02: [1, True, "a"]})
    assert again["table"].colnames == LEARNT.colnames
    assert list(again["table"]["axis"]) == list(LEARNT["axis"])


MASKED = np.ma.array([1.0], mask=[True])


@pytest.mark.parametrize("value", [object(), np.array([object()]), MASKED, Table({"z": MASKED})])
def test_what_cannot_be_kept_is_refused_before_a_file_is_written(tmp_path, value):
    with pytest.raises(TypeError):
        keep(tmp_path / "prior.npz", {"held_out": value})
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_unknown_kept_figure_is_one_sentence(project):
    path = project / "prior.npz"
    keep(path, shown(project)["prior"])
    content = path.read_bytes()
    middle = len(content) // 2
    for damaged in (content[:2000], content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(BorderError, match=r"prior\.npz cannot be read"):
            figures.redraw(path, project)
    keep(path, shown(project)["prior"] | {"brightness": 2})
    with pytest.raises(BorderError, match=r"prior\.npz was kept by other code \(got an unexpected keyword"):
        figures.redraw(path, project)
    with pytest.raises(BorderError, match=r"sunset\.npz is of no figure"):
        figures.redraw(project / "sunset.npz", project)


def test_all_kept_figures_are_drawn_by_one_command(project, capsys):
    with pytest.raises(BorderError, match="data/shown holds no figure"):
        redraw_all(project)
    keep(project / "data" / "shown" / "method" / "training.npz", shown(project)["training"])
    redraw_all(project)
    assert capsys.readouterr().out == "figures/run/training.png\n"
    assert {path.name for path in (project / "figures" / "run").iterdir()} == {"training.pdf", "training.png"}


def test_a_mock_is_drawn_without_its_margin_and_around_its_own_centre(project):
    result = load_result(project, "run", RUN)
    figure = figures.mock_figure(**figures.mock_shown(result.wiener, result), margin=3, colormap="inferno", note="")
    first, _, smooth = (axes.images[0] for axes in figure.axes[:3])
    np.testing.assert_array_equal(first.get_array(), result.wiener[3:-3, 3:-3])
    half = GRID.pixel_arcmin * (GRID.pixels / 2 - 3)
    np.testing.assert_allclose(first.get_extent(), [-half, half, -half, half])
    assert smooth.get_clim() == colour_limits(result.kaiser_squires)
    assert first.get_clim() == colour_limits(result.wiener)


def test_a_notebook_shows_a_smaller_jpeg(project):
    path = figures.save_figure(figures.simulations_figure(**shown(project)["simulations"]), project, "simulations")
    small = figures.preview(path)
    assert small.data.startswith(b"\xff\xd8")
    assert len(small.data) < path.stat().st_size


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
