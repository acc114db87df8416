from __future__ import annotations

import pytest

from dagmanager.dag.model import CanonicalDag, Dag, Origin, Record
from dagmanager.engine.reader import Digested, Reader, ReadOptions
from dagmanager.engine.stages import Canonicalized, Refused
from dagmanager.errors import ErrorCode
from operators.steps.canonicalize import canonicalize
from tests.engine.builders import node, record
from tests.operators.passing import BAD, FEED, MEAN, guard, passed

ORIGIN = Origin("submissions")
FOREIGN = {
    "gateway.rebalance": Record(b'["gateway.rebalance",1,"s1",{}]', ORIGIN, b"s1"),
    "commit_record": Record(b'["n1",60,1,{"x":1}]', ORIGIN, b"s1"),
}


def read(*given: Record, batch: int = 100) -> tuple[Reader, list[tuple[str, Canonicalized | Refused]]]:
    reader = Reader(ReadOptions())
    keyed = [((each.key or b"").decode(), each) for each in given]
    return reader, passed(lambda up: canonicalize("step", up, reader, guard()), keyed, batch)


@pytest.mark.parametrize("batch", [1, 100])
def test_a_refused_record_stays_in_its_place(batch: int) -> None:
    first, last = record([FEED], strategy="z"), record([FEED, MEAN], strategy="a")
    _, found = read(first, BAD, last, batch=batch)
    assert [key for key, _ in found] == ["z", "bad", "a"]
    assert [item.record for _, item in found] == [first, BAD, last]
    refused = found[1][1]
    assert isinstance(refused, Refused)
    assert (refused.strategy_id, refused.rejection.code) == ("bad", ErrorCode.INVALID_JSON)


def test_a_foreign_record_leaves_the_stream_and_is_counted() -> None:
    good = record([FEED])
    reader, found = read(*FOREIGN.values(), good)
    assert [item.record for _, item in found] == [good]
    assert reader.foreign.total() == len(FOREIGN)
    assert reader.foreign["gateway.rebalance"] == 1


def test_nodes_are_canonical_whatever_the_order_of_their_keys() -> None:
    plain = node("one", tags=["b", "a", "b"], params={"x": 1, "y": 2})
    turned = dict(reversed(plain.items())) | {"params": {"y": 2, "x": 1}, "tags": ["a", "b"]}
    _, found = read(record([plain]), record([turned]))
    one, other = (item.dag.nodes for _, item in found if isinstance(item, Canonicalized))
    assert one == other
    assert one[0].tags == ("a", "b")


def test_ids_are_not_proven_here() -> None:
    wrong = FEED | {"code_hash": "other"}
    _, ((_, found),) = read(record([wrong]))
    assert isinstance(found, Canonicalized)
    assert isinstance(found.dag, CanonicalDag)
    assert found.dag.fresh == (0,)


def test_bytes_that_were_never_proven_are_read_again() -> None:
    given = record([FEED])
    _, found = read(given, given)
    assert found[0] == found[1]


def test_proven_bytes_are_not_read_again() -> None:
    given = record([FEED])
    reader, found = read(given)
    ((_, first),) = found
    assert isinstance(first, Canonicalized)
    proven = reader.hash(first)
    ((_, again),) = passed(
        lambda up: canonicalize("step", up, reader, guard()),
        [("s1", given)],
    )
    assert isinstance(again, Digested)
    assert isinstance(again.dag, Dag)
    assert reader.hash(again) == proven
