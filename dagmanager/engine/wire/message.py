"""A record that leaves the flow."""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import Origin


class Message(msgspec.Struct, frozen=True):
    """A record that leaves: key, headers and value as they will stand on a topic.

    `origin`: the record that it answers, which is to blame when writing it kills the process.
    """

    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    origin: Origin | None = None
