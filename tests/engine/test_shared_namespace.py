"""Two worlds may share a namespace: each of them holds what was sent for it (docs/semantics.md 1)."""

from __future__ import annotations

from typing import Final

from dagmanager.dag.model import Submission
from dagmanager.engine.model.version_rows import HolderKey, HolderRow
from tests.engine.builders import Json, Stores, accepted, engine, submissions
from tests.engine.market import MEAN, PRICE

BOTH: Final = ("w1", "w2")


def sent(
    *nodes: Json, position: int, version: str = "v1", worlds: tuple[str, ...] = BOTH
) -> list[Submission]:
    at_ms = 1_600_000_000_000 + position
    fields = {"namespace": "shared", "worlds": worlds, "version": version, "at_ms": at_ms}
    return list(submissions(nodes, position=position, **fields))


def held(stores: Stores) -> dict[HolderKey, str]:
    return {row.key: row.sentinel.version for row in stores.rows(HolderRow)}


def test_each_world_has_a_holder_of_its_own() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit(sent(PRICE, position=1))
    assert held(stores) == {HolderKey("s1", "shared", world): "v1" for world in BOTH}
    works.submit(sent(PRICE, MEAN, position=2, version="v2", worlds=("w1",)))
    assert held(stores) == {HolderKey("s1", "shared", "w1"): "v2", HolderKey("s1", "shared", "w2"): "v1"}


def test_an_identical_resend_for_both_changes_no_row_and_stores_no_outcome() -> None:
    stores = Stores()
    works = engine(stores)
    first = [accepted(each) for each in works.submit(sent(PRICE, MEAN, position=1))]
    before = stores.all_rows()
    for position in (2, 3):
        again = [accepted(each) for each in works.submit(sent(PRICE, MEAN, position=position))]
        assert [each.items for each in again] == [each.items for each in first]
        assert stores.all_rows() == before
    other_process = engine(stores, owner="two")
    assert all(accepted(each) for each in other_process.submit(sent(PRICE, MEAN, position=4)))
    assert stores.all_rows() == before
