"""What the documents say, checked: commands parse, links resolve, tests, codes and settings exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dagmanager.cli.commands.config_sample import reference
from dagmanager.cli.explain.diff_text import REASONS
from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.command_table import DAGMANAGER, QMTL, Command, Group
from dagmanager.engine.model.plan import Reason
from dagmanager.errors import STATUS, ErrorCode, NoticeCode
from dagmanager.settings.table import fields
from flows.run import run_parser

ROOT = Path(__file__).resolve().parent.parent
SEMANTICS = ROOT / "docs/semantics.md"
SETTINGS = ROOT / "docs/settings.md"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if not path.is_relative_to(ROOT / "docs/errors")
)
PROGRAMS = {"dagmanager": DAGMANAGER, "qmtl": QMTL}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from filter(None, (line.strip() for line in block.splitlines()))


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a shell line, without redirections and variables before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if set(word) <= set("|;&"):
            if words:
                yield words
            words, skip = [], False
        elif set(word) <= set("<>"):
            skip = True
        elif skip:
            skip = False
        elif words or not re.match(r"[A-Z_]+=", word):
            words.append(word)


def our_commands(page: Path) -> list[list[str]]:
    found: list[list[str]] = []
    for line in shell_lines(page):
        for words in simple_commands(line):
            program = words[0].removeprefix(".venv/bin/")
            if program in PROGRAMS:
                found.append([program, *words[1:]])
    return found


def parse(words: list[str]) -> None:
    """As the command line does, short of running."""
    entry: Command | Group = PROGRAMS[words[0]]
    path, rest = words[0], words[1:]
    while isinstance(entry, Group):
        assert rest, f"{path} needs a command"
        assert rest[0] in entry.entries, f"{path} has no command {rest[0]}"
        entry, path, rest = entry.entries[rest[0]], f"{path} {rest[0]}", rest[1:]
    parser = Parser(path, entry.summary)
    entry.load().add_arguments(parser)
    parser.parse(rest)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_noun_of_the_glossary_has_one_entry_with_a_link() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## (.+)\n\n(.+)$", text, re.MULTILINE)
    nouns = [noun for noun, _ in entries]
    assert len(nouns) >= 40
    assert nouns == sorted(set(nouns), key=str.lower)
    assert not [noun for noun, meaning in entries if not re.search(r"\. → \[[^\]]+\]\([^)]+\)$", meaning)]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lists_and_tables_begin_after_an_empty_line(page: Path) -> None:
    """Else the site shows them as running text, though other renderers do not."""
    lines = prose_of(page).splitlines()
    starts = [
        (above, line) for above, line in pairwise(lines) if re.match(r"- |\d+\. |\|", line) and above.strip()
    ]
    inside = re.compile(r"\s|- |\d+\. |\|")  # further lines of an item, items, rows
    assert not [line for above, line in starts if not inside.match(above)]


def test_every_command_shown_parses() -> None:
    commands = [words for page in PAGES for words in our_commands(page)]
    shown = {words[1] for words in commands}
    assert {"run", "diff", "node-id", "config"} <= shown
    for words in commands:
        parse(words)


def test_a_wrong_command_would_be_noticed() -> None:
    [words] = simple_commands("A=1 dagmanager diff --fil x.json > y")
    assert words == ["dagmanager", "diff", "--fil", "x.json"]
    with pytest.raises(Exception, match="unknown option"):
        parse(words)


def test_the_runner_takes_what_the_command_line_takes() -> None:
    """`run` hands its words to the flow's own process, which has a parser of its own."""
    shown = [words[2:] for page in PAGES for words in our_commands(page) if words[1] == "run"]
    assert any("--recovery" in words for words in shown)
    for words in shown:
        run_parser().parse_args(words)


