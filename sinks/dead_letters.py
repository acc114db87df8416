"""Where refused submissions leave, with their original bytes (decisions 8)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import orjson

from dagmanager.engine.journey import Message
from sinks.json_lines import JsonLinesSink


def dead_letter_file(results: Path) -> JsonLinesSink:
    """`dead-letters.jsonl`: `{key, headers, value_base64}`; the bytes may be anything, so base64."""
    return JsonLinesSink(results / "dead-letters.jsonl", _line)


def _line(message: Message) -> bytes:
    headers = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return orjson.dumps(
        {"key": message.key, "headers": headers, "value_base64": b64encode(message.value).decode()}
    )
