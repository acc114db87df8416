"""The vocabulary, as a check: words that a reader of another language stumbles over, and what to write instead."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("dagmanager", "flows", "operators", "sinks")
# Pattern → what the field says. A pattern matches whole words, in identifiers too (`_told`), whatever the case.
INSTEAD = {
    "told": "sent, answered, reported, passed",
    "hears?|unheard": "receives; ignored, no-op",
    "whoever": "the process, client or caller that",
    "somebody|somebody's": "another program, another process",
    "moved on|moves on": "was replaced, has changed since",
    "(is|are) away": "is unreachable",
    "(do|does) not hold": "is invalid",
    "mend|mends|mended|mendable": "fix",
    "anew|made again": "again; created again",
    "turns? (us|you|user|them)( '?\\w+'?)? away": "authentication failed",
    "is no (command|moment)": "unknown command; not a timestamp",
    "fault of this program": "internal error",
    "says more": "is set",
    "speaks? for": "sets the default for",
    "the wish": "the request",
    "laid over": "overlaid on",
    "comes? to life": "is created",
    "this house|the house": "this project",
    "the world (failed|fails|as it|outside)": "the environment",
    "taste|tastes": "rule",
    "doors?": "entry point, interface",
    "goes on|go on": "continues, resumes",
    "stands? in": "is in, is named in",
    "anybody|everybody": "any client, every process",
    "nobody|nobody's": "no client, no process",
    "heard|buried": "received; handled; marked as deleted",
    "journey": "path, steps",
    "dealt": "divided, assigned",
    "speaks? of": "describes, concerns",
}


def rooms() -> dict[str, list[Path]]:
    """Every file that a reader reads, by room: product code, documents, tests, and what is beside the product."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for top in (*PRODUCT, "servers", "chaos", "examples", "benchmarks", "scripts", "docs", "tests"):
        for path in sorted((ROOT / top).rglob("*")):
            if path == Path(__file__).resolve():
                continue  # it lists the banned words
            if path.suffix in {".py", ".md", ".sh"} and "__pycache__" not in path.parts:
                parts = path.relative_to(ROOT).parts
                found["/".join(parts[:2]) if top == "dagmanager" and len(parts) > 2 else top].append(path)
    found["root"] = [
        *sorted(ROOT.glob("*.md")),
        *(ROOT / name for name in ("Makefile", "Dockerfile", "compose.yaml", "pyproject.toml")),
    ]
    return dict(found)


def banned(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, word and replacement of every banned word; `_` in names counts as a space."""
    text = text.replace("_", " ")
    for words, instead in INSTEAD.items():
        for match in re.finditer(rf"(?<![a-z])(?:{words})(?![a-z])", text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, match[0], instead


@pytest.mark.parametrize("room", sorted(rooms()))
def test_words_of_the_field_are_used(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: `{word}`, write: {instead}"
        for path in rooms()[room]
        for line, word, instead in banned(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "it is told",
        "def _told(self) -> None",
        "Somebody else's topic",
        "the store is away",
        "mended",
        "turns user 'a' away",
    ],
)
def test_a_banned_word_would_be_noticed(text: str) -> None:
    assert list(banned(text))


@pytest.mark.parametrize("text", ["totold", "recommended", "the world id", "an amendment"])
def test_parts_of_other_words_are_left_alone(text: str) -> None:
    assert not list(banned(text))


@cache
def classes() -> tuple[tuple[Path, ast.ClassDef], ...]:
    """Every class of the product, nested ones too."""
    paths = [path for top in PRODUCT for path in sorted((ROOT / top).rglob("*.py"))]
    parsed = ((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)
    return tuple(
        (path, node) for path, tree in parsed for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )


def test_a_class_name_means_one_thing() -> None:
    counts = Counter(node.name for _, node in classes())
    assert len(counts) > 150
    assert not [name for name, count in counts.items() if count > 1]


PROMISE = re.compile(
    r"Error\b|\b[Rr]aises?\b|\bblocks?\b|\bnever fails\b|\bwaits?\b|\bdurable\b", re.IGNORECASE
)


# Classes whose public methods ask servers or locks, and are called from many places.
BLOCKING = {"Engine", "Finisher", "KafkaAdmin"}


def is_protocol(node: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(base) for base in node.bases)


def unpromised(port: ast.ClassDef) -> list[str]:
    """Methods of Protocols and of `BLOCKING` of which neither they nor their class say which errors are raised or whether a call blocks."""
    if not is_protocol(port) and port.name not in BLOCKING:
        return []
    if PROMISE.search(ast.get_docstring(port) or ""):
        return []
    methods = [
        each
        for each in port.body
        if isinstance(each, ast.FunctionDef) and not each.decorator_list
        if is_protocol(port) or not each.name.startswith("_")
    ]
    return [
        f"{port.name}.{each.name}" for each in methods if not PROMISE.search(ast.get_docstring(each) or "")
    ]


def test_protocols_and_classes_that_ask_servers_name_their_errors_and_whether_they_block() -> None:
    """In the docstring of the class, for all of its methods, or in that of each method. Properties are values."""
    assert sum(is_protocol(node) for _, node in classes()) > 10
    assert not [f"{path.name}: {method}" for path, node in classes() for method in unpromised(node)]
