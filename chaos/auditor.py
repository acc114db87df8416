"""Compares input, graph, broker and outputs of a run. Pure: what was read comes in, findings come out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from chaos.announcements import WEIGHT_SLACK, announcement_faults, repeats, weights_of
from chaos.evidence import Evidence
from chaos.findings import Fault, Finding
from chaos.relations import contradictions
from dagmanager.dag.model import Submission
from dagmanager.engine.model.rows import (
    Binding,
    LineageKey,
    OutboxRow,
    QueueRow,
    QueueState,
    SentinelRow,
    SentinelState,
)
from dagmanager.engine.reader import Reader
from dagmanager.errors import ErrorCode

LIVING: Final = frozenset({QueueState.PROVISIONING, QueueState.ACTIVE})


class Asked(NamedTuple):
    """One submission: its id and its world."""

    submission_id: str
    world_id: str


class Place(NamedTuple):
    """Where a record lies."""

    partition: int
    offset: int


@dataclass
class Input:
    """What the topic holds: submissions with their places, and records that are refused by themselves."""

    submissions: dict[Asked, Place] = field(default_factory=dict)
    refused: set[Place] = field(default_factory=set)


@dataclass
class GivenAnswers:
    """Every complete answer that one submission got; topics, code and dry run are those of the last."""

    queue_maps: set[str] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    topics: dict[str, str] = field(default_factory=dict)
    code: str = ""
    sets: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class Report:
    """`counts` is what there was, in words; `findings` what must not be."""

    counts: Mapping[str, int]
    findings: tuple[Finding, ...]


def audited(evidence: Evidence, reader: Reader) -> Report:
    """`reader` is set up as the flow's was: submission ids are computed again, not believed."""
    given, answered = read_input(evidence, reader), answers(evidence.diffs)
    findings = (
        *_missing_answers(evidence, given, answered),
        *_wrong_answers(evidence, given, answered),
        *_wrong_topics(evidence),
        *_wrong_rows(evidence),
        *announcement_faults(evidence.events, evidence.tagged or {}, weights_of(evidence.rows)),
        *_wrong_relations(evidence),
        *_set_aside(evidence),
    )
    return Report(_counts(evidence, given, answered), findings)


def read_input(evidence: Evidence, reader: Reader) -> Input:
    """What the real reader makes of each record."""
    given = Input()
    for record in evidence.inputs:
        place = Place(record.origin.partition, record.origin.position)
        for item in reader.read(record):
            if isinstance(item, Submission):
                given.submissions[Asked(item.submission_id, item.context.world_id)] = place
            else:
                given.refused.add(place)
    return given


def answers(diffs: Iterable[bytes]) -> dict[Asked, GivenAnswers]:
    """Complete sets of chunks by submission; sets are distinguished by outcome digest, and may repeat."""
    answered: dict[Asked, GivenAnswers] = defaultdict(GivenAnswers)
    open_sets: dict[tuple[Asked, str], dict[int, dict[str, Any]]] = {}
    for record in diffs:
        chunk = orjson.loads(record)
        if not chunk["submission_id"]:
            continue  # a record that cannot be read has no answer: its dead letter counts
        one = Asked(chunk["submission_id"], chunk["world_id"])
        parts = open_sets.setdefault((one, chunk["outcome_digest"]), {})
        parts[chunk["chunk"]] = chunk
        if len(parts) == chunk["chunks"]:
            del open_sets[one, chunk["outcome_digest"]]
            _add(answered[one], [parts[index] for index in range(len(parts))])
    return dict(answered)


def _add(answered: GivenAnswers, parts: list[dict[str, Any]]) -> None:
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
    evidence: Evidence, given: Input, answered: Mapping[Asked, GivenAnswers]
) -> Iterable[Finding]:
    buried = {Place(each.partition, each.offset) for each in evidence.letters}
    for one, place in sorted(given.submissions.items()):
        answer = answered.get(one)
        if answer is None and place not in buried:
            yield Finding(Fault.UNANSWERED, f"{one.submission_id} of world {one.world_id} at {place}")
        elif answer is not None and answer.code and place not in buried:
            yield Finding(Fault.NO_LETTER, f"{one.submission_id} ({answer.code}) at {place}")
    for place in sorted(given.refused - buried):
        yield Finding(Fault.NO_LETTER, str(place))


