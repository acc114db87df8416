"""The topics that existed at a point in time, from the entries of the admin log (R3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry
from dagmanager.engine.model.rows import TopicSpec


class TopicThen(msgspec.Struct, frozen=True):
    """A topic as it was created; `claim_id` names the submission and world that asked for it."""

    topic: str
    topic_id: str
    spec: TopicSpec
    node_id: str
    namespace: str
    claim_id: str
    created_ms: int


def topics_at(entries: Iterable[AdminEntry], at_ms: int) -> Mapping[str, TopicThen]:
    """Topics by name, sorted: created at `at_ms` or before, and neither deleted nor found lost by then.

    The order of the entries and repeats do not matter: a crash repeats entries, and several processes write at once. Of
    several creations of one topic id the earliest counts; an entry without an id is about any topic of that name.
    """
    created: dict[tuple[str, str], AdminEntry] = {}
    gone: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.topic, entry.topic_id)
        if entry.at_ms > at_ms:
            continue
        if entry.action is AdminAction.CREATE:
            if key not in created or entry.at_ms < created[key].at_ms:
                created[key] = entry
        else:
            gone[key] = max(entry.at_ms, gone.get(key, entry.at_ms))
    alive = (entry for key, entry in created.items() if not _is_gone(entry, gone))
    newest = {entry.topic: _as_topic(entry) for entry in sorted(alive, key=lambda each: each.at_ms)}
    return dict(sorted(newest.items()))


def _is_gone(entry: AdminEntry, gone: Mapping[tuple[str, str], int]) -> bool:
    """An id is never used again; a deletion without an id removed what existed before it."""
    if entry.topic_id and (entry.topic, entry.topic_id) in gone:
        return True
    return gone.get((entry.topic, ""), entry.at_ms - 1) >= entry.at_ms


def _as_topic(entry: AdminEntry) -> TopicThen:
    return TopicThen(
        entry.topic,
        entry.topic_id,
        entry.spec,
        entry.node_id,
        entry.namespace,
        entry.claim_id,
        entry.at_ms,
    )
