"""Records of one lineage are read in any order, by any number of processes, and everything that matters ends alike.

The model is one process that reads one record after the other in record order (docs/semantics.md 2).
"""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

import orjson
import pytest
from bytewax.testing import cluster_main, run_main

from dagmanager.assembly import Assembled
from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.engine.model.rows import Binding, QueueRow
from dagmanager.engine.model.version_rows import HolderRow, SentinelKey, SentinelRow, SentinelState
from dagmanager.errors import ErrorCode
from flows.submissions import build
from operators.steps.messages import diff_messages_of
from tests.engine.crashing import Fuse
from tests.flows.crashing import ListSource, World, impatient
from tests.flows.stores import submission_of
from tests.flows.strategies import BASE_MS, pool

pytestmark = pytest.mark.slow

PARTITIONS = 3
STRATEGIES = 7
SKEW_MS = 4_000
Topic = dict[str, list[Record]]


def drawn_history(seed: int, count: int) -> Topic:
    """Submissions of two lineages by partition: new versions, edits, undos, canaries, resends under new strategy ids.

    The clocks of the producers differ by up to some records, in each direction, or not: then records have the same millisecond.
    """
    dice = random.Random(seed)
    nodes = pool(dice, 6, "n")
    contents = [dice.sample(nodes, dice.randint(1, 4)) for _ in range(4)]
    skews = [dice.choice([0, 0, 1_000, dice.randint(-SKEW_MS, SKEW_MS)]) for _ in range(PARTITIONS)]
    weights = dice.choice([(None,), (None, None, None, 0.0, 1.0), (None, None, 0.1, 0.5, 0.0, 1.0)])
    found: Topic = {str(partition): [] for partition in range(PARTITIONS)}
    last: dict[str, bytes] = {}
    for number in range(count):
        strategy_id = f"s{dice.randrange(STRATEGIES)}"
        partition = int(strategy_id[1:]) % PARTITIONS
        value = submission(dice, strategy_id, dice.choice(contents), dice.choice(weights))
        value = last[strategy_id] = last.get(strategy_id, value) if dice.random() < 0.15 else value
        part = found[str(partition)]
        origin = Origin("submissions", "topic-id", partition, len(part))
        part.append(
            Record(
                value,
                origin,
                f"ingest:{strategy_id}".encode(),
                BASE_MS + 1_000 * (number // 2) + skews[partition],
            )
        )
    return found


def submission(
    dice: random.Random, strategy_id: str, content: list[dict[str, Any]], weight: float | None
) -> bytes:
    nodes = list(content)
    if weight is not None:
        nodes.append({"node_type": "VersionSentinel", "node_id": "s", "traffic_weight": weight})
    meta = {
        "strategy_name": f"line{int(strategy_id[1:]) % 2}",
        "version": dice.choice(["v1", "v1", "v2", "v3"]),
    }
    given = {
        "world_ids": dice.choice([["w1"], ["w1"], ["w1", "w2"]]),
        "compute_context": {"execution_domain": "live"},
        "dag": {"schema_version": "v1", "nodes": nodes, "meta": meta},
    }
    return orjson.dumps(["gateway.ingest", BASE_MS, strategy_id, given])


def in_record_order(topic: Topic) -> World:
    """The model."""
    world = World()
    process = world.assembled(Fuse())
    reader = process.reader()
    records = [each for part in topic.values() for each in part]
    for each in sorted(
        records, key=lambda one: (one.timestamp_ms, one.origin.partition, one.origin.position)
    ):
        for item in reader.read(each):
            answer = process.engine.submit([item])[0] if isinstance(item, Submission) else item
            world.diffs += diff_messages_of(answer)
    return world


def in_any_order(topic: Topic, seed: int) -> World:
    """Up to three processes divide the partitions and take turns with batches of random length.

    Now and then all are started again with other shares. A partition may be down for long.
    """
    dice, world = random.Random(seed), World()
    left = {name: list(records) for name, records in topic.items()}
    shares = restarted(dice, world)
    down = dice.choice([None, *topic])
    while any(left.values()):
        up = [name for name, records in left.items() if records and name != down]
        if not up or dice.random() < 0.02:
            down = None
            continue
        if dice.random() < 0.05:
            shares = restarted(dice, world)
        name = dice.choice(up)
        batch = [left[name].pop(0) for _ in range(min(len(left[name]), dice.randint(1, 6)))]
        process = shares[name]
        items = [item for each in batch for item in process.reader().read(each)]
        for answer in process.engine.submit([item for item in items if isinstance(item, Submission)]):
            world.diffs += diff_messages_of(answer)
        world.clock.sleep(dice.choice([0, 1, 60]))
    return world


def restarted(dice: random.Random, world: World) -> dict[str, Assembled]:
    """New processes, and the one of each partition."""
    processes = [world.assembled(Fuse()) for _ in range(dice.randint(1, 3))]
    return {str(partition): dice.choice(processes) for partition in range(PARTITIONS)}


def through_the_flow(topic: Topic, seed: int) -> World:
    dice, world, fuse = random.Random(seed), World(), Fuse()
    assembled = world.assembled(fuse, slow_topics=dice.random() < 0.5)
    flow = build(
        assembled, ListSource(topic, dice.randint(1, 9), fuse), world.sinks(assembled, fuse), impatient()
    )
    if workers := dice.randint(0, 2):
        cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=10), worker_count_per_proc=workers + 1)
    else:
        run_main(flow, epoch_interval=timedelta(seconds=10))
    return world


