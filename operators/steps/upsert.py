"""Plans → answers, in two steps: `claim` decides and records a whole micro-batch, `finish` waits for its topics.

What needs no topic is answered by `claim`, and passes `finish` at once. The rest is in progress: while its topics are
created (`operators/finisher.py`), other strategies are answered, and what follows of the same strategy or lineage waits
behind it. While a store is unreachable the flow waits and reports it; the offset stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dagmanager.dag.model import Origin, Record
from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import Answer, CacheHit, InProgress, Planned, Refused
from operators.finisher import Finisher, PendingResult
from operators.poison_quarantine import origin_of
from operators.result_order import ResultOrder
from operators.step_guard import StepGuard

STATE_VERSION: Final = 1
# Between two looks at what is in progress: short against creating a topic, long against a look.
LOOK: Final = timedelta(milliseconds=2)
Item = Answer | Refused | PendingResult


class FinishLogic(StatefulBatchLogic[Item, Answer | Refused, dict[str, Any]]):
    """What of one shard is in progress, or done and waits behind that, in order of arrival.

    State: `{"v": 1, "items": [{"value", "key", "timestamp_ms", "origin", "keys", "submission_id", "worlds"}, …]}`, the
    records as they were read. After a restart they are read and claimed again, as replays, before what follows them.
    """

    def __init__(self, state: dict[str, Any] | None, finisher: Finisher, order: ResultOrder) -> None:
        """Resume from a snapshot of this version. `ValueError` for any other: what it holds would be lost."""
        if state is not None and state.get("v") != STATE_VERSION:
            msg = f"snapshot of version {state.get('v')}, this release reads {STATE_VERSION}"
            raise ValueError(msg)
        self._finisher, self._order = finisher, order
        self._queue = [_resumed(each) for each in state["items"]] if state is not None else []
        for each in self._queue:
            order.arrive(each, each.keys)
        self._resumed = list(self._queue)

    def on_batch(self, values: list[Item]) -> tuple[Iterable[Answer | Refused], bool]:
        """What is done and has nothing of its strategy or lineage before it passes at once."""
        self._resume()
        passed: list[Answer | Refused] = []
        for item in values:
            keys = item.keys if isinstance(item, PendingResult) else _keys_of(item)
            if not isinstance(item, PendingResult) and self._order.is_free(keys):
                passed.append(item)
                continue
            waiting = item if isinstance(item, PendingResult) else _waiting(item, keys)
            self._order.arrive(waiting, keys)
            self._queue.append(waiting)
        return [*passed, *self._ready()], not self._queue

    def on_notify(self) -> tuple[Iterable[Answer | Refused], bool]:
        """What is done by now."""
        self._resume()
        self._finisher.wait(lambda: True)
        return self._ready(), not self._queue

    def on_eof(self) -> tuple[Iterable[Answer | Refused], bool]:
        """Everything: block until it is done. The next step restores the order between shards."""
        self._resume()
        self._finisher.wait(lambda: all(each.results is not None for each in self._queue))
        return self._emitted(self._queue), StatefulBatchLogic.DISCARD

    def notify_at(self) -> datetime | None:
        """Soon, while anything is in progress."""
        return datetime.now(UTC) + LOOK if self._queue else None

    def snapshot(self) -> dict[str, Any]:
        """Plain and versioned."""
        return {"v": STATE_VERSION, "items": [_state_of(each) for each in self._queue]}

    def _resume(self) -> None:
        resumed, self._resumed = self._resumed, []
        self._finisher.put(resumed)

    def _ready(self) -> list[Answer | Refused]:
        found: list[Answer | Refused] = []
        for each in list(self._queue):
            if each.results is not None and self._order.is_first(each, each.keys):
                found += self._emitted([each])
        return found

    def _emitted(self, done: Sequence[PendingResult]) -> list[Answer | Refused]:
        found: list[Answer | Refused] = []
        for each in list(done):
            self._order.leave(each, each.keys)
            self._queue.remove(each)
            found += each.results or ()
        return found


@operator
def upsert(
    step_id: str,
    up: KeyedStream[Planned | CacheHit | Refused],
    engine: Engine,
    guard: StepGuard,
    finisher: Finisher,
) -> KeyedStream[Answer | Refused]:
    """The only step that changes a store; called again with the same items while one is unreachable."""
    work: Callable[[list[Planned | CacheHit]], list[Answer | InProgress]] = engine.claim
    order = ResultOrder()

    def started_of(batch: list[tuple[str, Answer | InProgress | Refused]]) -> Iterable[tuple[str, Item]]:
        return zip([key for key, _ in batch], start([item for _, item in batch], finisher), strict=True)

    claimed = guard.batches("claim", up, work, passing=Refused, name="upsert")
    started = op.flat_map_batch("start", claimed, started_of)
    finished = op.stateful_batch("finish", started, lambda state: FinishLogic(state, finisher, order))
    return op.flat_map_batch("arrival", finished, lambda batch: sorted(batch, key=_arrival))


def start(batch: Sequence[Answer | InProgress | Refused], finisher: Finisher) -> list[Item]:
    """Give the finisher what is in progress, all of a micro-batch at once, so that topics are created in bulk."""
    items = [_pending(item) if isinstance(item, InProgress) else item for item in batch]
    finisher.put([item for item in items if isinstance(item, PendingResult)])
    return items


def _arrival(item: tuple[str, Answer | Refused]) -> tuple[str, str, int, int]:
    origin = origin_of(item[1])
    return (origin.source, origin.source_id, origin.partition, origin.position) if origin else ("", "", 0, 0)


def _keys_of(item: Answer | InProgress | Refused) -> tuple[str, ...]:
    if isinstance(item, Refused):
        return (f"strategy {item.strategy_id}",)
    submission = item.submission
    lineage = f"lineage {submission.context.namespace} {submission.dag.lineage}"
    return (f"strategy {submission.strategy_id}", lineage)


def _pending(item: InProgress | Answer) -> PendingResult:
    submission = item.submission
    if submission.record is None:
        msg = "a submission of the flow comes in a record"
        raise AssertionError(msg)
    pending = PendingResult(submission.record, _keys_of(item), submission.submission_id)
    pending.submission = submission
    pending.claim = item if isinstance(item, InProgress) else None
    return pending


def _waiting(item: Answer | Refused, keys: tuple[str, ...]) -> PendingResult:
    """A result that only waits for its turn."""
    waiting = (
        PendingResult(item.record, keys, "", item.worlds) if isinstance(item, Refused) else _pending(item)
    )
    waiting.results = (item,)
    return waiting


def _state_of(each: PendingResult) -> dict[str, Any]:
    record, origin = each.record, each.record.origin
    return {
        "value": record.value,
        "key": record.key,
        "timestamp_ms": record.timestamp_ms,
        "origin": (origin.source, origin.source_id, origin.partition, origin.position),
        "keys": each.keys,
        "submission_id": each.submission_id,
        "worlds": each.worlds,
    }


def _resumed(state: dict[str, Any]) -> PendingResult:
    record = Record(state["value"], Origin(*state["origin"]), state["key"], state["timestamp_ms"])
    return PendingResult(record, state["keys"], state["submission_id"], state["worlds"])
