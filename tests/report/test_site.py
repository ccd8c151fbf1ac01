"""The site builds without a warning or a dead link, and opens from disk; `test_tutorials` runs what it executes."""

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from pipeline import copied, shell

pytestmark = pytest.mark.long
DEAD = "nowhere.md"
BUILD = "sphinx-build -q --fail-on-warning --keep-going -D nb_execution_mode=off -c paper/site . paper/site/html"


class Targets(HTMLParser):
    """Files that a page points to, and of them scripts and styles, without which it is not shown."""

    def __init__(self, text):
        super().__init__()
        self.found, self.needed = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Links, pictures, styles and scripts."""
        named = {value for name, value in attrs if name in ("href", "src") and value}
        self.found |= named
        self.needed |= named if tag in ("script", "link") else set()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of a copy of the project, whose guide has one dead link more."""
    project = copied(tmp_path_factory.mktemp("project"))
    with (project / "paper" / "guide" / "index.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[a]({DEAD})\n")
    return project / "paper" / "site" / "html", shell(BUILD, project)


def test_a_dead_link_ends_the_build_and_nothing_else_would(site):
    _, done = site
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    assert len(told) == 1, done.stderr[-3000:]
    assert DEAD in told[0]


def test_every_target_within_the_site_is_there(site):
    html, _ = site
    dead, pages = [], list(html.rglob("*.html"))
    for page in pages:
        targets = Targets(page.read_text(encoding="utf-8"))
        for target in targets.found:
            address = urlsplit(target)
            assert not address.netloc or target not in targets.needed, "shown only where there is a network"
            if not (address.scheme or address.netloc or target.startswith("#")):
                file = (page.parent / unquote(address.path)).resolve()
                dead += [(page.name, target)] * (not file.is_file())
    assert dead == []
    assert len(pages) > 150


def test_the_site_opens_at_readme_and_shows_pictures_and_equations(site):
    html, _ = site
    assert "README.html" in (html / "index.html").read_text()
    assert "figure2_cosmos.png" in (html / "README.html").read_text(encoding="utf-8")
    notebook = (html / "notebooks" / "executed" / "catalogue_cosmos.html").read_text(encoding="utf-8")
    assert 'class="math' in notebook
    assert "<img" in notebook
    code = (html / "paper" / "site" / "api" / "analysis" / "prior" / "score" / "index.html").read_text(encoding="utf-8")
    assert "Score of a Gaussian field seen at noise level" in code
