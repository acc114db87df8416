"""Cached answers equal those of a look-up (docs/semantics.md 7)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.answer_cache import AnswerCache
from dagmanager.engine.caches.epoch_cache import MAX_AGE_S
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.graph_port import Graph
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.rows import OutcomeRow, QueueState
from dagmanager.engine.model.version_rows import HolderRow, LineageRow
from tests.engine.builders import Json, Stores, engine, node, submission, tag_query
from tests.graph.builders import store

NODES = [node("a", tags=["BTC"]), node("b", schema_hash="h0")]
LENGTH = 150


class Seconds:
    """A monotonic clock that advances only by `later`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def later(self) -> None:
        self.now_s += 2 * MAX_AGE_S


@dataclass
class CountingGraph:
    """The graph, and what was asked of it."""

    inner: Graph
    calls: list[str]

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(self.inner, name)


def caching(stores: Stores, owner: str = "p1", clock: Seconds | None = None) -> Engine:
    return engine(stores, owner, epoch_clock=clock or Seconds(), graph=CountingGraph(stores.graph, []))


def uncached(stores: Stores) -> Engine:
    return engine(stores, answer_cache=AnswerCache(answers_max=0))


def submit(works: Engine, *asked: Submission) -> list[Outcome]:
    answers = works.submit(asked)
    assert all(isinstance(each.result, Outcome) for each in answers), answers
    return [each.result for each in answers if isinstance(each.result, Outcome)]


def calls_of(works: Engine, asked: Submission) -> list[str]:
    """What the graph is asked for while this submission is answered."""
    assert isinstance(works.graph, CountingGraph)
    works.graph.calls.clear()
    submit(works, asked)
    return works.graph.calls


def warm(works: Engine) -> None:
    """The first time, a resend of it, and a stranger with the same DAG."""
    submit(works, submission(NODES, position=0))
    submit(works, submission(NODES, position=1))
    submit(works, submission(NODES, strategy="stranger", position=2))


class TestReadsOfTheGraph:
    def test_nothing_for_an_identical_resend(self) -> None:
        stores = Stores()
        works = caching(stores)
        warm(works)
        submit(works, submission(NODES, position=3))
        assert calls_of(works, submission(NODES, position=4)) == []

    def test_an_epoch_reading_when_the_last_one_is_old(self) -> None:
        stores, clock = Stores(), Seconds()
        works = caching(stores, clock=clock)
        warm(works)
        submit(works, submission(NODES, position=3))
        clock.later()
        assert calls_of(works, submission(NODES, position=4)) == ["epoch_reading"]

    def test_one_write_for_a_strategy_id_never_seen(self) -> None:
        stores = Stores()
        works = caching(stores)
        warm(works)
        submit(works, submission(NODES, strategy="another", position=3))
        assert calls_of(works, submission(NODES, strategy="new", position=4)) == ["add_holder"]
        assert {row.key.strategy_id for row in stores.rows(HolderRow)} == {"s1", "stranger", "another", "new"}

    def test_a_look_up_for_a_dry_run(self) -> None:
        stores = Stores()
        works = caching(stores)
        warm(works)
        asked = msgspec.structs.replace(submission(NODES, position=4), dry_run=True)
        assert "known" in calls_of(works, asked)


class TestInvalidation:
    def test_its_strategy_id_sent_something_else_meanwhile(self) -> None:
        """An identical resend is a question only while that is what the strategy id holds."""
        stores = Stores()
        works = caching(stores)
        warm(works)
        submit(works, submission(NODES[:1], position=3))
        submit(works, submission(NODES, position=4))
        [holder] = [row for row in stores.rows(HolderRow) if row.key.strategy_id == "s1"]
        assert holder.submission_digest == submission(NODES).submission_digest

    def test_the_same_through_another_process(self) -> None:
        stores, clock = Stores(), Seconds()
        works, other = caching(stores, clock=clock), caching(stores, "p2")
        warm(works)
        submit(other, submission(NODES[:1], position=3))
        clock.later()
        submit(works, submission(NODES, position=4))
        [holder] = [row for row in stores.rows(HolderRow) if row.key.strategy_id == "s1"]
        assert holder.submission_digest == submission(NODES).submission_digest

    def test_its_strategy_id_sent_something_else_in_the_same_batch(self) -> None:
        stores = Stores()
        works = caching(stores)
        warm(works)
        submit(works, submission(NODES[:1], position=3), submission(NODES, position=4))
        [holder] = [row for row in stores.rows(HolderRow) if row.key.strategy_id == "s1"]
        assert holder.submission_digest == submission(NODES).submission_digest

    def test_a_schema_that_changed(self) -> None:
        stores, clock = Stores(), Seconds()
        works, other = caching(stores, clock=clock), caching(stores, "p2")
        warm(works)
        submit(other, submission([NODES[0], NODES[1] | {"schema_hash": "h1"}], lineage="beta", position=3))
        clock.later()
        for asked in (submission(NODES, position=4), submission(NODES, strategy="new", position=5)):
            [outcome] = submit(works, asked)
            assert outcome.actions.buffer == 1

    def test_a_queue_that_is_gone(self) -> None:
        stores, clock = Stores(), Seconds()
        works = caching(stores, clock=clock)
        warm(works)
        row = next(iter(stores.queues().values()))
        store(stores.graph, msgspec.structs.replace(row, state=QueueState.LOST))
        stores.graph.transact(lambda tx: tx.raise_epoch())
        clock.later()
        [outcome] = submit(works, submission(NODES, strategy="new", position=4))
        assert outcome.actions.create == 1

    def test_a_version_that_was_superseded(self) -> None:
        stores = Stores()
        works, other = caching(stores), caching(stores, "p2")
        warm(works)
        submit(works, submission(NODES, strategy="x", position=3))
        submit(other, submission(NODES[:1], strategy="y", position=4))
        submit(works, submission(NODES, strategy="z", position=5))
        assert submit(uncached(stores), submission(NODES[:1], strategy="y", position=6))
        held = {row.key.strategy_id: row.sentinel.revision for row in stores.rows(HolderRow)}
        assert held["z"] == held["x"] == 1
        assert held["y"] == 2


