from __future__ import annotations

from dagmanager.engine.engine import Engine
from dagmanager.engine.model.plan import BufferNode, CreateNode, IsolateNode, Plan, ReuseNode
from dagmanager.engine.stages import CacheHit, LookedUp, Planned, Refused
from dagmanager.topics.memory import MemoryTopics
from operators.steps.classify import classify
from tests.engine.builders import engine, node, submission
from tests.operators.passing import FEED, MEAN, REFUSED, fresh, guard, looked_up, passed, stored


class Untouchable(MemoryTopics):
    """A store that fails the test when it is used."""

    def __getattribute__(self, name: str) -> object:
        msg = f"classify asked for {name}"
        raise AssertionError(msg)


def without_stores() -> Engine:
    none = Untouchable()
    return engine(fresh(), graph=none, topics=none, events=none, log=none, sleep=none)


def classified(given: list[LookedUp | Refused], batch: int = 100) -> list[Planned | CacheHit | Refused]:
    keyed = [(f"key{at}", each) for at, each in enumerate(given)]
    found = passed(lambda up: classify("step", up, without_stores(), guard()), keyed, batch)
    assert [key for key, _ in found] == [key for key, _ in keyed]
    return [item for _, item in found]


def plan_of(item: Planned | CacheHit | Refused) -> Plan:
    assert isinstance(item, Planned)
    assert isinstance(item.plan, Plan)
    return item.plan


def test_every_node_gets_its_action_in_the_dags_order() -> None:
    stores = fresh()
    engine_ = engine(stores)
    engine_.submit([submission([FEED | {"schema_hash": "a" * 64}, MEAN])])
    nodes = [node("new"), MEAN, FEED | {"schema_hash": "b" * 64}]
    later = looked_up(engine_, nodes, version="v2", position=1)
    unsafe = looked_up(engine_, [node("alone")], domain="backtest", position=2)
    (first, second) = classified([later, unsafe])
    assert [type(each) for each in plan_of(first).actions] == [CreateNode, ReuseNode, BufferNode]
    assert [each.node.node_id for each in plan_of(first).actions] == [each["node_id"] for each in nodes]
    assert [type(each) for each in plan_of(second).actions] == [IsolateNode]


def test_it_is_pure() -> None:
    stores = fresh()
    engine_ = engine(stores)
    engine_.submit([submission([FEED])])
    given = looked_up(engine_, [FEED, MEAN], position=1)
    before = stored(stores)
    once, twice = classified([given, given])
    (apart,) = classified([given])
    assert once == twice == apart
    assert stored(stores) == before
    assert isinstance(once, Planned)
    assert (once.submission, once.known, once.generation) == (given.submission, given.known, given.generation)


def test_items_of_a_batch_do_not_see_each_other() -> None:
    engine_ = engine(fresh())
    given: list[LookedUp | Refused] = [
        looked_up(engine_, [FEED], strategy="a", lineage="a"),
        looked_up(engine_, [FEED], strategy="b", lineage="b", position=1),
    ]
    for batch in (1, 2):
        plans = [plan_of(each) for each in classified(given, batch)]
        assert [type(each) for plan in plans for each in plan.actions] == [CreateNode, CreateNode]


def test_refused_passes_by_in_order() -> None:
    given = looked_up(engine(fresh()), [FEED])
    found = classified([REFUSED, given, REFUSED])
    assert [type(each) for each in found] == [Refused, Planned, Refused]
    assert found[0] == found[2] == REFUSED
