from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from neo4j import GraphDatabase

from tests.waiting import TIMEOUT_S


def test_a_record_comes_back_from_the_broker(kafka: str, kafka_admin: AdminClient, topic_prefix: str) -> None:
    topic = f"{topic_prefix}round"
    kafka_admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(TIMEOUT_S)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"there and back")
    assert producer.flush(TIMEOUT_S) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        record = consumer.poll(TIMEOUT_S)
        assert record is not None
        assert record.value() == b"there and back"
    finally:
        consumer.close()


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_finds_an_empty_graph(empty_neo4j: str, attempt: int) -> None:
    with GraphDatabase.driver(empty_neo4j) as driver:
        driver.execute_query("CREATE (:Leftover)")
        assert driver.execute_query("MATCH (n) RETURN count(n) AS nodes").records[0]["nodes"] == 1
