"""The results page: what it shows equals what lies in the tree, in a browser that may ask nothing of any network."""

import base64
import hashlib
import itertools
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import browser
import numpy as np
import PIL.Image
import pytest
import yaml
from scipy.ndimage import gaussian_filter
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.flatsky.peaks import presence
from analysis.params import load_params
from analysis.posterior.diagnostics import Level
from analysis.posterior.samples import save_samples
from analysis.report.page.build import CAPTIONS, build, content_security_policy, figure_path
from analysis.report.page.explorer import BORDERS, BYTES, fitting, quantised
from analysis.report.page.origin import commit_of, origin_of, recorded_stages
from analysis.rivals.baselines import save_baselines
from analysis.sky import Grid, Observation, save_observation
from analysis.survey.clusters import empty_clusters, save_clusters

PARAMS = load_params()
GRID = Grid(40, 2.0, 150.1, 2.2)
RADIUS = PARAMS.clusters.radius_arcmin / GRID.pixel_arcmin
THRESHOLD = PARAMS.clusters.threshold
PEAK, SLOPE = (25, 14), (10, 20)  # columns and rows
FIGURE = "figures/run/figure2_cosmos.png"
CARDS = {"PROFILE": "tiny", "SOURCE": "made up", "SEED": 1, "CODEHASH": "none"}
TABLE = "| method | RMSE |\n| --- | --- |\n| `quick`: [mean](a.ipynb) | 1.5 < 2 |\n\nWarning: old."


def tables():
    """Stand in for `readme.tables_of`."""
    return {
        "accuracy": lambda: TABLE,
        "checks": lambda: {}["prior"],
        "benchmark": lambda: "Not measured: `make bench`.",
    }


@pytest.fixture(scope="module")
def samples():
    """Seven maps, of which four have a peak in one place, and five in another the slope of a peak that lies beyond."""
    maps = gaussian_filter(np.random.default_rng(1).standard_normal((7, *GRID.shape)), (0, 1, 1))
    maps *= 0.015 / maps.std()
    maps[:, PEAK[1] - 3 : PEAK[1] + 4, PEAK[0] - 3 : PEAK[0] + 4] = 0
    maps[:4, PEAK[1], PEAK[0]] = 0.1, 0.08, 0.2, 0.0601
    maps[4:, PEAK[1], PEAK[0]] = 0.0599
    maps[:, SLOPE[1] - 3 : SLOPE[1] + 4, SLOPE[0] - 3 : SLOPE[0] + 4] = 0
    maps[:, SLOPE[1], SLOPE[0]] = 0.07
    maps[:5, SLOPE[1] + 1, SLOPE[0] + 1] = 0.09
    return maps.astype(np.float32)


@pytest.fixture(scope="module")
def wiener(samples):
    return gaussian_filter(samples.mean(axis=0), 1).astype(np.float32)


