"""Which version of a lineage is in force, and what a submission changes about it (docs/semantics.md 6).

A change is decided against the *effective view*: the active sentinels as they will be once every pending
one has taken over, in the order of their claims. Topics may become ready in any order, so `finish_change`
follows these rules, which keep the sum of the active weights at 1.0 throughout:
- a takeover touches only pending sentinels that were claimed before it;
- of two active ones the newcomer has its weight and the other the rest; one alone has 1.0. There are
  never three: who is to leave anyway leaves, or whom the takeover's `weights` do not name;
- what supersedes a pending sentinel also supersedes what that one would have superseded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from dagmanager.dag.model import Notice
from dagmanager.engine.decide.holder_history import was_replaced
from dagmanager.engine.model.outcome import sentinel_id
from dagmanager.engine.model.rows import (
    REFERENCING,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
    VersionTransition,
)
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

ACTIVE, PENDING = SentinelState.ACTIVE, SentinelState.PENDING
PARKED, SUPERSEDED = SentinelState.PARKED, SentinelState.SUPERSEDED
RETURNING: Final = REFERENCING | {SUPERSEDED, SentinelState.RELEASED, SentinelState.EXPIRED}

View = dict[SentinelKey, float]
SentinelRows = Mapping[SentinelKey, SentinelRow]


class VersionRequest(msgspec.Struct, frozen=True):
    """What one submission asks of its lineage. `weight` is None when none was given."""

    key: LineageKey
    version: str
    content: str
    weight: float | None
    strategy_id: str
    submission_digest: str
    at_ms: int
    position: int = 0
    commit_hash: str = ""
    world_id: str = ""
    execution_domain: str = ""


class Claim(msgspec.Struct, frozen=True):
    """Who works on it, until when, the store's now, and the nodes that a new sentinel brings."""

    claim_id: str
    owner: str
    lease_until_ms: int
    now_ms: int
    introduced: tuple[str, ...] = ()


class Resend(msgspec.Struct, frozen=True, tag=True):
    """The same submission by the same strategy id: a question, answered, changing nothing."""

    sentinel: SentinelRow
    referencing: bool
    warnings: tuple[Notice, ...] = ()


class AddHolder(msgspec.Struct, frozen=True, tag=True):
    """The content is there under that label: only who was told is new."""

    sentinel: SentinelRow
    weight_asked: float | None = None
    warnings: tuple[Notice, ...] = ()


class NewSentinel(msgspec.Struct, frozen=True, tag=True):
    """A content that this label did not have."""

    key: SentinelKey
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()


class Reinstate(msgspec.Struct, frozen=True, tag=True):
    """A content that was in force before: its sentinel is claimed again."""

    key: SentinelKey
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()


class ChangeWeight(msgspec.Struct, frozen=True, tag=True):
    """A sentinel that is there (active, or still pending) gets another share; no topic is needed."""

    sentinel: SentinelRow
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()


VersionChange = Resend | AddHolder | NewSentinel | Reinstate | ChangeWeight


def next_version(
    sentinels: tuple[SentinelRow, ...],
    lineage: LineageRow | None,
    holder: HolderRow | None,
    request: VersionRequest,
) -> VersionChange | Rejection:
    """What this submission changes. `sentinels` are all of the lineage; `holder` the strategy id's own row."""
    rows = {row.key: row for row in sentinels}
    if holder is not None and holder.submission_digest == request.submission_digest:
        told = rows.get(holder.sentinel)
        if told is not None:
            return Resend(told, told.state in REFERENCING)
    if holder and rows and was_replaced(holder, request.submission_digest, request.at_ms, request.position):
        return Resend(rows.get(holder.sentinel, sentinels[-1]), referencing=False)
    view = effective(sentinels)
    late = lineage is not None and request.at_ms < lineage.last_at_ms
    wanted = None if request.weight is None else min(max(request.weight, 0.0), 1.0)
    for key in view:
        if key.version == request.version and rows[key].content == request.content:
            return _again(rows[key], rows, view, None if late else wanted, holder)
    if late:
        message = f"lineage {request.key.lineage!r} has moved on: a newer record was applied before this one"
        return Rejection(ErrorCode.LATE, message, got=str(request.at_ms))
    return _enter(rows, view, wanted, holder, request)


def effective(sentinels: Iterable[SentinelRow]) -> View:
    """Who is in force with which weight once every pending one has taken over, in order of claim."""
    rows = tuple(sentinels)
    overtaken = _overtaken(rows)
    view: View = {row.key: row.weight for row in rows if row.state is ACTIVE}
    for row in sorted((row for row in rows if row.state is PENDING), key=lambda row: row.last_seen_ms):
        if row.takeover is not None:
            view = _after(view, row.key, row.takeover, overtaken)
    return view


