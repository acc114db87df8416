"""Which nodes a change of a lineage locks and moves: those whose place may be another afterwards."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.model.rows import ContentRow
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.transactions.references import nodes_to_lock, tag_deltas
from dagmanager.graph.embedded.memory import MemoryGraph
from tests.graph.builders import content, sentinel, store

ACTIVE, PENDING, PARKED = SentinelState.ACTIVE, SentinelState.PENDING, SentinelState.PARKED
SUPERSEDED = SentinelState.SUPERSEDED
OLD = content("old", "a", "b", ("c", ("x",)))
NEW = content("new", "a", ("c", ("y",)), "d")
CONTENTS = {
    "old": OLD,
    "new": NEW,
    "outside": msgspec.structs.replace(content("outside", "a"), outside=("b",)),
}


def version(digest: str, state: SentinelState = ACTIVE) -> SentinelRow:
    return sentinel(digest, version=digest, state=state)


def unsettled(*sentinels: SentinelRow, arriving: ContentRow | None = None) -> set[str]:
    graph = MemoryGraph(lambda: 0)
    store(graph, *CONTENTS.values())
    return set(graph.transact(lambda tx: nodes_to_lock(tx, sentinels, arriving)))


def moved(before: list[SentinelRow], after: list[SentinelRow]) -> set[str]:
    graph = MemoryGraph(lambda: 0)
    store(graph, *CONTENTS.values())
    return set(graph.transact(lambda tx: tag_deltas(tx, before, after)))


def test_a_first_version_locks_every_node() -> None:
    assert unsettled(arriving=NEW) == {"a", "c", "d"}
    assert unsettled(version("new", PENDING)) == {"a", "c", "d"}


def test_a_next_version_locks_added_removed_and_retagged_nodes() -> None:
    assert unsettled(version("old"), arriving=NEW) == {"b", "c", "d"}


@pytest.mark.parametrize("state", [PENDING, PARKED, ACTIVE])
def test_any_referencing_version_may_leave(state: SentinelState) -> None:
    assert unsettled(version("new"), version("old", state)) == {"b", "c", "d"}


def test_versions_that_reference_nothing_are_ignored() -> None:
    assert unsettled(version("new"), version("old", SUPERSEDED)) == set()


def test_a_member_that_becomes_a_dependency_is_locked() -> None:
    assert unsettled(version("old"), arriving=CONTENTS["outside"]) == {"b", "c"}


def test_a_canary_changes_the_tags_of_its_own_nodes() -> None:
    assert moved([version("old")], [version("old"), version("new")]) == {"c", "d"}


def test_superseding_changes_the_tags_of_nodes_that_differ() -> None:
    assert moved([version("old")], [version("old", SUPERSEDED), version("new")]) == {"b", "c", "d"}


def test_parking_changes_the_tags_of_nodes_that_only_the_parked_version_has() -> None:
    both = [version("old"), version("new")]
    assert moved(both, [version("old", PARKED), version("new")]) == {"b", "c"}


def test_a_change_of_weights_changes_no_tags() -> None:
    assert moved([version("old"), version("new", PENDING)], [version("old"), version("new", PARKED)]) == set()
