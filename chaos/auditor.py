"""Compares input, graph, broker and outputs of a run. Pure: evidence in, findings out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson
from blake3 import blake3

from chaos.announcements import WEIGHT_SLACK, event_violations, repeats, weights_of
from chaos.evidence import Evidence, Shape
from chaos.findings import AuditFinding, Violation
from chaos.relations import contradictions
from dagmanager.dag.model import Record, Submission
from dagmanager.dag.nodes.content import submission_id
from dagmanager.engine.model.rows import Binding, OutboxRow, QueueRow, QueueState
from dagmanager.engine.model.version_rows import LineageKey, SentinelRow, SentinelState
from dagmanager.engine.reader import Reader
from dagmanager.errors import ErrorCode

LIVING: Final = frozenset({QueueState.PROVISIONING, QueueState.ACTIVE})


class SubmissionKey(NamedTuple):
    """A submission id and its world."""

    submission_id: str
    world_id: str


class RecordPosition(NamedTuple):
    """Partition and offset of a record on the submissions topic."""

    partition: int
    offset: int


@dataclass
class Input:
    """The submissions on the topic with their positions, and the positions of invalid records."""

    submissions: dict[SubmissionKey, RecordPosition] = field(default_factory=dict)
    refused: set[RecordPosition] = field(default_factory=set)


@dataclass
class SubmissionAnswers:
    """All complete answers of one submission; `topics`, `code` and `dry_run` are those of the last."""

    queue_maps: set[str] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    topics: dict[str, str] = field(default_factory=dict)
    code: str = ""
    sets: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class AuditReport:
    """`counts` by description; `findings` must be empty."""

    counts: Mapping[str, int]
    findings: tuple[AuditFinding, ...]


def audit(evidence: Evidence, reader: Reader) -> AuditReport:
    """Audit a run. `reader` has the flow's options: submission ids are computed again, not taken from the answers."""
    submitted = read_input(evidence, reader)
    of_refused = refusal_ids(evidence.inputs)  # they are no submissions: their dead letters count
    found = answers(evidence.diffs)
    answered = {one: each for one, each in found.items() if one.submission_id not in of_refused}
    findings = (
        *_missing_answers(evidence, submitted, answered),
        *_wrong_answers(evidence, submitted, answered),
        *_wrong_topics(evidence),
        *_wrong_rows(evidence),
        *event_violations(evidence.events, evidence.tagged or {}, weights_of(evidence.rows)),
        *_wrong_relations(evidence),
        *_quarantined(evidence),
    )
    return AuditReport(_counts(evidence, submitted, answered), findings)


def read_input(evidence: Evidence, reader: Reader) -> Input:
    """The submissions and invalid records that the product's reader finds."""
    submitted = Input()
    for record in evidence.inputs:
        place = RecordPosition(record.origin.partition, record.origin.position)
        for item in reader.read(record):
            if isinstance(item, Submission):
                submitted.submissions[SubmissionKey(item.submission_id, item.context.world_id)] = place
            else:
                submitted.refused.add(place)
    return submitted


def refusal_ids(inputs: Iterable[Record]) -> frozenset[str]:
    """The id that each record would be answered under if it were refused as a whole (docs/semantics.md 9)."""
    return frozenset(
        submission_id("blake3:" + blake3(each.value).hexdigest(), each.origin) for each in inputs
    )


def answers(diffs: Iterable[bytes]) -> dict[SubmissionKey, SubmissionAnswers]:
    """Complete sets of chunks by submission; sets are distinguished by outcome digest, and may repeat."""
    answered: dict[SubmissionKey, SubmissionAnswers] = defaultdict(SubmissionAnswers)
    open_sets: dict[tuple[SubmissionKey, str], dict[int, dict[str, Any]]] = {}
    for record in diffs:
        chunk = orjson.loads(record)
        one = SubmissionKey(chunk["submission_id"], chunk["world_id"])
        parts = open_sets.setdefault((one, chunk["outcome_digest"]), {})
        parts[chunk["chunk"]] = chunk
        if len(parts) == chunk["chunks"]:
            del open_sets[one, chunk["outcome_digest"]]
            _add(answered[one], [parts[index] for index in range(len(parts))])
    return dict(answered)


def _add(answered: SubmissionAnswers, parts: list[dict[str, Any]]) -> None:
    queues: dict[str, str] = {}
    for part in parts:
        queues.update(part["queue_map"])
    first = parts[0]
    answered.sets += 1
    answered.statuses.add(first["status"])
    answered.digests.add(first["outcome_digest"])
    if first["status"] == "ok":
        answered.queue_maps.add(orjson.dumps(queues, option=orjson.OPT_SORT_KEYS).decode())
    answered.topics, answered.dry_run = queues, first["dry_run"]
    answered.code = first["error"]["code"] if first["status"] == "rejected" else ""


def _missing_answers(
    evidence: Evidence, submitted: Input, answered: Mapping[SubmissionKey, SubmissionAnswers]
) -> Iterable[AuditFinding]:
    dead_lettered = {RecordPosition(each.partition, each.offset) for each in evidence.dead_letters}
    for one, place in sorted(submitted.submissions.items()):
        answer = answered.get(one)
        if answer is None and place not in dead_lettered:
            yield AuditFinding(
                Violation.UNANSWERED, f"{one.submission_id} of world {one.world_id} at {place}"
            )
        elif answer is not None and answer.code and place not in dead_lettered:
            yield AuditFinding(Violation.NO_DEAD_LETTER, f"{one.submission_id} ({answer.code}) at {place}")
    for place in sorted(submitted.refused - dead_lettered):
        yield AuditFinding(Violation.NO_DEAD_LETTER, str(place))