def test_a_word_that_the_runner_does_not_take_would_be_noticed() -> None:
    with pytest.raises(SystemExit):
        run_parser().parse_args(["--submision", "x.jsonl"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name_of(page)}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(found), f"{name_of(page)}: no heading for {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert (ROOT / file).exists(), f"{name_of(page)}: there is no {file}"
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {test}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_exist(page: Path) -> None:
    rooms = "dagmanager|flows|operators|sinks|examples|benchmarks|scripts|servers|tests|docs"
    for path in re.findall(rf"`((?:{rooms})/[\w./-]*)`", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{name_of(page)}: there is no {path}"


def test_names_said_to_be_in_a_file_are_there() -> None:
    """`Reason` in `…/plan.py`, as the table of where to change what says."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    found = re.findall(r"`(\w+)`(?: and `(\w+)`)? (?:in|of|\()\s?\(?`([\w/]+\.py)`", text)
    assert len(found) >= 4
    for first, second, path in found:
        source = (ROOT / path).read_text(encoding="utf-8")
        missing = [name for name in (first, second) if name not in source]
        assert not missing, f"ARCHITECTURE.md: {path} has no {missing}"


def test_every_error_code_is_documented_with_its_statuses() -> None:
    text = SEMANTICS.read_text(encoding="utf-8")
    for code in ErrorCode:
        grpc_status, http_status = STATUS[code]
        row = rf"^\| `{code.value}` \| .+ \| {grpc_status} \| {http_status} \|$"
        assert re.search(row, text, re.MULTILINE), f"docs/semantics.md: no right row for {code.value}"


def test_every_reason_is_explained() -> None:
    text = SEMANTICS.read_text(encoding="utf-8")
    assert set(Reason) <= set(REASONS), "REASONS in cli/explain/diff_text.py"
    assert not [reason.value for reason in Reason if f"`{reason.value}`" not in text]


def test_every_warning_is_documented() -> None:
    text = SEMANTICS.read_text(encoding="utf-8")
    assert not [code.value for code in NoticeCode if f"| `{code.value}` |" not in text]


def command_names(group: Group) -> Iterator[str]:
    for name, entry in group.entries.items():
        yield from (
            (f"{name} {below}" for below in command_names(entry)) if isinstance(entry, Group) else (name,)
        )


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    names = list(command_names(DAGMANAGER))
    assert {"diff", "config validate"} <= set(names)
    assert not [name for name in names if f"| `{name}` |" not in text]


def test_every_control_event_is_documented() -> None:
    source = (ROOT / "dagmanager/engine/wire/events.py").read_text(encoding="utf-8")
    types = re.findall(r'"type": "(\w+)"', source)
    assert len(types) == 3
    for page in ("docs/contract.md", "docs/reference/clients.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not [each for each in types if each not in text], page


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, name_of(page)


def test_a_setting_has_an_effect_or_is_named_as_one_without() -> None:
    """`grpc_*` stands for all that begin so."""
    product = [
        path for top in ("dagmanager", "flows", "operators", "sinks") for path in (ROOT / top).rglob("*.py")
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in product if path.parent.name != "settings")
    [listed] = re.findall(r"without effect yet: (.*?)\.\n", SEMANTICS.read_text(encoding="utf-8"), re.DOTALL)
    without = tuple(name.rstrip("*") for name in re.findall(r"`([\w*]+)`", listed))
    for field in fields():
        used = re.search(rf"[.\"]{field.name}\b", code) is not None
        assert used or field.name.startswith(without), f"{field.name} is read by nothing"


def test_every_setting_is_documented() -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    for field in fields():
        assert f"| `{field.name}` |" in text, f"docs/settings.md lacks {field.name}"


def test_the_settings_page_is_current() -> None:
    hint = "remake it: dagmanager config sample --markdown > docs/settings.md"
    assert SETTINGS.read_text(encoding="utf-8") == reference(), hint


def test_the_layers_shown_are_those_checked() -> None:
    configured = re.search(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert configured
    layers = [re.findall(r"\(([\w.]+)\)", line) for line in configured[1].splitlines() if line.strip()]
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert "\n".join(" | ".join(layer) for layer in layers) in text
