"""The output of answers: one JSON object per chunk (docs/semantics.md 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dagmanager.engine.wire.message import Message
from dagmanager.kafka.records import Delivery
from sinks.json_lines import JsonLinesSink, Retry
from sinks.kafka_records import Destination, KafkaRecordsSink

FILE: Final = "diffs.jsonl"


def diff_chunk_file(results: Path, retry: Retry) -> JsonLinesSink:
    """Writes `diffs.jsonl` in this folder; each line is the value that a record on the diffs topic would have."""
    return JsonLinesSink(results / FILE, _line, retry)


def diff_chunk_topic(topic: str, delivery: Delivery, retry: Retry) -> KafkaRecordsSink:
    """Writes one record per chunk, keyed by strategy id. A chunk has at most 900 kB, so none is too large for a topic that
    was checked at the start."""
    return KafkaRecordsSink(Destination(topic, delivery, retry))


def _line(message: Message) -> bytes:
    return message.value
