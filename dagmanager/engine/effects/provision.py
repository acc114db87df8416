"""Step 2 of the effects: create the claimed topics in one request and verify them (F6, docs/requirements.md T7).

Create, wait until every topic has leaders, compare with what was asked for; up to `TRIES` times with a back-off in
between. A timeout is ambiguous: the topics may have been created. Then exactly these names are described; topics
are never listed, and nothing is produced to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec

from dagmanager.backoff import Backoff
from dagmanager.engine.model.rows import QueueRow
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus, TopicConfig, TopicInfo, Topics
from dagmanager.errors import UnavailableError

TRIES: Final = 5
CREATE_BACKOFF: Final = Backoff(first_s=0.5, factor=2, longest_s=4, jitter=0.5)
# A new topic has leaders after 1-5 ms (10 topics) or seconds (1,000): look soon, then less often.
EXISTENCE_POLL: Final = Backoff(first_s=0.010, factor=1.5, longest_s=0.250, jitter=0)
READY_WITHIN_S: Final = 60.0
# After an ambiguous answer the topic may not exist at all: wait a short time, then ask for it again.
AMBIGUOUS_WITHIN_S: Final = 1.0
# These answers do not say who created the topic: it is ours only if its settings are as asked, too.
_MAYBE_FOREIGN: Final = frozenset({CreateStatus.EXISTS, CreateStatus.AMBIGUOUS})


class Provisioned(msgspec.Struct, frozen=True):
    """What the broker has now. `ready` maps a topic to its description.

    `foreign` are names that other topics use or collide with: the caller must choose other names. `refused` maps a
    topic to the broker's reason; it will be refused again.
    """

    ready: Mapping[str, TopicInfo]
    foreign: tuple[str, ...] = ()
    refused: Mapping[str, str] = {}


def foreign_before(topics: Topics, rows: Iterable[QueueRow]) -> tuple[str, ...]:
    """Names that exist although we have not yet asked the broker for them: not ours (docs/semantics.md 4).

    One request to the broker at most; raises `UnavailableError`. Sorted.
    """
    names = sorted(row.topic for row in rows if not row.begun)
    return tuple(sorted(topics.describe(names))) if names else ()


def provision(
    topics: Topics,
    rows: Sequence[QueueRow],
    sleep: Callable[[float], None],
    renew_leases: Callable[[], None],
) -> Provisioned:
    """Create and verify the topics of these rows; idempotent.

    Blocks until all of them are ready, foreign or refused: milliseconds as a rule, `TRIES` x `READY_WITHIN_S`
    (5 min) and the request timeouts at the worst. `renew_leases` is called between requests; what it
    raises ends the call. Raises `UnavailableError` after the last try; the claim stays open, and the next attempt
    finds the topics that were created.
    """
    if not rows:
        return Provisioned({})
    request = _Request({row.topic: row for row in rows}, topics, sleep, renew_leases)
    for pause_s in islice(CREATE_BACKOFF.pauses(), TRIES - 1):
        renew_leases()
        with suppress(UnavailableError):
            return request.send()
        sleep(pause_s)
    renew_leases()
    return request.send()


@dataclass
class _Request:
    """A request that may be sent several times, with what its answers have shown so far."""

    wanted: Mapping[str, QueueRow]
    topics: Topics
    sleep: Callable[[float], None]
    renew_leases: Callable[[], None]
    foreign: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    _maybe_foreign: set[str] = field(default_factory=set)
    _reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.missing.update(self.wanted)

    def send(self) -> Provisioned:
        """Create what is missing and wait for it; `UnavailableError` when something is still missing after that."""
        answers = self.topics.create({name: self.wanted[name].spec for name in sorted(self.missing)})
        self._note(answers)
        ambiguous = any(answer.status is CreateStatus.AMBIGUOUS for answer in answers.values())
        names = [name for name in self.wanted if name not in self.foreign and name not in self.refused]
        found = self._wait(names, AMBIGUOUS_WITHIN_S if ambiguous else READY_WITHIN_S)
        unsure = sorted(self._maybe_foreign.intersection(found))
        configs = self.topics.configs(unsure) if unsure else {}
        for name, info in found.items():
            if not _is_as_asked(info, configs.get(name), self.wanted[name]):
                self.foreign.add(name)
        self.missing = {name for name in names if name not in found}
        if self.missing:
            raise UnavailableError(self._what_lacks())
        ready = {name: info for name, info in found.items() if name not in self.foreign}
        return Provisioned(ready, tuple(sorted(self.foreign)), self.refused)

    def _note(self, answers: Mapping[str, CreateResult]) -> None:
        for name, answer in answers.items():
            if answer.status is CreateStatus.COLLIDES:
                self.foreign.add(name)
            elif answer.status is CreateStatus.REFUSED:
                self.refused[name] = answer.reason
            elif answer.status in _MAYBE_FOREIGN:
                self._maybe_foreign.add(name)
            self._reasons[name] = answer.reason if answer.status is CreateStatus.AMBIGUOUS else ""

    def _what_lacks(self) -> str:
        """How many topics are missing, and of the first: what it lacks, and what the broker answered."""
        first = min(self.missing)
        exists = first in self.topics.describe([first])
        lacks = "a partition has no leader" if exists else "the brokers do not know it"
        asked, up = self.wanted[first].spec.replication, self.topics.brokers()
        parts = [f"{lacks}, {asked} replicas asked for, {up} brokers up", self._reasons.get(first, "")]
        reasons = "; ".join(part for part in parts if part)
        return f"{len(self.missing)} topics did not come up, the first is {first}: {reasons}"

    def _wait(self, names: Sequence[str], within_s: float) -> dict[str, TopicInfo]:
        """Describe until every name has leaders, or the time is up; those that have."""
        found: dict[str, TopicInfo] = {}
        waited_s = 0.0
        for pause_s in EXISTENCE_POLL.pauses():
            left = [name for name in names if name not in found]
            if left:
                seen = self.topics.describe(left)
                found.update({name: info for name, info in seen.items() if info.ready})
            if len(found) == len(names) or waited_s >= within_s:
                break
            self.sleep(pause_s)
            self.renew_leases()
            waited_s += pause_s
        return found


def _is_as_asked(info: TopicInfo, config: TopicConfig | None, row: QueueRow) -> bool:
    """Whether it is ours by its shape and, where its settings were read, by these (docs/semantics.md 4)."""
    spec = row.spec
    if (info.partitions, info.replication) != (spec.partitions, spec.replication):
        return False
    return config is None or (config.retention_ms, config.cleanup_policy) == (
        max(spec.retention_ms, -1),
        spec.cleanup_policy,
    )
