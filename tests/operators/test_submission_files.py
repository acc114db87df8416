from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest

from dagmanager.dag.model import Record
from dagmanager.errors import SettingsError
from operators.line_splitter import LineSplitter
from operators.submission_files import FilePartition, LivePartition, SubmissionFiles


def part(path: Path, state: dict[str, object] | None = None, longest: int = 1_000) -> FilePartition:
    source = SubmissionFiles(str(path), lambda: False, lambda: 1_000_000, longest)
    source.check()
    found = source.build_part("input", source.list_parts()[0], state)
    assert isinstance(found, FilePartition)
    return found


def drained(from_part: FilePartition | LivePartition) -> list[Record]:
    found: list[Record] = []
    while True:
        try:
            found += [record for _, record in from_part.next_batch()]
        except StopIteration:
            return found


def test_lines_blank_lines_and_a_missing_last_newline(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"strategy_id":"a"}\r\n\n  \n{"strategy_id":"b"}')
    found = drained(part(path))
    assert [each.value for each in found] == [b'{"strategy_id":"a"}', b'{"strategy_id":"b"}']
    assert [each.origin.position for each in found] == [1, 4]
    assert [each.key for each in found] == [b"a", b"b"]
    assert [each.timestamp_ms for each in found] == [1_000_001, 1_000_004]


def test_a_folder_is_one_stream_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"2\n3\n")
    (tmp_path / "a.json").write_bytes(b'{\n"nodes": []\n}\n')
    (tmp_path / "c.txt").write_bytes(b"no\n")
    found = drained(part(tmp_path))
    assert [each.value for each in found] == [b'{"strategy_id":"a","dag":{\n"nodes": []\n}}', b"2", b"3"]
    assert [each.timestamp_ms for each in found] == [1_000_001, 1_000_002, 1_000_003]


def test_a_huge_line_is_cut_and_the_next_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"x" * 300_000 + b"\nnext\n" + b"y" * 10 + b"\n" + b"z" * 11)
    assert [each.value for each in drained(part(path, longest=10))] == [
        b"x" * 11,
        b"next",
        b"y" * 10,
        b"z" * 11,
    ]
    whole = tmp_path / "whole.json"
    whole.write_bytes(b"x\n" * 300_000)
    assert [len(each.value) for each in drained(part(whole, longest=10))] == [11]


def test_it_resumes_exactly_where_the_snapshot_was_taken(tmp_path: Path) -> None:
    for name in "abc":
        lines = b"".join(b"%s%d\n" % (name.encode(), number) for number in range(100))
        (tmp_path / f"{name}.jsonl").write_bytes(lines)
    everything = drained(part(tmp_path))
    assert len(everything) == 300
    reading, seen = part(tmp_path), 0
    while seen < 300:
        state = pickle.loads(pickle.dumps(reading.snapshot()))
        assert drained(part(tmp_path, state)) == everything[seen:]
        seen += len(list(reading.next_batch()))
    assert len(pickle.dumps(reading.snapshot())) < 400


def test_a_state_of_another_version_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    assert len(drained(part(tmp_path, {"v": 0, "line": 1, "offset": 2, "base_ms": 5}))) == 2


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.jsonl cannot be read: No such file"):
        part(tmp_path / "gone.jsonl")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SettingsError, match=r"folder\.json cannot be read: Is a directory"):
        part(tmp_path)


def test_standard_input_gives_lines_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stdin))
        live = LivePartition(None, lambda: False, lambda: 0, 1_000)
        assert list(live.next_batch()) == []
        assert live.next_awake() is not None
        os.write(writing, b"1\n2\n3")
        assert [record.value for _, record in live.next_batch()] == [b"1", b"2"]
        os.close(writing)
        assert [record.value for record in drained(live)] == [b"3"]


def test_a_stopped_run_reads_no_more(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    source = SubmissionFiles(str(tmp_path), lambda: True, lambda: 0)
    with pytest.raises(StopIteration):
        source.build_part("input", str(tmp_path), None).next_batch()


def test_the_splitter_keeps_bounded_memory() -> None:
    splitter = LineSplitter(3)
    assert splitter.feed(b"ab") == []
    assert splitter.feed(b"c\nxxxx" + b"x" * 100) == [b"abc"]
    assert splitter.feed(b"xx\ny") == [b"xxxx"]
    assert splitter.rest() == [b"y"]
    assert splitter.rest() == []
