"""Every read of the ports over a small set of keys, so that two states can be compared as a whole."""

from __future__ import annotations

from typing import Any

from dagmanager.engine.model.graph_port import Graph, Known, LookupKeys, Transaction
from dagmanager.engine.model.rows import Binding, TagSetKey, fold
from dagmanager.engine.model.version_rows import HolderKey, LineageKey, SentinelKey
from tests.graph.builders import node_usage, referenced

NODES = ("n1", "n2", "n3", "n4")
NAMESPACES = ("", "w.live")
SAFES = ("", "s1")
BASE_NAMES = ("one", "two", "ONE", "t.wo", "t_wo")
TOPICS = ("a.x", "a_x", "A.x", "b", "b_v2", "c", "d", "e")
CONTENTS = ("c1", "c2", "c3")
LINEAGES = tuple(LineageKey(name, namespace) for name in ("l1", "l2") for namespace in NAMESPACES)
SENTINELS = tuple(
    SentinelKey(*lineage, version, n) for lineage in LINEAGES for version in ("v1", "v2") for n in (1, 2)
)
HOLDERS = tuple(
    HolderKey(name, namespace, world)
    for name in ("s1", "s2")
    for namespace in NAMESPACES
    for world in ("", "w1")
)
CLAIMS = ("k1", "k2")
TAGS = ("t1", "t2", "t3")
INTERVALS = (0, 60)
TAG_SETS = tuple(TagSetKey(tags, interval) for tags in ((), ("t1",), ("t1", "t2")) for interval in INTERVALS)
COUNTERS = ("epoch", "published:x")
BINDINGS = tuple(Binding(n, namespace, safe) for n in NODES for namespace in NAMESPACES for safe in SAFES)
EVERYTHING = LookupKeys(frozenset(BINDINGS), frozenset(LINEAGES), frozenset(HOLDERS), frozenset(CLAIMS))


def known_as_json(known: Known) -> dict[str, Any]:
    """All but the clock."""
    fields = ("nodes", "queues", "lineages", "sentinels", "holders", "outcomes", "outcome_queues")
    found: dict[str, Any] = {name: dict(getattr(known, name)) for name in fields}
    return found | {"epoch": known.epoch, "safe_topics": known.safe_topics}


def answers_of(tx: Transaction) -> dict[str, Any]:
    """The results of every read of a transaction."""
    return {
        "known": known_as_json(tx.known(EVERYTHING)),
        "contents": [tx.contents([digest]).get(digest) for digest in CONTENTS],
        "taken": tx.taken([fold(topic) for topic in TOPICS], [fold(name) for name in BASE_NAMES]),
        "referenced": [referenced(tx, namespace, NODES) for namespace in NAMESPACES],
        "dependents": dict(tx.dependents(NODES)),
        "content_referenced": [tx.content_referenced(c, n) for c in CONTENTS for n in NAMESPACES],
        "node_usage": node_usage(tx, NODES),
        "tag_queries": [
            tx.tag_queries((tag, i) for tag in tags) for tags in (*_singles(), TAGS) for i in INTERVALS
        ],
        "tag_revision": [tx.tag_revisions([key])[key] for key in TAG_SETS],
        "nodes": dict(tx.nodes(NODES)),
        "queues_by_topic": dict(tx.queues_by_topic(TOPICS)),
        "open_claim": [tx.open_claim(claim) for claim in CLAIMS],
        "holders_of": [tx.holders_of(key) for key in SENTINELS],
        "waiting_events": [tx.waiting_events(limit) for limit in (0, 2, 1000)],
        "counters": [tx.counters([name])[name] for name in COUNTERS],
        "tagged": tagged_of(tx),
    }


def tagged_of(reader: Transaction | Graph) -> list[Any]:
    return [
        reader.tagged(tags, interval, mode, namespace)
        for tags in ((), *_singles(), ("t1", "t2"))
        for interval in INTERVALS
        for mode in ("any", "all")
        for namespace in NAMESPACES
    ]


def answers(graph: Graph) -> dict[str, Any]:
    """The results of every read, inside a transaction and outside of one."""
    found = graph.transact(answers_of)
    return found | {
        "outside known": known_as_json(graph.known(EVERYTHING)),
        "outside tagged": tagged_of(graph),
        "epoch": graph.epoch(),
        "outside waiting": graph.waiting_events(1000),
        "overdue": graph.overdue_claims(1000),
        "queues_after": [graph.queues_after(topic, limit) for topic in ("", "b") for limit in (0, 2, 1000)],
    }


def _singles() -> list[tuple[str, ...]]:
    return [(tag,) for tag in TAGS]
