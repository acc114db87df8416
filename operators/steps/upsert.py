"""Plans → answers, in two steps: `claim` decides and records a whole micro-batch, `finish` waits for its topics.

What needs no topic is answered by `claim`, and passes `finish` at once. The rest is in progress: while its topics are
created (`operators/finisher.py`), other strategies are answered, and later results of the same strategy or lineage wait
behind it. While a store is unreachable the flow waits and reports it.

There is no deadline: a claim ends when it is activated, refused, or lost to another process, which then answers for it.
Its lease is renewed while this process works on it, and an outage is retried until it ends. An answer `unavailable` after
some time would say that nothing was changed, while the claim is stored and its topics may be created.

What is in progress is bounded for the whole process (`ResultOrder.has_room`), with what is done and waits: the input stops
reading (`operators/sources/paused_input.py`). No step waits for room, because its worker must emit what makes room.

Once `start` has passed a claim to the finisher, the input's offset moves past its record. So the record is kept in the
state of `finish`: the snapshot that has the offset also has the record, and a restart loses none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dagmanager.dag.model import Origin, Record, WholeValue
from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import Answer, CacheHit, InProgress, Planned, Refused
from dagmanager.errors import SettingsError
from operators.finisher import GUARDED_AS, Done, Finisher, PendingResult, Unread
from operators.poison_quarantine import origin_of
from operators.result_order import ResultOrder
from operators.step_guard import StepGuard

STATE_VERSION: Final = 1
# How often results are collected while something is in progress: short against creating a topic, long against one
# collection.
LOOK: Final = timedelta(milliseconds=2)
FinishItem = Answer | Refused | PendingResult


class FinishLogic(StatefulBatchLogic[FinishItem, Answer | Refused, dict[str, Any]]):
    """The items of one shard that are in progress, or that are done and wait behind those, in order of arrival.

    State: `{"v": 1, "items": [{"value", "key", "timestamp_ms", "origin", "keys", "submission_id", "worlds", "whole"}, …]}`,
    the records as they were read; `whole` (digest, length) only of one that the source has cut. After a restart they are read and claimed again, as replays, before what follows them.
    Raises as `Finisher.wait`. Only the first call after a restart blocks (`Finisher.put`), and `on_eof`.
    """

    def __init__(
        self, state: dict[str, Any] | None, finisher: Finisher, order: ResultOrder[PendingResult]
    ) -> None:
        """Resume from a snapshot of this version. `SettingsError` for any other version: its records would be lost."""
        if state is not None and state.get("v") != STATE_VERSION:
            msg = (
                f"the recovery folder has submissions in progress in a state of version {state.get('v')!r}, unknown to "
                "this release: finish them with the release that wrote it (run it until its input is read), or give a "
                "new folder (then everything is read again, as new submissions)"
            )
            raise SettingsError(msg)
        self._finisher, self._order = finisher, order
        # In order of arrival; a dict, because items leave from anywhere in it.
        self._queue = {_resumed(each): None for each in state["items"]} if state is not None else {}
        # Registered here, before any new item comes, so that nothing overtakes it. The finisher gets it later, in
        # `_resume`, because `put` may block and raise, and Bytewax is still loading the state of other shards.
        for each in self._queue:
            order.arrive(each, self)
        self._resumed = list(self._queue)

    def on_batch(self, values: list[FinishItem]) -> tuple[Iterable[Answer | Refused], bool]:
        """Pass on results that wait for no earlier item of their strategy or lineage; queue the others."""
        self._resume()
        # Also a result that is done is queued when an earlier item of its strategy or lineage is: only what is free leaves
        # at once. `is_free` and `arrive` need no common lock, because one worker has all items of a strategy; two
        # strategies of one lineage in different workers arrive in no defined order anyway.
        passed: list[Answer | Refused] = []
        for item in values:
            keys = item.keys if isinstance(item, PendingResult) else _keys_of(item)
            if not isinstance(item, PendingResult) and self._order.is_free(keys):
                passed.append(item)
                continue
            waiting = item if isinstance(item, PendingResult) else _waiting(item, keys)
            self._order.arrive(waiting, self)
            self._queue[waiting] = None
        return [*passed, *self._ready()], not self._queue

    def on_notify(self) -> tuple[Iterable[Answer | Refused], bool]:
        """Pass on what is done by now."""
        self._resume()
        self._finisher.wait(lambda: True)  # raises when the finisher has failed: its results would never come
        return self._ready(), not self._queue

    def on_eof(self) -> tuple[Iterable[Answer | Refused], bool]:
        """Block until everything of the shard is done, and pass it on. The step `arrival` restores the order of shards."""
        self._resume()
        self._finisher.wait(lambda: all(each.is_done for each in self._queue))
        done = list(self._queue)
        for each in done:
            self._order.leave(each)
        return self._emitted(done), StatefulBatchLogic.DISCARD

    def notify_at(self) -> datetime | None:
        """In 2 ms while the shard has items; None otherwise."""
        return datetime.now(UTC) + LOOK if self._queue else None

    def snapshot(self) -> dict[str, Any]:
        """The state, in plain types: every item that has not left, done or not."""
        return {"v": STATE_VERSION, "items": [_state_of(each) for each in self._queue]}

    def _resume(self) -> None:
        resumed, self._resumed = self._resumed, []
        self._finisher.put(resumed)

    def _ready(self) -> list[Answer | Refused]:
        return self._emitted(self._order.take_ready(self))

    def _emitted(self, done: Sequence[PendingResult]) -> list[Answer | Refused]:
        found: list[Answer | Refused] = []
        for each in done:
            del self._queue[each]
            if isinstance(each.progress, Done):
                found += each.progress.results
        return found


@operator
def upsert(
    step_id: str,
    up: KeyedStream[Planned | CacheHit | Refused],
    engine: Engine,
    guard: StepGuard,
    finisher: Finisher,
    order: ResultOrder[PendingResult],
) -> KeyedStream[Answer | Refused]:
    """The only step that changes a store. Gives one answer or refusal per item.

    Blocks for a transaction per item, while a store is unreachable, and while too much has no result (`Finisher.put`).
    Results leave in order within a strategy, and within a lineage if one worker reads all of it.
    """
    work: Callable[[list[Planned | CacheHit]], list[Answer | InProgress]] = engine.claim

    def started_of(
        batch: list[tuple[str, Answer | InProgress | Refused]],
    ) -> Iterable[tuple[str, FinishItem]]:
        return zip([key for key, _ in batch], start([item for _, item in batch], finisher), strict=True)

    claimed = guard.batches("claim", up, work, passing=Refused, name=GUARDED_AS)
    started = op.flat_map_batch("start", claimed, started_of)
    # Bytewax calls `finish` shard by shard, in the order of their names; `arrival` undoes that, or two strategies of one
    # lineage would be swapped within a batch.
    finished = op.stateful_batch("finish", started, lambda state: FinishLogic(state, finisher, order))
    return op.flat_map_batch("arrival", finished, lambda batch: sorted(batch, key=_arrival))


def start(batch: Sequence[Answer | InProgress | Refused], finisher: Finisher) -> list[FinishItem]:
    """Pass what is in progress to the finisher, a whole micro-batch at once, so that topics are created in bulk.

    Not in `finish`, which is called per shard: each shard would create its topics in a request of its own. Blocks and
    raises as `Finisher.put`.
    """
    items = [_pending(item) if isinstance(item, InProgress) else item for item in batch]
    finisher.put([item for item in items if isinstance(item, PendingResult)])
    return items


def _arrival(item: tuple[str, Answer | Refused]) -> tuple[str, str, int, int]:
    origin = origin_of(item[1])
    return (origin.source, origin.source_id, origin.partition, origin.position)


def _keys_of(item: Answer | InProgress | Refused) -> tuple[str, ...]:
    if isinstance(item, Refused):
        return (f"strategy {item.strategy_id}",)
    submission = item.submission
    lineage = f"lineage {submission.context.namespace} {submission.dag.lineage}"
    return (f"strategy {submission.strategy_id}", lineage)


def _pending(item: InProgress | Answer) -> PendingResult:
    submission, progress = item.submission, item if isinstance(item, InProgress) else Done((item,))
    return PendingResult(submission.record, _keys_of(item), progress, submission.submission_id)


def _waiting(item: Answer | Refused, keys: tuple[str, ...]) -> PendingResult:
    """A result that only waits for earlier ones of its strategy or lineage."""
    if isinstance(item, Refused):
        return PendingResult(item.record, keys, Done((item,)), worlds=item.worlds)
    return _pending(item)


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
        **({"whole": (record.whole.digest, record.whole.length)} if record.whole else {}),
    }


def _resumed(state: dict[str, Any]) -> PendingResult:
    whole = WholeValue(*state["whole"]) if "whole" in state else None
    record = Record(state["value"], Origin(*state["origin"]), state["key"], state["timestamp_ms"], whole)
    return PendingResult(record, state["keys"], Unread(), state["submission_id"], state["worlds"])
