"""Where answers leave: one JSON object per chunk (docs/semantics.md 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dagmanager.engine.wire.message import Message
from dagmanager.kafka.records import Delivery
from sinks.json_lines import JsonLinesSink, Patiently
from sinks.kafka_records import Destination, KafkaRecordsSink

FILE: Final = "diffs.jsonl"


def diff_chunk_file(results: Path, patiently: Patiently) -> JsonLinesSink:
    """Each line is the value that would be the record on the diffs topic."""
    return JsonLinesSink(results / FILE, _line, patiently)


def diff_chunk_topic(topic: str, delivery: Delivery, patiently: Patiently) -> KafkaRecordsSink:
    """One record per chunk, keyed by strategy. A chunk has 900 kB at most, so none is too large
    for a topic that was checked at the start."""
    return KafkaRecordsSink(Destination(topic, delivery, patiently))


def _line(message: Message) -> bytes:
    return message.value