def _wrong_answers(
    evidence: Evidence, submitted: Input, answered: Mapping[SubmissionKey, SubmissionAnswers]
) -> Iterable[AuditFinding]:
    active = {
        row.topic for row in evidence.rows if isinstance(row, QueueRow) and row.state is QueueState.ACTIVE
    }
    for one, answer in sorted(answered.items(), key=lambda item: item[0]):
        if one not in submitted.submissions:
            yield AuditFinding(Violation.UNKNOWN_SUBMISSION, str(one))
        if len(answer.queue_maps) > 1:
            yield AuditFinding(Violation.TWO_MAPS, f"{one.submission_id}: {sorted(answer.queue_maps)}")
        if len(answer.statuses) > 1:
            place = submitted.submissions.get(one)
            yield AuditFinding(
                Violation.TWO_STATUSES, f"{one.submission_id} at {place}, last {answer.code or 'ok'}"
            )
        lost = sorted(set(answer.topics.values()) - active)
        if lost and not answer.dry_run:
            yield AuditFinding(Violation.NO_QUEUE, f"{one.submission_id}: {lost}")


def _wrong_topics(evidence: Evidence) -> Iterable[AuditFinding]:
    queues = {row.topic: row for row in evidence.rows if isinstance(row, QueueRow)}
    broker = evidence.broker or {}
    logged = {(each.topic, each.topic_id) for each in evidence.admin_log if each.action == "create"}
    for topic, topic_id in sorted(broker.items()):
        if topic not in queues:
            yield AuditFinding(Violation.UNKNOWN_TOPIC, topic)
        elif (topic, topic_id) not in logged:
            yield AuditFinding(Violation.NOT_LOGGED, topic)
    for topic, shape in sorted((evidence.shapes or {}).items()):
        asked = (
            Shape(queues[topic].spec.partitions, queues[topic].spec.replication) if topic in queues else shape
        )
        if shape != asked:
            yield AuditFinding(Violation.WRONG_SHAPE, f"{topic}: {shape}, asked for {asked}")
    for topic, row in sorted(queues.items()):
        if row.state is QueueState.ACTIVE and broker.get(topic) != row.topic_id:
            yield AuditFinding(
                Violation.NO_TOPIC, f"{topic}: {row.topic_id!r}, at the broker {broker.get(topic)!r}"
            )


def _wrong_rows(evidence: Evidence) -> Iterable[AuditFinding]:
    living: Counter[Binding] = Counter()
    weights: defaultdict[LineageKey, float] = defaultdict(float)
    for row in evidence.rows:
        match row:
            case QueueRow():
                living[row.binding] += row.state in LIVING
                if row.state is QueueState.PROVISIONING or row.claim_id:
                    yield AuditFinding(Violation.LEFT_CLAIMED, f"queue {row.topic} by {row.claim_id}")
            case SentinelRow():
                if row.state is SentinelState.PENDING or row.claim_id:
                    yield AuditFinding(Violation.LEFT_CLAIMED, f"sentinel {row.key} by {row.claim_id}")
                if row.state is SentinelState.ACTIVE:
                    weights[LineageKey(row.key.lineage, row.key.namespace)] += row.weight
            case OutboxRow():
                yield AuditFinding(Violation.LEFT_IN_OUTBOX, row.event_id)
            case _:
                pass
    yield from (AuditFinding(Violation.TWO_QUEUES, str(one)) for one, count in living.items() if count > 1)
    for lineage, total in weights.items():
        if abs(total - 1) > WEIGHT_SLACK:
            yield AuditFinding(Violation.WEIGHTS, f"{lineage}: {total}")


def _wrong_relations(evidence: Evidence) -> Iterable[AuditFinding]:
    if evidence.cypher is not None:
        found = contradictions(evidence.cypher, evidence.rows)
        found += [f"not its node's interval: {topic}" for topic in evidence.cypher.other_intervals]
        yield from (AuditFinding(Violation.WRONG_RELATIONS, each) for each in found)


def _quarantined(evidence: Evidence) -> Iterable[AuditFinding]:
    """Kills avoid a record that is one death away from quarantine (`chaos.victim.may_die`), so there must be none."""
    for each in evidence.dead_letters:
        if each.code == ErrorCode.QUARANTINED.value:
            yield AuditFinding(Violation.QUARANTINED, str(RecordPosition(each.partition, each.offset)))


def _counts(
    evidence: Evidence, submitted: Input, answered: Mapping[SubmissionKey, SubmissionAnswers]
) -> dict[str, int]:
    queues = [row for row in evidence.rows if isinstance(row, QueueRow)]
    again, shown = repeats(evidence.events)
    dead_lettered = {RecordPosition(each.partition, each.offset) for each in evidence.dead_letters}
    codes = Counter(f"  refused: {each.code}" for each in answered.values() if each.code)
    return {
        "records on the submissions topic": len(evidence.inputs),
        "submissions in them": len(submitted.submissions),
        "records refused by themselves": len(submitted.refused),
        "submissions answered": len(answered),
        **dict(sorted(codes.items())),
        "  with a dead letter and no answer": sum(
            place in dead_lettered for one, place in submitted.submissions.items() if one not in answered
        ),
        "  answered more than once": sum(each.sets > 1 for each in answered.values()),
        "  answered again with other counts or buffers": sum(
            len(each.digests) > 1 for each in answered.values()
        ),
        "queues in the graph": len(queues),
        "  of them not active": sum(row.state is not QueueState.ACTIVE for row in queues),
        "topics at the broker": len(evidence.broker or {}),
        "relationships in the database": evidence.cypher.paths if evidence.cypher else 0,
        "events announced": len(evidence.events),
        "  of them repeats": again,
        "  of these not dropped by the Gateway's last etag": shown,
    }
