"""Row keys as text, short enough for the server's indexes.

An index entry takes some 8 kB at most, but strategy ids, tags and world names may be longer. A key of more than
`KEY_BYTES_MAX` is replaced by its hash. Keys are never parsed: the row holds their parts.
"""

from __future__ import annotations

from typing import Final

import msgspec
from blake3 import blake3

from dagmanager.engine.model.rows import Binding, TagSetKey
from dagmanager.engine.model.version_rows import HolderKey, LineageKey, SentinelKey

KEY_BYTES_MAX: Final = 1_000


def clipped(text: str) -> str:
    """The text itself, or `#` and its hash (64 hex digits) when it is longer than `KEY_BYTES_MAX` bytes."""
    encoded = text.encode()
    return text if len(encoded) <= KEY_BYTES_MAX else "#" + blake3(encoded).hexdigest()


def joined(*parts: object) -> str:
    """Several parts as one key. Different parts give different keys: JSON quotes each."""
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
    """Strategy id, namespace and world."""
    return joined(*holder)


def tag_set_key(tag_set: TagSetKey) -> str:
    """All tags and the interval."""
    return joined(list(tag_set.tags), tag_set.interval)


def tag_key(tag: str, interval: int | None) -> str:
    """One tag in one interval."""
    return joined(tag, interval)