def start_change(
    change: VersionChange, sentinels: tuple[SentinelRow, ...], request: VersionRequest, claim: Claim
) -> tuple[SentinelRow, ...]:
    """The sentinel rows that the claim transaction writes for a change.

    A new or returning sentinel becomes pending, and its `last_seen_ms` is after that of every pending
    one: the order of the effective view. The weight of one that is active changes at once.
    """
    before = {row.key: row for row in sentinels}
    now_ms = max([claim.now_ms, *(row.last_seen_ms + 1 for row in sentinels if row.state is PENDING)])
    if isinstance(change, Resend):
        return ()
    if isinstance(change, AddHolder):
        row, asked = change.sentinel, change.weight_asked
        return (replace(row, weight_asked=asked),) if asked not in (None, row.weight_asked) else ()
    if isinstance(change, ChangeWeight):
        row = replace(change.sentinel, last_seen_ms=now_ms)
    else:
        commit = request.commit_hash or request.content
        new = SentinelRow(change.key, request.content, PENDING, 0.0, commit, claim.now_ms)
        new = replace(new, world_id=request.world_id, execution_domain=request.execution_domain)
        new = replace(new, introduced=claim.introduced, sentinel_id=sentinel_id(request.strategy_id))
        row = replace(before.get(change.key, new), state=PENDING, weight=0.0, last_seen_ms=now_ms)
        row = replace(row, claim_id=claim.claim_id, owner=claim.owner)
        row = replace(row, lease_until_ms=claim.lease_until_ms)
    if request.weight is not None:
        row = replace(row, weight_asked=min(max(request.weight, 0.0), 1.0))
    rows = {key: _unmoved(each, row.key) for key, each in before.items()}
    rows[row.key] = row
    if row.state is PENDING:
        rows[row.key] = replace(row, takeover=change.takeover)
    else:
        rows = _apply(row.key, change.takeover, rows, None)
    return tuple(row for key, row in rows.items() if before.get(key) != row)


def finish_change(
    pending: SentinelRow, sentinels: tuple[SentinelRow, ...], now_ms: int
) -> tuple[SentinelRow, ...]:
    """The rows that change when a pending sentinel's topics are there, its own among them.

    `sentinels` are all of the lineage, read in the same transaction. Nothing changes when it was
    superseded meanwhile (it stays so) or is active already.
    """
    rows = {row.key: row for row in sentinels}
    row = rows.get(pending.key)
    if row is None or row.state is not PENDING or row.takeover is None:
        return ()
    after = _apply(row.key, row.takeover, rows, row.last_seen_ms)
    own = replace(after[row.key], last_seen_ms=max(row.last_seen_ms, now_ms))
    after[row.key] = replace(own, claim_id="", owner="", lease_until_ms=0)
    return tuple(row for key, row in after.items() if rows[key] != row)


def _again(
    row: SentinelRow, rows: SentinelRows, view: View, wanted: float | None, holder: HolderRow | None
) -> VersionChange | Rejection:
    """In force with this content: a holder; its share changes only when a new one is asked for.

    An older record never undoes a newer one: of a late one no weight comes here.
    """
    if wanted is None or wanted == _last_asked(row, holder):
        return AddHolder(row)
    if len(view) == 1 or view[row.key] == wanted:
        return AddHolder(row, wanted, _only(wanted, 1.0) if len(view) == 1 else ())
    takeover = _takeover(row.key, None, rows, view, wanted)
    return takeover if isinstance(takeover, Rejection) else ChangeWeight(row, takeover)


def _enter(
    rows: SentinelRows, view: View, wanted: float | None, holder: HolderRow | None, request: VersionRequest
) -> VersionChange | Rejection:
    """A content that is not in force under its label: new, or back again."""
    same = [row for row in rows.values() if row.key.version == request.version]
    known = [row for row in same if row.content == request.content]
    back = max(
        (row for row in known if row.state in RETURNING), key=lambda row: row.key.revision, default=None
    )
    nothing_new = wanted is not None and back is not None and wanted in (0.0, _last_asked(back, holder))
    parked = _parked(rows, view)
    if back is not None and nothing_new and back.key in parked:
        return AddHolder(back, wanted)  # parked it was, and so it stays
    revision = max((row.key.revision for row in same), default=0) + 1
    key = back.key if back is not None else SentinelKey(*request.key, request.version, revision)
    standing = [row for row in same if row.key != key and (row.key in view or row.key in parked)]
    prior = max(standing, key=lambda row: row.key.revision, default=None)
    if prior is not None and wanted == _last_asked(prior, holder):
        wanted = None  # nothing new was asked: the share is inherited
    takeover = _takeover(key, prior, rows, view, wanted)
    if isinstance(takeover, Rejection):
        return takeover
    warnings = _only(wanted, takeover.weight) if takeover.state is ACTIVE else ()
    if back is None:
        return NewSentinel(key, takeover, (*warnings, *_rolled_back(known)))
    if back.state in (ACTIVE, PENDING):  # slated to leave, but still there
        return ChangeWeight(back, takeover, warnings)
    return Reinstate(key, takeover, warnings)


