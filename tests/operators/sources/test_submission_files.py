from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest
from blake3 import blake3

from dagmanager.dag.model import Record, WholeValue
from dagmanager.errors import SettingsError
from operators.sources.line_splitter import Line, LineSplitter
from operators.sources.submission_files import FilePartition, LivePartition, SubmissionFiles

NOW_MS = 1_000_000
State = dict[str, object]


class Start:
    """Outlives the run that keeps it."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def kept_ms(self) -> int | None:
        return self.kept[-1] if self.kept else None

    def keep(self, start_ms: int) -> None:
        self.kept.append(start_ms)


def part(
    path: Path,
    state: State | None = None,
    longest: int = 1_000,
    *,
    now_ms: int = NOW_MS,
    start: Start | None = None,
) -> FilePartition:
    source = SubmissionFiles(str(path), lambda: False, lambda: now_ms, longest, start)
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


@pytest.mark.parametrize("name", ["in.jsonl", "in.json", "-"])
def test_of_a_value_that_is_cut_digest_and_length_of_the_whole_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    long = b"x" * 11 + b"\r" * 70_000 + b"y" * 200_000
    (tmp_path / "in.jsonl").write_bytes(long + b"\r\n" + b"z" * 11 + b"\n")
    (tmp_path / "in.json").write_bytes(long)
    if name == "-":
        with (tmp_path / "in.jsonl").open("rb") as stdin:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stdin))
            first, *others = drained(LivePartition(None, lambda: False, lambda: 0, 10))
    else:
        first, *others = drained(part(tmp_path / name, longest=10))
    assert first.value == b"x" * 11
    assert first.whole == WholeValue("blake3:" + blake3(long).hexdigest(), len(long))
    assert all(each.whole is None for each in others)


def test_a_long_line_that_begins_blank_is_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b" " * 20 + b"{}\n" + b" " * 5 + b"\n")
    [found] = drained(part(path, longest=10))
    assert found.whole is not None
    assert found.whole.length == 22


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


def test_a_state_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    with pytest.raises(SettingsError, match="a state of version 3, unknown to this release"):
        part(tmp_path, {"v": 3, "line": 1, "offset": 2, "base_ms": 5})


def test_a_state_of_the_first_version_is_resumed(tmp_path: Path) -> None:
    """It did not say whether the run had ended."""
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    state: State = {"v": 1, "file": str(tmp_path / "in.jsonl"), "line": 1, "offset": 2, "count": 1}
    [found] = drained(part(tmp_path, state | {"base_ms": 5}))
    assert (found.value, found.timestamp_ms, found.origin.source_id) == (b"2", 7, "5")


def test_what_is_read_after_a_run_ended_belongs_to_a_new_run(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1\n2\n")
    start = Start()
    first = part(tmp_path, start=start)
    assert [each.timestamp_ms for each in drained(first)] == [NOW_MS + 1, NOW_MS + 2]
    (tmp_path / "b.jsonl").write_bytes(b"3\n")
    for now_ms, begun_ms in ((2 * NOW_MS, 2 * NOW_MS), (NOW_MS - 5, NOW_MS + 3)):
        later = Start()
        later.keep(NOW_MS)
        [found] = drained(part(tmp_path, first.snapshot(), now_ms=now_ms, start=later))
        assert (found.value, found.timestamp_ms) == (b"3", begun_ms + 1), "never before what was read before"
        assert found.origin.source_id == str(begun_ms)
        assert later.kept == [NOW_MS, begun_ms]


def test_a_stopped_run_ended_too(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    stopped = SubmissionFiles(str(tmp_path), lambda: True, lambda: NOW_MS).build_part("input", "", None)
    with pytest.raises(StopIteration):
        stopped.next_batch()
    found = drained(part(tmp_path, stopped.snapshot(), now_ms=5 * NOW_MS))
    assert [each.timestamp_ms for each in found] == [5 * NOW_MS + 1, 5 * NOW_MS + 2]


def test_a_run_killed_before_its_first_snapshot_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    start = Start()
    part(tmp_path, start=start)
    assert start.kept == [NOW_MS], "kept before anything is read"
    reading = part(tmp_path, now_ms=2 * NOW_MS, start=start)
    assert [each.timestamp_ms for each in drained(reading)] == [NOW_MS + 1]
    (tmp_path / "b.jsonl").write_bytes(b"2\n")
    part(tmp_path, reading.snapshot(), now_ms=3 * NOW_MS, start=start)  # is killed
    after = part(tmp_path, reading.snapshot(), now_ms=4 * NOW_MS, start=start)
    assert [each.timestamp_ms for each in drained(after)] == [3 * NOW_MS + 1]


def test_a_run_killed_after_a_snapshot_keeps_its_start(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n" * 100)
    start = Start()
    reading = part(tmp_path, start=start)
    list(reading.next_batch())
    reading.close()
    found = drained(part(tmp_path, reading.snapshot(), now_ms=2 * NOW_MS, start=start))
    assert [each.timestamp_ms for each in found] == list(range(NOW_MS + 65, NOW_MS + 101))
    assert {each.origin.source_id for each in found} == {str(NOW_MS)}


def test_an_empty_json_file_is_a_submission_and_blank_lines_are_none(tmp_path: Path) -> None:
    for name, content in (("a.json", b""), ("b.json", b" \n\n"), ("c.jsonl", b"\n \n"), ("d.json", b"1")):
        (tmp_path / name).write_bytes(content)
    reading = part(tmp_path)
    found = list(reading.next_batch())
    assert [record.value for _, record in found] == [b"", b" \n\n", b"1"]
    assert drained(part(tmp_path, reading.snapshot())) == [], "and is not read twice"


def test_the_origin_is_the_same_however_the_path_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    monkeypatch.chdir(tmp_path)
    for typed in ("in.jsonl", "./in.jsonl", str(tmp_path / "in.jsonl"), ".", f"{tmp_path}//"):
        [found] = drained(part(Path(typed)))
        assert found.origin.source == str(tmp_path / "in.jsonl")


def test_a_stop_is_noticed_within_a_line_without_an_end(tmp_path: Path) -> None:
    for name in ("in.jsonl", "in.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 38)  # takes minutes to read, and no room on disk
        asked: list[int] = []

        def stopping(asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) > 10

        source = SubmissionFiles(str(tmp_path / name), stopping, lambda: NOW_MS, 100)
        reading = source.build_part("input", source.list_parts()[0], None)
        with pytest.raises(StopIteration):
            reading.next_batch()
        reading.close()
        assert reading.snapshot()["offset"] == 0, "the next run reads the line from its beginning"
        assert len(asked) < 20


def test_a_device_or_a_pipe_is_no_file_of_submissions(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    for kind in ("device", "pipe"):
        path.symlink_to("/dev/zero") if kind == "device" else os.mkfifo(path)
        with pytest.raises(SettingsError, match=r"in\.jsonl cannot be read: it is not a regular file"):
            part(tmp_path)
        put_there_after_the_check = SubmissionFiles(str(tmp_path), lambda: False, lambda: NOW_MS)
        with pytest.raises(SettingsError, match="not a regular file"):
            put_there_after_the_check.build_part("input", str(tmp_path), None).next_batch()
        path.unlink()


@pytest.mark.parametrize(
    ("flags", "words"), [(os.O_WRONLY, "for writing only"), (os.O_RDONLY, "a directory")]
)
def test_a_standard_input_that_cannot_be_read_is_refused(
    flags: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path if flags == os.O_RDONLY else tmp_path / "out"
    descriptor = os.open(path, flags | (os.O_CREAT if flags else 0))
    try:
        monkeypatch.setattr("sys.stdin", Descriptor(descriptor))
        with pytest.raises(SettingsError, match=words):
            SubmissionFiles("-", lambda: False, lambda: NOW_MS).check()
    finally:
        os.close(descriptor)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SettingsError, match="it is closed"):
        SubmissionFiles("-", lambda: False, lambda: NOW_MS).check()


class Descriptor:
    """All of a file that is asked for."""

    def __init__(self, number: int) -> None:
        self.fileno = lambda: number


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
    assert splitter.feed(b"c\nxxxx" + b"x" * 100) == [Line(b"abc")]
    assert splitter.feed(b"xx\ny") == [
        Line(b"xxxx", WholeValue("blake3:" + blake3(b"x" * 106).hexdigest(), 106))
    ]
    assert splitter.rest() == [Line(b"y")]
    assert splitter.rest() == []


def test_what_a_kept_place_leaves_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b", "c"):
        (tmp_path / f"{name}.jsonl").write_bytes(b'{"strategy_id":"a"}\n' * 3)
    read = part(tmp_path)
    assert len(drained(read)) == 6
    state = read.snapshot()
    assert drained(part(tmp_path, state)) == []
    assert not caplog.records
    (tmp_path / "a.jsonl").write_bytes(b'{"strategy_id":"a"}\n')
    (tmp_path / "c.jsonl").write_bytes(b"{}\n")
    assert drained(part(tmp_path, state)) == []
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("1 files that sort before")
    assert "c.jsonl is shorter than what was read of it" in second
