"""Several processes over one graph and one broker at once: each node once, each queue once, one answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from dagmanager.dag.model import Submission
from dagmanager.engine.model.rows import NodeRow, OutboxRow, QueueRow, QueueState
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.stages import Answer
from tests.engine.builders import START_MS, Json, Stores, WallClock, accepted, engine, node, submission
from tests.waiting import TIMEOUT_S

NODES: list[Json] = []
for number in range(12):
    NODES.append(node(f"n{number}", tags=["BTC"], inputs=NODES[-1:], schema_hash="h"))


def race(stores: Stores, works: Sequence[Sequence[Submission]]) -> list[list[Answer]]:
    """One thread and one engine per list of submissions, all let loose together."""
    start = threading.Barrier(len(works))
    answers: list[list[Answer]] = [[] for _ in works]
    broken: list[BaseException] = []

    def work(mine: int) -> None:
        process = engine(stores, f"p{mine}", sleep=lambda seconds: time.sleep(min(seconds, 0.001)))
        start.wait()
        try:
            for each in works[mine]:
                answers[mine].extend(process.submit([each]))
        except BaseException as error:
            broken.append(error)
            raise

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert broken == []
    return answers


def assert_once(stores: Stores) -> None:
    queues = stores.rows(QueueRow)
    assert len({row.binding for row in queues}) == len(queues)
    assert {row.state for row in queues} == {QueueState.ACTIVE}
    assert {row.incarnation for row in queues} == {1}
    assert sorted(row.topic for row in queues) == list(stores.topics.names())
    assert len(stores.rows(NodeRow)) == len({row.binding.node_id for row in queues})
    assert not [row for row in stores.rows(SentinelRow) if row.state is SentinelState.PENDING]
    assert stores.rows(OutboxRow) == []


@pytest.mark.parametrize("attempt", range(5))
def test_rivals_with_the_same_dag_create_each_queue_once(attempt: int) -> None:
    stores = Stores(clock=WallClock())
    works = [[submission(NODES, strategy=f"s{n}", position=n)] for n in range(6)]
    answers = [each for found in race(stores, works) for each in found]
    assert len({accepted(each).items for each in answers}) == 1
    assert sum(accepted(each).actions.create for each in answers) == len(NODES)
    assert_once(stores)
    assert len([row for row in stores.rows(SentinelRow) if row.state is SentinelState.ACTIVE]) == 1


@pytest.mark.parametrize("attempt", range(5))
def test_rivals_with_overlapping_dags_share_queues(attempt: int) -> None:
    stores = Stores(clock=WallClock())
    works = [
        [
            submission(
                NODES[n : n + 4 + step],
                strategy=f"s{n}",
                lineage=f"l{n}",
                position=step,
                at_ms=START_MS + step,
            )
            for step in range(4)
        ]
        for n in range(5)
    ]
    answers = [each for found in race(stores, works) for each in found]
    topics: dict[str, str] = {}
    for each in answers:
        for key, topic in accepted(each).items:
            assert topics.setdefault(key, topic) == topic
    assert sum(accepted(each).actions.create for each in answers) == len(topics)
    assert_once(stores)


def test_one_engine_serves_several_threads() -> None:
    stores = Stores(clock=WallClock())
    process = engine(stores, sleep=lambda _: None)
    answers: list[Answer] = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.extend(
                process.submit([submission(NODES, strategy=f"s{n}", position=n)])
            )
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert len({accepted(each).items for each in answers}) == 1
    assert sum(accepted(each).actions.create for each in answers) == len(NODES)
    assert_once(stores)
