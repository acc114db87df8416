"""`completion`: scripts for bash, zsh and fish, generated from the parsers of the commands.

The metavar of an option says what its value is: FILE and PATH complete files, DIR completes folders.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from dagmanager.cli.framework.arguments import Parser

SHELLS: Final = ("bash", "zsh", "fish")
# Free text with usual words.
WORDS: Final = {"--domain": ("backtest", "dryrun", "live", "shadow")}


class Value(Enum):
    """What comes after an option."""

    NOTHING = "nothing"
    FILE = "file"
    FOLDER = "folder"
    WORD = "word"
    TEXT = "text"


class OptionValue(NamedTuple):
    """The kind of an option's value, and its words where these are known."""

    kind: Value
    words: tuple[str, ...] = ()


class Spot(NamedTuple):
    """A place on the command line: the words before it, what may come there with a few words each.

    `takes_file`: a file's name may come there without an option.
    """

    path: str
    choices: tuple[tuple[str, str], ...]
    values: dict[str, OptionValue]
    takes_file: bool = False


def add_arguments(parser: Parser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")
    parser.examples(
        'eval "$({prog} bash)"   # in ~/.bashrc',
        "{prog} zsh > ~/.zfunc/_qmtl",
        "{prog} fish > ~/.config/fish/completions/qmtl.fish",
    )


def run(args: argparse.Namespace) -> int:
    """Print the script; it serves `qmtl` and `dagmanager`."""
    writer = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell]
    print("\n".join(writer()))
    return 0


def spots(program: str) -> Iterator[Spot]:
    """Every place of a program's command line."""
    from dagmanager.cli.framework.command_table import DAGMANAGER, QMTL, Group

    def walk(path: str, group: Group) -> Iterator[Spot]:
        options = (("--help", "help with examples"), ("--version", "the installed version"))
        yield Spot(path, (*((name, entry.summary) for name, entry in group.entries.items()), *options), {})
        for name, entry in group.entries.items():
            below = f"{path} {name}"
            if isinstance(entry, Group):
                yield from walk(below, entry)
            else:
                parser = Parser(below, entry.summary)
                entry.load().add_arguments(parser)
                values = {word: _value(word, action) for word, action in parser.options().items()}
                takes_file = any(_kind(each) is Value.FILE for each in parser.positionals())
                yield Spot(below, tuple(_choices(name, parser)), values, takes_file)

    yield from walk(program, QMTL if program == "qmtl" else DAGMANAGER)


def _kind(action: argparse.Action) -> Value:
    if action.nargs == 0:
        return Value.NOTHING
    kinds = {"FILE": Value.FILE, "PATH": Value.FILE, "DIR": Value.FOLDER}
    return kinds.get(str(action.metavar), Value.TEXT)


def _value(word: str, action: argparse.Action) -> OptionValue:
    words = WORDS.get(word) or tuple(map(str, action.choices or ()))
    return OptionValue(Value.WORD, words) if words else OptionValue(_kind(action))


def _choices(name: str, parser: Parser) -> Iterator[tuple[str, str]]:
    from dagmanager.cli.explain.error_page import codes, page

    for action in parser.positionals():
        for choice in action.choices or ():
            yield str(choice), ""
    if name == "explain-error":
        for code in codes():
            yield code, page(code).title
    for word, action in parser.options().items():
        yield word, action.help or ""


def _all_spots() -> list[Spot]:
    return [spot for program in ("qmtl", "dagmanager") for spot in spots(program)]


def _paths(separator: str) -> str:
    return separator.join(f'"{spot.path}"' for spot in _all_spots())


def _options(kind: Value) -> str:
    """`--file|--baseline`: the options whose value is of this kind."""
    found = (word for spot in _all_spots() for word, value in spot.values.items() if value.kind is kind)
    return "|".join(dict.fromkeys(found))


def _option_words() -> dict[str, tuple[str, ...]]:
    return {
        word: value.words
        for spot in _all_spots()
        for word, value in spot.values.items()
        if value.kind is Value.WORD
    }


