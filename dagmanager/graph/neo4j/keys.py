"""Keys as text: what identifies a row on a server, short enough for its indexes.

An index takes some 8 kB; strategy ids, tags and world names have no such bound. What is longer than
`LONGEST` is known by its hash. Nothing reads a key back: the row holds its parts.
"""

from __future__ import annotations

from typing import Final

import msgspec
from blake3 import blake3

from dagmanager.engine.model.rows import Binding, HolderKey, LineageKey, SentinelKey, TagSetKey

LONGEST: Final = 1_000


def clipped(text: str) -> str:
    """The text itself, or its hash when it is too long for an index."""
    encoded = text.encode()
    return text if len(encoded) <= LONGEST else "#" + blake3(encoded).hexdigest()


def joined(*parts: object) -> str:
    """Several parts as one key that no other parts have."""
    return clipped(msgspec.json.encode(parts).decode())


def binding_key(binding: Binding) -> str:
    """Node, namespace and safe-mode copy."""
    return joined(*binding)


def lineage_key(lineage: LineageKey) -> str:
    """Lineage and namespace."""
    return joined(*lineage)


def sentinel_key(sentinel: SentinelKey) -> str:
    """Lineage, namespace, version and revision."""
    return joined(*sentinel)


def holder_key(holder: HolderKey) -> str:
    """Strategy id and namespace."""
    return joined(*holder)


def tag_set_key(tag_set: TagSetKey) -> str:
    """All tags and the interval."""
    return joined(list(tag_set.tags), tag_set.interval)


def tag_key(tag: str, interval: int | None) -> str:
    """One tag in one interval."""
    return joined(tag, interval)
