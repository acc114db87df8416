"""How big a submission may be (docs/semantics.md 2, Limits). Settings fill this in; the defaults are theirs."""

from __future__ import annotations

from typing import Final

import msgspec

# UTF-8 bytes of a text that every record of an answer repeats: with all of them a record still fits into its
# topic. No setting: the topics are made for it.
TEXT_BYTES_MAX: Final = 4_096
# A character has four bytes at most: only a longer text needs to be encoded to know its size.
SHORT_TEXT: Final = TEXT_BYTES_MAX // 4


class Limits(msgspec.Struct, frozen=True):
    """Bounds on one submission.

    `bytes_max` of a record's value; `nodes_max` entries in `nodes`; `depth_max` nested objects and
    lists, the DAG object itself being 1 (keep it below 200: the scanner recurses);
    `worlds_max` worlds in one submission. `strict_dependencies` refuses dependencies outside the DAG.
    """

    bytes_max: int = 8 * 1024 * 1024
    nodes_max: int = 20_000
    depth_max: int = 64
    strict_dependencies: bool = False
    worlds_max: int = 1_000
