"""The argument parser of every command: no abbreviations; a typo is answered with the word that was meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from dagmanager.terminal.report import usage
from dagmanager.terminal.text import columns, nearest, visible


class HelpText(argparse.RawDescriptionHelpFormatter):
    """Help in the terminal's width, options in a column that leaves room for their text."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24, width=columns())


class Parser(argparse.ArgumentParser):
    """argparse that raises a `CommandError` instead of ending the process."""

    def __init__(self, prog: str, description: str) -> None:
        """Every command has `--help` and `--debug`."""
        super().__init__(prog=prog, description=description, formatter_class=HelpText, allow_abbrev=False)
        self._words: tuple[str, ...] = ()
        self._positionals.title = "arguments"
        self.add_argument("--debug", action="store_true", help="show tracebacks")

    def examples(self, *lines: str) -> None:
        """What `--help` shows below the options; `{prog}` is this command as it was called."""
        shown = "\n".join("  " + line.replace("{prog}", self.prog) for line in lines)
        self.epilog = f"examples:\n{shown}"

    def format_help(self) -> str:
        """The options are listed below the usage line, which does not repeat them."""
        names = [each.metavar or "{" + ",".join(each.choices or ()) + "}" for each in self.positionals()]
        shown = [
            f"[{name}]" if each.nargs == "?" else str(name)
            for name, each in zip(names, self.positionals(), strict=True)
        ]
        self.usage = " ".join(["%(prog)s [OPTIONS]", *shown])
        return super().format_help()

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, or a `CommandError` that says which word is wrong."""
        self._words = tuple(words)
        found, unknown = self.parse_known_args(list(words))
        if unknown:
            raise self._unknown(unknown[0])
        return found

    def options(self) -> dict[str, argparse.Action]:
        """Every `--word`, for completion and for typos."""
        return {word: action for word, action in self._option_string_actions.items() if word[:2] == "--"}

    def positionals(self) -> list[argparse.Action]:
        """Arguments without an option's name."""
        return self._get_positional_actions()

    def error(self, message: str) -> NoReturn:
        """Called by argparse: a value is missing or not among the choices."""
        if "are required" in message:  # perhaps given, but misspelt
            for word in self._words:
                if word.startswith("--") and word.split("=", 1)[0] not in self.options() and word != "--":
                    raise self._unknown(word)
        near = None
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            near = nearest(choice[1], re.findall(r"'([^']*)'", choice[2]))
        hints = [f"did you mean `{near}`?"] if near else []
        raise usage(message, *hints, self._see_help())

    def _unknown(self, word: str) -> Exception:
        name = word.split("=", 1)[0]
        kind = "option" if name.startswith("-") and name != "-" else "argument"
        near = nearest(name, self.options()) if kind == "option" else None
        hints = [f"did you mean `{near}`?"] if near else []
        return usage(f"unknown {kind} `{visible(name)}`", *hints, self._see_help())

    def _see_help(self) -> str:
        return f"`{self.prog} --help` has the options and examples"