def outcome(world: World) -> dict[str, Any]:
    """What depends on no reading order (docs/semantics.md 2, Record order).

    A topic is named after the version that created it, so queues are compared by what they are bound to.
    """
    rows = world.graph.rows()
    bindings = {row.topic: row.binding for row in rows if isinstance(row, QueueRow)}
    sentinels = {row.key: row for row in rows if isinstance(row, SentinelRow)}

    def content(key: SentinelKey) -> str:
        return f"{key.version} {sentinels[key].content}"

    return {
        "in force": sorted(
            (*row.key[:2], content(row.key), row.weight)
            for row in sentinels.values()
            if row.state is SentinelState.ACTIVE
        ),
        "holders": sorted(
            (str(row.key), content(row.sentinel)) for row in rows if isinstance(row, HolderRow)
        ),
        "queues": sorted((row.binding, row.state) for row in rows if isinstance(row, QueueRow)),
        "topics": sorted(bindings[each] for each in world.topics.names()),
        "answers": queue_maps(world, bindings),
    }


def queue_maps(world: World, bindings: dict[str, Binding]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in world.diffs:
        queue_map = orjson.loads(each.value).get("queue_map", {})
        found[submission_of(each)] |= {f"{key} {bindings[topic]}" for key, topic in queue_map.items()}
    return found


def refused(world: World) -> set[str]:
    answers = [orjson.loads(each.value) for each in world.diffs]
    return {answer["error"]["code"] for answer in answers if answer["status"] == "rejected"}


@pytest.mark.parametrize("seed", range(12))
def test_what_is_in_force_depends_on_no_reading_order(seed: int) -> None:
    topic = drawn_history(seed, 40)
    model = in_record_order(topic)
    for reading in range(3):
        found = in_any_order(topic, 1_000 * seed + reading)
        compare(found, model)


@pytest.mark.parametrize("seed", range(100, 104))
def test_the_flow_with_partitions_workers_and_batches_ends_as_in_record_order(seed: int) -> None:
    topic = drawn_history(seed, 60)
    compare(through_the_flow(topic, seed), in_record_order(topic))


def compare(found: World, model: World) -> None:
    """A third version beside a canary is decided on arrival, so such histories have no common end."""
    codes = refused(found) | refused(model)
    assert codes <= {ErrorCode.TOO_MANY_VERSIONS}, codes
    if not codes:
        assert outcome(found) == outcome(model)


def test_most_histories_have_no_version_too_many() -> None:
    worlds = [in_record_order(drawn_history(seed, 40)) for seed in range(40)]
    assert sum(not refused(world) for world in worlds) > 20
