"""What code and documents cite is in this repository: sections of the semantics, headings, requirement ids, pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOPS = (
    "dagmanager",
    "flows",
    "operators",
    "sinks",
    "servers",
    "chaos",
    "examples",
    "benchmarks",
    "scripts",
    "tests",
    "docs",
)
SUFFIXES = {".py", ".md", ".sh", ".yml", ".yaml", ".toml"}
HERE = Path(__file__).name

# `docs/semantics.md 2, 5`, `docs/semantics.md 3-7`, `docs/semantics.md 2, Lineage`
SECTIONS = re.compile(
    r"docs/semantics\.md (\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)(?:, ([A-Z][a-z][\w ]*\w|epoch))?"
)
# `docs/contract.md, NodeID`
HEADING = re.compile(r"((?:docs/[\w/-]+|ARCHITECTURE|CONTRIBUTING)\.md), ([A-Z][\w ]*\w)")
# `docs/requirements.md T1`, or an id alone: `F3`, `T-1`
REQUIREMENT = re.compile(r"(?<![\w./#-])([DPRMFIGXQC]\d{1,2}|T-?\d)(?![\w-])")
PAGE = re.compile(r"docs/[\w/-]+\.md")
# Documents that stand outside of the repository, by the names under which they were cited.
OUTSIDE = re.compile(
    r"§|\bdecisions(\.md)? \d|\bdecisions\.md|\bdesign\.md|dag-manager-design|\breliability \d|\bservices\.md|\bprototype\.md"
    r"|\bresearch/|\.\./shared|newcomer\.md|structure-review|\btrap T\d|contract/README|\bthe design('s)? document"
)


def cited_from() -> Iterator[tuple[str, str]]:
    """Every text that may cite, with its name."""
    paths = [path for top in TOPS for path in (ROOT / top).rglob("*")]
    for path in sorted([*paths, *ROOT.glob("*.*"), ROOT / "Makefile", ROOT / "Dockerfile"]):
        if path.name != HERE and path.is_file() and (path.suffix in SUFFIXES or not path.suffix):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


TEXTS = dict(cited_from())


def joined(text: str) -> str:
    """With citations that a line break cuts in two put together again."""
    return re.sub(r"\s*\n\s*(?:#\s*)?", " ", text)


def sections_of(page: str) -> dict[str, str]:
    """Heading → text below it, of headings of every level."""
    pieces = re.split(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


SEMANTICS = {heading.split()[0]: text for heading, text in sections_of("docs/semantics.md").items()}
IDS = set(
    re.findall(r"^- ([A-Z]-?\d+) ", (ROOT / "docs/requirements.md").read_text(encoding="utf-8"), re.MULTILINE)
)


def numbers(listed: str) -> Iterator[int]:
    for part in listed.split(", "):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def wrong_sections(text: str) -> Iterator[str]:
    for listed, topic in SECTIONS.findall(joined(text)):
        cited = [str(number) for number in numbers(listed)]
        yield from (f"there is no section {number}" for number in cited if number not in SEMANTICS)
        if topic and not any(topic.lower() in SEMANTICS.get(number, "").lower() for number in cited):
            yield f"section {listed} does not describe {topic}"


def wrong_headings(text: str) -> Iterator[str]:
    for page, heading in HEADING.findall(joined(text)):
        if page != "docs/semantics.md" and (ROOT / page).exists():
            known = sections_of(page)
            if not any(heading.startswith(each.split(" (")[0]) or each.startswith(heading) for each in known):
                yield f"{page} has no heading {heading}"


def wrong_ids(text: str) -> Iterator[str]:
    """Ids in prose: in Python the docstrings and comments, where a name such as `T1` is not a type or a constant."""
    yield from (
        f"{each} is not in docs/requirements.md" for each in REQUIREMENT.findall(text) if each not in IDS
    )


def prose(name: str, text: str) -> str:
    if not name.endswith(".py"):
        return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(part or comment for part, comment in re.findall(r'"""((?:.|\n)*?)"""|#(.*)', text))


def test_the_rules_are_numbered_and_the_requirements_have_ids() -> None:
    assert [int(number) for number in SEMANTICS if number.isdigit()] == list(range(1, 13))
    assert {"F3", "M6", "T-1", "T7", "M10"} <= IDS
    assert len(IDS) > 50


def test_code_cites() -> None:
    """Else the checks below would look at nothing."""
    code = [text for name, text in TEXTS.items() if name.endswith(".py")]
    assert sum(len(SECTIONS.findall(text)) for text in code) > 80
    assert sum(len(HEADING.findall(text)) for text in code) > 5


def wrong_citations(name: str, text: str) -> Iterator[str]:
    yield from wrong_sections(text)
    yield from wrong_headings(text)
    if name.startswith(("dagmanager/", "flows/", "operators/", "sinks/", "docs/")):
        yield from wrong_ids(prose(name, text))
    yield from (f"there is no {page}" for page in PAGE.findall(text) if not (ROOT / page).exists())
    yield from (f"cites what is not in the repository: {match[0]}" for match in OUTSIDE.finditer(text))


def test_every_citation_leads_somewhere() -> None:
    wrong = [f"{name}: {what}" for name, text in TEXTS.items() for what in wrong_citations(name, text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "see docs/semantics.md 13",
        "see docs/semantics.md 2,\n    99",
        "see docs/semantics.md 4, Lineage",
        "(docs/contract.md, Nowhere)",
        "ARCHITECTURE.md, Nowhere",
    ],
)
def test_a_wrong_citation_would_be_noticed(text: str) -> None:
    assert [*wrong_sections(text), *wrong_headings(text)]


@pytest.mark.parametrize("text", ["(F9)", "M6, T9", "C7:", "T-3"])
def test_a_wrong_id_would_be_noticed(text: str) -> None:
    assert list(wrong_ids(text))


@pytest.mark.parametrize("text", ["§3.1", "decisions 4", "see design.md", "trap T7", "(reliability 1.1)"])
def test_a_document_from_outside_would_be_noticed(text: str) -> None:
    assert OUTSIDE.search(text)


def test_sections_named_beside_a_link_exist() -> None:
    beside = re.compile(r"semantics(?:\.md)?\]\([^)]*\),? sections? (\d+)")
    pages = {name: text for name, text in TEXTS.items() if name.endswith(".md")}
    cited = [(name, number) for name, text in pages.items() for number in beside.findall(joined(text))]
    assert not [each for each in cited if each[1] not in SEMANTICS]
