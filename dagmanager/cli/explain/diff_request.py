"""The input of `diff`: files, context and the store to compare with."""

from __future__ import annotations

from typing import NamedTuple


class InputFile(NamedTuple):
    """A file by its name as text (bytes that are no UTF-8 are spelled out), and its bytes."""

    name: str
    raw: bytes


class DiffRequest(NamedTuple):
    """`baselines` are earlier submissions of the lineage, the last the previous version.

    `store` names a flow's file to compare with in their place.
    """

    file: InputFile
    baselines: tuple[InputFile, ...]
    world: str | None
    domain: str | None
    as_of: str | None
    partition: str | None
    strategy: str | None
    explain: bool
    store: str | None = None
