from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.wire.topic_history import topics_at

SPEC = TopicSpec(1, 2, 3_000)


def made(topic: str, at_ms: int, topic_id: str = "") -> AdminEntry:
    return AdminEntry(
        AdminAction.CREATE, topic, topic_id or f"id-{topic}", SPEC, "blake3:n", "w.live", "claim", at_ms
    )


def gone(topic: str, at_ms: int, topic_id: str | None = None) -> AdminEntry:
    named = f"id-{topic}" if topic_id is None else topic_id
    return AdminEntry(AdminAction.DELETE, topic, named, SPEC, "blake3:n", "w.live", "claim", at_ms)


LOG = [made("a", 10), made("b", 20), gone("a", 30), made("c", 40), gone("b", 50, topic_id="")]


def test_a_topic_exists_from_its_creation_until_its_deletion() -> None:
    there = {at_ms: list(topics_at(LOG, at_ms)) for at_ms in (9, 10, 20, 29, 30, 40, 49, 50, 99)}
    assert there == {
        9: [], 10: ["a"], 20: ["a", "b"], 29: ["a", "b"], 30: ["b"], 40: ["b", "c"], 49: ["b", "c"],
        50: ["c"], 99: ["c"],
    }  # fmt: skip


def test_a_lost_topic_is_gone_and_its_name_may_be_used_again() -> None:
    lost = msgspec.structs.replace(gone("a", 30), action=AdminAction.LOST)
    there = {at_ms: list(topics_at([*LOG[:2], lost], at_ms)) for at_ms in (29, 30)}
    assert there == {29: ["a", "b"], 30: ["b"]}


def test_everything_needed_to_create_a_topic_again_is_reported() -> None:
    [topic] = topics_at([made("a", 10)], 10).values()
    assert (topic.topic, topic.topic_id, topic.spec) == ("a", "id-a", SPEC)
    assert (topic.node_id, topic.namespace, topic.claim_id, topic.created_ms) == (
        "blake3:n", "w.live", "claim", 10,
    )  # fmt: skip


def test_another_incarnation_of_a_name_is_another_topic() -> None:
    log = [made("a", 10, "first"), gone("a", 20, "first"), made("a", 30, "second")]
    assert topics_at(log, 25) == {}
    assert topics_at(log, 30)["a"].topic_id == "second"


def test_a_late_creation_of_a_deleted_id_is_a_repeat() -> None:
    assert topics_at([made("a", 10), gone("a", 20), made("a", 30)], 40) == {}


def test_a_deletion_of_an_unknown_topic_is_ignored() -> None:
    assert topics_at([gone("a", 10)], 10) == {}


@given(st.permutations(LOG * 2), st.integers(0, 60))
def test_neither_order_nor_repeats_matter(log: list[AdminEntry], at_ms: int) -> None:
    assert topics_at(log, at_ms) == topics_at(LOG, at_ms)


def test_a_deletion_without_an_id_removes_what_was_created_until_then() -> None:
    there = {
        at_ms: list(topics_at([made("a", at_ms), gone("a", 30, topic_id="")], 99)) for at_ms in (29, 30, 31)
    }
    assert there == {29: [], 30: [], 31: ["a"]}


def test_the_latest_deletion_without_an_id_counts() -> None:
    log = [made("a", 35), gone("a", 30, topic_id=""), gone("a", 40, topic_id="")]
    assert list(topics_at(log, 99)) == list(topics_at(log[::-1], 99)) == []
