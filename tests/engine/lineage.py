"""Versions of one lineage, and the rules as a small world: submitted, ready, in force."""

from __future__ import annotations

from dagmanager.engine.decide.next_version import next_version
from dagmanager.engine.decide.rollout import effective, finish_change, start_change
from dagmanager.engine.model.rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    SentinelKey,
    SentinelRow,
    SentinelState,
    VersionTransition,
)
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
from dagmanager.errors import Rejection

LINEAGE = LineageKey("alpha", "w1.live")


State = SentinelState


Rows = tuple[SentinelRow, ...]


def key(name: str) -> SentinelKey:
    """`v1.2` is label v1, revision 2."""
    version, _, revision = name.partition(".")
    return SentinelKey("alpha", "w1.live", version, int(revision or 1))


def row(
    name: str,
    content: str,
    state: SentinelState = State.ACTIVE,
    weight: float = 1.0,
    asked: float | None = None,
    takeover: VersionTransition | None = None,
    at_ms: int = 0,
) -> SentinelRow:
    return SentinelRow(
        key(name),
        content,
        state,
        weight,
        content,
        0,
        weight_asked=asked,
        takeover=takeover,
        last_seen_ms=at_ms,
    )


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
    return HolderRow(HolderKey("s", "w1.live"), key(name), digest, weight_sent, 0)


PAIR = (row("v1", "a", weight=0.9), row("v2", "b", weight=0.1, asked=0.1))


ONE = (row("v1", "a"),)


PARKED = (row("v1", "a"), row("v2", "b", State.PARKED, 0.0, asked=0.0))


def summary_of(change: VersionChange | Rejection) -> tuple[object, ...]:
    """The change in short: kind, sentinel, state, weight, supersedes, weights."""
    assert not isinstance(change, Rejection), change
    match change:
        case Resend(sentinel=found) | AddHolder(sentinel=found):
            return (type(change).__name__, short_key(found.key))
        case ChangeWeight(sentinel=found, takeover=takeover):
            return ("ChangeWeight", short_key(found.key), *transition_summary(takeover))
        case NewSentinel(key=found_key, takeover=takeover) | Reinstate(key=found_key, takeover=takeover):
            return (type(change).__name__, short_key(found_key), *transition_summary(takeover))


def short_key(found: SentinelKey) -> str:
    return f"{found.version}.{found.revision}"


def transition_summary(takeover: VersionTransition) -> tuple[object, ...]:
    gone = tuple(short_key(each) for each in takeover.supersedes)
    return (
        takeover.state.value,
        takeover.weight,
        gone,
        tuple((short_key(k), w) for k, w in takeover.weights),
    )


CLAIM = ClaimTerms("claim", "process", 99, 50)


class World:
    """A lineage as a store would keep it: submissions are claimed, topics become ready in any order."""

    def __init__(self) -> None:
        self.rows: dict[SentinelKey, SentinelRow] = {}

    @property
    def sentinels(self) -> Rows:
        return tuple(self.rows[found] for found in sorted(self.rows))

    def put(self, rows: Rows) -> None:
        self.rows.update({each.key: each for each in rows})

    def submit(self, version: str, content: str, weight: float | None = None) -> VersionChange | Rejection:
        request = ask(version, content, weight)
        change = next_version(self.sentinels, None, None, request)
        if not isinstance(change, Rejection):
            self.put(start_change(change, self.sentinels, request, CLAIM))
        return change

    def ready(self, name: str) -> Rows:
        changed = finish_change(self.rows[key(name)], self.sentinels, 60)
        self.put(changed)
        return changed

    @property
    def active(self) -> dict[str, float]:
        return {short_key(each.key): each.weight for each in self.sentinels if each.state is State.ACTIVE}

    @property
    def in_force(self) -> dict[str, float]:
        return {short_key(found): weight for found, weight in effective(self.sentinels).items()}

    def pending(self) -> list[str]:
        return [short_key(each.key) for each in self.sentinels if each.state is State.PENDING]


def world(*submitted: tuple[str, str, float | None]) -> World:
    """The first is active, the others pending."""
    found = World()
    for number, (version, content, weight) in enumerate(submitted):
        found.submit(version, content, weight)
        if number == 0:
            found.ready(version)
    return found
