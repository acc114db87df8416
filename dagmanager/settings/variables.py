"""`${NAME}` and `${NAME:-default}` in the texts of a settings file; `$$` is one `$`.

A value is expanded once: what a variable contains is taken as it is, so that a password may contain `${x}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

# Docker Compose's forms: `:-` replaces an empty variable too, `-` only an unset one.
_PART: Final = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?-)(?P<default>[^}]*))?\}|\$\{(?P<other>[^}]*\}?)"
)


class Expanded(NamedTuple):
    """A text with its variables replaced. `missing` are unset variables, `invalid` are `${…}` of no known form."""

    text: str
    has_variables: bool = False
    missing: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Replace all variables of a text. Pure; raises nothing."""
    missing: list[str] = []
    invalid: list[str] = []
    has_variables = False

    def replace(match: re.Match[str]) -> str:
        nonlocal has_variables
        if match[0] == "$$":
            return "$"
        has_variables = True
        name, default = match["name"], match["default"]
        if name is None or (default is not None and "${" in default):
            invalid.append(match[0])
            return ""
        value = environ.get(name)
        if default is not None and (value is None or (not value and match["how"] == ":-")):
            return default.replace("$$", "$")
        if value is None:
            missing.append(name)
        return value or ""

    filled = _PART.sub(replace, text)
    return Expanded(filled, has_variables, tuple(missing), tuple(invalid))
