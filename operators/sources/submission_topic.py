"""Submissions from a Kafka topic: each partition read in order, its offset kept in the flow's snapshots.

No offset is ever skipped: an offset that no longer exists, a topic that was created again, or a record that cannot be
read stops the flow with an `InputLostError`. An unreachable broker does not: reading stalls, and resumes by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from dagmanager.backoff import Backoff
from dagmanager.dag.model import Origin, Record
from dagmanager.dag.record.record_key import strategy_of
from dagmanager.engine.model.topics_port import TopicInfo
from dagmanager.errors import InputLostError, UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.progress import PartitionProgress, TopicProgress
from operators.sources.keyed_record import KeyedRecord
from operators.sources.partition_share import PartitionShare
from operators.sources.shared_consumer import SharedConsumer
from operators.sources.topic_identity import EVERY_S, TopicIdentityCheck, other_topic
from operators.store_retry import ignore

logger = logging.getLogger("dagmanager.flow")

BATCH_RECORDS: Final = 64
STATE_VERSION: Final = 1
# A busy broker knows a topic only some time after its creation, or after its own restart.
KNOWN_WITHIN_S: Final = 15.0
DESCRIBE_BACKOFF: Final = Backoff(first_s=0.25, factor=2, longest_s=1.0, jitter=0.5)
_GONE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
# The library would continue after such a record, and so skip it.
_UNREADABLE: Final = frozenset({KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG})
# The worker asks again as soon as it has nothing else to do: the shared consumer waits, not the worker.
_AT_ONCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
TopicState = dict[str, Any]


class SubmissionsAt(msgspec.Struct, frozen=True):
    """What is read: a topic, which of its partitions, and at most how many records at once.

    `watch_s`: seconds between two checks that it is still the same topic. `known_within_s`: how long brokers may take
    to know a topic that was just created.
    """

    address: KafkaAddress
    topic: str
    share: PartitionShare = PartitionShare()
    batch_records: int = BATCH_RECORDS
    watch_s: float = EVERY_S
    known_within_s: float = KNOWN_WITHIN_S


class TopicPartitionReader(StatefulSourcePartition[KeyedRecord, TopicState]):
    """One partition. State: `{"v": 1, "topic_id": …, "offset": next}`."""

    def __init__(
        self,
        inbox: SharedConsumer,
        partition: TopicPartition,
        topic_id: str,
        watch: TopicIdentityCheck,
        stopping: Callable[[], bool],
    ) -> None:
        """Read from the partition's offset; a negative one means the first record that the broker still has."""
        self._inbox = inbox
        self._topic = partition.topic
        self._topic_id = topic_id
        self._watch = watch
        self._stopping = stopping
        self.number = partition.partition
        self._next: int | None = partition.offset if partition.offset >= 0 else None
        self._held: list[Message] = []
        self._complaints: set[int] = set()
        self._partition = partition
        inbox.open(partition)

    def next_batch(self) -> Iterable[KeyedRecord]:
        """Records that have arrived, without waiting; StopIteration when the run is stopped.

        Raises `InputLostError` when records that were still to be read no longer exist.
        """
        if self._stopping():
            raise StopIteration
        self._watch.look()
        messages = self._held or self._inbox.take(self.number)
        self._held = []
        batch: list[KeyedRecord] = []
        for index, message in enumerate(messages):
            error = message.error()
            if error is None:
                batch.append(self._read(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._pass(message.offset())
            elif batch:  # the records before the error are answered first
                self._held = messages[index:]
                break
            else:
                self._judge(error, message)
        return batch

    def snapshot(self) -> TopicState:
        """The next offset; None while nothing was read."""
        return {"v": STATE_VERSION, "topic_id": self._topic_id, "offset": self._next}

    def next_awake(self) -> datetime:
        """At once."""
        return _AT_ONCE

    def close(self) -> None:
        """Stop reading the partition."""
        self._inbox.close(self._partition)

    def progress(self) -> PartitionProgress:
        """For metrics, from any thread; makes no request."""
        low, high = self._inbox.ends(self._partition)
        position = low if self._next is None else self._next
        return PartitionProgress(
            self.number, position if position >= 0 else None, high if high >= 0 else None
        )

    def _read(self, message: Message) -> KeyedRecord:
        offset = message.offset()
        value = message.value() or b""  # a tombstone is refused as text that is not JSON
        origin = Origin(self._topic, self._topic_id, self.number, offset or 0)
        _, timestamp_ms = message.timestamp()
        record = Record(value, origin, message.key(), max(timestamp_ms, 0))
        self._next = (offset or 0) + 1
        return strategy_of(record), record

    def _pass(self, end: int | None) -> None:
        """Everything before `end` was read, or is no record: a transaction's marker, or a part of an aborted one.

        Without this, the position would stay before the last marker for ever: retention that removes the marker would look
        like the loss of a record at the next start, and the lag would never be 0.
        """
        if end is not None and end >= 0:
            self._next = max(end, self._next or 0)

    def _judge(self, error: KafkaError, message: Message) -> None:
        code = error.code()
        where = f"partition {self.number} of topic {self._topic}"
        if code in _GONE:
            wanted = "the first record" if self._next is None else f"offset {self._next}"
            msg = (
                f"{where} has no {wanted} any more: retention or a person removed records that were not "
                "read yet. Check what was lost; a new recovery folder starts with the records that are left"
            )
            raise InputLostError(msg)
        if code in _UNREADABLE:
            msg = f"{where}: the record at offset {message.offset()} cannot be read: {error.str()}"
            raise InputLostError(msg)
        if error.fatal():
            msg = f"{where} cannot be read any more: {error.str()}"
            raise InputLostError(msg)
        if code not in self._complaints:
            self._complaints.add(code)
            logger.warning("%s: %s; reading resumes when the error is over", where, error.str())


class SubmissionTopic(FixedPartitionedSource[KeyedRecord, TopicState]):
    """The submissions topic, or this process' share of its partitions.

    New partitions are read after a restart. Blocks for a request's time limit at the start, and
    raises `UnavailableError` when no broker answers then.
    """

    def __init__(
        self, at: SubmissionsAt, stopping: Callable[[], bool], waits: Callable[[str], None] = ignore
    ) -> None:
        """Makes no request yet. `waits` is called with the reason while no broker answers, and with `""` when one does again."""
        self._at = at
        self._stopping = stopping
        self._waits = waits
        self._admin = KafkaAdmin(at.address)
        self._lock = threading.Lock()
        self._found: TopicInfo | None = None
        self._watch: TopicIdentityCheck | None = None
        self._parts: list[TopicPartitionReader] = []
        # By thread: each worker has its own.
        self._inboxes: dict[int, SharedConsumer] = {}

    @property
    def topic_id(self) -> str:
        """The broker's id of the topic that is read. The first call asks a broker, and may block or raise as `list_parts`."""
        return self._topic().topic_id

    def list_parts(self) -> list[str]:
        """One for each partition of our share."""
        return [self._part(number) for number in self._at.share.of(self._topic().partitions, self._at.topic)]

    def build_part(
        self, step_id: str, for_part: str, resume_state: TopicState | None
    ) -> TopicPartitionReader:
        """Resume at the offset of the snapshot, else begin with the first record that exists."""
        found = self._topic()
        number = int(for_part.rpartition("/")[2])
        offset = self._resumed(found, number, resume_state)
        place = TopicPartition(self._at.topic, number, offset)
        with self._lock:
            if self._watch is None:
                self._watch = TopicIdentityCheck(self._admin, found, self._at.watch_s, waits=self._waits)
            part = TopicPartitionReader(self._inbox(), place, found.topic_id, self._watch, self._stopping)
            self._parts.append(part)
        return part

    def progress(self) -> TopicProgress:
        """Position and end of each partition read here; from any thread, without a request."""
        with self._lock:
            parts, watch = tuple(self._parts), self._watch
        partitions = sorted((part.progress() for part in parts), key=lambda each: each.partition)
        return TopicProgress(self._at.topic, watch is None or watch.reachable, tuple(partitions))

    def _inbox(self) -> SharedConsumer:
        found = self._inboxes.get(threading.get_ident())
        if found is None or found.is_closed:
            found = SharedConsumer(self._at.address, self._at.batch_records)
            self._inboxes[threading.get_ident()] = found
        return found

    def _part(self, number: int) -> str:
        return f"{self._at.topic}/{number}"

    def _topic(self) -> TopicInfo:
        """The topic as first described: all partitions must belong to one incarnation of it."""
        with self._lock:
            if self._found is None:
                self._found = self._described()
            return self._found

    def _described(self) -> TopicInfo:
        """The topic existed at the check before the start: a broker that does not know it yet is asked again."""
        until = time.monotonic() + self._at.known_within_s
        pauses = DESCRIBE_BACKOFF.pauses()
        while True:
            found = self._admin.describe([self._at.topic]).get(self._at.topic)
            if found is not None:
                return found
            if self._stopping() or time.monotonic() > until:
                msg = f"submissions_topic: the brokers do not know topic {self._at.topic} (yet)"
                raise UnavailableError(msg)
            time.sleep(next(pauses))

    def _resumed(self, found: TopicInfo, number: int, state: TopicState | None) -> int:
        if state is None:
            return OFFSET_BEGINNING
        if state.get("v") != STATE_VERSION:
            msg = (
                f"the recovery folder has the position in partition {number} of topic {self._at.topic} in "
                f"another version ({state.get('v')!r}): use the release that wrote it, or a new folder"
            )
            raise InputLostError(msg)
        if state["topic_id"] != found.topic_id:
            raise InputLostError(other_topic(found.topic, state["topic_id"], found.topic_id))
        return OFFSET_BEGINNING if state["offset"] is None else int(state["offset"])
