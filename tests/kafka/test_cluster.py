"""Three brokers, one of which dies: acknowledged records stay, and work continues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

import pytest
from confluent_kafka import KafkaException

from dagmanager.dag.model import Record
from dagmanager.engine.effects.provision import provision
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateStatus
from dagmanager.errors import UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import OutgoingRecord
from dagmanager.topics.kafka import KafkaTopics
from dagmanager.topics.kafka_preflight import check_topics, own_topics
from operators.sources.submission_topic import SubmissionsAt, SubmissionTopic
from operators.store_retry import RetryPolicy
from servers.kafka import KafkaCluster
from tests.graph.builders import queue
from tests.kafka.topics import SOON_BACK
from tests.waiting import TIMEOUT_S, until

T = TypeVar("T")
BEFORE, AFTER = 50, 50


@pytest.fixture(scope="module")
def cluster(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with KafkaCluster(tmp_path_factory.mktemp("cluster"), settings=SOON_BACK) as brokers:
        yield brokers


def seen(look: Callable[[], Mapping[str, T]], name: str, holds: Callable[[T], bool] = lambda _: True) -> T:
    """The first answer in which it holds. A second question may reach a broker that does not know the topic yet."""
    found: dict[str, T] = {}

    def is_seen() -> bool:
        found.clear()
        found.update(look())
        return name in found and holds(found[name])

    until(is_seen)
    return found[name]


def leader_of(admin: KafkaAdmin, topic: str) -> int:
    leaders: list[int] = []

    def is_known() -> bool:
        with suppress(KafkaException):  # of a broker that does not know the topic yet
            leaders.append(int(admin.describe_async(topic).result(TIMEOUT_S).partitions[0].leader.id))
        return bool(leaders)

    until(is_known)
    return leaders[0]


def test_the_death_of_a_broker_loses_nothing(cluster: KafkaCluster) -> None:
    admin = KafkaAdmin(KafkaAddress(cluster.address, request_s=30.0))
    topics = KafkaTopics(admin)
    own = own_topics({"admin_log_topic": "log"}, 1_000_000)
    check_topics(admin, own, replication=3, create=True)
    assert seen(lambda: topics.describe(["log"]), "log", lambda topic: topic.ready).replication == 3
    assert seen(lambda: admin.configs(["log"]), "log")["min.insync.replicas"] == "2"
    assert topics.create({"many": TopicSpec(1, 4, -1)})["many"].status is CreateStatus.REFUSED

    source = SubmissionTopic(SubmissionsAt(KafkaAddress(cluster.address), "log", watch_s=0.1), lambda: False)
    part = source.build_part("input", "log/0", None)
    producer = KafkaProducer(KafkaAddress(cluster.address, delivery_s=30.0))
    records = [OutgoingRecord("log", b"k", b"%d" % number) for number in range(BEFORE + AFTER)]
    for record in records[:BEFORE]:
        producer.deliver([record])
    cluster.brokers[leader_of(admin, "log") - 1].kill()
    for record in records[BEFORE:]:
        producer.deliver([record])

    found: list[Record] = []

    def come() -> bool:
        found.extend(record for _, record in part.next_batch())
        return len(found) >= len(records)

    until(come)
    assert [record.value for record in found] == [record.value for record in records]
    part.close()
    retry = RetryPolicy(time.sleep, lambda: False)  # the controller may have died too
    until(lambda: retry(topics.brokers) == 2)
    # Replicas may be assigned to a broker that is down: it creates them when it is back.
    made = retry(lambda: topics.create({"three": TopicSpec(1, 3, -1)}))["three"]
    assert made.status in {CreateStatus.CREATED, CreateStatus.EXISTS}
    three = seen(lambda: retry(lambda: topics.describe(["three"])), "three", lambda topic: topic.ready)
    assert three.replication == 3
    late = own_topics({"diffs_topic": "late"}, 1_000_000)
    retry(lambda: check_topics(admin, late, replication=3, create=True))
    found_late = seen(lambda: retry(lambda: topics.describe(["late"])), "late", lambda topic: topic.ready)
    assert found_late.replication == 3, "not two, although two brokers are up"


def test_without_a_quorum_a_creation_says_what_it_waits_for(cluster: KafkaCluster) -> None:
    last, *others = [broker for broker in cluster.brokers if broker.is_running]
    for broker in others:
        broker.kill()
    topics = KafkaTopics(KafkaAdmin(KafkaAddress(cluster.address, request_s=1.0)))
    wanted = [queue("four", "n4")]
    with pytest.raises(UnavailableError) as caught:
        provision(topics, wanted, lambda _: None, lambda: None)
    down = [broker.address for broker in cluster.brokers if broker is not last]
    assert any(address in str(caught.value) for address in down), caught.value
