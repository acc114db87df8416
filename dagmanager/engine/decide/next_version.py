"""What a submission changes about the versions of its lineage (docs/semantics.md 6).

A change is decided against the effective view of the lineage: as if everything pending were active already
(`rollout.effective`). An older record never undoes what a newer one did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dagmanager.dag.model import Notice
from dagmanager.engine.decide.holder_history import was_replaced
from dagmanager.engine.decide.rollout import (
    ACTIVE,
    PARKED,
    PENDING,
    SUPERSEDED,
    SentinelRows,
    View,
    effective,
    parked_versions,
    superseded_by_pending,
)
from dagmanager.engine.model.rows import (
    REFERENCING,
    HolderRow,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
    VersionTransition,
)
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
    VersionRequest,
)
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

# A content that was rolled back or archived does not come back: it gets a new revision.
REINSTATED: Final = REFERENCING | {SUPERSEDED, SentinelState.RELEASED, SentinelState.EXPIRED}


def next_version(
    sentinels: tuple[SentinelRow, ...],
    lineage: LineageRow | None,
    holder: HolderRow | None,
    request: VersionRequest,
) -> VersionChange | Rejection:
    """What this submission changes; refused with `late` or `too_many_versions`.

    `sentinels` are all of the lineage; `holder` is the strategy id's own row, None when it never submitted.
    """
    rows = {row.key: row for row in sentinels}
    # Resends before everything else, `late` too: they change nothing, so their place in the record order is irrelevant.
    if holder is not None and holder.submission_digest == request.submission_digest:
        held = rows.get(holder.sentinel)
        if held is not None:
            return Resend(held, held.state in REFERENCING)
    if holder and rows and was_replaced(holder, request.submission_digest, request.at_ms, request.position):
        return Resend(rows.get(holder.sentinel, sentinels[-1]), referencing=False)
    view = effective(sentinels)
    late = lineage is not None and request.at_ms < lineage.last_at_ms
    wanted = None if request.weight is None else min(max(request.weight, 0.0), 1.0)
    for key in view:
        if key.version == request.version and rows[key].content == request.content:
            # A late record may still add a holder; only its weight is out of date.
            return _in_force_already(rows[key], rows, view, None if late else wanted, holder)
    if late:
        message = (
            f"lineage {request.key.lineage!r} has changed since: a newer record was applied before this one"
        )
        return Rejection(ErrorCode.LATE, message, got=str(request.at_ms))
    return _not_in_force(rows, view, wanted, holder, request)


def _in_force_already(
    row: SentinelRow, rows: SentinelRows, view: View, wanted: float | None, holder: HolderRow | None
) -> VersionChange | Rejection:
    """The label has this content: add a holder, and change the weight if this holder asks for another one."""
    if wanted is None or wanted == _last_asked(row, holder):
        return AddHolder(row)
    # The only version keeps 1.0, but the weight is stored: it counts as soon as there is a second one.
    if len(view) == 1 or view[row.key] == wanted:
        return AddHolder(row, wanted, _only_version(wanted, 1.0) if len(view) == 1 else ())
    takeover = _transition(row.key, None, rows, view, wanted)
    return takeover if isinstance(takeover, Rejection) else ChangeWeight(row, takeover)


def _not_in_force(
    rows: SentinelRows, view: View, wanted: float | None, holder: HolderRow | None, request: VersionRequest
) -> VersionChange | Rejection:
    """The label has another content, or none: a new revision, or one of its earlier ones again."""
    same = [row for row in rows.values() if row.key.version == request.version]
    known = [row for row in same if row.content == request.content]
    back = max(
        (row for row in known if row.state in REINSTATED), key=lambda row: row.key.revision, default=None
    )
    parked = parked_versions(rows, view)
    asks_nothing_new = wanted is not None and back is not None and wanted in (0.0, _last_asked(back, holder))
    if back is not None and asks_nothing_new and back.key in parked:
        return AddHolder(back, wanted)  # it stays parked
    revision = max((row.key.revision for row in same), default=0) + 1
    key = back.key if back is not None else SentinelKey(*request.key, request.version, revision)
    still_used = [row for row in same if row.key != key and (row.key in view or row.key in parked)]
    prior = max(still_used, key=lambda row: row.key.revision, default=None)
    if prior is not None and wanted == _last_asked(prior, holder):
        wanted = None  # repeating the weight of the prior revision asks for nothing: its share is inherited
    takeover = _transition(key, prior, rows, view, wanted)
    if isinstance(takeover, Rejection):
        return takeover
    warnings = _only_version(wanted, takeover.weight) if takeover.state is ACTIVE else ()
    if back is None:
        return NewSentinel(key, takeover, (*warnings, *_rolled_back(known)))
    if back.state in (ACTIVE, PENDING):  # a pending transition was to supersede it, but it is not gone yet
        return ChangeWeight(back, takeover, warnings)
    return Reinstate(key, takeover, warnings)


def _transition(
    key: SentinelKey, prior: SentinelRow | None, rows: SentinelRows, view: View, wanted: float | None
) -> VersionTransition | Rejection:
    """What happens to the lineage when `key` is activated in place of `prior`, the revision of its label in force.

    Without a weight it inherits the prior's share, else takes all. 1 supersedes all others; 0 parks it; a share in
    between makes a canary pair. A version that would be alone has 1.0 in any case.
    """
    others = [each for each in view if each != key and (prior is None or each != prior.key)]
    settled = superseded_by_pending(rows.values()) | parked_versions(rows, view) | set(view)
    # Pending without a place in the view: a failed claim of the past, which must not be activated later.
    leaving = [row.key for row in rows.values() if row.state is PENDING and row.key not in settled]
    leaving = [each for each in leaving if each != key] + ([] if prior is None else [prior.key])
    weight = wanted if wanted is not None else 1.0 if prior is None else view.get(prior.key, 0.0)
    superseded, parked = _inherited(leaving + others if weight >= 1.0 else leaving, key, rows)
    if not others or weight >= 1.0:
        return VersionTransition(ACTIVE, 1.0, superseded, parked)
    if weight <= 0.0:
        return VersionTransition(PARKED, 0.0, superseded, parked)
    if len(others) > 1:
        return _too_many(key, others)
    return VersionTransition(ACTIVE, weight, superseded, ((others[0], round(1.0 - weight, 12)), *parked))


def _inherited(
    leaving: list[SentinelKey], key: SentinelKey, rows: SentinelRows
) -> tuple[tuple[SentinelKey, ...], tuple[tuple[SentinelKey, float], ...]]:
    """What `key` supersedes and parks: `leaving`, and what pending ones among these (or `key` itself) had yet to."""
    superseded = dict.fromkeys(leaving)
    parked: dict[SentinelKey, float] = {}
    for each in (*leaving, key):
        row = rows.get(each)
        if row is not None and row.state is PENDING and row.takeover is not None:
            superseded.update(dict.fromkeys(row.takeover.supersedes))
            parked.update((other, 0.0) for other, weight in row.takeover.weights if weight == 0.0)
    superseded.pop(key, None)
    return tuple(superseded), tuple(
        (other, 0.0) for other in parked if other != key and other not in superseded
    )


def _last_asked(row: SentinelRow, holder: HolderRow | None) -> float | None:
    """The weight that this holder last sent for this sentinel; for another holder, the last that any holder sent."""
    return holder.weight_sent if holder is not None and holder.sentinel == row.key else row.weight_asked


def _only_version(wanted: float | None, given: float) -> tuple[Notice, ...]:
    if wanted is None or wanted >= 1.0 or given < 1.0:
        return ()
    message = f"weight {wanted:g} was asked for, the only version in force has 1.0"
    return (Notice(NoticeCode.ONLY_VERSION, message),)


def _rolled_back(known: Iterable[SentinelRow]) -> tuple[Notice, ...]:
    found = [row.key for row in known if row.state is SentinelState.ROLLED_BACK]
    texts = [f"this content was rolled back as {key.version} (revision {key.revision})" for key in found]
    return tuple(Notice(NoticeCode.ROLLED_BACK_CONTENT, text) for text in texts[-1:])


def _too_many(key: SentinelKey, others: list[SentinelKey]) -> Rejection:
    names = " and ".join(f"{each.version} (revision {each.revision})" for each in sorted(others))
    message = f"{names} are in force, two at most may be: submit one of them again with weight 1 first"
    return Rejection(ErrorCode.TOO_MANY_VERSIONS, message, field="weight", got=key.version)
