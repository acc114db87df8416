"""The server's plan of every statement, on a graph that is large enough for a scan to show: none scans.

The statements are found by reading the modules, so that a new one is covered as soon as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, LiteralString, cast

import neo4j
import pytest

from dagmanager.dag.model import Artifact, TagQuery
from dagmanager.engine.model.rows import (
    CounterRow,
    NodeRow,
    OutboxState,
    QueueRow,
    QueueState,
    Row,
    TagSetKey,
    TagSetRow,
)
from dagmanager.engine.model.version_rows import HolderKey, LineageKey, LineageRow, SentinelState
from dagmanager.graph.neo4j import reads, writes
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.keys import (
    binding_key,
    holder_key,
    lineage_key,
    sentinel_key,
    tag_key,
    tag_set_key,
)
from dagmanager.graph.neo4j.row_mapping import key_of, parameters
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe
from tests.graph.builders import content, event, holder, node, outcome, queue, sentinel, store
from tests.waiting import TIMEOUT_S

COUNT = 400
NAMESPACE = "w.live"
# Everything at once is what this one is for.
SCANS = {"ALL_ROWS", "locked ALL_ROWS"}


def rows_of(number: int) -> list[Row]:
    """One strategy of one node among some hundreds like it: seven thousand nodes of the graph in all."""
    n = str(number)
    pending = number % 50 == 0
    shown = sentinel(
        f"c{n}",
        f"l{n}",
        NAMESPACE,
        state=SentinelState.PENDING if pending else SentinelState.ACTIVE,
        introduced=(f"n{n}",),
        claim_id=f"k{n}" if pending else "",
        lease_until_ms=number,
    )
    before = [f"n{number - 1}"] if number else []
    return [
        node(
            f"n{n}",
            tags=[f"t{number % 40}", f"u{number % 30}"],
            depends_on=before,
            artifacts=(Artifact(f"p{n}", "sum", 1),),
        ),
        node(f"q{n}", query=TagQuery((f"t{number % 40}",), "any", 60)),
        queue(f"topic{n}", f"n{n}", NAMESPACE),
        queue(f"topic{n}_v2", f"n{n}", NAMESPACE, incarnation=2),
        queue(
            f"safe{n}",
            f"n{n}",
            NAMESPACE,
            safe=n,
            state=QueueState.PROVISIONING if pending else QueueState.ACTIVE,
            claim_id=f"k{n}",
            lease_until_ms=number,
        ),
        content(f"c{n}", (f"n{n}", ["x"]), f"q{n}"),
        shown,
        holder(f"s{n}", shown.key),
        LineageRow(LineageKey(f"l{n}", NAMESPACE), 1),
        TagSetRow(TagSetKey((f"t{n}",), 60), 1),
        outcome(f"k{n}", f"topic{n}"),
        event(f"stream{number % 20}", number, number),
        event(f"stream{number % 20}", number, number + 10_000, OutboxState.PUBLISHED),
        CounterRow(f"published:{n}", 1),
    ]


ROWS = [row for number in range(COUNT) for row in rows_of(number)]
TOUCHED = [str(number) for number in range(100, 110)]
CHANGED = [row for number in range(100, 110) for row in rows_of(number)]
TAG_KEYS = [tag_key(f"t{n}", 60) for n in range(4)]
KEYS: Mapping[str, Any] = {
    "nodes": [f"n{n}" for n in TOUCHED],
    "ids": [f"n{n}" for n in TOUCHED],
    "bindings": [binding_key(queue("x", f"n{n}", NAMESPACE).binding) for n in TOUCHED],
    "lineages": [lineage_key(LineageKey(f"l{n}", NAMESPACE)) for n in TOUCHED],
    "holders": [holder_key(HolderKey(f"s{n}", NAMESPACE, "w1")) for n in TOUCHED],
    "outcomes": [f"k{n}" for n in TOUCHED],
    "topics": [f"topic{n}" for n in TOUCHED],
    "base_names": [f"base-n{n}" for n in TOUCHED],
    "counters": [f"published:{n}" for n in TOUCHED],
    "lock_lineages": [lineage_key(LineageKey(f"l{n}", NAMESPACE)) for n in TOUCHED],
    "lock_nodes": [f"n{n}" for n in TOUCHED],
    "lock_counters": [f"published:{n}" for n in TOUCHED],
    "lock_tags": TAG_KEYS,
    "lock_tag_sets": [tag_set_key(TagSetKey((f"t{n}",), 60)) for n in TOUCHED],
    "lock_single": ["epoch", "publisher"],
    "lineage": lineage_key(LineageKey("l100", NAMESPACE)),
    "sentinels": [b"none of it"],
    "epoch": 0,
    "lineage_row": parameters(LineageRow(LineageKey("l100", NAMESPACE), 1)),
    "holder": parameters(holder("s-new", sentinel("c100", "l100", NAMESPACE).key)),
    "outcome": parameters(outcome("k-new")),
    "topic": "topic100",
    "digest": "c100",
    "digests": ["c100"],
    "claim": "k100",
    "namespace": NAMESPACE,
    "safe": [True],
    "asked": [{"at": n, "keys": [tag_key(f"t{n}", 60)], "need": 1, "namespace": NAMESPACE} for n in range(4)],
    "candidates": [{"id": f"n{n}", "tags": ["t0", "t1", "gone"]} for n in TOUCHED],
    "limit": 10,
}
LABELS = {
    "ComputeNode": "NodeRow",
    "DagContent": "ContentRow",
    "VersionSentinel": "SentinelRow",
    "OutboxEvent": "OutboxRow",
}


def statements() -> dict[str, LiteralString]:
    """Every statement of both modules by its name there, those of a table by the table's and the row's."""
    found: dict[str, LiteralString] = {}
    for module in (reads, writes):
        for name, value in vars(module).items():
            if isinstance(value, dict) and name.isupper() and name not in {"_OTHERS", "LOCKS"}:
                found |= {f"{name} {kind.__name__}": text for kind, text in value.items()}
            elif isinstance(value, str) and name.isupper():
                found[name] = value
                if module is reads:  # in a transaction a question may come with its locks
                    found[f"locked {name}"] = writes.locking(writes.LOCKS, value)
    return found | {f"only {kind}": writes.locking([kind]) for kind in writes.LOCKS}


STATEMENTS = statements()


def parameters_of(name: str, statement: str) -> dict[str, Any]:
    """The parameters of a real call: ten keys of hundreds in the graph."""
    wanted = set(re.findall(r"\$p\.(\w+)", statement))
    given = {key: KEYS[key] for key in wanted if key in KEYS}
    puts: dict[type[Any], str] = {NodeRow: "put_nodes", QueueRow: "put_queues", **writes._OTHERS}
    for row_type, key in puts.items():
        if key in wanted:
            made_of = {row.key: row for row in CHANGED if isinstance(row, row_type)}
            given[key] = [parameters(row) for row in made_of.values()]
    if "rows" in wanted or "keys" in wanted or "key" in wanted:
        kind = kind_of(name, statement)
        made = {row.key: row for row in CHANGED if type(row).__name__ == kind}
        if "rows" in wanted:
            given["rows"] = [parameters(row) for row in made.values()]
        if "keys" in wanted:
            asked = "QueryOf {key: k}" in statement or "TagOf {key: k}" in statement
            given["keys"] = TAG_KEYS if asked else [key_of(row) for row in made.values()]
        if "key" in wanted:
            given["key"] = key_of(next(iter(made.values())))
    assert wanted == given.keys(), f"{name}: say in KEYS what {wanted - given.keys()} may be"
    return given


def kind_of(name: str, statement: str) -> str:
    """The row type whose key or parameters a statement takes: that of its first label."""
    label = re.findall(r"\(\w+:(\w+)", statement)[0]
    return LABELS.get(label, f"{label}Row")


@pytest.fixture(scope="module")
def session(neo4j_server: Server) -> Iterator[neo4j.Session]:
    wipe(neo4j_server.uri)
    with connect(neo4j_server) as driver, driver.session() as opened:
        store(Neo4jGraph(driver, neo4j_server), *ROWS)
        # Waits until the statistics of indexes are those of these rows, then forgets older plans.
        opened.run("CALL db.prepareForReplanning($seconds)", seconds=TIMEOUT_S).consume()
        yield opened


def profile(session: neo4j.Session, statement: LiteralString, given: dict[str, Any]) -> dict[str, Any]:
    """Run it, return its plan, and roll back."""
    with session.begin_transaction() as tx:
        found = tx.run("PROFILE " + statement, p=given).consume().profile
        tx.rollback()
    assert found is not None
    return found


def operators(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("children", ()):
        yield from operators(child)


def kinds(plan: dict[str, Any]) -> list[str]:
    return [each["operatorType"].partition("@")[0] for each in operators(plan)]


def hits(plan: dict[str, Any]) -> int:
    return sum(each.get("dbHits", 0) for each in operators(plan))


def test_every_statement_is_found() -> None:
    assert {
        "KNOWN",
        "TAGGED",
        "locked KNOWN",
        "only lock_nodes",
        "_PUT_NODES_AND_QUEUES",
        "_PUT_OTHERS",
        "_DELETE NodeRow",
    } <= (STATEMENTS.keys())
    assert len(STATEMENTS) > 40


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - SCANS))
def test_no_statement_looks_at_everything(session: neo4j.Session, name: str) -> None:
    statement = STATEMENTS[name]
    plan = profile(session, statement, parameters_of(name, statement))
    scans = [each for each in kinds(plan) if "Scan" in each and not is_index(each)]
    assert scans == [], name
    # Ten of hundreds were asked for: what grows with the graph would cost thousands.
    assert hits(plan) < 2_000, (name, hits(plan))


def is_index(operator: str) -> bool:
    return "Index" in operator and not operator.endswith("IndexScan")


def test_a_tag_query_begins_at_its_tags_whatever_must_match(session: neo4j.Session) -> None:
    keys = [tag_key("t0", 60), tag_key("u0", 60)]
    for need in (1, 2):
        given = {"asked": [{"at": 0, "keys": keys, "need": need, "namespace": NAMESPACE}]}
        plan = profile(session, reads.TAGGED, given)
        assert hits(plan) < 1_000
        [row] = session.run(reads.TAGGED, p=given)
        found = row["found"]
        assert (
            len(found)
            == {1: len({*range(0, COUNT, 40), *range(0, COUNT, 30)}), 2: len(range(0, COUNT, 120))}[need]
        )


SHARE: LiteralString = """
MATCH (n:ComputeNode {node_id: 'n100'})
UNWIND range(1, $p.count) AS k
CREATE (s:VersionSentinel {key: 'shared' + k, state: 'active', ref_namespace: $p.namespace})
CREATE (s)-[:OF]->(c:DagContent {digest: 'shared' + k})
CREATE (c)-[:CONTAINS {tags: ['kept']}]->(n)
"""


def test_a_node_that_very_many_share_costs_no_more(session: neo4j.Session) -> None:
    """A tag that others still assign is found at the first of them."""
    given = {"candidates": [{"id": "n100", "tags": ["kept"]}]}
    referenced = {"ids": ["n100"], "namespace": NAMESPACE}
    with session.begin_transaction() as tx:
        tx.run(SHARE, p={"count": 2_000, "namespace": NAMESPACE})
        for statement, asked in ((reads.NODE_USAGE, given), (reads.REFERENCED, referenced)):
            plan = tx.run("PROFILE " + statement, p=asked).consume().profile
            assert plan is not None
            assert hits(plan) < 200, statement
        [place] = tx.run(reads.NODE_USAGE, p=given)
        assert place["kept"] == ["kept"]
        tx.rollback()


def test_the_outbox_is_read_in_its_index_order(session: neo4j.Session) -> None:
    plan = profile(session, reads.WAITING_EVENTS, {"limit": 10})
    assert [each for each in kinds(plan) if "Sort" in each or "Top" in each] == []
    assert hits(plan) < 200


def test_a_page_of_queues_is_read_in_its_index_order(session: neo4j.Session) -> None:
    plan = profile(session, reads.QUEUES_AFTER, {"topic": "topic100", "limit": 10})
    assert [each for each in kinds(plan) if "Sort" in each or "Top" in each] == []
    assert hits(plan) < 100


def test_safe_topics_are_counted_by_their_index(session: neo4j.Session) -> None:
    given = parameters_of("KNOWN", reads.KNOWN) | dict.fromkeys(
        ("nodes", "bindings", "lineages", "holders", "outcomes"), cast("list[str]", [])
    )
    plan = profile(session, reads.KNOWN, given)
    read = [each["args"].get("Details", "") for each in operators(plan) if "Seek" in each["operatorType"]]
    assert any("safe_live" in each for each in read)
    assert hits(plan) <= 2 * COUNT
    assert hits(profile(session, reads.KNOWN, given | {"safe": []})) < 20


def test_keys_of_a_lineage_and_of_a_sentinel_are_as_the_rows_have_them(session: neo4j.Session) -> None:
    """The plans above are of statements that find something."""
    found = session.run(reads.HOLDERS_OF, p={"key": sentinel_key(sentinel("c100", "l100", NAMESPACE).key)})
    assert len(found.single(strict=True)["rows"]) == 1
