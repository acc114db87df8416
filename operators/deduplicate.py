"""Drops messages of node output that were computed twice (requirement R5); an operator for consumers.

    from operators.deduplicate import deduplicate, identity_of

    messages = op.input("input", flow, source)          # (message key, payload)
    keyed = op.map("by_node", messages, lambda m: (identity_of(m[0]).node_id, m))
    once = deduplicate("once", keyed, lambda m: identity_of(m[0]))

Two messages are equal when (node_id, bucket_ts, input_window_hash, compute_key) are. Repeats must have the same key in
the stream: the node id, or the partition key. With recovery on, the identities seen survive a restart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

import bytewax.operators as op
from blake3 import blake3
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream, StatefulLogic

from dagmanager.errors import SettingsError

V = TypeVar("V")

STATE_VERSION: Final = 1
DIGEST_BYTES: Final = 16
FORGET_AFTER: Final = timedelta(hours=1)
REMEMBERED_MAX: Final = 256


class Identity(NamedTuple):
    """What makes two messages the same computation (R5). `bucket_ts` in seconds since the epoch."""

    node_id: str
    bucket_ts: int
    input_window_hash: str
    compute_key: str = ""


def identity_of(message_key: str) -> Identity:
    """The identity in a message key. `ValueError` for a text that is not a message key.

    A message key is `node_id:interval:bucket_ts[#ck=compute_key]:input_window_hash` (docs/contract.md).
    """
    found = _MESSAGE_KEY(message_key)
    if found is None:
        msg = (
            f"not a message key (node_id:interval:bucket_ts[#ck=…]:input_window_hash): {message_key[:200]!r}"
        )
        raise ValueError(msg)
    node_id, bucket_ts, compute_key, window = found.groups()
    return Identity(node_id, int(bucket_ts), window, compute_key or "")


# Hashes may carry their `blake3:`, so that the colons alone do not separate the parts.
_MESSAGE_KEY: Final = re.compile(
    r"(blake3:[^:]+|.+?):-?[0-9]+:(-?[0-9]+)(?:#ck=((?:blake3:)?[^:]*))?:(.+)", re.DOTALL
).fullmatch


class Seen(StatefulLogic[V, V, dict[str, Any]]):
    """The identities of one key. State: `{"v": 1, "seen": [(16 bytes, end in seconds since 1970), …]}`, the oldest first.

    A map of its own instead of `BoundedCache`: its entries end by time too, are the content of a snapshot, and belong to
    one key, which one thread at a time works on, so that they need no lock.
    """

    def __init__(
        self,
        state: dict[str, Any] | None,
        identity: Callable[[V], Identity],
        forget_after: timedelta,
        remembered_max: int,
        now: Callable[[], datetime],
    ) -> None:
        """Resume from a snapshot of this version. `SettingsError` for any other version: repeats would pass again."""
        if state is not None and state.get("v") != STATE_VERSION:
            msg = (
                f"the recovery folder has message identities in a state of version {state.get('v')!r}, unknown to this "
                "release: use the release that wrote it, or a new folder (then everything is read again)"
            )
            raise SettingsError(msg)
        self._until: dict[bytes, float] = dict(state["seen"]) if state is not None else {}
        self._identity = identity
        self._forget_after = forget_after
        self._remembered_max = remembered_max
        self._now = now

    def on_item(self, value: V) -> tuple[Iterable[V], bool]:
        """Pass on a value whose identity is new, drop a repeat. A repeat does not extend the time of the first one."""
        now = self._now()
        self._forget(now)
        identity = self._identity(value)
        text = "\x1f".join(str(part) for part in identity)
        digest = blake3(text.encode("utf-8", "surrogatepass")).digest(DIGEST_BYTES)
        if digest in self._until:
            return [], StatefulLogic.RETAIN
        self._until[digest] = (now + self._forget_after).timestamp()
        while len(self._until) > self._remembered_max:
            del self._until[next(iter(self._until))]
        return [value], StatefulLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[V], bool]:
        """Remove expired identities; discard the key's state when none is left."""
        self._forget(self._now())
        return [], not self._until

    def notify_at(self) -> datetime | None:
        """When the time of the oldest identity is over."""
        oldest = next(iter(self._until.values()), 0.0)
        return datetime.fromtimestamp(oldest, UTC)

    def snapshot(self) -> dict[str, Any]:
        """Plain types only; about 30 bytes per identity."""
        return {"v": STATE_VERSION, "seen": list(self._until.items())}

    def _forget(self, now: datetime) -> None:
        at = now.timestamp()
        while self._until and next(iter(self._until.values())) <= at:
            del self._until[next(iter(self._until))]


def _now() -> datetime:
    return datetime.now(UTC)


@operator
def deduplicate(
    step_id: str,
    up: KeyedStream[V],
    identity: Callable[[V], Identity],
    forget_after: timedelta = FORGET_AFTER,
    remembered_max: int = REMEMBERED_MAX,
    now: Callable[[], datetime] = _now,
) -> KeyedStream[V]:
    """Pass on each computation once per key, within `forget_after` and the last `remembered_max` (1 or more) identities.

    `now` gives the time with a time zone. Raises what `identity` raises, and `SettingsError` for a snapshot of another
    version. Blocks for nothing.
    """
    return op.stateful("stateful", up, lambda state: Seen(state, identity, forget_after, remembered_max, now))
