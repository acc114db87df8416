"""Which topics there were at a moment, from the record of what was done to them (R3).

Pure: entries in, topics out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.model.event_ports import AdminAction, AdminEntry
from dagmanager.engine.model.rows import TopicSpec


class TopicThen(msgspec.Struct, frozen=True):
    """A topic as it was made; `claim_id` names the submission that asked for it."""

    topic: str
    topic_id: str
    spec: TopicSpec
    node_id: str
    namespace: str
    claim_id: str
    created_ms: int


def topics_at(entries: Iterable[AdminEntry], at_ms: int) -> Mapping[str, TopicThen]:
    """Topics by name, sorted: made at `at_ms` or before, and neither deleted nor found lost by then.

    Neither order nor repeats matter: a crash repeats entries, and several writers mix theirs. Of the entries
    about one topic id the earliest counts; one without an id speaks of the topic of that name.
    """
    made: dict[tuple[str, str], AdminEntry] = {}
    gone: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.topic, entry.topic_id)
        if entry.at_ms > at_ms:
            continue
        if entry.action is AdminAction.CREATE:
            if key not in made or entry.at_ms < made[key].at_ms:
                made[key] = entry
        else:
            gone[key] = max(entry.at_ms, gone.get(key, entry.at_ms))
    alive = (entry for key, entry in made.items() if not _is_gone(entry, gone))
    newest = {entry.topic: _then(entry) for entry in sorted(alive, key=lambda each: each.at_ms)}
    return dict(sorted(newest.items()))


def _is_gone(entry: AdminEntry, gone: Mapping[tuple[str, str], int]) -> bool:
    """An id never comes back; a deletion that names none removed what was there before it."""
    if entry.topic_id and (entry.topic, entry.topic_id) in gone:
        return True
    return gone.get((entry.topic, ""), entry.at_ms - 1) >= entry.at_ms


def _then(entry: AdminEntry) -> TopicThen:
    return TopicThen(
        entry.topic,
        entry.topic_id,
        entry.spec,
        entry.node_id,
        entry.namespace,
        entry.claim_id,
        entry.at_ms,
    )
