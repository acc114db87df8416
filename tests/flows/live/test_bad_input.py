"""Bad input on real servers: each a clear error or a dead letter; nothing lost, no loop, good ones answered."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from confluent_kafka.admin import AdminClient
from neo4j import GraphDatabase

from dagmanager.graph.model_version import MODEL
from dagmanager.graph.neo4j import schema
from servers.launch import Launch
from servers.neo4j import Neo4jServer, wipe
from tests.flows.live.sites import LiveSite, headers
from tests.flows.test_poison import submission
from tests.kafka.topics import make
from tests.waiting import TIMEOUT_S, until

LIMIT = 20_000
# Between a submission that is fine before and after it; None is a tombstone.
BAD: dict[str, tuple[bytes | None, str]] = {
    "no json": (b"no json", "invalid_json"),
    "bytes": (b"\x00\xff\xfe", "invalid_json"),
    "another thing": (b'{"some": "thing"}', "missing_fields"),
    "tombstone": (None, "invalid_json"),
    "over the limit": (b'{"strategy_id": "s", "pad": "' + b"x" * LIMIT + b'"}', "too_large"),
    "integer of more than 64 bits": (
        submission(1).replace(b'"node_id":', b'"node_id":18446744073709551616,"x":', 1),
        "invalid_field",
    ),
    "wrong id": (submission(1).replace(b'"period":', b'"period":1'), "node_id_mismatch"),
}
OTHERS = [b'["gateway.rebalance",1,"s1",{}]', b'["n1",60,1,{"x":1}]']


@pytest.fixture
def site(kafka: str, empty_neo4j: str, topic_prefix: str, tmp_path: Path) -> Iterator[LiveSite]:
    found = LiveSite(tmp_path, kafka, empty_neo4j, topic_prefix, {"submission_bytes_max": LIMIT})
    yield found
    found.end()


def in_world(value: bytes, site: LiveSite) -> bytes:
    """Topics are named after their world: tests share a broker."""
    return value.replace(b'["w"]', orjson.dumps([site.prefix.removesuffix(".")]))


def test_each_bad_record_gets_a_refusal_and_a_dead_letter_and_the_good_ones_are_answered(
    site: LiveSite,
) -> None:
    good = [in_world(submission(number), site) for number in (2, 3)]
    given = [good[0], *(value for value, _ in BAD.values()), *OTHERS, good[1]]
    process = site.begin()
    until(site.is_up)
    site.send(*given, key=b"ingest:client")
    until(lambda: len(site.answers()) >= 2 + len(BAD))
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, site.log()
    answers = site.answers()
    fine = [each for each in answers if each["status"] == "ok"]
    assert [each["strategy_id"] for each in fine] == ["s2", "s3"]
    assert [[warning["code"] for warning in each["warnings"]] for each in fine] == [["unkeyed_record"]] * 2
    letters = site.found("dead_letters_topic")
    for letter, at, (value, code) in zip(letters, range(1, 99), BAD.values(), strict=False):
        found = headers(letter)
        assert orjson.loads(found["error"])["code"] == code
        assert found["source-topic"] == site.topic("submissions_topic")
        assert (found["source-partition"], found["source-offset"], found["attempts"]) == ("0", str(at), "1")
        assert letter.value() == (value or b"")
        assert letter.key() == b"ingest:client"
    assert len(letters) == len(BAD)
    assert "skipped 1 records of another kind: gateway.rebalance" in site.log()
    again = site.begin()
    site.send(good[0], key=b"ingest:s2")
    until(lambda: len(site.answers()) == len(answers) + 1)
    again.send_signal(signal.SIGTERM)
    assert again.wait(TIMEOUT_S) == 0
    assert len(site.found("dead_letters_topic")) == len(BAD), "nothing comes twice"


@pytest.mark.parametrize(
    ("setting", "config", "words"),
    [
        ("submissions_topic", {"cleanup_policy": "compact"}, "has cleanup.policy compact; it must be delete"),
        ("submissions_topic", {"retention_ms": "3600000"}, "raise its retention.ms"),
        ("submissions_topic", {"max_message_bytes": "1000"}, f"of 1000 bytes, {LIMIT} are needed"),
        ("diffs_topic", {"max_message_bytes": "1000"}, "raise its max.message.bytes"),
    ],
)
def test_a_topic_that_would_lose_records_is_refused_at_the_start(
    setting: str, config: dict[str, str], words: str, site: LiveSite, kafka_admin: AdminClient
) -> None:
    make(kafka_admin, site.topic(setting), 1, **config)
    code, said = site.refused()
    assert code == 2
    assert said.startswith(f"error[settings]: {setting}: topic {site.topic(setting)} ")
    assert words in said


def test_a_broker_or_database_that_does_not_answer_is_an_outage(site: LiveSite) -> None:
    nowhere = "127.0.0.1:1"
    site.settings |= {"neo4j_dsn": f"bolt://{nowhere}"}
    code, said = site.refused()
    assert (code, said.split(" is unreachable")[0]) == (4, f"error[unavailable]: neo4j at bolt://{nowhere}")
    site.settings = {"kafka_dsn": nowhere, "kafka_request_seconds": 1}
    code, said = site.refused()
    assert code == 4
    assert said.startswith(f"error[unavailable]: Kafka at {nowhere}")


def test_a_wrong_password_is_refused_in_one_line_that_does_not_repeat_it(
    site: LiveSite, launch: Launch, tmp_path: Path
) -> None:
    with Neo4jServer(tmp_path / "neo4j", password="right-password", launch=launch) as server:
        site.settings |= {"neo4j_dsn": server.address, "neo4j_password": "wrong-password"}
        code, said = site.refused()
    assert code == 2
    assert said.startswith(
        f"error[settings]: neo4j_user, neo4j_password: {server.address}: authentication failed for user 'neo4j'"
    )
    assert "password" not in said.replace("credentials", "").partition(server.address)[2].split(":")[0]
    assert "wrong-password" not in said


def test_a_database_of_others_is_warned_of_and_left_as_it_is(site: LiveSite, empty_neo4j: str) -> None:
    theirs = "MATCH (n) WHERE n.title = 'Theirs' OR n.name = 'theirs too' RETURN properties(n) AS p"
    with GraphDatabase.driver(empty_neo4j) as driver:
        with driver.session() as session:
            schema.drop(session)
        driver.execute_query("CREATE (:Movie {title: 'Theirs'}), (:Queue {name: 'theirs too'})")
        before = sorted(map(str, driver.execute_query(theirs).records))
        answer_one(site)
        assert sorted(map(str, driver.execute_query(theirs).records)) == before
    [warning] = [line for line in site.log().splitlines() if "holds other data" in line]
    assert warning.startswith(f"WARNING dagmanager: neo4j_dsn: the database at {empty_neo4j} ")
    assert "(Movie) and none of this product: is it the right one?" in warning
    answer_one(site)
    assert site.log().count("holds other data") == 1, "from then on it is ours too"
    wipe(empty_neo4j)


def answer_one(site: LiveSite) -> None:
    """A start, a submission, its answer, a stop."""
    count = len(site.answers()) if site.begun else 0
    process = site.begin()
    until(site.is_up)
    site.send(in_world(submission(count), site))
    until(lambda: len(site.answers()) > count)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, site.log()
    assert {each["status"] for each in site.answers()} == {"ok"}


def test_an_older_schema_is_brought_up_to_date_in_dev_and_a_newer_one_refused(
    site: LiveSite, empty_neo4j: str
) -> None:
    with GraphDatabase.driver(empty_neo4j) as driver:
        with driver.session() as session:
            schema.create(session)
            session.run(schema.WRITE_VERSION, version=MODEL + 1).consume()
        code, said = site.refused()
        assert code == 2
        assert f"a graph of model {MODEL + 1}, and this release reads model {MODEL}" in said
        with driver.session() as session:
            session.run(schema.WRITE_VERSION, version=MODEL - 1).consume()
            session.run("DROP INDEX queue_binding").consume()
        process = site.begin()
        until(site.is_up)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0, site.log()
        assert "neo4j: created 1 constraints and indexes" in site.log()
        with driver.session() as session:
            schema.check(session)


def test_in_prod_what_is_missing_is_refused_with_the_command_that_makes_it(
    site: LiveSite, empty_neo4j: str
) -> None:
    with GraphDatabase.driver(empty_neo4j) as driver, driver.session() as session:
        schema.create(session)
        site.profile = "prod"
        code, said = site.refused()
        assert code == 2
        assert "is missing: create it with `dagmanager init`" in said
        session.run("DROP INDEX queue_binding").consume()
        code, said = site.refused()
        schema.create(session)
    assert code == 2
    assert "the database lacks 1 constraints or indexes" in said
    assert "run `dagmanager init`" in said


def test_a_record_on_a_topic_that_kills_three_times_is_a_dead_letter_with_its_offset(
    site: LiveSite,
) -> None:
    answer_one(site)
    site.send(*(in_world(submission(number), site) for number in range(10, 20)), key=b"k", partition=5)
    site.deadly = ("upsert", "kill", "s14")
    codes = [site.begin("--workers", "2").wait(TIMEOUT_S) for _ in range(3)]
    assert codes == [-signal.SIGKILL] * 3
    process = site.begin("--workers", "2")
    until(
        lambda: {f"s{number}" for number in range(15, 20)} <= {each["strategy_id"] for each in site.answers()}
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, site.log()
    bad = [each for each in site.answers() if each["status"] != "ok"]
    assert {each["error"]["code"] for each in bad} == {"quarantined"}
    [letter] = site.found("dead_letters_topic")
    found = headers(letter)
    assert letter.value() == in_world(submission(14), site)
    assert (found["source-topic"], found["source-partition"]) == (site.topic("submissions_topic"), "5")
    assert (found["source-offset"], found["attempts"]) == ("4", "3")


def test_a_share_is_looked_at_before_bytewax_could_panic_over_it(site: LiveSite) -> None:
    answer_one(site)
    for options, words in (
        (["--partitions", "3-1"], "3-1 runs backwards"),
        (["--partitions", "100"], "is not in topic"),
        (["--index", "1", "--of", "1"], "an index goes from 0"),
        (["--index", "-1", "--of", "2"], "an index goes from 0"),
    ):
        code, said = site.refused(*options)
        assert (code, words in said) == (2, True), said


def test_a_share_without_partitions_waits_and_says_so(site: LiveSite, kafka_admin: AdminClient) -> None:
    make(kafka_admin, site.topic("submissions_topic"), 1)
    idle = site.begin("--index", "1", "--of", "2")
    until(lambda: site.is_up() and "is a share without partitions of topic" in site.log())
    written = (site.folder / "alive").stat().st_mtime_ns
    until(lambda: (site.folder / "alive").stat().st_mtime_ns > written)  # a whole round of the poll later
    assert idle.poll() is None, "an end would look like work that is done"
    idle.send_signal(signal.SIGTERM)
    assert idle.wait(TIMEOUT_S) == 0


def test_a_recovery_folder_goes_with_its_share_and_its_topic(
    site: LiveSite, kafka_admin: AdminClient
) -> None:
    topic = site.topic("submissions_topic")
    make(kafka_admin, topic, 2, max_message_bytes=str(10 * 1024 * 1024))
    answer_one(site)
    code, said = site.refused("--index", "0", "--of", "2")
    assert code == 2
    assert f"has offsets of {topic}/1, which this run would not read" in said
    kafka_admin.delete_topics([topic])[topic].result()
    until(lambda: topic not in kafka_admin.list_topics(timeout=TIMEOUT_S).topics)
    make(kafka_admin, topic, 1, max_message_bytes=str(10 * 1024 * 1024))
    code, said = site.refused()
    assert code == 1
    assert f"topic {topic} was deleted and created again" in said
