"""Where refused submissions leave, with their original bytes (decisions 8)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Final

import orjson

from dagmanager.engine.journey import Message
from sinks.json_lines import JsonLinesSink, Patiently

FILE: Final = "dead-letters.jsonl"


def dead_letter_file(results: Path, patiently: Patiently) -> JsonLinesSink:
    """A line is `{key, headers, value_base64}`; the bytes may be anything, so base64."""
    return JsonLinesSink(results / FILE, _line, patiently)


def _line(message: Message) -> bytes:
    headers = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return orjson.dumps(
        {"key": message.key, "headers": headers, "value_base64": b64encode(message.value).decode()}
    )
