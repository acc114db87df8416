"""A producer at a steady rate and a consumer in parallel: how long each submission took, from when it was due."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from benchmarks.live.strategies import Keyed

TIMEOUT_S: Final = 300.0
MADE_S: Final = 30.0
POLL_S: Final = 0.2
OUT: Final = 64 * 1024 * 1024
_CHUNK: Final = re.compile(rb'"chunk":(\d+),"chunks":(\d+)')


@dataclass
class Route:
    """The topic to write to and the topic to read from: the same for a bare hop."""

    servers: str
    into: str
    out: str
    refused: list[str] = field(default_factory=list)
    answer_bytes: int = 0

    def __post_init__(self) -> None:
        """Connect and read from the current end."""
        shared = {"bootstrap.servers": self.servers, "log_level": 2}
        self._producer = Producer(
            shared | {"linger.ms": 0, "acks": "all", "enable.idempotence": True, "message.max.bytes": OUT}
        )
        self._consumer = Consumer(
            shared
            | {
                "group.id": "bench",
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "queued.max.messages.kbytes": 64 * 1024,
                "fetch.queue.backoff.ms": 10,
            }
        )
        # From known offsets: an end that is resolved later may lie behind the first answers.
        self._consumer.assign(self._ends())

    def _ends(self) -> list[TopicPartition]:
        """The ends of all partitions; a topic that was just created may be unknown, or without leaders, for a moment."""
        until = time.perf_counter() + MADE_S
        while True:
            try:
                partitions = self._consumer.list_topics(self.out, timeout=10).topics[self.out].partitions
                if partitions:
                    return [self._end(TopicPartition(self.out, each)) for each in partitions]
            except KafkaException:
                if time.perf_counter() > until:
                    raise
            time.sleep(0.05)

    def _end(self, place: TopicPartition) -> TopicPartition:
        _, high = self._consumer.get_watermark_offsets(place, timeout=10)
        return TopicPartition(place.topic, place.partition, high)

    def close(self) -> None:
        """Close both clients."""
        self._consumer.close()

    def steady(self, records: Iterator[Keyed], rate: float, seconds: float) -> list[float]:
        """Milliseconds of each, measured from when it was due."""
        chosen = list(islice(records, round(rate * seconds)))
        due: dict[bytes, deque[float]] = defaultdict(deque)
        start = time.perf_counter() + 0.1
        for number, (key, _) in enumerate(chosen):
            due[self._name(key)].append(start + number / rate)
        taken: list[float] = []
        reader = threading.Thread(target=self._read, args=(due, len(chosen), taken))
        reader.start()
        for number, (key, value) in enumerate(chosen):
            while (left := start + number / rate - time.perf_counter()) > 0:
                time.sleep(left)
            self._send(key, value)
        reader.join()
        if len(taken) < len(chosen):
            msg = (
                f"{len(chosen) - len(taken)} of {len(chosen)} were not answered; refused: {self.refused[:3]}"
            )
            raise TimeoutError(msg)
        return taken

    def backlog(self, records: Iterator[Keyed]) -> float:
        """Seconds until all of these are answered; they are on the topic before the first is read."""
        chosen = list(records)
        began = time.perf_counter()
        self.steady(iter(chosen), len(chosen) * 1_000.0, 1 / 1_000)
        return time.perf_counter() - began

    def one_by_one(self, records: list[Keyed]) -> list[float]:
        """Send each when the one before it is answered; milliseconds of each."""
        return [self.steady(iter([record]), 1_000.0, 0.001)[0] for record in records]

    def _name(self, key: bytes) -> bytes:
        """The strategy id of a record: the key of its answers."""
        return key if self.into == self.out else key.removeprefix(b"ingest:")

    def _send(self, key: bytes, value: bytes) -> None:
        self._producer.produce(self.into, value, key)
        self._producer.poll(0)

    def _read(self, due: dict[bytes, deque[float]], wanted: int, taken: list[float]) -> None:
        """Runs in parallel with the producer; the last chunk of an answer ends its measurement."""
        until = time.perf_counter() + TIMEOUT_S
        while len(taken) < wanted and time.perf_counter() < until:
            message = self._consumer.poll(POLL_S)
            if message is None:
                continue
            if (error := message.error()) is not None:
                raise KafkaException(error)
            now = time.perf_counter()
            waiting = due.get(message.key() or b"")
            if waiting and self._is_last(message):
                taken.append((now - waiting.popleft()) * 1_000)

    def _is_last(self, message: Message) -> bool:
        if self.into == self.out:
            return True
        value = message.value() or b""
        # A byte search instead of parsing: the client's work on an answer must not count.
        found = _CHUNK.search(value, max(value.rfind(b'"chunk":'), 0))
        if found is None or b'"status":"ok"' not in value:
            self.refused.append(value[:1_000].decode("utf-8", "replace"))
            return True
        chunk, chunks = int(found[1]), int(found[2])
        self.answer_bytes = len(value) + (self.answer_bytes if chunk else 0)
        return chunk == chunks - 1