@pytest.fixture(scope="module")
def project(tmp_path_factory, samples, wiener):
    """A project with the run `cosmos`, its clusters, one figure and the record of the stage that drew it."""
    root = tmp_path_factory.mktemp("project")
    mask = np.zeros(GRID.shape)
    mask[6:34, 4:36] = 1
    observation = Observation(np.stack([mask, mask]), np.stack([mask, mask]), mask, GRID, "a <field>")
    save_observation(root / "data" / "observation" / "cosmos.fits", observation, cards=CARDS)
    clusters = empty_clusters()
    ra_deg, dec_deg = GRID.wcs.wcs_pix2world(*zip(PEAK, SLOPE, strict=True), 0)
    for number, z in enumerate((0.35, 0.73)):
        clusters.add_row([number, ra_deg[number], dec_deg[number], z, 8.0 - number, 1.5])
    save_clusters(root / "data" / "observation" / "cosmos_clusters.ecsv", clusters)
    level = Level(0.1, 0.0, 1.0, 1.0, 0.5, 10, (1.0, 1.0, 1.0, 1.0))
    save_samples(root / "data" / "samples" / "cosmos.fits", samples, [level], GRID, cards=CARDS)
    maps = {"kaiser_squires": wiener, "wiener": wiener, "gaussian_std": wiener}
    save_baselines(root / "data" / "baselines" / "cosmos.fits", maps, GRID, cards=CARDS)
    (root / FIGURE).parent.mkdir(parents=True)
    PIL.Image.new("RGB", (2125, 1000), "white").save(root / FIGURE)
    record(root)
    return root


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def record(root):
    """Write a dvc.lock of two stages, the second of which drew the figure from what the first made."""
    (root / "notebooks").mkdir(exist_ok=True)
    (root / "notebooks" / "figures.ipynb").write_text("{}")
    (root / "params.yaml").write_text("figures: {colormap: inferno}\nseed: 3\n")
    notebook = {"path": "notebooks/figures.ipynb", "md5": md5(root / "notebooks" / "figures.ipynb")}
    drawn = {"path": FIGURE, "md5": md5(root / FIGURE)}
    stages = {
        "sample@cosmos": {"deps": [], "outs": [{"path": "data/samples/cosmos.fits", "md5": "another"}]},
        "figures": {
            "deps": [notebook, {"path": "data/samples", "md5": "1.dir"}],
            "params": {"params.yaml": {"figures": {"colormap": "inferno"}, "seed": 3}},
            "outs": [drawn],
        },
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


@pytest.fixture(scope="module")
def made(project):
    return build(PARAMS, "cosmos", project, tables)


@pytest.fixture(scope="module")
def driver():
    with browser.browser() as chromium:
        yield chromium


@pytest.fixture
def page(driver, made, tmp_path):
    """The page in the browser, opened from disk and ready."""
    path = tmp_path / "index.html"
    path.write_text(made.text, encoding="utf-8")
    driver.get_log("browser")
    browser.requested(driver)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.get(path.as_uri())
    wait(driver, lambda _: driver.execute_script("return document.getElementById('explorer').dataset.ready"))
    return driver


def wait(driver, condition):
    return WebDriverWait(driver, 60, 0.05).until(condition)


def text(page, name):
    """What an element says, with the minus sign of a keyboard."""
    return page.find_element("id", name).text.replace("−", "-")


def shown(page, name):
    """Data of a plot."""
    return page.execute_script("return Bokeh.documents[0].get_model_by_name(arguments[0]).data", name)


def shown_map(page, name):
    """The map that a panel shows, columns as in the tree."""
    script = "return Array.from(Bokeh.documents[0].get_model_by_name(arguments[0]).data.image[0])"
    return np.reshape(page.execute_script(script, f"image-{name}"), GRID.shape)[:, ::-1]


def look(page, ra, dec):
    for name, value in (("ra", ra), ("dec", dec)):
        field = page.find_element("id", name)
        field.clear()
        field.send_keys(f"{value:.6f}")
    page.find_element("css selector", "#place-form button").click()


# in a browser


def test_page_opens_from_disk_without_errors_and_asks_nothing_of_a_network(page):
    assert [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = browser.requested(page)
    assert len(asked) > 1
    assert {browser.scheme(address) for address in asked} <= {"file", "data", "blob"}


def test_browser_refuses_what_the_policy_forbids(page):
    script = """
        const done = arguments[0];
        addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective), { once: true });
        fetch("http://127.0.0.1:9/").catch(() => null);
    """
    assert page.execute_async_script(script) == "connect-src"
    assert "unsafe-eval" not in content_security_policy(["1"])


def test_maps_are_those_of_the_files_to_the_step_of_the_quantisation(page, samples, wiener):
    step = np.ptp(samples) / 65535
    expected = {"sample": samples[0], "mean": samples.mean(axis=0), "wiener": wiener}
    for name, kappa in expected.items():
        np.testing.assert_allclose(shown_map(page, name), kappa, atol=step)
    np.testing.assert_allclose(shown_map(page, "std"), samples.std(axis=0, ddof=1), atol=2 * step)


def test_slider_and_arrow_keys_change_the_sample(page, samples):
    step = np.ptp(samples) / 65535
    page.find_element("id", "sample").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert text(page, "sample-number") == "3"
    np.testing.assert_allclose(shown_map(page, "sample"), samples[2], atol=step)
    page.find_element("id", "maps").send_keys(Keys.ARROW_LEFT)
    np.testing.assert_allclose(shown_map(page, "sample"), samples[1], atol=step)
    page.find_element("id", "maps").send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert text(page, "sample-number") == str(len(samples))


def test_blinking_steps_and_stops_where_less_motion_is_asked(page):
    button = page.find_element("id", "blink")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait(page, lambda _: text(page, "sample-number") == "3")
    calm = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", calm)
    wait(page, lambda _: button.get_attribute("aria-pressed") == "false")
    assert not button.is_enabled()
    assert "less motion" in text(page, "motion")


def test_a_place_given_by_ra_and_dec_is_told_as_numpy_finds_it(page, samples, wiener):
    look(page, *GRID.wcs.wcs_pix2world(*PEAK, 0))
    values = samples[:, PEAK[1], PEAK[0]].astype(float)
    assert presence(samples, [PEAK[0]], [PEAK[1]], radius=RADIUS, threshold=THRESHOLD) == 4 / 7
    assert (text(page, "at-count"), text(page, "at-presence")) == ("4", "57 %")
    expected = {"at-shown": values[0], "at-mean": values.mean(), "at-std": values.std(ddof=1)}
    expected["at-wiener"] = wiener[PEAK[1], PEAK[0]]
    for name, value in expected.items():
        assert float(text(page, name)) == pytest.approx(value, abs=1e-4), name
    bars = shown(page, "bars")
    counts, edges = np.histogram(values, bins=len(bars["top"]))
    np.testing.assert_array_equal(bars["top"], counts)
    np.testing.assert_allclose(bars["left"], edges[:-1], atol=1e-5)
    assert shown(page, "line-wiener")["x"] == pytest.approx([expected["at-wiener"]], abs=1e-5)
    assert "4 of 7 samples have a peak of at least 0.06 within 1.5" in text(page, "told")


@pytest.mark.parametrize("offset", [(-60, -35), (40, 25), (5, -70)])
def test_a_click_is_told_as_numpy_finds_it(page, samples, offset):
    """In pixels of the screen, right and down of the middle of the panel: east is left, north is up."""
    panel = page.find_element("id", "plot-mean")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", panel)
    ActionChains(page).move_to_element_with_offset(panel, *offset).click().perform()
    wait(page, lambda _: text(page, "at-ra"))
    ra, dec = float(text(page, "at-ra")), float(text(page, "at-dec"))
    left, right, above, below = BORDERS
    scale = 1.08 * 32 * GRID.pixel_arcmin / (panel.size["width"] - left - right)
    across, down = offset[0] - (left - right) / 2, offset[1] - (above - below) / 2  # of the middle of the map
    assert (GRID.ra_deg - ra) * 60 * np.cos(np.radians(dec)) == pytest.approx(across * scale, abs=1)
    assert (GRID.dec_deg - dec) * 60 == pytest.approx(down * scale, abs=1)
    x, y = GRID.pixel_positions(ra, dec)
    values = samples[:, int(np.floor(y + 0.5)), int(np.floor(x + 0.5))].astype(float)
    assert float(text(page, "at-mean")) == pytest.approx(values.mean(), abs=1e-4)
    assert float(text(page, "at-std")) == pytest.approx(values.std(ddof=1), abs=1e-4)
    share = presence(samples, [x], [y], radius=RADIUS, threshold=THRESHOLD)[0]
    assert int(text(page, "at-count")) == round(7 * share)
    assert sum(shown(page, "bars")["top"]) == 7


def test_the_slope_of_a_peak_beyond_the_radius_is_no_peak(page, samples):
    look(page, *GRID.wcs.wcs_pix2world(*SLOPE, 0))
    assert presence(samples, [SLOPE[0]], [SLOPE[1]], radius=RADIUS, threshold=THRESHOLD) == 2 / 7
    assert text(page, "at-count") == "2"


def test_a_cluster_is_chosen_without_a_mouse_and_clusters_are_hidden(page):
    Select(page.find_element("id", "cluster")).select_by_index(1)
    assert text(page, "at-count") == "4"
    assert shown(page, "place") == {"east": [pytest.approx(-11, abs=1e-4)], "north": [pytest.approx(-11, abs=1e-4)]}
    visible = "return Bokeh.documents[0].get_model_by_name('clusters-wiener').visible"
    assert page.execute_script(visible) is True
    page.find_element("id", "show-clusters").send_keys(Keys.SPACE)
    assert page.execute_script(visible) is False


def test_a_place_off_the_map_is_told(page):
    look(page, 10.0, -60.0)
    assert "not on the map" in text(page, "told")


def test_zoom_moves_all_maps_together_and_back(page):
    script = "const r = Bokeh.documents[0].get_model_by_name(arguments[0]).x_range; return [r.start, r.end]"
    left, right = page.execute_script(script, "std")
    assert left > 0 > right
    page.find_element("id", "zoom-in").click()
    for name in ("sample", "mean", "wiener", "std"):
        assert page.execute_script(script, name) == pytest.approx([left / 2, right / 2])
    page.find_element("id", "zoom-reset").click()
    assert page.execute_script(script, "mean") == [left, right]


@pytest.mark.parametrize("width", [390, 1366])
def test_page_is_no_wider_than_the_screen(page, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for summary in page.find_elements("css selector", "details:not([open]) > summary"):
        page.execute_script("arguments[0].parentNode.open = true", summary)
    look(page, GRID.ra_deg, GRID.dec_deg)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    script = "const m = Bokeh.documents[0].get_model_by_name('mean'); return [m.inner_width, m.inner_height]"
    across, along = page.execute_script(script)
    assert across == along > 200, "a map is not square"


# as text


class Outline(HTMLParser):
    """Elements of a page in their order, each with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def test_page_can_be_heard(made):
    elements = Outline(made.text).elements
    tags = [tag for tag, _ in elements]
    assert {"header", "nav", "main", "footer"} <= set(tags)
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attributes["alt"] for tag, attributes in elements if tag == "img")
    assert ("p", {"id": "told", "role": "status", "aria-live": "polite"}) in elements
    assert elements[0] == ("html", {"lang": "en"})
    assert "a &lt;field&gt;" in made.text


def test_page_names_no_address_outside_itself(made):
    for tag, attributes in Outline(made.text).elements:
        for key in ("src", "href", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:")), (tag, attributes)
    assert "url(" not in made.text.partition("<script>")[0]


def test_same_results_make_the_same_page(made, project):
    assert build(PARAMS, "cosmos", project, tables) == made


def test_what_is_missing_is_told_and_the_rest_is_there(made, project, tmp_path):
    missing = "\n".join(made.missing)
    assert "figures/figure2_cosmos_bright.png, clusters.png, figure1_mock.png" in missing
    assert "table of checks: the metrics have no 'prior'" in missing
    assert all(line.replace("'", "&#39;") in made.text or line in made.text for line in made.missing)

    def no_tables():
        raise BorderError("metrics.json does not exist; run the stage that writes it (dvc repro).")

    empty = build(PARAMS, "cosmos", tmp_path, no_tables)
    missing = "\n".join(empty.missing)
    for told in ("metrics.json does not exist", "dvc repro sample@cosmos baselines@cosmos", "training.png: not there"):
        assert told in missing
    assert "<script" not in empty.text
    assert str(tmp_path) not in empty.text
    other = build(PARAMS, "goods", project, tables)
    assert "sample.fields has no run 'goods'; name one: mock, cosmos" in "\n".join(other.missing)
    assert other.text.count("<img") == 1


def test_a_field_without_clusters_is_explored_without_them(project, tmp_path):
    for name in ("observation/cosmos.fits", "samples/cosmos.fits", "baselines/cosmos.fits"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes((project / "data" / name).read_bytes())
    bare = build(PARAMS, "cosmos", tmp_path, tables)
    assert "clusters: data/observation/cosmos_clusters.ecsv is not there" in "\n".join(bare.missing)
    assert "show-clusters" not in bare.text.partition("<script")[0]
    assert 'id="plot-sample"' in bare.text


def test_bokeh_missing_leaves_out_the_explorer_alone(project, monkeypatch):
    monkeypatch.setattr("analysis.report.page.build.find_spec", lambda name: None)
    bare = build(PARAMS, "cosmos", project, tables)
    assert any('pip install -e ".[page]"' in sentence for sentence in bare.missing)
    assert 'id="figure2_cosmos"' in bare.text


def test_page_stays_below_six_megabytes(made):
    scripts = re.findall(r"<script>(.*?)</script>", made.text, flags=re.DOTALL)
    figures, widest_map = 1.4e6, 320**2 * 2 * 4 / 3
    assert sum(len(script.encode()) for script in scripts) + BYTES + widest_map + figures < 6e6


def test_many_samples_are_coarser_and_then_fewer():
    assert fitting((12, 160, 160)) == (12, np.uint16)
    assert fitting((60, 160, 160)) == (60, np.uint8)
    n, dtype = fitting((500, 160, 160))
    assert dtype == np.uint8
    assert 0.98 * BYTES < n * 160**2 * 4 / 3 <= BYTES


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_quantisation_errs_by_half_a_step(dtype):
    kappa = np.random.default_rng(2).standard_normal((2, 9, 9)).astype(np.float32)
    stored = quantised(kappa, dtype)
    content = base64.b64decode(stored["data"])
    numbers = np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).reshape(stored["shape"])
    np.testing.assert_allclose(stored["low"] + stored["step"] * numbers, kappa, atol=0.5001 * stored["step"])
    assert stored["step"] == pytest.approx(np.ptp(kappa) / np.iinfo(dtype).max)
    assert quantised(np.zeros((1, 3, 3)), dtype)["step"] == 1


def test_a_table_of_readme_becomes_html(made):
    assert "<caption>Errors and correlations of every method on mocks</caption>" in made.text
    assert '<tr><th scope="col">method</th><th scope="col">RMSE</th></tr>' in made.text
    assert '<th scope="row"><code>quick</code>: mean</th><td>1.5 &lt; 2</td>' in made.text
    assert "</table></div>\n<p>Warning: old.</p>\n</details>" in made.text
    assert "costs</h3></summary>\n<p>Not measured: <code>make bench</code>.</p>\n</details>" in made.text


# where things come from


@pytest.fixture
def kept(project, tmp_path):
    """A copy of the records, to change."""
    for name in ("dvc.lock", "params.yaml", "notebooks/figures.ipynb", FIGURE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((project / name).read_bytes())
    return tmp_path


def test_a_figure_names_stage_digest_and_what_came_before(kept):
    origin = origin_of(FIGURE, recorded_stages(kept), kept)
    assert (origin.stage, origin.upstream) == ("figures", ("sample@cosmos",))
    assert re.fullmatch("[0-9a-f]{16}", origin.digest)
    assert origin.params["seed"] == 3
    assert origin.state == "code and parameters are those of this tree"


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("notebooks/figures.ipynb", "{ }", "changed since it was made: notebooks/figures.ipynb"),
        ("params.yaml", "figures: {colormap: magma}\nseed: 3\n", "changed since it was made: params.yaml"),
        ("params.yaml", "seed: 3\n", "changed since it was made: params.yaml"),
        (FIGURE, "another", "the file is not the one that this run made"),
    ],
)
def test_what_changed_since_is_told(kept, path, content, told):
    (kept / path).write_text(content)
    assert origin_of(FIGURE, recorded_stages(kept), kept).state == told


def test_a_released_figure_is_known_by_the_run_that_made_it_where_it_is_the_same(kept):
    released = kept / "figures" / "figure2_cosmos.png"
    shutil.move(kept / FIGURE, released)
    assert figure_path("figure2_cosmos", kept) == "figures/figure2_cosmos.png"
    for content, told in ((None, "code and parameters are those"), (b"another", "the file is not the one")):
        released.write_bytes(released.read_bytes() if content is None else content)
        origin = origin_of("figures/figure2_cosmos.png", recorded_stages(kept), kept, made_as=FIGURE)
        assert origin.stage == "figures"
        assert origin.state.startswith(told)


def test_a_file_without_a_record_says_so_and_its_source(project):
    origin = origin_of("data/baselines/cosmos.fits", recorded_stages(project), project)
    assert (origin.stage, origin.source) == ("", "made up; CODEHASH none")
    assert origin.state == "no run is recorded that made it"


def test_commit_is_the_last_one_of_a_file(kept):
    assert commit_of(kept, FIGURE) == "in no commit"
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "--quiet"], ["add", "figures"], ["commit", "--quiet", "--message=figures"]):
        subprocess.run([*git, *command], cwd=kept, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=kept, check=True, capture_output=True, text=True).stdout
    assert commit_of(kept, FIGURE) == head[:12]
    (kept / FIGURE).write_text("another")
    assert commit_of(kept, FIGURE) == f"{head[:12]}, changed since"


def test_every_figure_of_the_pipeline_has_a_caption_and_sources_that_its_stage_reads():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    read = {}
    for stage in (stages["figures"], stages["method"]):
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
        read |= {Path(path).stem: stage["deps"] for path in outs if path.endswith(".png")}
    assert set(CAPTIONS) == set(read)
    for name, figure in CAPTIONS.items():
        assert figure["caption"].endswith(".")
        assert all(any(source.startswith(dep) for dep in read[name]) for source in figure["data"])