class TestACachedAnswerEqualsALookUp:
    def test_it_names_the_strategy_id_that_asks(self) -> None:
        stores = Stores()
        works = caching(stores)
        warm(works)
        submit(works, submission(NODES, strategy="x", position=3))
        [outcome] = submit(works, submission(NODES, strategy="y", position=4))
        assert outcome.strategy_id == "y"
        assert outcome.sentinel_id == "y-sentinel"
        assert outcome.submission_digest == submission(NODES, strategy="y").submission_digest

    def test_it_is_in_the_order_of_the_dag_that_asks(self) -> None:
        stores = Stores()
        works = caching(stores)
        warm(works)
        submit(works, submission(NODES, strategy="x", position=3))
        [outcome] = submit(works, submission(NODES[::-1], strategy="y", position=4))
        assert outcome.items == submit(works, submission(NODES, strategy="z", position=5))[0].items[::-1]

    @pytest.mark.parametrize("seed", range(12))
    def test_it_is_the_same_after_any_history(self, seed: int) -> None:
        """Two processes with caches, compared with one without."""
        given = arrivals(seed)
        plain = Stores()
        expected = [uncached(plain).submit([each])[0].result for each in given]
        stores, clock, dice = Stores(), Seconds(), random.Random(seed)
        processes = [caching(stores, owner, clock) for owner in ("p1", "p2")]
        for each, wanted in zip(given, expected, strict=True):
            [answer] = dice.choice(processes).submit([each])
            assert answer.result == wanted
            clock.later()
        assert holders(stores) == holders(plain)
        assert outcomes(stores) == outcomes(plain)

    @pytest.mark.parametrize("seed", range(6))
    def test_it_is_the_same_in_any_batches(self, seed: int) -> None:
        given, dice = arrivals(seed + 100), random.Random(seed)
        plain, stores = Stores(), Stores()
        slow, works = uncached(plain), caching(stores)
        while given:
            size = dice.choice([1, 2, 7])
            batch, given = given[:size], given[size:]
            assert [a.result for a in works.submit(batch)] == [a.result for a in slow.submit(batch)]
        assert holders(stores) == holders(plain)


def test_a_record_of_the_future_is_one_of_now_also_when_the_cache_answers() -> None:
    """Else each edit would be older than it, and parked, until that time has come."""
    stores, hour_ms = Stores(), 3_600_000
    works = caching(stores)
    for number in range(4):
        ahead_ms = hour_ms if number == 3 else 0
        submit(
            works,
            submission(NODES, strategy=f"u{number}", at_ms=stores.clock.now_ms + ahead_ms, position=number),
        )
    calls = works.graph.calls  # type: ignore[attr-defined]  # it counts them
    assert calls[-1] == "add_holder"
    [lineage] = stores.rows(LineageRow)
    assert lineage.last_at_ms <= stores.clock.now_ms
    stores.clock.now_ms += 60_000
    edit = submission(NODES[:1], strategy="u0", at_ms=stores.clock.now_ms - 50, position=4)
    assert not submit(works, edit)[0].warnings


def arrivals(seed: int) -> list[Submission]:
    """Few DAGs, sent again and again: by the same ids, by new ones, changed back and forth."""
    dice = random.Random(seed)
    nodes = [*NODES, node("c", inputs=NODES[:1]), tag_query("q", ["BTC"])]
    dags: list[Sequence[Json]] = [NODES, NODES[::-1], nodes, [NODES[0], NODES[1] | {"schema_hash": "h1"}]]
    return [
        submission(
            dags[min(int(dice.expovariate(1.0)), 3)],
            strategy=dice.choice(["s1", "s1", "s2", f"u{position}"]),
            lineage=dice.choice(["alpha", "alpha", "beta"]),
            version=dice.choice(["v1", "v1", "v1", "v2"]),
            world=dice.choice(["", "", "w1"]),
            weight=dice.choice([None] * 9 + [0.5]),
            at_ms=1_700_000_000_000 + position * 1_000,
            position=position,
        )
        for position in range(LENGTH)
    ]


def holders(stores: Stores) -> list[HolderRow]:
    return [msgspec.structs.replace(row, last_seen_ms=0) for row in stores.rows(HolderRow)]


def outcomes(stores: Stores) -> list[OutcomeRow]:
    return [msgspec.structs.replace(row, created_ms=0) for row in stores.rows(OutcomeRow)]
