"""What must never be found after a run."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Violation(StrEnum):
    """The kinds of findings; each has a line in the report, found or not."""

    UNANSWERED = "submissions without an answer"
    NO_DEAD_LETTER = "refused records without a dead letter"
    UNKNOWN_SUBMISSION = "answers without a submission"
    TWO_MAPS = "submission ids with different queue_maps"
    TWO_STATUSES = "submission ids that were accepted and refused"
    UNKNOWN_TOPIC = "topics that the graph does not know"
    NO_TOPIC = "active queues without their topic"
    NO_QUEUE = "answers that name a queue which is not active"
    WRONG_SHAPE = "topics with other partitions or replicas than the graph asked for"
    NOT_LOGGED = "topics whose creation is not in the admin log"
    LEFT_CLAIMED = "claimed rows left behind"
    TWO_QUEUES = "(node, namespace) pairs with two queues"
    WEIGHTS = "lineages whose active weights do not sum to 1"
    LEFT_IN_OUTBOX = "events still in the outbox"
    OUT_OF_ORDER = "events out of order"
    TWO_CONTENTS = "event ids with two contents"
    WRONG_QUEUES = "announced queues that the graph contradicts"
    WRONG_WEIGHT = "announced weights that the graph contradicts"
    WRONG_RELATIONS = "rows that the database's relationships contradict"
    QUARANTINED = "records in quarantine although no process died over them three times"
    UNREACHED = "kills planned at a point that no process reached"
    PROCESS = "processes that ended by themselves"


class AuditFinding(NamedTuple):
    """One violation, and where it was found."""

    violation: Violation
    where: str
