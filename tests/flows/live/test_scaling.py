"""One process, several, or a cluster: the same submissions get the same answers (docs/operating/scaling.md)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.engine.model.rows import OutcomeRow
from servers.ports import HOST, free_port
from tests.flows.live.deployment import Answer, Deployment, Submissions, by_submission, check_stores
from tests.flows.strategies import Market, pool
from tests.waiting import TIMEOUT_S

COUNT = 48
Open = Callable[[str], Deployment]


def strategies() -> list[bytes]:
    """Twelve strategies that share nodes, but no lineage and no schema change: workers answer in any order."""
    dice = random.Random(11)
    names = [f"s{number}" for number in range(12)]
    own = {name: pool(dice, 3, name) for name in names}
    market = Market(
        dice,
        pool(dice, 5, "n"),
        own,
        schemas_of_shared=("a",),
        shared_lineages=False,
        domains=("live", "shadow"),
    )
    return [market.strategy(dice.choice(names)) for _ in range(COUNT)]


@pytest.fixture
def submissions(kafka: str, topic_prefix: str) -> Submissions:
    found = Submissions(kafka, topic_prefix)
    for value in strategies():
        found.send(value)
    found.flush()
    return found


@pytest.fixture
def deploy(
    submissions: Submissions, kafka_admin: AdminClient, empty_neo4j: str, tmp_path: Path
) -> Iterator[Open]:
    """Deployments one after the other; each finds nothing of the one before."""
    opened: list[Deployment] = []

    def open_one(name: str) -> Deployment:
        if opened:
            opened[-1].forget(kafka_admin)
        opened.append(Deployment(name, submissions, empty_neo4j, tmp_path))
        return opened[-1]

    yield open_one
    opened[-1].forget(kafka_admin)


def decoded(values: list[bytes]) -> dict[tuple[str, str], dict[str, Any]]:
    """Answers without what racing workers decide: who is first to create a shared node, and so names it."""
    found = {}
    for name, repeats in by_submission(values).items():
        answer: Answer = orjson.loads(repeats[0])
        actions = answer["actions"]
        found[name] = {
            "strategy": answer["strategy_id"],
            "status": answer["status"],
            "digest": answer["submission_digest"],
            "sentinel": (answer["sentinel_id"], answer["version"], answer["crc32"]),
            "nodes": sorted(answer["queue_map"]),
            "new or known": actions["create"] + actions["reuse"],
            "buffers": sorted((each["node_id"], each["lag"]) for each in answer["buffer_nodes"]),
        }
    return found


def cluster(deployment: Deployment, recovery: Path) -> list[Any]:
    """Two processes of one worker each, under Bytewax's own runner."""
    addresses = ";".join(f"{HOST}:{free_port()}" for _ in range(2))
    snapshots = ["-r", str(recovery), "-s", "1", "-b", "0"]
    return [
        deployment.begin(
            f"cluster{index}",
            "bytewax.run",
            "flows.submissions",
            "-i",
            str(index),
            "-a",
            addresses,
            *snapshots,
        )
        for index in range(2)
    ]


def test_processes_with_shares_and_a_cluster_answer_as_one_worker(
    deploy: Open, submissions: Submissions, kafka_admin: AdminClient, tmp_path: Path
) -> None:
    due = submissions.answers_due
    alone = deploy("alone")
    alone.run("only")
    expected = alone.wait(due)
    alone.drain()
    check_stores(alone, expected, kafka_admin)

    shared = deploy("shared")
    shared.run("left", "--partitions", "0-3")
    shared.run("right", "--partitions", "4-7")
    found = shared.wait(due)
    shared.drain()
    assert decoded(found) == decoded(expected)
    check_stores(shared, found, kafka_admin)
    for name in ("left", "right"):
        assert " submissions answered" in (shared.folder / f"{name}.log").read_text(), "both had work"

    clustered = deploy("clustered")
    recovery = tmp_path / "snapshots"
    recovery.mkdir()
    made = clustered.begin("made", "bytewax.recovery", str(recovery), "2")
    assert made.wait(TIMEOUT_S) == 0
    clustered.kill()
    processes = cluster(clustered, recovery)
    found = clustered.wait(due)
    assert decoded(found) == decoded(expected)
    check_stores(clustered, found, kafka_admin)
    processes[0].kill()
    assert processes[1].wait(TIMEOUT_S) != 0, "no process takes over: the supervisor starts all of them again"
    clustered.kill()
    again = strategies()[-1]
    submissions.send(again)
    submissions.flush()
    cluster(clustered, recovery)
    after = clustered.wait(submissions.answers_due)
    assert len(by_submission(after)) == submissions.answers_due > due


def test_from_one_process_to_two_and_back_stored_answers_are_sent_again(
    deploy: Open, submissions: Submissions, kafka_admin: AdminClient
) -> None:
    due = submissions.answers_due
    moved = deploy("moved")
    moved.run("one")
    moved.wait(due)
    moved.drain()
    before = moved.rows()
    for index in ("0", "1"):
        moved.run(f"{index} of two", "--index", index, "--of", "2")
    moved.wait(due, times=2)
    moved.drain()
    moved.run("one again")
    values = moved.wait(due, times=3)
    moved.drain()
    repeats = by_submission(values)
    assert len(values) == 3 * due
    assert {len(each) for each in repeats.values()} == {3}
    stored = [row for row in before if isinstance(row, OutcomeRow) and row.body]
    assert len(stored) > due / 2
    for row in stored:
        submission_id, _, world_id = row.claim_id.partition("|")
        assert len(set(repeats[submission_id, world_id])) == 1
    assert moved.rows() == before, "what is sent again is written nowhere"
    check_stores(moved, values, kafka_admin)
