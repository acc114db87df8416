"""The keys that a submission is found by, and what it asks of its lineage."""

from __future__ import annotations

from dagmanager.engine.decide.classify import bindings
from dagmanager.engine.decide.submission_keys import (
    claim_id,
    holder_key,
    lineage_key,
    lookup_keys,
    version_change,
    version_request,
)
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.rows import Binding
from dagmanager.engine.model.version_change import NewSentinel
from dagmanager.engine.model.version_rows import HolderKey, LineageKey
from tests.engine.builders import START_MS, node, submission, submissions

NOTHING = Known(nodes={}, queues={}, epoch=0, safe_topics=0, now_ms=START_MS)


def test_a_request_for_a_version_is_the_submission_as_it_was_read() -> None:
    one = submission([node("price")], strategy="s9", position=7, lineage="beta")
    asked = version_request(one, one.at_ms + 1)
    assert asked.key == LineageKey("beta", asked.key.namespace)
    assert (asked.strategy_id, asked.position, asked.submission_digest) == ("s9", 7, one.submission_digest)
    assert (asked.commit_hash, asked.content) == (one.dag.commit_hash, one.dag.content_digest)


def test_a_claim_is_keyed_by_submission_id_and_world() -> None:
    both = submissions([node("price")], worlds=["w1", "w2"])
    assert [claim_id(each) for each in both] == [
        f"{both[0].submission_id}|w1",
        f"{both[1].submission_id}|w2",
    ]


def test_lineage_and_holder_are_keyed_by_namespace() -> None:
    one, two = submissions([node("price")], worlds=["w1", "w2"], strategy="s9", lineage="beta")
    assert lineage_key(one) == LineageKey("beta", "w1.live")
    assert holder_key(one) == HolderKey("s9", "w1.live", "w1")
    assert holder_key(two) == HolderKey("s9", "w2.live", "w2")


def test_a_look_up_reads_own_nodes_dependencies_lineage_holder_and_outcome() -> None:
    one = submission([node("mean", inputs=["blake3:" + "0" * 64])], world="w1")
    keys = lookup_keys(one, bindings(one))
    assert keys.bindings == {
        *bindings(one),
        Binding("blake3:" + "0" * 64, "w1.live"),
    }
    assert keys.nodes == frozenset()
    assert keys.lineages == {lineage_key(one)}
    assert keys.holders == {holder_key(one)}
    assert keys.outcomes == {claim_id(one)}


def test_safe_mode_has_neither_lineage_nor_holder_nor_version_change() -> None:
    one = submission([node("price")], domain="")
    assert one.context.safe_mode
    keys = lookup_keys(one, bindings(one))
    assert (keys.lineages, keys.holders) == (frozenset(), frozenset())
    assert version_change(one, NOTHING) is None


def test_the_first_submission_of_a_lineage_is_a_new_version() -> None:
    change = version_change(submission([node("price")], lineage="beta"), NOTHING)
    assert isinstance(change, NewSentinel)
    assert change.key.lineage == "beta"