def _wrong_answers(
    evidence: Evidence, given: Input, answered: Mapping[Asked, GivenAnswers]
) -> Iterable[Finding]:
    active = {
        row.topic for row in evidence.rows if isinstance(row, QueueRow) and row.state is QueueState.ACTIVE
    }
    for one, answer in sorted(answered.items(), key=lambda item: item[0]):
        if one not in given.submissions:
            yield Finding(Fault.UNASKED, str(one))
        if len(answer.queue_maps) > 1:
            yield Finding(Fault.TWO_MAPS, f"{one.submission_id}: {sorted(answer.queue_maps)}")
        if len(answer.statuses) > 1:
            place = given.submissions.get(one)
            yield Finding(Fault.TWO_STATUSES, f"{one.submission_id} at {place}, last {answer.code or 'ok'}")
        lost = sorted(set(answer.topics.values()) - active)
        if lost and not answer.dry_run:
            yield Finding(Fault.NO_QUEUE, f"{one.submission_id}: {lost}")


def _wrong_topics(evidence: Evidence) -> Iterable[Finding]:
    queues = {row.topic: row for row in evidence.rows if isinstance(row, QueueRow)}
    broker = evidence.broker or {}
    logged = {(each.topic, each.topic_id) for each in evidence.admin_log if each.action == "create"}
    for topic, topic_id in sorted(broker.items()):
        if topic not in queues:
            yield Finding(Fault.UNKNOWN_TOPIC, topic)
        elif (topic, topic_id) not in logged:
            yield Finding(Fault.UNLOGGED, topic)
    for topic, row in sorted(queues.items()):
        if row.state is QueueState.ACTIVE and broker.get(topic) != row.topic_id:
            yield Finding(Fault.NO_TOPIC, f"{topic}: {row.topic_id!r}, at the broker {broker.get(topic)!r}")


def _wrong_rows(evidence: Evidence) -> Iterable[Finding]:
    living: Counter[Binding] = Counter()
    weights: defaultdict[LineageKey, float] = defaultdict(float)
    for row in evidence.rows:
        match row:
            case QueueRow():
                living[row.binding] += row.state in LIVING
                if row.state is QueueState.PROVISIONING or row.claim_id:
                    yield Finding(Fault.CLAIMED, f"queue {row.topic} by {row.claim_id}")
            case SentinelRow():
                if row.state is SentinelState.PENDING or row.claim_id:
                    yield Finding(Fault.CLAIMED, f"sentinel {row.key} by {row.claim_id}")
                if row.state is SentinelState.ACTIVE:
                    weights[LineageKey(row.key.lineage, row.key.namespace)] += row.weight
            case OutboxRow():
                yield Finding(Fault.OUTBOX, row.event_id)
            case _:
                pass
    yield from (Finding(Fault.TWO_QUEUES, str(one)) for one, count in living.items() if count > 1)
    for lineage, total in weights.items():
        if abs(total - 1) > WEIGHT_SLACK:
            yield Finding(Fault.WEIGHTS, f"{lineage}: {total}")


def _wrong_relations(evidence: Evidence) -> Iterable[Finding]:
    if evidence.shown is not None:
        found = contradictions(evidence.shown, evidence.rows)
        found += [f"not its node's interval: {topic}" for topic in evidence.shown.other_intervals]
        yield from (Finding(Fault.SHOWN, each) for each in found)


def _set_aside(evidence: Evidence) -> Iterable[Finding]:
    """The campaign does not kill at a record that is one death away from quarantine (`chaos.victim.may_die`)."""
    for each in evidence.letters:
        if each.code == ErrorCode.QUARANTINED.value:
            yield Finding(Fault.QUARANTINED, str(Place(each.partition, each.offset)))


def _counts(evidence: Evidence, given: Input, answered: Mapping[Asked, GivenAnswers]) -> dict[str, int]:
    queues = [row for row in evidence.rows if isinstance(row, QueueRow)]
    again, shown = repeats(evidence.events)
    buried = {Place(each.partition, each.offset) for each in evidence.letters}
    codes = Counter(f"  refused: {each.code}" for each in answered.values() if each.code)
    return {
        "records on the submissions topic": len(evidence.inputs),
        "submissions in them": len(given.submissions),
        "records refused by themselves": len(given.refused),
        "submissions answered": len(answered),
        **dict(sorted(codes.items())),
        "  with a dead letter and no answer": sum(
            place in buried for one, place in given.submissions.items() if one not in answered
        ),
        "  answered more than once": sum(each.sets > 1 for each in answered.values()),
        "  answered again with other counts or buffers": sum(
            len(each.digests) > 1 for each in answered.values()
        ),
        "queues in the graph": len(queues),
        "  of them not active": sum(row.state is not QueueState.ACTIVE for row in queues),
        "topics at the broker": len(evidence.broker or {}),
        "relationships in the database": evidence.shown.paths if evidence.shown else 0,
        "events announced": len(evidence.events),
        "  of them repeats": again,
        "  of these not dropped by the Gateway's last etag": shown,
    }
