"""Where refused submissions leave, with their original bytes (docs/semantics.md 9)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Final

import msgspec
import orjson
from blake3 import blake3

from dagmanager.engine.wire.message import Message
from dagmanager.engine.wire.refusals import DEAD_LETTER_BYTES
from dagmanager.kafka.records import Delivery
from sinks.json_lines import JsonLinesSink, Patiently
from sinks.kafka_records import Destination, KafkaRecordsSink

FILE: Final = "dead-letters.jsonl"


def dead_letter_file(results: Path, patiently: Patiently) -> JsonLinesSink:
    """A line is `{key, headers, value_base64}`; the bytes may be anything, so base64."""
    return JsonLinesSink(results / FILE, _line, patiently)


def dead_letter_topic(topic: str, delivery: Delivery, patiently: Patiently) -> KafkaRecordsSink:
    """Original bytes under their own key, reason and origin in the headers."""
    return KafkaRecordsSink(Destination(topic, delivery, patiently, cut))


def cut(message: Message) -> Message:
    """The letter for a topic that does not take it whole: the first 64 KiB, digest and length in the headers."""
    value, headers = message.value, message.headers
    if not any(name == "value-digest" for name, _ in headers):
        digest = "blake3:" + blake3(value).hexdigest()
        headers = (*headers, ("value-digest", digest.encode()), ("value-length", b"%d" % len(value)))
    return msgspec.structs.replace(message, value=value[:DEAD_LETTER_BYTES], headers=headers)


def _line(message: Message) -> bytes:
    headers = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return orjson.dumps(
        {"key": message.key, "headers": headers, "value_base64": b64encode(message.value).decode()}
    )
