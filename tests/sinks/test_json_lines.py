from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from dagmanager.engine.journey import Message
from sinks.dead_letters import dead_letter_file
from sinks.diff_chunks import diff_chunk_file
from sinks.queue_events import QueueEventsSink


def test_a_torn_line_is_cut_before_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "diffs.jsonl"
    for torn, kept in (
        (b'{"a":1}\n{"b', b'{"a":1}\n'),
        (b"x" * 200_000, b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b"", b""),
    ):
        path.write_bytes(torn)
        part = diff_chunk_file(tmp_path).build_part("diffs", "diffs.jsonl", None)
        part.write_batch([Message("s", b'{"c":1}'), Message("s", b'{"d":1}')])
        part.close()
        assert path.read_bytes() == kept + b'{"c":1}\n{"d":1}\n'


def test_lines_are_on_disk_when_the_snapshot_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    path = tmp_path / "new" / "diffs.jsonl"
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    part = diff_chunk_file(tmp_path / "new").build_part("diffs", "diffs.jsonl", None)
    part.write_batch([Message("s", b"{}")])
    assert path.read_bytes() == b"{}\n"
    part.snapshot()
    assert synced == [b"{}\n"]
    part.close()


def test_a_dead_letter_carries_any_bytes(tmp_path: Path) -> None:
    part = dead_letter_file(tmp_path).build_part("dead_letters", "dead-letters.jsonl", None)
    part.write_batch([Message("s", b"\xff\n", (("error", b'{"code":"x"}'),))])
    part.close()
    line = orjson.loads((tmp_path / "dead-letters.jsonl").read_bytes())
    assert line == {"key": "s", "headers": {"error": '{"code":"x"}'}, "value_base64": "/wo="}


def test_the_outbox_is_emptied_at_the_start_and_after_every_batch() -> None:
    calls: list[int] = []
    part = QueueEventsSink(lambda: calls.append(1)).build_part("queue_events", "outbox", None)
    part.write_batch([None, None])
    part.write_batch([None])
    assert len(calls) == 3
