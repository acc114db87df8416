"""The auditor must find each kind of violation, planted into the evidence of a correct run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest

from chaos.announcements import weights_of
from chaos.auditor import AuditReport, audit
from chaos.evidence import AnnouncedEvent, DeadLetter, Evidence, Shape, TagSet
from chaos.findings import Violation
from chaos.relations import CypherView, Facts, expected_facts
from chaos.strategies import SubmissionGenerator, tag_query_record
from dagmanager.assembly import assemble_over
from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.engine.model.outcome import outcome_digest
from dagmanager.engine.model.rows import OutboxRow, OutboxState, QueueRow, QueueState, Row
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from operators.steps.messages import dead_letter_of, diff_messages_of

RECORDS = 40
AT_MS = 1_800_000_000_000
WORLDS = ("wa", "wb")
QUEUE_EVENTS = "queue"


def inputs() -> list[Record]:
    sent = [tag_query_record(WORLDS[0]), *SubmissionGenerator("auditor", WORLDS, (0,)).records(RECORDS)]
    return [
        Record(each.value or b"", Origin("in", "id", 0, at), each.key, AT_MS + at)
        for at, each in enumerate(sent)
    ]


def correct_run() -> Evidence:
    """Everything that a correct flow leaves behind, produced by the real engine in memory."""
    graph, topics = MemoryGraph(lambda: AT_MS), MemoryTopics()
    events, log = MemoryEvents(), MemoryAdminLog()
    assembled = assemble_over(Settings(), graph, topics, events, log)
    diffs: list[bytes] = []
    dead_letters: list[DeadLetter] = []
    for record in inputs():
        for item in assembled.reader().read(record):
            answer = assembled.engine.submit([item])[0] if isinstance(item, Submission) else item
            diffs += [message.value for message in diff_messages_of(answer)]
            dead_letters += [DeadLetter(0, record.origin.position, "any") for _ in dead_letter_of(answer)]
    rows = graph.rows()
    made = topics.describe([row.topic for row in rows if isinstance(row, QueueRow)])
    return Evidence(
        inputs=inputs(),
        diffs=diffs,
        dead_letters=dead_letters,
        admin_log=log.entries,
        events=[
            AnnouncedEvent(QUEUE_EVENTS, each.message_key.encode(), each.value) for each in events.published
        ],
        rows=rows,
        broker={name: info.topic_id for name, info in made.items()},
        shapes={name: Shape(info.partitions, info.replication) for name, info in made.items()},
        cypher=view_of(expected_facts(rows)),
    )


def view_of(facts: Facts) -> CypherView:
    """A database with these facts; relationships have names in capitals."""
    return CypherView(facts, sum(count for each, count in facts.items() if each[0].isupper()))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return correct_run()


def report(evidence: Evidence) -> AuditReport:
    return audit(evidence, Reader(ReadOptions()))


def found(evidence: Evidence) -> set[Violation]:
    return {each.violation for each in report(evidence).findings}


def first(rows: Sequence[Row], kind: type, holds: Callable[[Row], bool] = lambda _: True) -> Row:
    return next(row for row in rows if isinstance(row, kind) and holds(row))


def with_row(evidence: Evidence, old: Row | None, new: Row) -> Evidence:
    """The same evidence with another row, in the database as well."""
    rows = [*(row for row in evidence.rows if row is not old), new]
    return replace(evidence, rows=rows, cypher=view_of(expected_facts(rows)))


def an_answer(evidence: Evidence) -> dict[str, object]:
    """An answer with queues, complete in one record."""
    found: dict[str, object] = next(
        each
        for each in map(orjson.loads, evidence.diffs)
        if each["queue_map"] and each["chunks"] == 1 and not each["safe_mode"]
    )
    return found


def test_a_correct_run_has_no_findings(evidence: Evidence) -> None:
    assert report(evidence).findings == ()
    assert report(evidence).counts["submissions answered"] >= RECORDS / 2


def test_a_submission_without_an_answer_is_found(evidence: Evidence) -> None:
    one = an_answer(evidence)["submission_id"]
    left = [each for each in evidence.diffs if orjson.loads(each)["submission_id"] != one]
    assert found(replace(evidence, diffs=left)) == {Violation.UNANSWERED}


def test_an_answer_without_its_last_chunk_is_none(evidence: Evidence) -> None:
    one = an_answer(evidence)
    half = [
        orjson.dumps(orjson.loads(each) | {"chunks": 2})
        if orjson.loads(each)["submission_id"] == one["submission_id"]
        else each
        for each in evidence.diffs
    ]
    assert found(replace(evidence, diffs=half)) == {Violation.UNANSWERED}


def test_a_topic_with_fewer_replicas_than_asked_for_is_found(evidence: Evidence) -> None:
    shapes = dict(evidence.shapes or {})
    topic = min(shapes)
    for other in (Shape(shapes[topic].partitions, 0), Shape(7, shapes[topic].replicas)):
        assert found(replace(evidence, shapes=shapes | {topic: other})) == {Violation.WRONG_SHAPE}


def test_a_record_with_a_dead_letter_and_no_answer_is_counted_apart(evidence: Evidence) -> None:
    one = an_answer(evidence)["submission_id"]
    left = [each for each in evidence.diffs if orjson.loads(each)["submission_id"] != one]
    everywhere = [DeadLetter(0, record.origin.position, "any") for record in evidence.inputs]
    seen = report(replace(evidence, diffs=left, dead_letters=everywhere))
    assert seen.findings == ()
    assert seen.counts["  with a dead letter and no answer"] == 1


def test_a_record_in_quarantine_is_found(evidence: Evidence) -> None:
    dead_letters = [*evidence.dead_letters, DeadLetter(0, 0, ErrorCode.QUARANTINED.value)]
    assert found(replace(evidence, dead_letters=dead_letters)) == {Violation.QUARANTINED}


def test_a_refused_record_without_a_dead_letter_is_found(evidence: Evidence) -> None:
    assert evidence.dead_letters
    assert found(replace(evidence, dead_letters=evidence.dead_letters[1:])) == {Violation.NO_DEAD_LETTER}


def test_an_answer_without_a_submission_is_found(evidence: Evidence) -> None:
    stray = orjson.dumps(an_answer(evidence) | {"submission_id": "blake3:unknown"})
    assert found(replace(evidence, diffs=[*evidence.diffs, stray])) == {Violation.UNKNOWN_SUBMISSION}


def test_a_repeat_is_fine_and_another_queue_map_is_not(evidence: Evidence) -> None:
    one = an_answer(evidence)
    assert found(replace(evidence, diffs=[*evidence.diffs, orjson.dumps(one)])) == set()
    other = orjson.dumps(one | {"queue_map": {}, "outcome_digest": "blake3:other"})
    assert found(replace(evidence, diffs=[*evidence.diffs, other])) == {Violation.TWO_MAPS}


def test_a_submission_that_was_accepted_and_then_refused_is_found(evidence: Evidence) -> None:
    one = an_answer(evidence)
    error = Rejection(ErrorCode.EXPIRED, "expired")
    refusal = orjson.dumps(
        one | {"status": "rejected", "error": error.as_json(), "outcome_digest": outcome_digest(error)}
    )
    assert Violation.TWO_STATUSES in found(replace(evidence, diffs=[*evidence.diffs, refusal]))


def test_a_topic_that_the_graph_does_not_know_is_found(evidence: Evidence) -> None:
    broker = {**(evidence.broker or {}), "wa.live.orphan": "id"}
    assert found(replace(evidence, broker=broker)) == {Violation.UNKNOWN_TOPIC}


def test_an_active_queue_without_its_topic_is_found(evidence: Evidence) -> None:
    (gone, _), *left = sorted((evidence.broker or {}).items())
    assert found(replace(evidence, broker=dict(left))) == {Violation.NO_TOPIC}
    remade = {**dict(left), gone: "another id"}
    assert Violation.NO_TOPIC in found(replace(evidence, broker=remade))


def test_a_creation_that_was_not_logged_is_found(evidence: Evidence) -> None:
    assert found(replace(evidence, admin_log=evidence.admin_log[1:])) == {Violation.NOT_LOGGED}


def test_claimed_rows_are_found(evidence: Evidence) -> None:
    queue = first(evidence.rows, QueueRow)
    assert isinstance(queue, QueueRow)
    claimed = msgspec.structs.replace(queue, state=QueueState.PROVISIONING, claim_id="c", owner="o")
    assert Violation.LEFT_CLAIMED in found(with_row(evidence, queue, claimed))
    sentinel = first(evidence.rows, SentinelRow)
    assert isinstance(sentinel, SentinelRow)
    pending = msgspec.structs.replace(sentinel, state=SentinelState.PENDING)
    assert Violation.LEFT_CLAIMED in found(with_row(evidence, sentinel, pending))


def test_an_answer_with_a_queue_that_is_not_active_is_found(evidence: Evidence) -> None:
    topic = min(dict(an_answer(evidence)["queue_map"]).values())  # type: ignore[call-overload]  # decoded JSON
    queue = first(evidence.rows, QueueRow, lambda row: row.key == topic)
    assert isinstance(queue, QueueRow)
    failed = msgspec.structs.replace(queue, state=QueueState.FAILED)
    assert found(with_row(evidence, queue, failed)) == {Violation.NO_QUEUE}


def test_two_queues_of_one_node_in_one_namespace_are_found(evidence: Evidence) -> None:
    queue = first(evidence.rows, QueueRow)
    assert isinstance(queue, QueueRow)
    twin = msgspec.structs.replace(queue, topic=f"{queue.topic}_v2")
    assert Violation.TWO_QUEUES in found(with_row(evidence, None, twin))


def test_weights_that_do_not_sum_to_one_are_found(evidence: Evidence) -> None:
    sentinel = first(
        evidence.rows,
        SentinelRow,
        lambda row: isinstance(row, SentinelRow) and row.state is SentinelState.ACTIVE,
    )
    assert isinstance(sentinel, SentinelRow)
    heavy = msgspec.structs.replace(sentinel, weight=sentinel.weight + 0.5)
    assert found(with_row(evidence, sentinel, heavy)) == {Violation.WEIGHTS, Violation.WRONG_WEIGHT}


def weight_events(evidence: Evidence) -> list[tuple[AnnouncedEvent, dict[str, Any]]]:
    """The weight events of strategies with one lineage only."""
    judged = {each.sentinel_id for each in weights_of(evidence.rows)}
    event_json = [(each, orjson.loads(each.value)["data"]) for each in evidence.events]
    return [(each, data) for each, data in event_json if data.get("sentinel_id") in judged]


def test_a_wrong_weight_event_is_found(evidence: Evidence) -> None:
    in_force = {
        (each.sentinel_id, each.version) for each, weight in weights_of(evidence.rows).items() if weight == 1
    }
    *_, event = (
        event
        for event, data in weight_events(evidence)
        if data["weight"] == 1.0 and (data["sentinel_id"], data["sentinel_version"]) in in_force
    )
    other = AnnouncedEvent(event.topic, event.key, event.value.replace(b'"weight":1.0', b'"weight":0.5'))
    events = [other if each is event else each for each in evidence.events]
    assert found(replace(evidence, events=events)) == {Violation.WRONG_WEIGHT}


def test_a_last_weight_of_zero_while_a_version_is_in_force_is_found(evidence: Evidence) -> None:
    last = {data["sentinel_id"]: (event, data) for event, data in weight_events(evidence)}
    event, data = next(each for each in last.values() if each[1]["weight"] == 1.0)
    event_json = orjson.loads(event.value)
    event_json["id"] += "-more"
    event_json["data"] = data | {"weight": 0.0, "sentinel_version": "gone", "revision": data["revision"] + 1}
    more = AnnouncedEvent(event.topic, event.key, orjson.dumps(event_json))
    assert found(replace(evidence, events=[*evidence.events, more])) == {Violation.WRONG_WEIGHT}


def test_an_event_left_in_the_outbox_is_found(evidence: Evidence) -> None:
    row = OutboxRow("e", "s", 1, "queue", "k", b"{}", OutboxState.WAITING, AT_MS)
    assert found(with_row(evidence, None, row)) == {Violation.LEFT_IN_OUTBOX}


def a_stream(evidence: Evidence) -> list[AnnouncedEvent]:
    """All events of the tag set with most events."""
    by_tags: dict[bytes, list[AnnouncedEvent]] = {}
    for event in evidence.events:
        data = orjson.loads(event.value)["data"]
        if data["type"] == "QueueUpdated" and data["tags"]:
            by_tags.setdefault(orjson.dumps([data.get(name) for name in SET]), []).append(event)
    return max(by_tags.values(), key=len)


SET = ("tags", "interval", "match_mode", "world_id", "execution_domain")


def test_only_the_last_event_of_a_stream_may_repeat(evidence: Evidence) -> None:
    older, newer = a_stream(evidence)[-2:]
    assert found(replace(evidence, events=[*evidence.events, newer])) == set()
    assert found(replace(evidence, events=[*evidence.events, older, newer])) == {Violation.OUT_OF_ORDER}
    assert found(replace(evidence, events=[*evidence.events, older])) == {Violation.OUT_OF_ORDER}
    late = [each for each in evidence.events if each is not older]
    assert found(replace(evidence, events=[*late, older, newer])) == {Violation.OUT_OF_ORDER}


def test_an_event_id_with_two_contents_is_found(evidence: Evidence) -> None:
    last = a_stream(evidence)[-1]
    other = AnnouncedEvent(last.topic, last.key, last.value.replace(b'"ts":"2', b'"ts":"1'))
    assert other.value != last.value
    assert Violation.TWO_CONTENTS in found(replace(evidence, events=[*evidence.events, other]))


def test_a_queue_list_that_the_graph_contradicts_is_found(evidence: Evidence) -> None:
    data = orjson.loads(a_stream(evidence)[-1].value)["data"]
    about = TagSet(
        tuple(data["tags"]),
        data["interval"],
        data["match_mode"],
        f"{data['world_id']}.{data['execution_domain']}",
    )
    announced = tuple(each["queue"] for each in data["queues"])
    assert found(replace(evidence, tagged={about: announced})) == set()
    assert found(replace(evidence, tagged={about: (*announced, "more")})) == {Violation.WRONG_QUEUES}


def test_a_missing_or_additional_relationship_is_found(evidence: Evidence) -> None:
    facts = expected_facts(evidence.rows)
    emits = next(each for each in facts if each[0] == "EMITS")
    lost = view_of(facts - Facts([emits]))
    more = view_of(facts + Facts([("EMITS", "absent", "wa.live.nothing")]))
    for each in (lost, more):
        assert found(replace(evidence, cypher=each)) == {Violation.WRONG_RELATIONS}


def test_a_property_that_its_row_contradicts_is_found(evidence: Evidence) -> None:
    queue = first(evidence.rows, QueueRow)
    assert isinstance(queue, QueueRow)
    older_row = msgspec.structs.replace(queue, created_ms=queue.created_ms - 1)
    shown = view_of(expected_facts(older_row if row is queue else row for row in evidence.rows))
    assert found(replace(evidence, cypher=shown)) == {Violation.WRONG_RELATIONS}


def test_relationships_and_tag_nodes_without_a_row_are_found(evidence: Evidence) -> None:
    shown = view_of(expected_facts(evidence.rows))
    of_others = replace(shown, paths=shown.paths + 1)
    stray, odd = replace(shown, orphans=("TagOf btc",)), replace(shown, other_intervals=("wa.live.q",))
    for each in (of_others, stray, odd):
        assert found(replace(evidence, cypher=each)) == {Violation.WRONG_RELATIONS}
