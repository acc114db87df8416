"""`completion`: scripts for bash, zsh and fish, made from the commands themselves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final, NamedTuple

from dagmanager.cli.framework.arguments import Parser

SHELLS: Final = ("bash", "zsh", "fish")
DOMAINS: Final = ("backtest", "dryrun", "live", "shadow")


class Spot(NamedTuple):
    """A place on the command line: the words before it, and what may stand there, with a few words each."""

    path: str
    choices: tuple[tuple[str, str], ...]


def add_arguments(parser: Parser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that will read the script")
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
        yield Spot(path, (*((name, entry.summary) for name, entry in group.entries.items()), *options))
        for name, entry in group.entries.items():
            below = f"{path} {name}"
            if isinstance(entry, Group):
                yield from walk(below, entry)
            else:
                parser = Parser(below, entry.summary)
                entry.load().add_arguments(parser)
                yield Spot(below, tuple(_choices(name, parser)))

    yield from walk(program, QMTL if program == "qmtl" else DAGMANAGER)


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


def _words_lines() -> Iterator[str]:
    for spot in _all_spots():
        words = " ".join(word for word, _ in spot.choices)
        yield f'    "{spot.path}") words="{words}" ;;'


def _bash() -> Iterator[str]:
    paths = "|".join(f'"{spot.path}"' for spot in _all_spots())
    yield f"""\
# bash completion of qmtl and dagmanager
_qmtl_dagmanager() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" path="${{COMP_WORDS[0]##*/}}" words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
      {paths}) path="$path ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$prev" in
    --file|--baseline|--store|--config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --domain) mapfile -t COMPREPLY < <(compgen -W "{" ".join(DOMAINS)}" -- "$cur"); return ;;
    --profile) mapfile -t COMPREPLY < <(compgen -W "dev prod" -- "$cur"); return ;;
    --world|--as-of|--partition|--strategy) return ;;
  esac
  case "$path" in"""
    yield from _words_lines()
    yield """\
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _qmtl_dagmanager qmtl dagmanager"""


def _zsh() -> Iterator[str]:
    paths = "|".join(f'"{spot.path}"' for spot in _all_spots())
    yield f"""\
#compdef qmtl dagmanager
_qmtl_dagmanager() {{
  local path_="${{words[1]:t}}" i
  local -a choices
  for ((i = 2; i < CURRENT; i++)); do
    case "$path_ ${{words[i]}}" in
      {paths}) path_="$path_ ${{words[i]}}" ;;
    esac
  done
  case "${{words[CURRENT-1]}}" in
    --file|--baseline|--store|--config) _files; return ;;
    --domain) compadd -- {" ".join(DOMAINS)}; return ;;
    --profile) compadd -- dev prod; return ;;
    --world|--as-of|--partition|--strategy) return ;;
  esac
  case "$path_" in"""
    for spot in _all_spots():
        described = " ".join(_quoted(f"{word}:{text}" if text else word) for word, text in spot.choices)
        yield f'    "{spot.path}") choices=({described}) ;;'
    yield """\
  esac
  _describe 'command' choices
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
            at = f"-n {_quoted(condition)}"
            for word, text in spot.choices:
                yield f"complete -c {program} {at} {_fish_word(word)} -d {_quoted(text)}"


def _fish_word(word: str) -> str:
    if word in ("--file", "--baseline", "--store", "--config"):
        return f"-l {word[2:]} -r -F"
    if word in ("--domain", "--profile"):
        return f"-l {word[2:]} -x -a {_quoted(' '.join(DOMAINS if word == '--domain' else ('dev', 'prod')))}"
    return f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"


def _quoted(text: str) -> str:
    """In single quotes for every shell: quotes inside become typographic ones, they are only words."""
    return "'" + text.replace("'", "’").replace("\\", "") + "'"
