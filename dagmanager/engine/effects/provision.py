"""Step 2 of the effects: claimed topics in one bulk request, then verified (F6, docs/requirements.md T7).

CREATE → VERIFY → WAIT → BACKOFF, five tries. A timeout is ambiguous: the broker is asked again by
describing just these names, never by listing all, never by producing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from dagmanager.engine.model.rows import QueueRow
from dagmanager.engine.model.topics_port import CreateStatus, TopicConfig, TopicInfo, Topics
from dagmanager.errors import UnavailableError

TRIES: Final = 5
BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0)
# A fresh topic has leaders after 1-5 ms (10 topics) or seconds (1,000): start fast, end patient.
POLL_FIRST_S: Final = 0.010
POLL_FACTOR: Final = 1.5
POLL_LONGEST_S: Final = 0.250
READY_WITHIN_S: Final = 60.0
# After an unclear answer the topic may never come: look for a moment, then ask for it again.
UNCLEAR_WITHIN_S: Final = 1.0
# Who made the topic that is there is not told by these answers: its config must be as asked.
_MADE_BEFORE: Final = frozenset({CreateStatus.EXISTS, CreateStatus.AMBIGUOUS})


class Provisioned(msgspec.Struct, frozen=True):
    """What the broker answered. `ready` maps a topic to the broker's id for it.

    `foreign` names are somebody else's (or a twin's): choose again. `refused` says why, for good.
    """

    ready: Mapping[str, TopicInfo]
    foreign: tuple[str, ...] = ()
    refused: Mapping[str, str] = {}


def foreign_before(topics: Topics, rows: Iterable[QueueRow]) -> tuple[str, ...]:
    """Claimed names that somebody used before we began: not ours (docs/semantics.md 4)."""
    names = sorted(row.topic for row in rows if not row.begun)
    return tuple(sorted(topics.describe(names))) if names else ()


def provision(
    topics: Topics,
    rows: Sequence[QueueRow],
    sleep: Callable[[float], None],
    alive: Callable[[], None],
) -> Provisioned:
    """Create and verify. `alive` is called between steps (renews leases, may raise to stop).

    Raises `UnavailableError` after the fifth try; nothing is lost, the claim stands.
    """
    if not rows:
        return Provisioned({})
    wanted = {row.topic: row for row in rows}
    foreign: set[str] = set()
    refused: dict[str, str] = {}
    missing = dict(wanted)
    unsure: set[str] = set()
    for attempt in range(TRIES):
        alive()
        try:
            answers = topics.create({name: row.spec for name, row in sorted(missing.items())})
            for name, answer in answers.items():
                if answer.status is CreateStatus.COLLIDES:
                    foreign.add(name)
                elif answer.status is CreateStatus.REFUSED:
                    refused[name] = answer.reason
            open_ = [name for name in wanted if name not in foreign and name not in refused]
            unclear = any(answer.status is CreateStatus.AMBIGUOUS for answer in answers.values())
            unsure.update(name for name, answer in answers.items() if answer.status in _MADE_BEFORE)
            found = _wait(topics, open_, sleep, alive, UNCLEAR_WITHIN_S if unclear else READY_WITHIN_S)
            before = sorted(unsure.intersection(found))
            kept = topics.configs(before) if before else {}
        except UnavailableError:
            if attempt == TRIES - 1:
                raise
            sleep(BACKOFF_S[attempt])
            continue
        other = {name for name, info in found.items() if not _as_asked(info, kept.get(name), wanted[name])}
        foreign |= other
        missing = {name: wanted[name] for name in open_ if name not in found}
        if not missing:
            ready = {name: info for name, info in found.items() if name not in foreign}
            return Provisioned(ready, tuple(sorted(foreign)), refused)
        if attempt < TRIES - 1:
            sleep(BACKOFF_S[attempt])
    msg = f"{len(missing)} topics did not come up, the first is {min(missing)}"
    raise UnavailableError(msg)


def _wait(
    topics: Topics,
    names: Sequence[str],
    sleep: Callable[[float], None],
    alive: Callable[[], None],
    within_s: float,
) -> dict[str, TopicInfo]:
    """Describe until every name has leaders, or time is up; what was found."""
    found: dict[str, TopicInfo] = {}
    pause_s, waited_s = POLL_FIRST_S, 0.0
    while True:
        left = [name for name in names if name not in found]
        if left:
            seen = topics.describe(left)
            found.update({name: info for name, info in seen.items() if info.ready})
        if len(found) == len(names) or waited_s >= within_s:
            return found
        sleep(pause_s)
        alive()
        waited_s += pause_s
        pause_s = min(pause_s * POLL_FACTOR, POLL_LONGEST_S)


def _as_asked(info: TopicInfo, kept: TopicConfig | None, row: QueueRow) -> bool:
    """Ours by shape; of a topic that was there before also by its config (docs/semantics.md 4)."""
    spec = row.spec
    if (info.partitions, info.replication) != (spec.partitions, spec.replication):
        return False
    return kept is None or (kept.retention_ms, kept.cleanup_policy) == (
        max(spec.retention_ms, -1),
        spec.cleanup_policy,
    )
