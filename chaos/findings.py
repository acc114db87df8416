"""What must never be found after a run."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Fault(StrEnum):
    """Each has a line in the table, found or not."""

    UNANSWERED = "submissions without an answer"
    NO_LETTER = "refused records without a dead letter"
    UNASKED = "answers that nobody asked for"
    TWO_MAPS = "submission ids with different queue_maps"
    TWO_STATUSES = "submission ids that were accepted and refused"
    UNKNOWN_TOPIC = "topics that the graph does not know"
    NO_TOPIC = "active queues without their topic"
    NO_QUEUE = "answers that name a queue which is not active"
    UNLOGGED = "topics whose creation is not in the admin log"
    CLAIMED = "claimed rows left behind"
    TWO_QUEUES = "(node, namespace) pairs with two queues"
    WEIGHTS = "lineages whose active weights do not sum to 1"
    OUTBOX = "events still in the outbox"
    BACKWARDS = "events that went backwards"
    TWO_CONTENTS = "event ids with two contents"
    CONTRADICTED = "announced queues that the graph contradicts"
    OTHER_WEIGHT = "announced weights that the graph contradicts"
    SHOWN = "rows that the database's relationships contradict"
    QUARANTINED = "records set aside although no process died over them three times"
    UNREACHED = "kills planned at a point that no life came to"
    PROCESS = "processes that ended by themselves"


class Finding(NamedTuple):
    """One of them, and where."""

    fault: Fault
    where: str
