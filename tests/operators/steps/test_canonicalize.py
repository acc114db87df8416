from __future__ import annotations

import pytest

from dagmanager.dag.model import CanonicalDag, Dag, Origin, Record
from dagmanager.engine.reader import Digested, Reader, ReadOptions
from dagmanager.engine.stages import Canonicalized, Refused
from dagmanager.errors import ErrorCode
from operators.poison_quarantine import PoisonQuarantine
from operators.steps.canonicalize import canonicalize
from operators.steps.remember import Remembered
from tests.engine.builders import node, record
from tests.operators.passing import BAD, FEED, MEAN, passed, remembered

ORIGIN = Origin("submissions")
FOREIGN = {
    "gateway.rebalance": Record(b'["gateway.rebalance",1,"s1",{}]', ORIGIN, b"s1"),
    "commit_record": Record(b'["n1",60,1,{"x":1}]', ORIGIN, b"s1"),
}


def read(*given: Remembered, batch: int = 100) -> tuple[Reader, list[tuple[str, Canonicalized | Refused]]]:
    reader = Reader(ReadOptions())
    keyed = [((each.record.key or b"").decode(), each) for each in given]
    return reader, passed(lambda up: canonicalize("step", up, reader, PoisonQuarantine()), keyed, batch)


@pytest.mark.parametrize("batch", [1, 100])
def test_a_refused_record_stays_in_its_place(batch: int) -> None:
    first, last = record([FEED], strategy="z"), record([FEED, MEAN], strategy="a")
    _, found = read(remembered(first), remembered(BAD), remembered(last), batch=batch)
    assert [key for key, _ in found] == ["z", "bad", "a"]
    assert [item.record for _, item in found] == [first, BAD, last]
    refused = found[1][1]
    assert isinstance(refused, Refused)
    assert (refused.strategy_id, refused.rejection.code) == ("bad", ErrorCode.INVALID_JSON)


def test_a_foreign_record_leaves_the_stream_and_is_counted() -> None:
    good = record([FEED])
    reader, found = read(*map(remembered, FOREIGN.values()), remembered(good))
    assert [item.record for _, item in found] == [good]
    assert reader.foreign.total() == len(FOREIGN)
    assert reader.foreign["gateway.rebalance"] == 1


def test_nodes_are_canonical_whatever_the_order_of_their_keys() -> None:
    plain = node("one", tags=["b", "a", "b"], params={"x": 1, "y": 2})
    turned = dict(reversed(plain.items())) | {"params": {"y": 2, "x": 1}, "tags": ["a", "b"]}
    _, found = read(remembered(record([plain])), remembered(record([turned])))
    one, other = (item.dag.nodes for _, item in found if isinstance(item, Canonicalized))
    assert one == other
    assert one[0].tags == ("a", "b")


def test_ids_are_not_proven_here() -> None:
    wrong = FEED | {"code_hash": "other"}
    _, ((_, found),) = read(remembered(record([wrong])))
    assert isinstance(found, Canonicalized)
    assert isinstance(found.dag, CanonicalDag)
    assert found.dag.fresh == (0,)


def test_a_repeat_of_bytes_never_proven_is_read_again() -> None:
    given = record([FEED])
    _, found = read(remembered(given), remembered(given, repeat=True))
    assert found[0] == found[1]


def test_a_repeat_of_proven_bytes_is_recalled() -> None:
    given = record([FEED])
    reader, found = read(remembered(given))
    ((_, first),) = found
    reader.hash(first)
    ((_, again),) = passed(
        lambda up: canonicalize("step", up, reader, PoisonQuarantine()),
        [("s1", remembered(given, repeat=True))],
    )
    assert isinstance(again, Digested)
    assert isinstance(again.dag, Dag)
    assert reader.hash(again) == reader.hash(first)
