from __future__ import annotations

import pytest

from dagmanager.dag.model import Record, Submission
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Canonicalized, Refused
from dagmanager.errors import ErrorCode
from operators.steps.hashing import hash_ids
from tests.engine.builders import record
from tests.operators.passing import FEED, MEAN, REFUSED, guard, passed

READER = Reader(ReadOptions())


def canonical(given: Record) -> Canonicalized:
    found = READER.canonicalize(given)
    assert isinstance(found, Canonicalized)
    return found


def hashed(*given: Canonicalized | Refused, batch: int = 100) -> list[tuple[str, Submission | Refused]]:
    return passed(lambda up: hash_ids("step", up, READER, guard()), [("key", each) for each in given], batch)


def test_one_world_is_one_submission_in_the_order_asked() -> None:
    given = record([FEED, MEAN], worlds=["w2", "w1", "w3"])
    found = [item for _, item in hashed(canonical(given)) if isinstance(item, Submission)]
    assert [each.context.world_id for each in found] == ["w2", "w1", "w3"]
    assert len({each.submission_id for each in found}) == 3, "each is answered and stored by itself"
    assert len({each.dag.content_digest for each in found}) == 1
    assert all(each.record == given for each in found)


def test_no_world_named_is_one_submission() -> None:
    ((key, found),) = hashed(canonical(record([FEED])))
    assert key == "key"
    assert isinstance(found, Submission)
    assert found.context.world_id == ""


@pytest.mark.parametrize("batch", [1, 100])
def test_refused_passes_by_in_order(batch: int) -> None:
    first, last = canonical(record([FEED], strategy="z")), canonical(record([MEAN, FEED], strategy="a"))
    found = [item for _, item in hashed(first, REFUSED, last, batch=batch)]
    assert found[1] is REFUSED
    assert [each.strategy_id for each in found] == ["z", "bad", "a"]


def test_an_invalid_id_is_refused_once_and_keeps_the_record() -> None:
    given = record([FEED, MEAN | {"code_hash": "other"}], worlds=["w1", "w2"])
    ((_, found),) = hashed(canonical(given))
    assert isinstance(found, Refused)
    assert (found.record, found.rejection.code) == (given, ErrorCode.NODE_ID_MISMATCH)
    assert found.rejection.node_id == MEAN["node_id"]


def test_ids_are_the_same_through_any_record() -> None:
    """The place of a record moves its id, never its digests."""
    one, other = (canonical(record([FEED, MEAN], position=at)) for at in (0, 1))
    first, second = (item for _, item in hashed(one, other) if isinstance(item, Submission))
    assert first.submission_id != second.submission_id
    assert first.submission_digest == second.submission_digest
    assert first.dag == second.dag
