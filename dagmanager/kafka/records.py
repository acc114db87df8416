"""What leaves for a topic, as plain data: whoever makes one needs no client."""

from __future__ import annotations

import msgspec


class Outgoing(msgspec.Struct, frozen=True):
    """A record on its way out. Records of one key, in one topic, keep their order."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
