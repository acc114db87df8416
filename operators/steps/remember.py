"""Remember, per strategy, the digest of its last submission: an identical resend is known at once.

The one keyed state of the flow and the one exchange between workers: only raw bytes cross it. It is a
function of the input alone, decides nothing, and expires, because the Gateway's strategy ids are
random (ARCHITECTURE.md, State).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import bytewax.operators as op
from blake3 import blake3
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream, StatefulLogic

from dagmanager.dag.model import Record
from dagmanager.engine.reader import strategy_of
from operators.poison_quarantine import PoisonQuarantine

STATE_VERSION: Final = 1
DIGEST_BYTES: Final = 16
FORGET_AFTER: Final = timedelta(hours=1)


class LastDigest(StatefulLogic[Record, Record, dict[str, Any]]):
    """One key's state: `{"v": 1, "digest": 16 bytes, "until": seconds since the epoch}`."""

    def __init__(
        self,
        state: dict[str, Any] | None,
        forget_after: timedelta,
        now: Callable[[], datetime],
        digest: Callable[[Record], bytes],
    ) -> None:
        """Resume from a snapshot of this version; any other starts anew (it decides nothing).

        `digest` gives `b""` for a record that nobody may look into.
        """
        good = state is not None and state.get("v") == STATE_VERSION
        self._digest: bytes = state["digest"] if good and state is not None else b""
        self._until: float = state["until"] if good and state is not None else 0.0
        self._forget_after = forget_after
        self._now = now
        self._digested = digest

    def on_item(self, value: Record) -> tuple[Iterable[Record], bool]:
        """Compare with the last digest and keep this one."""
        digest = self._digested(value)
        self._digest = digest or self._digest
        self._until = (self._now() + self._forget_after).timestamp()
        return [value], StatefulLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Record], bool]:
        """Nothing came for so long: forget the key."""
        return [], StatefulLogic.DISCARD

    def notify_at(self) -> datetime | None:
        """When to forget."""
        return datetime.fromtimestamp(self._until, UTC)

    def snapshot(self) -> dict[str, Any]:
        """Small, versioned, plain."""
        return {"v": STATE_VERSION, "digest": self._digest, "until": self._until}


def digest_of(record: Record) -> bytes:
    """What tells one record's bytes from another's."""
    return blake3(record.value).digest(DIGEST_BYTES)


def _now() -> datetime:
    return datetime.now(UTC)


@operator
def remember(
    step_id: str,
    up: KeyedStream[Record],
    quarantine: PoisonQuarantine,
    forget_after: timedelta = FORGET_AFTER,
    now: Callable[[], datetime] = _now,
) -> KeyedStream[Record]:
    """Records under any key → keyed by strategy, marked when they repeat its last, in order of arrival.

    Bytewax runs the keys of a batch in the order of their names; the last step puts the batch back in
    order, so that two strategies of one lineage are not swapped.
    """
    marked = quarantine.each("remember", digest_of, lambda record: record.origin)

    def digest(record: Record) -> bytes:
        return b"" if quarantine.is_quarantined(record.origin) else marked(record)

    keyed = op.map("by_strategy", up, lambda item: (strategy_of(item[1]), item[1]))
    compared = op.stateful("stateful", keyed, lambda state: LastDigest(state, forget_after, now, digest))
    return op.flat_map_batch("arrival", compared, lambda batch: sorted(batch, key=_arrival))


def _arrival(item: tuple[str, Record]) -> tuple[str, str, int, int]:
    origin = item[1].origin
    return origin.source, origin.source_id, origin.partition, origin.position
