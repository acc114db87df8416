"""The output of refused submissions, with their original bytes (docs/semantics.md 9)."""

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
from sinks.json_lines import JsonLinesSink, Retry
from sinks.kafka_records import Destination, KafkaRecordsSink

FILE: Final = "dead-letters.jsonl"


def dead_letter_file(results: Path, retry: Retry) -> JsonLinesSink:
    """Writes `dead-letters.jsonl` in this folder, one `{key, headers, value_base64}` per line: a value may be any bytes."""
    return JsonLinesSink(results / FILE, dead_letter_line, retry)


def dead_letter_topic(topic: str, delivery: Delivery, retry: Retry) -> KafkaRecordsSink:
    """Writes the original bytes under their own key, with error and origin in the headers; cut if the topic refuses them."""
    return KafkaRecordsSink(Destination(topic, delivery, retry, cut))


def cut(message: Message) -> Message:
    """The dead letter for a topic that refuses it as too large: its first 64 KiB, with digest and length in the headers."""
    value, headers = message.value, message.headers
    if not any(name == "value-digest" for name, _ in headers):
        digest = "blake3:" + blake3(value).hexdigest()
        headers = (*headers, ("value-digest", digest.encode()), ("value-length", b"%d" % len(value)))
    return msgspec.structs.replace(message, value=value[:DEAD_LETTER_BYTES], headers=headers)


def dead_letter_line(message: Message) -> bytes:
    """One line of `dead-letters.jsonl`. Never raises: a header that is not UTF-8 is shown with replacements."""
    headers = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return orjson.dumps(
        {"key": message.key, "headers": headers, "value_base64": b64encode(message.value).decode()}
    )
