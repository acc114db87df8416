from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from dagmanager.engine.wire.message import Message
from dagmanager.errors import SettingsError, UnavailableError
from operators.store_retry import RetryPolicy
from sinks.dead_letters import dead_letter_file
from sinks.diff_chunks import diff_chunk_file
from sinks.json_lines import JsonLinesPartition
from sinks.queue_events import QueueEventsSink

ONE, TWO = Message("s", b'{"c":1}'), Message("s", b'{"d":1}')


def diffs(folder: Path, sleep: Callable[[float], object] = lambda _: None) -> JsonLinesPartition:
    retry = RetryPolicy(sleep, lambda: False)
    return diff_chunk_file(folder, retry).build_part("diffs", "diffs.jsonl", None)


class FullDisk:
    """`os.write` on a disk that takes so many bytes and no more until it is freed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._really = os.write
        monkeypatch.setattr(os, "write", self._write)

    def _write(self, file: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self._really(file, data[: self.room])
        self.room -= count
        return count

    def free(self) -> None:
        self.room = 1_000_000


def test_a_torn_line_is_cut_before_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "diffs.jsonl"
    for torn, kept in (
        (b'{"a":1}\n{"b', b'{"a":1}\n'),
        (b"x" * 200_000, b""),
        (b'{"a":1}\n' + b"x" * 200_000, b'{"a":1}\n'),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b"", b""),
    ):
        path.write_bytes(torn)
        part = diffs(tmp_path)
        part.write_batch([ONE, TWO])
        part.close()
        assert path.read_bytes() == kept + b'{"c":1}\n{"d":1}\n'


def test_lines_are_on_disk_when_the_snapshot_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    path = tmp_path / "new" / "diffs.jsonl"
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    part = diffs(tmp_path / "new")
    part.write_batch([Message("s", b"{}")])
    assert path.read_bytes() == b"{}\n"
    part.snapshot()
    assert synced == [b"{}\n"]
    part.close()


def test_a_full_disk_is_waited_for_and_leaves_no_broken_line_and_no_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "diffs.jsonl"
    seen: list[bytes] = []
    disk = FullDisk(monkeypatch, room=8 + 12)

    def sleep(_: float) -> None:
        seen.append(path.read_bytes())
        if len(seen) == 3:
            disk.free()

    part = diffs(tmp_path, sleep)
    part.write_batch([ONE])
    part.write_batch([ONE, TWO])
    assert seen == [b'{"c":1}\n'] * 3
    assert path.read_bytes() == b'{"c":1}\n{"c":1}\n{"d":1}\n'
    part.close()


def test_a_torn_line_that_could_not_be_cut_at_once_is_cut_before_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.ftruncate
    refusals = [OSError(errno.ENOSPC, "No space left on device")]

    def refused_once(file: int, length: int) -> None:
        if refusals:
            raise refusals.pop()
        really(file, length)

    monkeypatch.setattr(os, "ftruncate", refused_once)
    disk = FullDisk(monkeypatch, room=3)
    part = diffs(tmp_path, lambda _: disk.free())
    part.write_batch([ONE])
    assert (tmp_path / "diffs.jsonl").read_bytes() == b'{"c":1}\n'
    part.close()


def test_a_snapshot_waits_for_the_disk_and_a_second_sync_alone_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "diffs.jsonl"
    part = diffs(tmp_path)
    part.write_batch([ONE])
    part.snapshot()
    part.write_batch([TWO])
    refusals = [OSError(errno.EIO, "Input/output error")]
    rewritten: list[tuple[bytes, int]] = []
    really = os.pwrite

    def fsync(_: int) -> None:
        if refusals:
            raise refusals.pop()

    def pwrite(file: int, data: bytes, at: int) -> int:
        rewritten.append((data, at))
        return really(file, data, at)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "pwrite", pwrite)
    part.snapshot()
    assert rewritten == [(b'{"d":1}\n', 8)]
    part.snapshot()
    assert len(rewritten) == 1
    assert path.read_bytes() == b'{"c":1}\n{"d":1}\n'
    part.close()


def test_a_run_that_is_stopped_stops_waiting_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    FullDisk(monkeypatch, room=0)
    retry = RetryPolicy(lambda _: stopping.set(), stopping.is_set)
    part = diff_chunk_file(tmp_path, retry).build_part("diffs", "diffs.jsonl", None)
    with pytest.raises(UnavailableError, match=r"diffs\.jsonl cannot be written: No space left"):
        part.write_batch([ONE])
    part.close()
    assert (tmp_path / "diffs.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "code",
    [errno.EISDIR, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG],
    ids=errno.errorcode.get,
)
def test_a_failure_that_needs_a_person_is_never_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    part = diffs(tmp_path, lambda _: pytest.fail("it waited"))

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(SettingsError, match=r"diffs\.jsonl"):
        part.write_batch([ONE])
    part.close()


def test_a_folder_in_the_place_of_the_file_is_no_place_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "diffs.jsonl").mkdir()
    with pytest.raises(SettingsError, match=r"diffs\.jsonl cannot be written: Is a directory"):
        diffs(tmp_path)


def test_a_device_takes_lines_and_has_nothing_to_sync(tmp_path: Path) -> None:
    (tmp_path / "diffs.jsonl").symlink_to("/dev/null")
    part = diffs(tmp_path)
    part.write_batch([ONE])
    part.snapshot()
    part.close()


def test_a_pipe_without_a_reader_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "diffs.jsonl")
    with pytest.raises(SettingsError, match=r"diffs\.jsonl"):
        diffs(tmp_path)


def test_a_dead_letter_carries_any_bytes(tmp_path: Path) -> None:
    retry = RetryPolicy(lambda _: None, lambda: True)
    part = dead_letter_file(tmp_path, retry).build_part("dead_letters", "dead-letters.jsonl", None)
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
