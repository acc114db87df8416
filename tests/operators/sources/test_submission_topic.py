from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    NewPartitions,
    TopicDescription,
)

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Origin, Record
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Refused
from dagmanager.errors import ErrorCode, InputLostError, SettingsError, UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.progress import PartitionProgress
from operators.sources.partition_share import PartitionShare
from operators.sources.submission_topic import (
    SubmissionsAt,
    SubmissionTopic,
    TopicPartitionReader,
    TopicState,
)
from operators.steps.messages import dead_letter_of
from servers.kafka import KafkaServer
from tests.kafka.topics import NOWHERE, SOON_BACK, cut_before, fill, make, remove, transact
from tests.waiting import TIMEOUT_S, until

Opened = Callable[..., TopicPartitionReader]


@pytest.fixture
def topic(kafka_admin: AdminClient, topic_prefix: str) -> str:
    return make(kafka_admin, f"{topic_prefix}submissions")


@pytest.fixture
def opened(kafka: str, topic: str) -> Iterator[Opened]:
    """Opens a partition of the topic as a new run would; all are closed in the end."""
    parts: list[TopicPartitionReader] = []

    def open_(
        state: TopicState | None = None, stopping: Callable[[], bool] = lambda: False
    ) -> TopicPartitionReader:
        part = source(kafka, topic, stopping).build_part("input", f"{topic}/0", state)
        parts.append(part)
        return part

    yield open_
    for part in parts:
        part.close()


