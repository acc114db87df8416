"""What there is to say about a settings file: each finding has a code, a level, and a place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

import msgspec

Level = Literal["error", "warning"]


class FindingCode(StrEnum):
    """The closed set of findings; `explain-error` has a page for each."""

    INVALID_YAML = "invalid_yaml"
    DUPLICATE_KEY = "duplicate_key"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_FIELD = "unknown_field"
    OUTSIDE_SECTION = "outside_section"
    UNSET_VARIABLE = "unset_variable"
    EMPTY_FIELD = "empty_field"
    SAME_TOPIC = "same_topic"
    HALF_EMBEDDED = "half_embedded"


# What to do about a finding that has no better hint of its own.
HINTS: Final[Mapping[FindingCode, str]] = {
    FindingCode.INVALID_YAML: "correct the YAML here; a text with `: `, ` #` or a bracket at its start needs quotes",
    FindingCode.DUPLICATE_KEY: "keep one of the two",
    FindingCode.WRONG_TYPE: "`config sample` shows every field with its default",
    FindingCode.UNKNOWN_FIELD: "`config sample` shows every field",
    FindingCode.OUTSIDE_SECTION: "move it into the section `dagmanager`",
    FindingCode.UNSET_VARIABLE: "set the variable, give a default as `${NAME:-default}`, or write `$${` for a literal `${`",
    FindingCode.EMPTY_FIELD: "set it in the file or in the environment",
    FindingCode.SAME_TOPIC: "give each field a topic of its own",
    FindingCode.HALF_EMBEDDED: "set both `neo4j_dsn` and `kafka_dsn`, or neither",
}


class Finding(msgspec.Struct, frozen=True):
    """One problem of a source. `line` and `column` count from 1; 0 means that it is not in the file."""

    level: Level
    code: FindingCode
    message: str
    field: str | None = None
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    def place(self) -> str:
        """`file:line:column`, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)
