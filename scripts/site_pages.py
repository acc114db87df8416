"""MkDocs hooks: pages from outside docs/ join the site, and Mermaid diagrams become SVG when the site is built.

`make docs` builds the site. Links are written as they work in the repository; here they are translated to the site.
Diagrams are rendered without a browser, so that a built page needs no script from anywhere.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import mmdr

ROOT = Path(__file__).resolve().parent.parent
# A page of the root → its place in the site.
ROOT_PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "contributing/architecture.md",
    "CONTRIBUTING.md": "contributing/index.md",
    "CHANGELOG.md": "changelog.md",
}
NOT_SEARCHED = (
    "---\nsearch:\n  exclude: true\n---\n"  # every word of the product is somewhere in the changelog
)
# One page for each error, warning and reason: the text of `explain-error`.
ERROR_PAGES = ROOT / "dagmanager/cli/explain/error_pages"
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
THEME = "%%{init: {'theme': 'neutral'}}%%\n"


def site_link(path: str, page: str, site_page: str) -> str | None:
    """The link from `site_page` to what `path` names when it is written in `page`; None when it is not in the site."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    place = ROOT_PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    return place and posixpath.relpath(place, posixpath.dirname(site_page) or ".")


def translated(text: str, page: str, site_page: str) -> str:
    """The Markdown of a page of the repository, with links as the site has them. Files outside the site lose their link."""

    def link(match: re.Match[str]) -> str:
        words, path, anchor = match[1], match[2], match[3] or ""
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        place = site_link(path, page, site_page)
        return f"[{words}]({place}{anchor})" if place else words

    return LINK.sub(link, text)


def with_diagrams(text: str) -> str:
    """Each Mermaid block as inline SVG. Raises ValueError for a diagram that Mermaid would not read either."""
    count = 0

    def drawn(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        svg = mmdr.render(THEME + match[1]).svg()
        return f'<div class="diagram">{svg.replace("merman", f"diagram-{count}")}</div>'

    return DIAGRAM.sub(drawn, text)


def with_error_pages(text: str) -> str:
    """The page of errors, followed by every error page: its title is a heading, its sections are not."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ERROR_PAGES.glob("*.md")))
    pages = re.sub(r"^## (.+)$", r"**\1**", pages, flags=re.MULTILINE)
    return f"{text}\n{re.sub(r'^# ', '## ', pages, flags=re.MULTILINE)}"


def on_files(files: Any, config: Any) -> Any:
    """MkDocs event: add the pages of the root."""
    from mkdocs.structure.files import File

    for name, place in ROOT_PAGES.items():
        text = translated((ROOT / name).read_text(encoding="utf-8"), name, place)
        head = NOT_SEARCHED if name == "CHANGELOG.md" else ""
        files.append(File.generated(config, place, content=head + text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """MkDocs event: translate links of the pages in docs/, and draw diagrams."""
    place = page.file.src_uri
    if place not in ROOT_PAGES.values():
        markdown = translated(markdown, f"docs/{place}", place)
    if place == "reference/errors.md":
        markdown = with_error_pages(markdown)
    return with_diagrams(markdown)