def _takeover(
    key: SentinelKey, prior: SentinelRow | None, rows: SentinelRows, view: View, wanted: float | None
) -> VersionTransition | Rejection:
    """What becomes of the lineage when `key` takes its place, instead of `prior` (its label's) if any.

    No weight inherits the prior's, else asks for all; all supersedes everyone, none parks, a share
    makes a canary pair. Whoever would be alone has 1.0. Whoever stood behind a failed claim leaves.
    """
    others = [each for each in view if each != key and (prior is None or each != prior.key)]
    settled = _overtaken(rows.values()) | _parked(rows, view) | set(view)
    leaving = [row.key for row in rows.values() if row.state is PENDING and row.key not in settled]
    leaving = [each for each in leaving if each != key] + ([] if prior is None else [prior.key])
    weight = wanted if wanted is not None else 1.0 if prior is None else view.get(prior.key, 0.0)
    gone, parked = _inherited(leaving + others if weight >= 1.0 else leaving, key, rows)
    if not others or weight >= 1.0:
        return VersionTransition(ACTIVE, 1.0, gone, parked)
    if weight <= 0.0:
        return VersionTransition(PARKED, 0.0, gone, parked)
    if len(others) > 1:
        return _too_many(key, others)
    return VersionTransition(ACTIVE, weight, gone, ((others[0], round(1.0 - weight, 12)), *parked))


def _inherited(
    leaving: list[SentinelKey], key: SentinelKey, rows: SentinelRows
) -> tuple[tuple[SentinelKey, ...], tuple[tuple[SentinelKey, float], ...]]:
    """Who leaves and who is parked, with those that a leaving pending one (or oneself) had yet to move."""
    gone = dict.fromkeys(leaving)
    parked: dict[SentinelKey, float] = {}
    for each in (*leaving, key):
        row = rows.get(each)
        if row is not None and row.state is PENDING and row.takeover is not None:
            gone.update(dict.fromkeys(row.takeover.supersedes))
            parked.update((other, 0.0) for other, weight in row.takeover.weights if weight == 0.0)
    gone.pop(key, None)
    return tuple(gone), tuple((other, 0.0) for other in parked if other != key and other not in gone)


def _after(
    view: View, key: SentinelKey, takeover: VersionTransition, overtaken: frozenset[SentinelKey]
) -> View:
    """The active weights once `key` has taken over: at most two, together 1.0. Weight 0.0 parks."""
    gone, parks = frozenset(takeover.supersedes), {k for k, w in takeover.weights if w == 0.0}
    left = {k: w for k, w in view.items() if k not in gone and k not in parks and k != key}
    too_late = key in overtaken and (len(left) > 1 or (left and takeover.weight >= 1.0))
    if takeover.state is PARKED or too_late:  # never push out who came after
        total = sum(left.values())
        return {k: w / total for k, w in left.items()}
    if not left or takeover.weight >= 1.0:
        return {key: 1.0}
    stay = [k for k in left if k not in overtaken] or list(left)
    partner = next((k for k, _ in takeover.weights if k in stay), max(stay, key=left.__getitem__))
    return {partner: round(1.0 - takeover.weight, 12), key: takeover.weight}


def _apply(
    key: SentinelKey, takeover: VersionTransition, rows: SentinelRows, position: int | None
) -> dict[SentinelKey, SentinelRow]:
    """All rows after a takeover now; `position` is when it was claimed (None: last of all).

    Moving the only one that is active out, before a pending one is there to follow, is left to that
    one's takeover, so that the lineage is never without a version.
    """
    view: View = {row.key: row.weight for row in rows.values() if row.state is ACTIVE}
    overtaken = _overtaken(rows.values())
    after = _after(view, key, takeover, overtaken)
    kept = max(view, key=view.__getitem__) if view and not after else None
    if kept is not None:
        after = {kept: 1.0}
    settled: dict[SentinelKey, SentinelRow] = {}
    for row in rows.values():
        new = row
        if row.key == key or row.state in (ACTIVE, PARKED):
            new = _settled(row, key, takeover, after)
        elif row.state is PENDING and (position is None or row.last_seen_ms <= position):
            new = _adjusted(row, takeover, None if key in overtaken else takeover.weight)
        if kept is not None and new.state is PENDING:
            new = _deferred(new, kept, leaves=kept in takeover.supersedes)
        settled[row.key] = new
    return settled


