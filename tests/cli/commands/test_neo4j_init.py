from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagmanager.graph.model_version import MODEL
from dagmanager.graph.neo4j.schema import STATEMENTS, names
from dagmanager.graph.neo4j.schema_inspection import Release
from tests.cli.neo4j_words import ask, say, schema_of
from tests.cli.running import call
from tests.flows.live.sites import LiveSite

pytestmark = pytest.mark.usefixtures("no_settings")


def test_the_schema_is_created_once_and_found_from_then_on(bare_neo4j: str) -> None:
    first = call("neo4j-init", "--uri", bare_neo4j)
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines()[-1].startswith(
        f"{len(names())} created, 0 already exist: {bare_neo4j}, Neo4j 5"
    )
    assert set(schema_of(bare_neo4j)) == set(names())
    again = say("neo4j-init", "--uri", bare_neo4j)
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith(f"0 created, {len(names())} already exist")


def test_what_is_missing_is_made_and_the_rest_left_alone(bare_neo4j: str) -> None:
    say("neo4j-init", "--uri", bare_neo4j)
    ask(bare_neo4j, "DROP INDEX tag_of")
    done = say("neo4j-init", "--uri", bare_neo4j, "--json")
    shown = json.loads(done.out)
    assert shown["made"] == ["tag_of"]
    assert sorted([*shown["there"], "tag_of"]) == sorted(names())
    assert shown["uri"] == bare_neo4j


def test_a_dry_run_prints_what_the_real_run_does_and_writes_nothing(bare_neo4j: str) -> None:
    ask(bare_neo4j, "CREATE INDEX kafka_topic FOR (q:Queue) ON (q.topic)")
    before = schema_of(bare_neo4j)
    dry = say("neo4j-init", "--uri", bare_neo4j, "--dry-run")
    assert dry.code == 0
    assert schema_of(bare_neo4j) == before
    assert ask(bare_neo4j, "MATCH (n) RETURN n") == []
    for statement in dry.out.split(";\n")[:-1]:
        ask(bare_neo4j, statement)
    assert say("neo4j-init", "--uri", bare_neo4j, "--dry-run").out == ""
    assert say("neo4j-init", "--uri", bare_neo4j).out.startswith("0 created")


def test_without_an_address_the_whole_schema_is_printed() -> None:
    done = say("neo4j-init", "--dry-run")
    assert done.code == 0
    assert "no server was contacted" in done.err
    lines = done.out.splitlines()
    assert lines[:-1] == [f"{statement};" for statement in STATEMENTS]
    assert lines[-1].endswith(f"SET v.version = {MODEL};")
    shown = json.loads(say("neo4j-init", "--dry-run", "--json").out)
    assert [f"{statement};" for statement in shown["statements"]] == lines


def test_the_first_proposals_plain_index_gives_way_to_the_constraint(bare_neo4j: str) -> None:
    """Its name is ours, so that the server would refuse the constraint beside it."""
    ask(bare_neo4j, "CREATE INDEX kafka_topic FOR (q:Queue) ON (q.topic)")
    ask(bare_neo4j, "CREATE (:Queue {topic: 'a'}), (:ComputeNode {node_id: 'n'})")
    done = say("neo4j-init", "--uri", bare_neo4j)
    assert done.code == 0
    assert "replaced  kafka_topic" in done.out
    assert schema_of(bare_neo4j)["kafka_topic"] == "unique :Queue(topic)"


def test_nodes_with_one_value_are_named_and_the_index_stays(bare_neo4j: str) -> None:
    ask(bare_neo4j, "CREATE INDEX kafka_topic FOR (q:Queue) ON (q.topic)")
    ask(
        bare_neo4j,
        "CREATE (:Queue {topic: 'twice'}), (:Queue {topic: 'twice'}), (:ComputeNode {node_id: 'n'})",
    )
    done = say("neo4j-init", "--uri", bare_neo4j)
    assert done.code == 1
    assert done.err.startswith("error[database]")
    assert "twice" in done.err
    assert schema_of(bare_neo4j)["kafka_topic"] == "range :Queue(topic)"


