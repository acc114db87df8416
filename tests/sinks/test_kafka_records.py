"""Answers and dead letters as records: what they carry, and that no outage and no size loses one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import bytewax.operators as op
import pytest
from blake3 import blake3
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from dagmanager.dag.model import Origin, Record
from dagmanager.engine.stages import Refused
from dagmanager.engine.wire.message import Message
from dagmanager.errors import ErrorCode, Rejection, UnavailableError
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import Delivery
from operators.steps.messages import dead_letter_of
from operators.store_retry import RetryPolicy
from servers.records import records
from sinks.dead_letters import dead_letter_topic
from sinks.diff_chunks import diff_chunk_topic
from sinks.json_lines import Retry
from sinks.kafka_records import KafkaRecordsSink, Positions
from tests.kafka.topics import NOWHERE, make, values

IMPATIENT = RetryPolicy(lambda _: None, lambda: True)


@pytest.fixture
def topic(kafka_admin: AdminClient, topic_prefix: str) -> str:
    return make(kafka_admin, f"{topic_prefix}out")


@pytest.fixture
def producer(kafka: str) -> KafkaProducer:
    return KafkaProducer(KafkaAddress(kafka))


def write(
    sink: Callable[[str, Delivery, Retry], object],
    topic: str,
    delivery: Delivery,
    messages: Sequence[Message],
) -> None:
    made = sink(topic, delivery, IMPATIENT)
    part = made.build_part("step", made.list_parts()[0], None)  # type: ignore[attr-defined]  # one of ours
    part.write_batch(list(messages))
    assert part.snapshot() is None


def test_a_diff_is_keyed_by_strategy_with_its_headers(
    kafka: str, topic: str, producer: KafkaProducer
) -> None:
    headers = (("submission-id", b"i"), ("submission-digest", b"d"))
    write(diff_chunk_topic, topic, producer, [Message("s-1", b"{}", headers), Message("", b"{}")])
    first, second = records(kafka, topic)
    assert (first.key(), first.value(), first.headers()) == (b"s-1", b"{}", list(headers))
    assert second.key() is None


def test_a_dead_letter_keeps_the_original_bytes(kafka: str, topic: str, producer: KafkaProducer) -> None:
    record = Record(b"\xff\x00no json", Origin("subs", "id", 3, 41), b"ingest:s-1")
    [letter] = dead_letter_of(Refused(record, "s-1", Rejection(ErrorCode.INVALID_JSON, "no")))
    write(dead_letter_topic, topic, producer, [letter])
    [found] = records(kafka, topic)
    headers = dict(found.headers() or [])
    assert (found.key(), found.value()) == (b"ingest:s-1", record.value)
    assert list(headers) == ["error", "source-topic", "source-partition", "source-offset", "attempts"]
    assert (headers["source-topic"], headers["source-partition"]) == (b"subs", b"3")
    assert (headers["source-offset"], headers["attempts"]) == (b"41", b"1")


def test_a_dead_letter_that_the_topic_does_not_take_whole_is_cut(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}letters", max_message_bytes="200000")
    large = bytes(range(256)) * 2_000
    letters = [Message("a", b"small"), Message("b", large), Message("c", b"small too")]
    write(dead_letter_topic, topic, producer, letters)
    found = {message.key(): message for message in records(kafka, topic)}
    assert found[b"b"].value() == large[: 64 * 1024]
    headers = dict(found[b"b"].headers() or [])
    assert headers["value-length"] == b"512000"
    assert headers["value-digest"] == f"blake3:{blake3(large).hexdigest()}".encode()
    assert (found[b"a"].value(), found[b"c"].value()) == (b"small", b"small too")


def test_a_diff_that_the_topic_does_not_take_is_waited_with_and_never_dropped(
    kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}diffs", max_message_bytes="1000")
    with pytest.raises(UnavailableError, match=r"raise its max\.message\.bytes"):
        write(diff_chunk_topic, topic, producer, [Message("a", b"x" * 5_000)])


@pytest.mark.parametrize("sink", [diff_chunk_topic, dead_letter_topic])
def test_neighbours_of_a_record_that_is_too_large_are_written_once(
    sink: Callable[[str, Delivery, Retry], KafkaRecordsSink],
    kafka: str,
    kafka_admin: AdminClient,
    topic_prefix: str,
    producer: KafkaProducer,
) -> None:
    """Each try that fails shows what is in the topic; after the third its limit is raised."""
    topic = make(kafka_admin, f"{topic_prefix}small", max_message_bytes="1000")
    large, found = b"x" * 5_000, []

    def sleep(_: float) -> None:
        found.append(values(kafka, topic))
        if len(found) == 3:
            raised = ConfigResource(ConfigResource.Type.TOPIC, topic)
            raised.add_incremental_config(
                ConfigEntry(
                    "max.message.bytes",
                    "100000",
                    incremental_operation=AlterConfigOpType.SET,
                )
            )
            kafka_admin.incremental_alter_configs([raised])[raised].result(10)
        assert len(found) < 20

    retry = RetryPolicy(sleep, lambda: False)
    part = sink(topic, producer, retry).build_part("step", topic, None)
    part.write_batch([Message("s", b"1"), Message("s", large), Message("s", b"2")])
    assert len(found) >= 3
    assert found == [[b"1", b"2"]] * len(found)
    assert values(kafka, topic) == [b"1", b"2", large]


def test_an_outage_is_waited_out(kafka: str, topic: str, producer: KafkaProducer) -> None:
    """The first two tries go to an address where no server listens."""
    away = KafkaProducer(KafkaAddress(NOWHERE, delivery_s=2.0))
    tries: list[float] = []

    class Late:
        def deliver(self, records: Sequence[object]) -> Positions:
            return (producer if len(tries) == 2 else away).deliver(records)  # type: ignore[arg-type]  # passed on

    retry = RetryPolicy(tries.append, lambda: False)
    sink = diff_chunk_topic(topic, Late(), retry)
    sink.build_part("step", sink.list_parts()[0], None).write_batch([Message("s", b"1"), Message("s", b"2")])
    assert values(kafka, topic) == [b"1", b"2"]
    assert len(tries) == 2


class CountingPartition(StatefulSourcePartition[tuple[str, Message], int]):
    """Ten messages; its state is how many were given."""

    def __init__(self, start: int | None) -> None:
        self._at = start or 0

    def next_batch(self) -> list[tuple[str, Message]]:
        if self._at == 10:
            raise StopIteration
        self._at += 1
        return [("s", Message("s", b"%d" % (self._at - 1)))]

    def snapshot(self) -> int:
        return self._at


class Counting(FixedPartitionedSource[tuple[str, Message], int]):
    def list_parts(self) -> list[str]:
        return ["ten"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> CountingPartition:
        return CountingPartition(resume_state)


def run(topic: str, delivery: Delivery, folder: Path) -> None:
    flow = Dataflow("ten")
    op.output("out", op.input("in", flow, Counting()), diff_chunk_topic(topic, delivery, IMPATIENT))
    run_main(flow, recovery_config=RecoveryConfig(str(folder)))


def test_while_the_broker_is_down_nothing_is_committed(
    kafka: str, topic: str, producer: KafkaProducer, tmp_path: Path
) -> None:
    init_db_dir(tmp_path, 1)
    with pytest.raises(UnavailableError):
        run(topic, KafkaProducer(KafkaAddress(NOWHERE, delivery_s=2.0)), tmp_path)
    run(topic, producer, tmp_path)
    assert values(kafka, topic) == [b"%d" % number for number in range(10)]
    run(topic, producer, tmp_path)
    assert len(values(kafka, topic)) == 10


def test_a_missing_topic_stops_nothing_from_being_read_again(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer, tmp_path: Path
) -> None:
    init_db_dir(tmp_path, 1)
    late = f"{topic_prefix}late"
    with pytest.raises(UnavailableError, match=late):
        run(late, producer, tmp_path)
    make(kafka_admin, late)
    run(late, producer, tmp_path)
    assert values(kafka, late) == [b"%d" % number for number in range(10)]
