"""`make docs`: the documents as a site. It builds without a warning, every link leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.site_pages import ROOT_PAGES, translated, with_diagrams

ROOT = Path(__file__).resolve().parent.parent
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"?(https?:|//)[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: a warning is an error, a link or heading that does not exist too."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    written = {
        path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }
    written |= {place.removesuffix(".md") for place in ROOT_PAGES.values()}
    assert written == {
        path.relative_to(site).with_suffix("").as_posix()
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loaded = [match[0] for page in pages for match in LOADED.finditer(page.read_text(encoding="utf-8"))]
    assert len(pages) > 20
    assert not loaded


def test_diagrams_are_drawn_without_a_script(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert '<div class="diagram"><svg' in page
    assert 'class="mermaid"' not in page


def test_the_search_index_holds_every_page_but_the_changelog(site: Path) -> None:
    index = (site / "search/search_index.js").read_text(encoding="utf-8")
    assert '"location":"glossary.html#lease"' in index
    assert '"location":"changelog.html' not in index


def test_error_pages_are_part_of_the_site(site: Path) -> None:
    assert '<h2 id="node_id_mismatch">' in (site / "reference/errors.html").read_text(encoding="utf-8")


def test_a_script_from_elsewhere_would_be_noticed() -> None:
    assert LOADED.search('<script defer src="https://elsewhere/x.js">')
    assert not LOADED.search('<a href="https://elsewhere/">')


def test_links_are_translated_to_the_site() -> None:
    text = "[a](docs/semantics.md#1-nouns) [b](LICENSE) [c](CONTRIBUTING.md) [d](https://x.y)"
    assert translated(text, "README.md", "index.md") == (
        "[a](semantics.md#1-nouns) b [c](contributing/index.md) [d](https://x.y)"
    )
    assert translated(
        "[a](../../ARCHITECTURE.md#rooms)", "docs/operating/kafka.md", "operating/kafka.md"
    ) == ("[a](../contributing/architecture.md#rooms)")


def test_a_diagram_with_a_mistake_stops_the_build() -> None:
    with pytest.raises(ValueError, match="parse error"):
        with_diagrams("```mermaid\nflowchart LR\n    a --> graph[(x)]\n```\n")
