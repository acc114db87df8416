"""Where answers leave: one JSON object per chunk (decisions 8)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dagmanager.engine.journey import Message
from sinks.json_lines import JsonLinesSink, Patiently

FILE: Final = "diffs.jsonl"


def diff_chunk_file(results: Path, patiently: Patiently) -> JsonLinesSink:
    """Each line is the value that would be the record on the diffs topic."""
    return JsonLinesSink(results / FILE, _line, patiently)


def _line(message: Message) -> bytes:
    return message.value