def test_our_shape_under_another_name_counts_as_there(bare_neo4j: str) -> None:
    ask(bare_neo4j, "CREATE CONSTRAINT by_hand FOR (q:Queue) REQUIRE q.topic IS UNIQUE")
    assert json.loads(say("neo4j-init", "--uri", bare_neo4j, "--json").out)["there"] == ["kafka_topic"]
    assert say("neo4j-rollback", "--uri", bare_neo4j, "--yes").code == 0
    assert schema_of(bare_neo4j) == {"by_hand": "unique :Queue(topic)"}


def test_another_object_under_our_name_is_refused_before_any_write(bare_neo4j: str) -> None:
    ask(bare_neo4j, "CREATE INDEX tag_of FOR (b:Book) ON (b.title)")
    ask(bare_neo4j, "CREATE (:ComputeNode {node_id: 'n'})")
    done = say("neo4j-init", "--uri", bare_neo4j)
    assert done.code == 1
    assert "range :Book(title) named tag_of blocks our schema" in done.err
    assert "DROP INDEX `tag_of` IF EXISTS" in done.err
    assert set(schema_of(bare_neo4j)) == {"tag_of"}
    assert say("neo4j-rollback", "--uri", bare_neo4j, "--yes").out.startswith("0 removed")
    assert set(schema_of(bare_neo4j)) == {"tag_of"}


def test_a_foreign_database_needs_confirmation_at_first_use(bare_neo4j: str) -> None:
    ask(bare_neo4j, "CREATE (:Person), (:Queue {name: 'at the baker'})")
    done = say("neo4j-init", "--uri", bare_neo4j)
    assert done.code == 1
    assert "Person" in done.err
    assert "--shared" in done.err
    assert schema_of(bare_neo4j) == {}
    shared = say("neo4j-init", "--uri", bare_neo4j, "--shared")
    assert shared.code == 0
    assert "warning[shared_database]" in shared.err
    assert say("neo4j-init", "--uri", bare_neo4j).code == 0


def test_a_database_of_a_newer_release_is_left_alone(bare_neo4j: str) -> None:
    ask(bare_neo4j, "CREATE (:DagManagerSchema {name: 'dagmanager', version: 99})")
    done = say("neo4j-init", "--uri", bare_neo4j)
    assert done.code == 1
    assert "use the newer release" in done.err
    assert schema_of(bare_neo4j) == {}


@pytest.mark.parametrize(
    ("version", "too_old"),
    [("4.4.40", True), ("5.22.0", True), ("5.23.0", False), ("5.27-aura", False), ("2025.10.1", False)],
)
def test_a_server_that_does_not_know_our_cypher_is_too_old(version: str, too_old: bool) -> None:
    assert Release(version, "community").is_too_old() is too_old


def test_rollback_removes_what_is_ours_and_no_data(bare_neo4j: str) -> None:
    say("neo4j-init", "--uri", bare_neo4j)
    ask(bare_neo4j, "CREATE (:ComputeNode {node_id: 'n'}), (:Book {title: 'x'})")
    ask(bare_neo4j, "CREATE INDEX titles FOR (b:Book) ON (b.title)")
    unsaid = say("neo4j-rollback", "--uri", bare_neo4j)
    assert (unsaid.code, unsaid.out) == (2, "")
    assert "--yes" in unsaid.err
    dry = say("neo4j-rollback", "--uri", bare_neo4j, "--dry-run")
    assert dry.out.count("DROP ") == len(names())
    assert set(names()) < set(schema_of(bare_neo4j))
    done = say("neo4j-rollback", "--uri", bare_neo4j, "--yes", "--json")
    assert json.loads(done.out)["removed"] == list(names())
    assert schema_of(bare_neo4j) == {"titles": "range :Book(title)"}
    assert len(ask(bare_neo4j, "MATCH (n) RETURN n")) == 3
    assert say("neo4j-rollback", "--uri", bare_neo4j, "--yes").out.startswith("0 removed")


