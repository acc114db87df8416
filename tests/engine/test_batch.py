"""Batch edges change nothing: a model test over random histories (docs/semantics.md 2, Order).

The same submissions, in the order of arrival, one by one and in random micro-batches: the same
answers, the same stores. What may differ is named in `settled`: moments, and how often a set of
queues was announced on the way, since a batch claims all before it activates any.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
import pytest

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.model.outcome import outcome_digest
from dagmanager.engine.model.rows import (
    ContentRow,
    CounterRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    TagSetRow,
)
from dagmanager.engine.model.version_rows import HolderRow, LineageRow, SentinelRow, SentinelState
from dagmanager.engine.stages import Answer
from tests.engine.builders import DAY_MS, START_MS, Clock, Json, Stores, engine, node, submission, tag_query
from tests.graph.builders import referenced, tags_in_force

LENGTH = 120
SEEDS = range(14)


def pool(dice: random.Random) -> list[Json]:
    """A few nodes that every lineage draws from, with edges, tags and queries."""
    nodes: list[Json] = []
    for number in range(8):
        inputs = dice.sample(nodes, min(len(nodes), dice.randrange(3)))
        tags = dice.sample(["BTC", "ETH", "x"], dice.randrange(3))
        nodes.append(node(f"n{number}", tags=tags, inputs=inputs, schema_hash="h0"))
    return [*nodes, tag_query("q", ["BTC", "x"], dice.choice(["any", "all"]))]


def arrivals(seed: int) -> list[Submission]:
    """One history: new versions, weights, schemas, resends, replays, records out of order."""
    dice = random.Random(seed)
    nodes, found = pool(dice), list[Submission]()
    for position in range(LENGTH):
        at_ms = START_MS + position * dice.choice([1_000, DAY_MS // 10]) + dice.choice([0, 0, 0, -5_000])
        if found and dice.random() < 0.1:
            found.append(dice.choice(found))  # a replay
            continue
        chosen = [changed(dice, each) for each in dice.sample(nodes, dice.randrange(1, 5))]
        if found and dice.random() < 0.3:
            # A resend, or the same by another strategy id.
            earlier = dice.choice(found[-6:])
            chosen = list(as_dicts(earlier, nodes))
        found.append(
            submission(
                chosen,
                strategy=dice.choice(["s1", "s2", "s3", f"u{position}"]),
                lineage=dice.choice(["alpha", "beta"]),
                version=dice.choice(["v1", "v1", "v2", "v3"]),
                weight=dice.choice([None, None, None, 0.0, 0.25, 1.0]),
                world=dice.choice(["", "", "w1"]),
                domain=dice.choice(["live"] * 8 + ["backtest"]),
                at_ms=at_ms,
                position=position,
            )
        )
    return found


def changed(dice: random.Random, one: Json) -> Json:
    if one["node_type"] == "TagQueryNode" or dice.random() < 0.7:
        return one
    return one | dice.choice(
        [{"schema_hash": "h1"}, {"schema_hash": "h2"}, {"tags": ["BTC"]}, {"schema_hash": ""}]
    )


def as_dicts(one: Submission, nodes: Sequence[Json]) -> Iterator[Json]:
    known = {each["node_id"]: each for each in nodes}
    for each in one.dag.nodes:
        yield known[each.node_id] | {"schema_hash": each.schema_hash, "tags": list(each.tags)}


@cache
def one_by_one(seed: int) -> tuple[Stores, list[Answer]]:
    return run([[each] for each in arrivals(seed)])


@cache
def in_batches(seed: int) -> tuple[Stores, list[Answer]]:
    return run(cut(random.Random(seed + 1000), arrivals(seed)))


def run(batches: Sequence[Sequence[Submission]]) -> tuple[Stores, list[Answer]]:
    stores = Stores(clock=Clock(START_MS + 30 * DAY_MS))
    works = engine(stores)
    return stores, [answer for batch in batches for answer in works.submit(batch)]


def cut(dice: random.Random, found: list[Submission]) -> list[list[Submission]]:
    batches: list[list[Submission]] = []
    rest = list(found)
    while rest:
        size = dice.choice([1, 2, 5, 20])
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def settled(stores: Stores) -> dict[tuple[str, Any], Any]:
    """Every row by type and key, without moments of the store's clock and without counts of events."""
    return {
        (type(row).__name__, row.key): timeless(row)
        for row in stores.all_rows()
        if not isinstance(row, CounterRow | TagSetRow | OutcomeRow | OutboxRow)
    }