@pytest.fixture
def identity_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one with each request of the check that the topic is still the same one."""
    sent, describe = list[str](), KafkaAdmin.describe_async

    def counted(admin: KafkaAdmin, topic: str) -> Future[TopicDescription]:
        sent.append(topic)
        return describe(admin, topic)

    monkeypatch.setattr(KafkaAdmin, "describe_async", counted)
    return sent


def source(servers: str, topic: str, stopping: Callable[[], bool] = lambda: False) -> SubmissionTopic:
    return SubmissionTopic(SubmissionsAt(KafkaAddress(servers), topic, watch_s=0.05), stopping)


def some(part: TopicPartitionReader, count: int) -> list[Record]:
    """At least so many records, as they come."""
    found: list[Record] = []

    def come() -> bool:
        found.extend(record for _, record in part.next_batch())
        return len(found) >= count

    until(come, f"{count} records did not come")
    return found


def fails(part: TopicPartitionReader) -> InputLostError:
    """What the reading ends with."""
    caught: list[InputLostError] = []

    def lost() -> bool:
        try:
            assert part.next_batch() == []
        except InputLostError as error:
            caught.append(error)
        return bool(caught)

    until(lost, "the loss was not noticed")
    return caught[0]


def test_records_come_in_order_with_their_origin_key_and_time(kafka: str, topic: str, opened: Opened) -> None:
    fill(kafka, topic, [b"a", b"b", b"c"], key=b"ingest:s-1")
    part = opened()
    found = some(part, 3)
    topic_id = part.snapshot()["topic_id"]
    assert [record.value for record in found] == [b"a", b"b", b"c"]
    assert [record.origin for record in found] == [Origin(topic, topic_id, 0, number) for number in range(3)]
    assert {record.key for record in found} == {b"ingest:s-1"}
    assert all(abs(time.time() * 1000 - record.timestamp_ms) < 60_000 for record in found)


def test_the_exchange_key_is_the_strategy_that_the_key_names(kafka: str, topic: str, opened: Opened) -> None:
    for key in (b"s-1", b"ingest:s-2", None):
        fill(kafka, topic, [b"x"], key=key)
    part = opened()
    pairs: list[tuple[str, Record]] = []

    def come() -> bool:
        pairs.extend(part.next_batch())
        return len(pairs) == 3

    until(come)
    assert [(key, record.key) for key, record in pairs] == [
        ("s-1", b"s-1"),
        ("s-2", b"ingest:s-2"),
        ("", None),
    ]


def test_a_run_resumes_where_the_snapshot_says(kafka: str, topic: str, opened: Opened) -> None:
    fill(kafka, topic, [b"%d" % number for number in range(5)])
    first = opened()
    assert len(some(first, 5)) == 5
    state = first.snapshot() | {"offset": 2}
    assert pickle.loads(pickle.dumps(state)) == state
    assert {type(value) for value in state.values()} == {int, str}
    assert [record.value for record in some(opened(state), 3)] == [b"2", b"3", b"4"]


def test_a_snapshot_at_the_end_waits_for_the_next_record(kafka: str, topic: str, opened: Opened) -> None:
    fill(kafka, topic, [b"old"])
    first = opened()
    some(first, 1)
    resumed = opened(first.snapshot())
    assert resumed.next_batch() == []
    fill(kafka, topic, [b"new"])
    assert [record.value for record in some(resumed, 1)] == [b"new"]


def test_without_a_snapshot_the_first_record_that_is_left_comes_first(
    kafka: str, kafka_admin: AdminClient, topic: str, opened: Opened
) -> None:
    fill(kafka, topic, [b"0", b"1", b"2"])
    cut_before(kafka_admin, topic, 2)
    part = opened()
    unread = part.snapshot()
    assert unread["offset"] is None
    assert [record.origin.position for record in some(part, 1)] == [2]
    assert [record.origin.position for record in some(opened(unread), 1)] == [2]


def test_a_stopped_run_reads_no_more(kafka: str, topic: str, opened: Opened) -> None:
    stopped = [False]
    fill(kafka, topic, [b"0", b"1"])
    part = opened(None, lambda: stopped[0])
    some(part, 2)
    stopped[0] = True
    with pytest.raises(StopIteration):
        part.next_batch()
    assert part.snapshot()["offset"] == 2


def test_an_offset_that_retention_took_is_an_error_and_not_a_skip(
    kafka: str, kafka_admin: AdminClient, topic: str, opened: Opened
) -> None:
    fill(kafka, topic, [b"%d" % number for number in range(10)])
    first = opened()
    some(first, 10)
    cut_before(kafka_admin, topic, 6)
    error = fails(opened(first.snapshot() | {"offset": 3}))
    assert "no offset 3 any more" in str(error)
    assert not error.is_retryable()


@pytest.mark.parametrize("aborted", [False, True])
def test_a_marker_of_a_transaction_that_retention_took_is_no_loss(
    aborted: bool, kafka: str, kafka_admin: AdminClient, topic: str
) -> None:
    """Its sender commits each submission; the last offset of the topic is then no record. So is an aborted one."""
    transact(kafka, topic, [b"first"])
    if aborted:
        transact(kafka, topic, [b"never", b"sent"], commit=False)
    end = 5 if aborted else 2
    whole = source(kafka, topic)
    part = whole.build_part("input", f"{topic}/0", None)
    assert [record.value for record in some(part, 1)] == [b"first"]

    def is_at_the_end() -> bool:
        assert part.next_batch() == []
        return whole.progress().partitions == (PartitionProgress(0, end, end),)

    until(is_at_the_end)
    assert whole.progress().partitions[0].lag == 0
    state = part.snapshot()
    part.close()
    assert state["offset"] == end
    cut_before(kafka_admin, topic, end)
    resumed = source(kafka, topic).build_part("input", f"{topic}/0", state)
    transact(kafka, topic, [b"second"])
    assert [record.value for record in some(resumed, 1)] == [b"second"]
    resumed.close()


def test_a_record_that_retention_took_behind_a_marker_is_a_loss(
    kafka: str, kafka_admin: AdminClient, topic: str, opened: Opened
) -> None:
    transact(kafka, topic, [b"first"])
    part = opened()
    some(part, 1)
    until(lambda: part.next_batch() == [] and part.snapshot()["offset"] == 2)
    state = part.snapshot()
    transact(kafka, topic, [b"unread"])
    cut_before(kafka_admin, topic, 4)
    assert "no offset 2 any more" in str(fails(opened(state)))


def test_an_offset_behind_the_end_is_an_error_and_not_a_wait(kafka: str, topic: str, opened: Opened) -> None:
    fill(kafka, topic, [b"0"])
    first = opened()
    some(first, 1)
    assert "no offset 7 any more" in str(fails(opened(first.snapshot() | {"offset": 7})))


def test_a_recreated_topic_is_refused_at_the_start(
    kafka: str, kafka_admin: AdminClient, topic: str, opened: Opened
) -> None:
    fill(kafka, topic, [b"0"])
    first = opened()
    some(first, 1)
    remove(kafka_admin, topic)
    make(kafka_admin, topic)
    fill(kafka, topic, [b"other 0", b"other 1"])
    with pytest.raises(InputLostError, match="was deleted and created again"):
        opened(first.snapshot())


def test_a_topic_recreated_while_it_is_read_stops_the_run(
    kafka: str, kafka_admin: AdminClient, topic: str, opened: Opened
) -> None:
    part = opened()
    assert part.next_batch() == []
    remove(kafka_admin, topic)
    make(kafka_admin, topic)
    assert "was deleted and created again" in str(fails(part))


def test_a_topic_that_vanishes_stops_the_run(
    kafka: str, kafka_admin: AdminClient, topic: str, opened: Opened
) -> None:
    fill(kafka, topic, [b"0"])
    part = opened()
    some(part, 1)
    remove(kafka_admin, topic)
    assert "was deleted while it was read" in str(fails(part))
    with pytest.raises(InputLostError):  # and it stays so
        part.next_batch()


def test_a_snapshot_of_another_version_is_refused(topic: str, opened: Opened) -> None:
    with pytest.raises(InputLostError, match="another version"):
        opened({"v": 99})


def test_a_tombstone_is_a_rejection_with_a_dead_letter(kafka: str, topic: str, opened: Opened) -> None:
    fill(kafka, topic, [None])
    [record] = some(opened(), 1)
    [refused] = Reader(ReadOptions()).read(record)
    assert isinstance(refused, Refused)
    assert refused.rejection.code is ErrorCode.INVALID_JSON
    [letter] = dead_letter_of(refused)
    assert (letter.key, letter.value) == ("s", b"")
    assert dict(letter.headers)["source-topic"] == topic.encode()


def test_an_oversized_record_is_a_rejection_with_a_cut_dead_letter(
    kafka: str, topic: str, opened: Opened
) -> None:
    huge = b"{" + b" " * Limits().bytes_max
    fill(kafka, topic, [huge, b"{}"])
    first, _ = some(opened(), 2)
    [refused] = Reader(ReadOptions()).read(first)
    assert isinstance(refused, Refused)
    assert refused.rejection.code is ErrorCode.TOO_LARGE
    [letter] = dead_letter_of(refused)
    assert letter.value == huge[: 64 * 1024]
    assert dict(letter.headers)["value-length"] == str(len(huge)).encode()


def test_how_far_the_reading_is(kafka: str, topic: str) -> None:
    whole = source(kafka, topic)
    part = whole.build_part("input", f"{topic}/0", None)
    fill(kafka, topic, [b"0", b"1", b"2"])
    some(part, 3)
    fill(kafka, topic, [b"3"])
    until(lambda: whole.progress().partitions[0].end == 4)
    assert whole.progress().partitions == (PartitionProgress(0, 3, 4),)
    assert whole.progress().partitions[0].lag == 1
    assert whole.progress().reachable
    part.close()
    assert whole.progress().partitions == (PartitionProgress(0, 3, None),)


def test_each_process_reads_its_share(kafka: str, kafka_admin: AdminClient, topic_prefix: str) -> None:
    topic = make(kafka_admin, f"{topic_prefix}parts", 5)

    def parts(share: str) -> list[str]:
        at = SubmissionsAt(KafkaAddress(kafka), topic, PartitionShare(share))
        return SubmissionTopic(at, lambda: False).list_parts()

    assert parts("") == [f"{topic}/{number}" for number in range(5)]
    assert parts("1/2") == [f"{topic}/1", f"{topic}/3"]
    with pytest.raises(SettingsError, match="has 5 partitions"):
        parts("4-5")


def test_partitions_added_later_are_logged_once(
    kafka: str,
    kafka_admin: AdminClient,
    topic: str,
    opened: Opened,
    identity_checks: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = opened()
    kafka_admin.create_partitions([NewPartitions(topic, 2)])[topic].result(TIMEOUT_S)
    until(lambda: part.next_batch() == [] and "restart to read the new ones" in caplog.text)
    seen = len(identity_checks)
    until(lambda: part.next_batch() == [] and len(identity_checks) >= seen + 3)
    assert caplog.text.count("restart to read the new ones") == 1


def test_a_topic_that_is_missing_at_the_start_is_never_made(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    absent = f"{topic_prefix}absent"
    at = SubmissionsAt(KafkaAddress(kafka), absent, known_within_s=0.5)
    with pytest.raises(UnavailableError, match=f"do not know topic {absent}"):
        SubmissionTopic(at, lambda: False).list_parts()
    assert absent not in kafka_admin.list_topics(timeout=TIMEOUT_S).topics


def test_a_topic_that_comes_to_be_known_is_waited_for(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    late = f"{topic_prefix}late"
    making = threading.Timer(0.5, make, (kafka_admin, late, 2))
    making.start()
    assert source(kafka, late).list_parts() == [f"{late}/0", f"{late}/1"]
    making.join()


def test_an_unreachable_broker_at_the_start_is_reported_soon() -> None:
    at = SubmissionsAt(KafkaAddress(NOWHERE, request_s=2.0), "t")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 .*refused"):
        SubmissionTopic(at, lambda: False).list_parts()


@pytest.mark.live("kafka")
def test_an_outage_stalls_the_reading_and_is_reported_once(
    kafka: str, tmp_path: Path, identity_checks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with KafkaServer(tmp_path / "broker", settings=SOON_BACK) as broker:
        topic = make(AdminClient({"bootstrap.servers": broker.address}), "t")
        address, reported = KafkaAddress(broker.address, request_s=1.0), list[str]()
        whole = SubmissionTopic(SubmissionsAt(address, topic, watch_s=0.05), lambda: False, reported.append)
        part = whole.build_part("input", "t/0", None)
        fill(broker.address, topic, [b"before"])
        some(part, 1)
        broker.kill()
        until(lambda: part.next_batch() == [] and not whole.progress().reachable)
        seen = len(identity_checks)
        until(lambda: part.next_batch() == [] and len(identity_checks) >= seen + 2)
        broker.start()
        fill(broker.address, topic, [b"after"])
        assert [record.value for record in some(part, 1)] == [b"after"]
        until(lambda: part.next_batch() == [] and whole.progress().reachable)
        part.close()
    # On a busy machine an answer may come too late before or after, too
    outages, rest = divmod(len(reported), 2)
    assert (outages > 0, rest) == (True, 0)
    assert [bool(reason) for reason in reported] == [True, False] * outages
    levels = [entry.levelname for entry in caplog.records if "reading resumes" in entry.message]
    assert levels == ["WARNING"] * outages
    assert json.dumps(part.snapshot())
