"""How large a submission may be (docs/semantics.md 2, Limits). Defaults are those of the settings."""

from __future__ import annotations

from typing import Final

import msgspec

# UTF-8 bytes of a text that each record of an answer repeats. With all such texts at their limit a record still fits into
# its topic. Not a setting: the topics are created for this value.
TEXT_BYTES_MAX: Final = 4_096
# A character has at most four bytes, so only longer texts must be encoded to know their size.
SHORT_TEXT: Final = TEXT_BYTES_MAX // 4


class Limits(msgspec.Struct, frozen=True):
    """Bounds on one submission.

    `bytes_max`: bytes of a record's value. `nodes_max`: compute nodes in `nodes`; VersionSentinel entries are free. `depth_max`: levels of nested objects
    and lists, the DAG object itself being 1 (below 200, because the scanner is recursive). `worlds_max`: worlds in
    one submission. `strict_dependencies` refuses dependencies outside the DAG.
    """

    bytes_max: int = 8 * 1024 * 1024
    nodes_max: int = 20_000
    depth_max: int = 64
    strict_dependencies: bool = False
    worlds_max: int = 1_000