def timeless(row: Row) -> Row:
    match row:
        case SentinelRow():
            return msgspec.structs.replace(
                row,
                last_seen_ms=0,
                created_ms=0,
                weight_revision=0,
                lease_until_ms=0,
                weight=round(row.weight, 9),
                # Which of the two a version is that is not in force may depend on the order.
                state=SentinelState.SUPERSEDED if row.state is SentinelState.PARKED else row.state,
            )
        case QueueRow():
            return msgspec.structs.replace(row, topic_id="", lease_until_ms=0, unreferenced_ms=None)
        case HolderRow() | NodeRow() | LineageRow():
            return row
        case _:
            return row


@pytest.mark.parametrize("seed", SEEDS)
def test_micro_batches_answer_as_one_by_one(seed: int) -> None:
    (alone, expected), (together, got) = one_by_one(seed), in_batches(seed)
    # The replay of a plain answer is decided again (docs/semantics.md 2), that of a joined one is not.
    kept, joined = alone.outcomes(), together.outcomes()
    for position, (one, other) in enumerate(zip(expected, got, strict=True)):
        claim = claim_id(one.submission)
        if not other.replayed or kept.get(claim) == joined.get(claim):
            assert other.result == one.result, (seed, position)
            assert outcome_digest(other.result) == outcome_digest(one.result)
    rows, whole = settled(together), settled(alone)
    assert rows == whole


@pytest.mark.parametrize("seed", SEEDS)
def test_every_stored_outcome_is_the_answer(seed: int) -> None:
    """A joined answer is stored and a plain one is not: what is stored by both runs is the same."""
    (alone, _), (together, _) = one_by_one(seed), in_batches(seed)
    one, other = alone.outcomes(), together.outcomes()
    assert {key: body for key, body in one.items() if body} == {
        key: other[key] for key, body in one.items() if body
    }
    assert set(other) >= set(one)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_keeps_the_invariants_of_versions_and_references(seed: int) -> None:
    stores, _ = in_batches(seed)
    weights: dict[Any, float] = {}
    for row in stores.rows(SentinelRow):
        if row.state is SentinelState.ACTIVE:
            place = (row.key.lineage, row.key.namespace)
            weights[place] = weights.get(place, 0.0) + row.weight
        assert row.state is not SentinelState.PENDING
    assert weights == pytest.approx(dict.fromkeys(weights, 1.0))
    assert set(weights) == {(row.key.lineage, row.key.namespace) for row in stores.rows(LineageRow)}
    for queue in stores.rows(QueueRow):
        if queue.state is QueueState.ACTIVE and not queue.binding.safe:
            free = queue.unreferenced_ms is not None
            node_id, namespace = queue.binding.node_id, queue.binding.namespace
            held = stores.graph.transact(lambda tx: referenced(tx, namespace, [node_id]))  # noqa: B023 - run at once
            assert free == (not held), queue
    tags = {tag for row in stores.rows(ContentRow) for each in row.members for tag in each.tags}
    for row in stores.rows(NodeRow):
        in_force = stores.graph.transact(lambda tx: tags_in_force(tx, [row.node_id], tags))  # noqa: B023 - run at once
        assert row.tags == in_force.get(row.node_id, ()), row.name


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_replaying_a_whole_history_answers_the_same_and_writes_nothing(seed: int) -> None:
    """Answers that the lineage's order forbade, and questions, are decided again; the others are stored."""
    found = arrivals(seed)
    stores, expected = run(cut(random.Random(seed), found))
    rows, kept = settled(stores), stores.outcomes()
    again = engine(stores, "after").submit(found)
    for before, after in zip(expected, again, strict=True):
        one = before.submission
        if kept.get(claim_id(one)):
            assert after.result == before.result
    after_rows = settled(stores)
    assert {key for key in rows if rows[key] != after_rows[key]} == set()
