"""An output record of the flow."""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import Origin


class Message(msgspec.Struct, frozen=True):
    """An output record: key, headers and value as they will be on a topic.

    `origin` is the input record that it answers: that one is suspected of being poison when writing kills the process.
    """

    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    origin: Origin | None = None
