"""Where answers leave: one JSON object per chunk (decisions 8)."""

from __future__ import annotations

from pathlib import Path

from dagmanager.engine.journey import Message
from sinks.json_lines import JsonLinesSink


def diff_chunk_file(results: Path) -> JsonLinesSink:
    """`diffs.jsonl`: each line is the value that would be the record on the diffs topic."""
    return JsonLinesSink(results / "diffs.jsonl", _line)


def _line(message: Message) -> bytes:
    return message.value
