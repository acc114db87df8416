"""Processes that submit the same and overlapping DAGs at once, on real servers; one of them dies while it provisions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.engine.model.rows import NodeRow, QueueRow, QueueState
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from servers.records import records
from tests.flows.live.deployment import KILLED, Deployment, Submissions, by_submission, check_stores
from tests.flows.strategies import BASE_MS, pool
from tests.waiting import TIMEOUT_S, until

SHARES = 4
# Partitions 0 and 4 of eight are the victim's.
RIVAL_PARTITIONS = (1, 2, 3, 5, 6, 7)
SHARED = 10
RIVALS = 24


def submission(strategy_id: str, nodes: list[dict[str, Any]]) -> bytes:
    meta = {"strategy_name": f"line-{strategy_id}"}
    dag = {"schema_version": "v1", "nodes": nodes, "meta": meta}
    context = {"execution_domain": "live"}
    given = {"world_ids": ["w1"], "compute_context": context, "dag": dag}
    return orjson.dumps(["gateway.ingest", BASE_MS, strategy_id, given])


@pytest.fixture
def deployment(kafka: str, empty_neo4j: str, topic_prefix: str, tmp_path: Path) -> Deployment:
    return Deployment("rivals", Submissions(kafka, topic_prefix), empty_neo4j, tmp_path)


@pytest.fixture(autouse=True)
def cleaned(deployment: Deployment, kafka_admin: AdminClient) -> Iterator[None]:
    yield
    deployment.forget(kafka_admin)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_rivals_share_every_queue_and_finish_what_a_dead_one_began(
    deployment: Deployment, kafka_admin: AdminClient, moment: str
) -> None:
    dice = random.Random(3)
    everyones = [
        each | {"tags": ["btc", each["name"]], "schema_hash": "a" * 64} for each in pool(dice, SHARED, "n")
    ]
    nodes = {each["node_id"] for each in everyones}
    victims = pool(dice, 2, "victim")
    submissions = deployment.submissions
    submissions.send(submission("victim", everyones + victims), partition=0)
    submissions.flush()
    words = ("tests.flows.dying_flow", moment, str(deployment.folder / "victim"))
    lease = {"claim_lease_seconds": "8", "submissions_partitions": f"0/{SHARES}"}
    assert deployment.begin("dying", *words, settings=lease).wait(TIMEOUT_S) == KILLED, deployment.logs()
    begun = [row for row in deployment.rows() if isinstance(row, QueueRow)]
    assert {row.state for row in begun} == {QueueState.PROVISIONING}
    assert len(begun) == SHARED + len(victims)
    assert len(deployment.queues_on_broker(kafka_admin)) == (0 if moment == "before" else len(begun))

    for index in range(1, SHARES):
        alive = deployment.folder / f"alive{index}"
        share = ("--index", str(index), "--of", str(SHARES))
        deployment.run(f"rival{index}", *share, "--heartbeat", str(alive))
    until(lambda: len(list(deployment.folder.glob("alive*"))) == SHARES - 1, "the rivals did not start")
    for number in range(RIVALS):
        name = f"rival{number}"
        # Every third sends all that the victim sent; the others a part of it, and some of their own.
        own = pool(dice, 2, name) if number % 3 else victims
        chosen = everyones[: 4 + number % 7] if number % 3 else everyones
        nodes |= {each["node_id"] for each in (*chosen, *own)}
        submissions.send(submission(name, [*chosen, *own]), partition=dice.choice(RIVAL_PARTITIONS))
    submissions.flush()
    deployment.wait(RIVALS)
    check_rows(deployment, nodes | {each["node_id"] for each in victims})

    deployment.run("victim", "--index", "0", "--of", str(SHARES))
    values = deployment.wait(RIVALS + 1)
    deployment.drain()
    assert len(by_submission(values)) == RIVALS + 1
    assert {orjson.loads(value)["status"] for value in values} == {"ok"}
    check_stores(deployment, values, kafka_admin)
    check_rows(deployment, nodes | {each["node_id"] for each in victims})
    check_announcements(deployment)


def check_rows(deployment: Deployment, nodes: set[str]) -> None:
    """Each node once, each queue once and whole: on the broker as the graph knows it."""
    rows = deployment.rows()
    assert sorted(row.node_id for row in rows if isinstance(row, NodeRow)) == sorted(nodes)
    queues = [row for row in rows if isinstance(row, QueueRow)]
    assert sorted(row.binding.node_id for row in queues) == sorted(nodes)
    assert {row.state for row in queues} == {QueueState.ACTIVE}
    admin = KafkaAdmin(KafkaAddress(deployment.submissions.servers))
    described = admin.describe([row.topic for row in queues])
    assert {row.topic: row.topic_id for row in queues} == {
        topic: info.topic_id for topic, info in described.items()
    }


def check_announcements(deployment: Deployment) -> None:
    """Each queue in an event and in the log; an event that came twice is the same bytes under one key."""
    servers, topics = deployment.submissions.servers, deployment.topics
    queues = {row.topic for row in deployment.rows() if isinstance(row, QueueRow)}
    answers: dict[str, set[bytes]] = defaultdict(set)
    announced: set[str] = set()
    for message in records(servers, topics["controlbus_queue_topic"]):
        value = message.value() or b""
        data = orjson.loads(value)["data"]
        answers[data["idempotency_key"]].add(value)
        announced |= {each["queue"] for each in data["queues"]}
    assert {len(values) for values in answers.values()} == {1}
    assert announced == queues
    logged = [orjson.loads(message.value() or b"") for message in records(servers, topics["admin_log_topic"])]
    assert {entry["topic"] for entry in logged} == queues
