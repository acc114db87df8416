"""The argument parser of every command: no abbreviations, typos answered with the right word."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from dagmanager.cli.framework.error_report import EXIT_CODES_TEXT, usage
from dagmanager.cli.framework.output import meant, visible


class Parser(argparse.ArgumentParser):
    """argparse that raises a CommandError instead of ending the process."""

    def __init__(self, prog: str, description: str) -> None:
        """Every command knows `--help` and `--debug`."""
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            epilog=EXIT_CODES_TEXT,
        )
        self._words: tuple[str, ...] = ()
        self.add_argument("--debug", action="store_true", help="show tracebacks")

    def examples(self, *lines: str) -> None:
        """What `--help` shows below the options; `{prog}` is this command as it was called."""
        shown = "\n".join("  " + line.replace("{prog}", self.prog) for line in lines)
        self.epilog = f"examples:\n{shown}\n\n{EXIT_CODES_TEXT}"

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, or a CommandError that says which word is wrong."""
        self._words = tuple(words)
        found, unknown = self.parse_known_args(list(words))
        if unknown:
            raise self._unknown(unknown[0])
        return found

    def options(self) -> dict[str, argparse.Action]:
        """Every `--word`, for completion and for typos."""
        return {word: action for word, action in self._option_string_actions.items() if word[:2] == "--"}

    def positionals(self) -> list[argparse.Action]:
        """What stands without a name."""
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
            near = meant(choice[1], re.findall(r"'([^']*)'", choice[2]))
        hints = [f"did you mean `{near}`?"] if near else []
        raise usage(message, *hints, f"help: {self.prog} --help")

    def _unknown(self, word: str) -> Exception:
        name = word.split("=", 1)[0]
        kind = "option" if name.startswith("-") and name != "-" else "argument"
        near = meant(name, self.options()) if kind == "option" else None
        hints = [f"did you mean `{near}`?"] if near else []
        return usage(f"unknown {kind} `{visible(name)}`", *hints, f"help: {self.prog} --help")
