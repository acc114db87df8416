"""Events and the admin log in files: in order, whole lines, also after a crash."""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry, AdminLog
from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.rows import OutboxRow, OutboxState, TopicSpec
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.topics.admin_log import FileAdminLog, MemoryAdminLog
from dagmanager.topics.events import FileEvents, MemoryEvents


def an_event(number: int) -> OutboxRow:
    value = b'{"specversion":"1.0","n": %d}' % number
    return OutboxRow(f"e{number}", "s", number, "queue", f"key{number}", value, OutboxState.WAITING, 1)


def an_entry(number: int) -> AdminEntry:
    return AdminEntry(AdminAction.CREATE, f"t{number}", "id", TopicSpec(1, 1, -1), "n", "", "k", number)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_memory_keeps_everything_in_order() -> None:
    memory_events, memory_log = MemoryEvents(), MemoryAdminLog()
    events: EventSink = memory_events
    log: AdminLog = memory_log
    for batch in ([1, 2], [], [2]):
        events.publish([an_event(n) for n in batch])
        log.append([an_entry(n) for n in batch])
    assert memory_events.published == [an_event(n) for n in (1, 2, 2)]
    assert memory_log.entries == [an_entry(n) for n in (1, 2, 2)]


def test_event_lines_hold_the_envelope_as_it_is(tmp_path: Path) -> None:
    events: EventSink = FileEvents(tmp_path / "events.jsonl")
    events.publish([an_event(1), an_event(2)])
    events.publish([an_event(3)])
    found = lines_of(tmp_path / "events.jsonl")
    assert [line["key"] for line in found] == ["key1", "key2", "key3"]
    assert found[0] == {"channel": "queue", "key": "key1", "value": {"specversion": "1.0", "n": 1}}
    assert b'"value":' + an_event(1).value in (tmp_path / "events.jsonl").read_bytes()


def test_admin_lines_decode_to_the_entries(tmp_path: Path) -> None:
    path = tmp_path / "admin.jsonl"
    log: AdminLog = FileAdminLog(path)
    log.append([an_entry(1), an_entry(2)])
    log.append([])
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=AdminEntry) for line in lines] == [an_entry(1), an_entry(2)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_appending_nothing_creates_no_file(tmp_path: Path) -> None:
    FileAdminLog(tmp_path / "admin.jsonl").append([])
    assert list(tmp_path.iterdir()) == []


def test_a_torn_line_is_cut_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "admin.jsonl"
    log = FileAdminLog(path)
    log.append([an_entry(1), an_entry(2)])
    os.truncate(path, path.stat().st_size - 9)
    log.append([an_entry(3)])
    assert [line["at_ms"] for line in lines_of(path)] == [1, 3]


def test_a_disk_that_fills_up_within_a_line_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "admin.jsonl"
    log = FileAdminLog(path)
    log.append([an_entry(1)])
    really = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(file, data[: len(data) - 50])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(UnavailableError, match="No space left"):
            log.append([an_entry(2), an_entry(3)])
    assert [line["at_ms"] for line in lines_of(path)] == [1]
    log.append([an_entry(4)])
    assert [line["at_ms"] for line in lines_of(path)] == [1, 4]


def test_lines_are_on_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    really = os.fsync

    def noted(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        really(file)

    monkeypatch.setattr(os, "fsync", noted)
    path = tmp_path / "admin.jsonl"
    FileAdminLog(path).append([an_entry(1)])
    assert path.stat().st_size in synced


def test_concurrent_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "admin.jsonl"
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: FileAdminLog(path).append([an_entry(n), an_entry(n)]), range(30)))
    found = [line["at_ms"] for line in lines_of(path)]
    assert sorted(found) == sorted([*range(30), *range(30)])
    assert found[::2] == found[1::2]


def test_a_path_that_can_never_be_written_to_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere, inside_a_file = tmp_path / "nowhere" / "admin.jsonl", tmp_path / "file" / "admin.jsonl"
    for path in (tmp_path, nowhere, inside_a_file, tmp_path / ("x" * 300)):
        with pytest.raises(SettingsError, match=f"{path} cannot be appended to"):
            FileAdminLog(path).append([an_entry(1)])
        with pytest.raises(SettingsError, match=f"{path} cannot be appended to"):
            FileEvents(path).publish([an_event(1)])
