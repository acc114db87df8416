"""Control events and the admin log on a real broker."""

from __future__ import annotations

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.connect import ignore
from dagmanager.engine.effects.outbox import publish_outbox
from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry, AdminLog
from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.rows import OutboxRow, OutboxState, TopicSpec
from dagmanager.errors import UnavailableError
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.topics.kafka_admin_log import KafkaAdminLog
from dagmanager.topics.kafka_events import KafkaEvents
from servers.records import records
from tests.kafka.topics import NOWHERE, make, values

SPEC = TopicSpec(1, 1, -1)


def an_event(number: int, channel: str = "queue", size: int = 1) -> OutboxRow:
    value = b"%d" % number * size
    return OutboxRow(f"e{number}", "s", number, channel, "a,b", value, OutboxState.WAITING, number)


def an_entry(number: int) -> AdminEntry:
    return AdminEntry(AdminAction.CREATE, f"t{number}", "id", SPEC, "n", "", "k", number)


@pytest.fixture
def producer(kafka: str) -> KafkaProducer:
    return KafkaProducer(KafkaAddress(kafka))


def test_events_go_to_the_topic_of_their_channel_in_order(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer
) -> None:
    queue, weight = (make(kafka_admin, f"{topic_prefix}{name}") for name in ("queue", "weight"))
    events: EventSink = KafkaEvents(producer, {"queue": queue, "sentinel_weight": weight}, ignore)
    events.publish([an_event(1), an_event(2, "sentinel_weight"), an_event(3)])
    events.publish([])
    assert [(message.key(), message.value()) for message in records(kafka, queue)] == [
        (b"a,b", b"1"),
        (b"a,b", b"3"),
    ]
    assert values(kafka, weight) == [b"2"]


def test_a_channel_without_topic_is_off(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer
) -> None:
    queue, dropped = make(kafka_admin, f"{topic_prefix}queue"), list[str]()
    events = KafkaEvents(producer, {"queue": queue, "sentinel_weight": ""}, dropped.append)
    events.publish([an_event(1, "sentinel_weight"), an_event(2), an_event(3, "unknown")])
    events.publish([an_event(4, "sentinel_weight")])
    assert values(kafka, queue) == [b"2"]
    assert dropped == []


def test_an_oversized_event_is_dropped_counted_and_blocks_nothing(
    kafka: str,
    kafka_admin: AdminClient,
    topic_prefix: str,
    producer: KafkaProducer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = make(kafka_admin, f"{topic_prefix}queue", max_message_bytes="1000")
    dropped: list[str] = []
    events = KafkaEvents(producer, {"queue": queue}, dropped.append)
    graph = MemoryGraph(lambda: 1)
    graph.transact(lambda tx: tx.put([an_event(1), an_event(2, size=5_000), an_event(3)]))
    publish_outbox(graph, events)
    assert values(kafka, queue)[-1] == b"3"
    assert b"1" in values(kafka, queue)
    assert graph.waiting_events(10) == ()
    assert dropped == ["queue"]
    assert "event e2 dropped: 5000 bytes are more than topic" in caplog.text


def test_events_stay_in_the_outbox_while_the_broker_is_unreachable() -> None:
    events = KafkaEvents(KafkaProducer(KafkaAddress(NOWHERE, delivery_s=1.0)), {"queue": "q"}, ignore)
    graph = MemoryGraph(lambda: 1)
    graph.transact(lambda tx: tx.put([an_event(1)]))
    with pytest.raises(UnavailableError):
        publish_outbox(graph, events)
    assert graph.waiting_events(10) == (an_event(1),)


def test_the_admin_log_holds_an_entry_per_record_keyed_by_topic(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}log")
    log: AdminLog = KafkaAdminLog(producer, topic)
    log.append([an_entry(1), an_entry(2)])
    log.append([])
    found = records(kafka, topic)
    assert [message.key() for message in found] == [b"t1", b"t2"]
    entries = [msgspec.json.decode(message.value() or b"", type=AdminEntry) for message in found]
    assert entries == [an_entry(1), an_entry(2)]


def test_an_entry_that_cannot_be_written_is_unavailable(
    kafka_admin: AdminClient, topic_prefix: str, producer: KafkaProducer
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}log", max_message_bytes="100")
    size = len(an_entry(1).topic) + len(msgspec.json.encode(an_entry(1)))
    with pytest.raises(
        UnavailableError, match=f"rejects a record of {size} bytes: raise its max.message.bytes"
    ):
        KafkaAdminLog(producer, topic).append([an_entry(1)])
    nowhere = KafkaProducer(KafkaAddress(NOWHERE, delivery_s=2.0))
    with pytest.raises(UnavailableError):
        KafkaAdminLog(nowhere, topic).append([an_entry(1)])
