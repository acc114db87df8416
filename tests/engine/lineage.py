"""Versions of one lineage, and the rules as a small world: submitted, ready, in force."""

from __future__ import annotations

from msgspec.structs import replace

from dagmanager.engine.decide.next_version import lineage_clock, next_version
from dagmanager.engine.decide.rollout import effective, finish_change, start_change
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    ClaimTerms,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
    VersionRequest,
)
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
)
from dagmanager.errors import Rejection

LINEAGE = LineageKey("alpha", "w1.live")


State = SentinelState


Rows = tuple[SentinelRow, ...]


def key(name: str) -> SentinelKey:
    """`v1.2` is label v1, revision 2."""
    version, _, revision = name.partition(".")
    return SentinelKey("alpha", "w1.live", version, int(revision or 1))


def ask(
    version: str,
    content: str,
    weight: float | None = None,
    strategy_id: str = "s",
    at_ms: int = 10,
) -> VersionRequest:
    digest = f"{content}|{strategy_id}|{version}|{weight}"
    return VersionRequest(LINEAGE, version, content, weight, strategy_id, digest, at_ms)


def holder(name: str, weight_sent: float | None, digest: str = "other") -> HolderRow:
    return HolderRow(HolderKey("s", "w1.live", "w1"), key(name), digest, weight_sent, 0)


Submitted = tuple[str, str, float | None]


def short_key(found: SentinelKey) -> str:
    return f"{found.version}.{found.revision}"


def change_of(change: VersionChange) -> SentinelKey:
    """The version that a change is about."""
    match change:
        case Resend(sentinel=found) | AddHolder(sentinel=found) | ChangeWeight(sentinel=found):
            return found.key
        case NewSentinel(key=found_key) | Reinstate(key=found_key):
            return found_key


CLAIM = ClaimTerms("claim", "process", 99, 50)


class World:
    """A lineage as a store would keep it: submissions are claimed, topics become ready in any order."""

    def __init__(self) -> None:
        self.rows: dict[SentinelKey, SentinelRow] = {}
        self.at_ms = 0
        self.lineage: LineageRow | None = None

    @property
    def sentinels(self) -> Rows:
        return tuple(self.rows[found] for found in sorted(self.rows))

    def put(self, rows: Rows) -> None:
        self.rows.update({each.key: each for each in rows})

    def submit(
        self,
        version: str,
        content: str,
        weight: float | None = None,
        at_ms: int | None = None,
        sent_before: HolderRow | None = None,
    ) -> VersionChange | Rejection:
        """A record that is newer than all before, unless `at_ms` says when it was written."""
        self.at_ms += 10
        request = ask(version, content, weight, at_ms=self.at_ms if at_ms is None else at_ms)
        change = next_version(self.sentinels, self.lineage, sent_before, request)
        if not isinstance(change, Rejection):
            self.put(start_change(change, self.sentinels, request, CLAIM))
            self.lineage = lineage_clock(self.lineage, request, change)
        return change

    def ready(self, name: str) -> Rows:
        changed = finish_change(self.rows[key(name)], self.sentinels, 60)
        self.put(changed)
        return changed

    def set_state(self, name: str, state: SentinelState) -> None:
        weight = 1.0 if state is State.ACTIVE else 0.0
        self.put((replace(self.rows[key(name)], state=state, weight=weight, takeover=None),))

    @property
    def active(self) -> dict[str, float]:
        return {short_key(each.key): each.weight for each in self.sentinels if each.state is State.ACTIVE}

    @property
    def in_force(self) -> dict[str, float]:
        return {short_key(found): weight for found, weight in effective(self.sentinels).view.items()}

    def pending(self) -> list[str]:
        return [short_key(each.key) for each in self.sentinels if each.state is State.PENDING]


def world(*submitted: Submitted) -> World:
    """The first is active, the others pending."""
    found = World()
    for number, (version, content, weight) in enumerate(submitted):
        found.submit(version, content, weight)
        if number == 0:
            found.ready(version)
    return found


def prompt(*submitted: Submitted) -> World:
    """Each is activated before the next is submitted."""
    found = World()
    for version, content, weight in submitted:
        found.submit(version, content, weight)
        for name in found.pending():
            found.ready(name)
    return found