def test_an_export_applies_again_on_an_empty_database(bare_neo4j: str, tmp_path: Path) -> None:
    say("neo4j-init", "--uri", bare_neo4j)
    ask(bare_neo4j, "CREATE INDEX `odd `` FOR name` FOR (b:Book) ON (b.title)")
    file = tmp_path / "schema.cypher"
    file.write_text("old")
    done = say("export-schema", "--uri", bare_neo4j, "--out", str(file))
    assert (done.code, done.out) == (0, "")
    before, exported = schema_of(bare_neo4j), file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["schema.cypher"]
    for name, shape in before.items():
        kind = "CONSTRAINT" if shape.startswith("unique") else "INDEX"
        ask(bare_neo4j, f"DROP {kind} `{name.replace('`', '``')}`")
    for _ in range(2):
        for statement in exported.split(";\n")[:-1]:
            ask(bare_neo4j, statement)
        assert schema_of(bare_neo4j) == before
    assert say("export-schema", "--uri", bare_neo4j).out == exported


def test_an_export_that_cannot_be_written_is_one_clean_error(bare_neo4j: str, tmp_path: Path) -> None:
    done = say("export-schema", "--uri", bare_neo4j, "--out", str(tmp_path / "no" / "schema.cypher"))
    assert done.code == 2
    assert "cannot write" in done.err
    assert list(tmp_path.iterdir()) == []


def test_backfill_fills_what_lacks_and_overwrites_nothing(bare_neo4j: str) -> None:
    ask(
        bare_neo4j,
        "UNWIND $nodes AS n CREATE (c:ComputeNode) SET c = n",
        nodes=[
            {"node_id": "old", "schema_id": "s"},
            {"node_id": "empty", "schema_id": "s", "schema_compat_id": ""},
            {"node_id": "both", "schema_id": "s", "schema_compat_id": "t"},
            {"node_id": "new", "schema_compat_id": "t"},
            {"node_id": "stub"},
        ],
    )
    dry = json.loads(say("neo4j-backfill", "--uri", bare_neo4j, "--dry-run", "--json").out)
    assert (dry["wanting"], dry["filled"], dry["nodes"], dry["without_row"]) == (2, 0, 5, 5)
    assert ask(bare_neo4j, "MATCH (c {node_id: 'old'}) RETURN c.schema_compat_id AS id") == [{"id": None}]
    done = say("neo4j-backfill", "--uri", bare_neo4j)
    assert (done.code, done.out) == (0, f"2 filled, of 5 compute nodes: {bare_neo4j}\n")
    assert "1 node with a schema_id other than schema_compat_id" in done.err
    found = ask(bare_neo4j, "MATCH (c:ComputeNode) RETURN c.node_id AS node, c.schema_compat_id AS id")
    assert {row["node"]: row["id"] for row in found} == {
        "old": "s", "empty": "s", "both": "t", "new": "t", "stub": None,
    }  # fmt: skip
    assert say("neo4j-backfill", "--uri", bare_neo4j).out.startswith("0 filled")


def test_init_makes_what_the_settings_name(
    bare_neo4j: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    file = LiveSite(tmp_path, kafka, bare_neo4j, topic_prefix).config()
    dry = say("init", "--config", str(file), "--dry-run")
    assert (dry.code, schema_of(bare_neo4j)) == (0, {})
    assert f"graph: {len(names())} constraints and indexes to create" in dry.out
    first = say("init", "--config", str(file))
    assert (
        f"graph: {len(names())} constraints and indexes created, 0 already exist: {bare_neo4j}\n" in first.out
    )
    shown = json.loads(say("init", "--config", str(file), "--json").out)
    assert shown["steps"]["graph"]["made"] == []


def test_init_without_servers_has_nothing_to_make() -> None:
    done = say("init")
    assert (done.code, done.err) == (0, "")
    assert "nothing to create" in done.out


def test_init_in_prod_names_what_is_not_set(tmp_path: Path) -> None:
    file = tmp_path / "dagmanager.yml"
    file.write_text("profile: prod\ndagmanager: {}\n")
    done = say("init", "--config", str(file))
    assert done.code == 2
    assert all(
        name in done.err for name in ("neo4j_dsn", "kafka_dsn", "controlbus_dsn", "controlbus_queue_topic")
    )