def _bash() -> Iterator[str]:
    yield f"""\
# bash completion of qmtl and dagmanager
_qmtl_dagmanager() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" path="${{COMP_WORDS[0]##*/}}" words="" files="" i
  COMPREPLY=()
  # `--file=x` comes as three words
  [[ $cur == = ]] && cur=""
  [[ $prev == = ]] && prev="${{COMP_WORDS[COMP_CWORD-2]}}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
      {_paths("|")}) path="$path ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$prev" in
    {_options(Value.FILE)}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    {_options(Value.FOLDER)}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;"""
    for word, known in _option_words().items():
        yield f'    {word}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(known)}" -- "$cur"); return ;;'
    yield f"    {_options(Value.TEXT)}) return ;;"
    yield '  esac\n  case "$path" in'
    for spot in _all_spots():
        words = " ".join(word for word, _ in spot.choices)
        yield f'    "{spot.path}") words="{words}"{" files=1" if spot.takes_file else ""} ;;'
    yield """\
  esac
  if [[ -n $files && $cur != -* ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  fi
}
complete -F _qmtl_dagmanager qmtl dagmanager"""


def _zsh() -> Iterator[str]:
    yield f"""\
#compdef qmtl dagmanager
_qmtl_dagmanager() {{
  local path_="${{words[1]:t}}" files="" i
  local -a choices
  for ((i = 2; i < CURRENT; i++)); do
    case "$path_ ${{words[i]}}" in
      {_paths("|")}) path_="$path_ ${{words[i]}}" ;;
    esac
  done
  case "${{words[CURRENT-1]}}" in
    {_options(Value.FILE)}) _files; return ;;
    {_options(Value.FOLDER)}) _files -/; return ;;"""
    for word, words in _option_words().items():
        yield f"    {word}) compadd -- {' '.join(words)}; return ;;"
    yield f"    {_options(Value.TEXT)}) return ;;"
    yield '  esac\n  case "$path_" in'
    for spot in _all_spots():
        described = " ".join(_quoted(f"{word}:{text}" if text else word) for word, text in spot.choices)
        yield f'    "{spot.path}") choices=({described}){" files=1" if spot.takes_file else ""} ;;'
    yield """\
  esac
  if [[ -n $files && ${words[CURRENT]} != -* ]]; then _files; else _describe 'command' choices; fi
}
if [ "$funcstack[1]" = "_qmtl" ]; then _qmtl_dagmanager "$@"; else compdef _qmtl_dagmanager qmtl dagmanager; fi"""


def _fish() -> Iterator[str]:
    paths = " ".join(_quoted(spot.path) for spot in _all_spots())
    yield f"""\
# fish completion of qmtl and dagmanager
function __qmtl_dagmanager_at
    set -l words (commandline -opc)
    set -l path (basename $words[1])
    for word in $words[2..-1]
        if contains -- "$path $word" {paths}
            set path "$path $word"
        end
    end
    test "$path" = "$argv[1]"
end"""
    for program in ("qmtl", "dagmanager"):
        yield f"complete -c {program} -f"
        for spot in spots(program):
            condition = f'__qmtl_dagmanager_at "{spot.path}"'
            at = f"complete -c {program} -n {_quoted(condition)}"
            if spot.takes_file:
                yield f"{at} -F"
            for word, text in spot.choices:
                yield f"{at} {_fish_word(word, spot.values.get(word))} -d {_quoted(text)}"


def _fish_word(word: str, value: OptionValue | None) -> str:
    if not word.startswith("--"):
        return f"-a {word}"
    option = f"-l {word[2:]}"
    match value:
        case OptionValue(Value.FILE):
            return f"{option} -r -F"
        case OptionValue(Value.FOLDER):
            return f"{option} -x -a {_quoted('(__fish_complete_directories)')}"
        case OptionValue(Value.WORD, words):
            return f"{option} -x -a {_quoted(' '.join(words))}"
        case OptionValue(Value.TEXT):
            return f"{option} -x"
    return option


def _quoted(text: str) -> str:
    """In single quotes for every shell: quotes inside become typographic ones, they are only words."""
    return "'" + text.replace("'", "’").replace("\\", "") + "'"