def _settled(row: SentinelRow, key: SentinelKey, takeover: VersionTransition, after: View) -> SentinelRow:
    """A row that is not pending any more after the takeover."""
    if row.key in after:
        return replace(row, state=ACTIVE, weight=after[row.key], takeover=None)
    parks = takeover.state is PARKED if row.key == key else dict(takeover.weights).get(row.key) == 0.0
    if parks or (row.state is PARKED and row.key not in takeover.supersedes):
        return replace(row, state=PARKED, weight=0.0, takeover=None)
    return replace(row, state=SUPERSEDED, weight=0.0, takeover=None)


def _adjusted(row: SentinelRow, takeover: VersionTransition, weight: float | None) -> SentinelRow:
    """A pending row claimed before: it leaves, or it (or what stands in for it) has the other share."""
    if row.key in takeover.supersedes or row.takeover is None:
        return replace(row, state=SUPERSEDED, weight=0.0, takeover=None)
    if weight is None or not 0.0 < weight < 1.0 or row.takeover.state is PARKED:
        return row
    return replace(row, takeover=replace(row.takeover, weight=round(1.0 - weight, 12)))


def _deferred(row: SentinelRow, kept: SentinelKey, leaves: bool) -> SentinelRow:
    """A pending row whose takeover moves `kept` out too: it leaves, or is parked."""
    own = row.takeover
    if own is None or own.state is not ACTIVE:
        return row
    if leaves:
        return replace(row, takeover=replace(own, supersedes=(*own.supersedes, kept)))
    return replace(row, takeover=replace(own, weights=(*own.weights, (kept, 0.0))))


def _unmoved(row: SentinelRow, key: SentinelKey) -> SentinelRow:
    """A pending row that would have moved `key` out does not: `key` is claimed again, after it."""
    own = row.takeover
    if row.key == key or own is None:
        return row
    gone = tuple(each for each in own.supersedes if each != key)
    weights = tuple((each, weight) for each, weight in own.weights if each != key or weight > 0.0)
    return replace(row, takeover=replace(own, supersedes=gone, weights=weights))


def _overtaken(rows: Iterable[SentinelRow]) -> frozenset[SentinelKey]:
    return frozenset(key for row in rows if row.takeover is not None for key in row.takeover.supersedes)


def _parked(rows: SentinelRows, view: View) -> frozenset[SentinelKey]:
    """Who is parked, or will be once every pending one has taken over."""
    coming = [(row.key, row.takeover) for row in rows.values() if row.takeover is not None]
    parked = {row.key for row in rows.values() if row.state is PARKED}
    parked |= {key for key, takeover in coming if takeover.state is PARKED}
    parked |= {key for _, takeover in coming for key, weight in takeover.weights if weight == 0.0}
    return frozenset(parked - _overtaken(rows.values()) - set(view))


def _last_asked(row: SentinelRow, holder: HolderRow | None) -> float | None:
    """What this holder last sent for this sentinel; a stranger is measured by what anyone sent."""
    return holder.weight_sent if holder is not None and holder.sentinel == row.key else row.weight_asked


def _only(wanted: float | None, given: float) -> tuple[Notice, ...]:
    if wanted is None or wanted >= 1.0 or given < 1.0:
        return ()
    return (
        Notice(
            NoticeCode.ONLY_VERSION, f"weight {wanted:g} was asked for, the only version in force has 1.0"
        ),
    )


def _rolled_back(known: Iterable[SentinelRow]) -> tuple[Notice, ...]:
    found = [row.key for row in known if row.state is SentinelState.ROLLED_BACK]
    texts = [f"this content was rolled back as {key.version} (revision {key.revision})" for key in found]
    return tuple(Notice(NoticeCode.ROLLED_BACK_CONTENT, text) for text in texts[-1:])


def _too_many(key: SentinelKey, others: list[SentinelKey]) -> Rejection:
    names = " and ".join(f"{each.version} (revision {each.revision})" for each in sorted(others))
    message = f"{names} are in force, two at most may be: submit one of them again with weight 1 first"
    return Rejection(ErrorCode.TOO_MANY_VERSIONS, message, field="weight", got=key.version)
