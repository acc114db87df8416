"""A client to copy: submits DAGs and reads what became of them. The standard library and confluent-kafka, nothing else.

docs/reference/clients.md explains what lies on the topics. `python -m examples.client HOST:PORT FILE` submits one DAG and
prints its answer.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

DELIVERED_SECONDS = 10.0
REMEMBERED = 10_000
DIFFS = "dagmanager.diffs"
DEAD_LETTERS = "dagmanager.dead-letters"
SOURCE = ("source-topic", "source-partition", "source-offset")
EVENTS = ("queue", "sentinel_weight")
Json = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """Where a strategy runs. Without a domain, or as a backtest without `as_of`, it shares nothing."""

    world_id: str = "demo"
    execution_domain: str = "live"
    as_of: str = ""

    def fields(self) -> Json:
        """As a submission says it."""
        named = {"execution_domain": self.execution_domain, "as_of": self.as_of}
        return {name: value for name, value in named.items() if value}


class Submitter:
    """Writes submissions; the broker has acknowledged each before `submit` returns."""

    def __init__(self, servers: str, topic: str = "dagmanager.submissions") -> None:
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,  # a retry inside the library writes no second record
                "message.max.bytes": 9 * 1024 * 1024,  # a submission has 8 MiB at most
                "partitioner": "murmur2_random",  # where Java clients place the same key
                "linger.ms": 0,
                "log_level": 2,
            }
        )

    def submit(self, strategy_id: str, dag: Json, context: Context) -> None:
        """Blocks for 10 s at most. Raises `KafkaException` when the broker did not take it: send it again, same id."""
        sent_ms = time.time_ns() // 1_000_000
        body = {"world_ids": [context.world_id], "compute_context": context.fields(), "dag": dag}
        value = json.dumps(["gateway.ingest", sent_ms, strategy_id, body]).encode()
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        # The key keeps the order of what one strategy id sends.
        self._producer.produce(self._topic, value, f"ingest:{strategy_id}", on_delivery=delivered)
        if self._producer.flush(DELIVERED_SECONDS) or failed:
            raise KafkaException(failed[0] if failed else KafkaError(KafkaError._TIMED_OUT))


@dataclass
class Chunks:
    """Puts answers together. Records may repeat after a crash of the flow; an answer that comes twice is equal."""

    _open: dict[tuple[str, str, str], dict[int, Json]] = field(default_factory=dict)

    def add(self, chunk: Json) -> Json | None:
        """The whole answer when this was its last chunk. Chunks of one answer share their `outcome_digest`."""
        name = (chunk["submission_id"], chunk["world_id"], chunk["outcome_digest"])
        parts = self._open.setdefault(name, {})
        parts[chunk["chunk"]] = chunk
        if len(parts) < chunk["chunks"]:
            return None
        del self._open[name]
        answer = dict(parts[0])
        for number in range(1, chunk["chunks"]):
            answer["queue_map"] = answer["queue_map"] | parts[number]["queue_map"]
            answer["buffer_nodes"] = answer["buffer_nodes"] + parts[number]["buffer_nodes"]
        return answer


@dataclass(frozen=True)
class Received:
    """One thing that was read: an `answer`, a `dead letter` or an `event`."""

    kind: str
    content: Json


class Listener:
    """Reads answers, dead letters and control events, each from its first record."""

    def __init__(self, servers: str, topics: tuple[str, ...] = (DIFFS, DEAD_LETTERS, *EVENTS)) -> None:
        self._chunks = Chunks()
        self._seen: dict[str, None] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"example-{uuid.uuid4()}",  # a group of its own sees everything
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,  # no other process continues from here
                "fetch.wait.max.ms": 50,
                # By default a topic that is created later is found after five minutes.
                "topic.metadata.refresh.interval.ms": 2_000,
                "log_level": 2,
            }
        )
        self._consumer.subscribe(list(topics))

    def poll(self, seconds: float) -> Received | None:
        """The next answer, dead letter or event; None when nothing came in time, or only a part of an answer."""
        message = self._consumer.poll(seconds)
        if message is None:
            return None
        if (error := message.error()) is not None:
            # An unreachable broker, or a topic that does not exist yet: the library tries again by itself.
            if error.fatal():
                raise KafkaException(error)
            return None
        if message.topic() == DEAD_LETTERS:
            return Received("dead letter", dead_letter(message))
        read: Json = json.loads(message.value() or b"{}")
        if message.topic() == DIFFS:
            answer = self._chunks.add(read)
            return None if answer is None else Received("answer", answer)
        return Received("event", read["data"]) if self._is_news(read["data"]) else None

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _is_news(self, event: Json) -> bool:
        """An event may be published again after a crash, with the same idempotency key."""
        key = event["idempotency_key"]
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    def __iter__(self) -> Iterator[Received]:
        """For ever."""
        while True:
            if received := self.poll(1.0):
                yield received


def dead_letter(message: Message) -> Json:
    """The reason, and where the refused record lies; the letter's value is that record's bytes."""
    headers: Json = dict(message.headers() or [])
    place = {name: headers[name].decode() for name in SOURCE}
    return place | {"error": json.loads(headers["error"])}


def main(arguments: list[str]) -> int:
    """Submit one DAG and wait for its answer."""
    if len(arguments) != 2:
        is_help = arguments in (["-h"], ["--help"])
        print(__doc__, file=sys.stdout if is_help else sys.stderr)
        return 0 if is_help else 2
    servers, file = arguments
    strategy_id = f"example-{uuid.uuid4()}"
    try:
        Submitter(servers).submit(strategy_id, json.loads(Path(file).read_bytes()), Context())
    except (OSError, ValueError) as wrong:
        print(f"error: cannot read a DAG from {file}: {wrong}", file=sys.stderr)
        return 2
    except KafkaException as wrong:
        print(f"error: Kafka at {servers} is unreachable: {wrong.args[0].str()}", file=sys.stderr)
        return 4
    for received in Listener(servers):
        if received.kind == "answer" and received.content["strategy_id"] == strategy_id:
            print(json.dumps(received.content, indent=1))
            return 0 if received.content["status"] == "ok" else 1
    return 1


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, such as `head`, is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    sys.exit(code)
