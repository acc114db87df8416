"""How the versions of a lineage move through their states, in two steps: claimed, then activated.

Between the two steps topics are provisioned, so several changes of one lineage may be pending at once, and they may
be activated in any order. These rules keep the weights of the active versions at a sum of 1.0 at every moment:

1. A pending version carries its *transition* (the field `takeover`): what happens to it and to others once its
   queues are active. Later changes are decided against the *effective view*: the weights as they will be after all
   pending transitions, in the order of their claims (`last_seen_ms` of pending rows).
2. A transition changes only active versions, and pending ones that were claimed before it.
3. At most two versions are active: the newcomer has its weight and the partner the rest; one alone has 1.0.
4. Superseding a pending version also supersedes what that one would have superseded.
5. A lineage that has an active version keeps one, until a pending one takes its place.

Transitions of a sentinel (docs/semantics.md 6); "other" is the version whose transition is applied:

| from | when | to | helper |
|---|---|---|---|
| none, superseded, released, expired | claimed by a submission | pending, weight 0 | `start_change` |
| pending | its own queues are active | active with its share, or parked | `finish_change` |
| pending | its queues are active, but a later claim superseded it and was activated first | superseded | `_weights_after` |
| pending | other names it in `supersedes` | superseded | `_supersede_or_rebalance` |
| pending | other was claimed later and has a share | pending; its share becomes the rest | `_supersede_or_rebalance` |
| pending | it was to remove a version that is claimed again | pending; it leaves that one alone | `_detach` |
| pending | the only active version had to stay until now | pending; it removes that one when it is active | `_defer` |
| active | other takes all, or names it in `supersedes` | superseded | `_settle` |
| active | other sets its weight to 0 | parked | `_settle` |
| active | other takes a share | active with the rest | `_settle` |
| active, parked | a submission asks for another weight | as after its own activation | `start_change` |
| pending | the broker refuses a topic | released (not here: `transactions/claim_repair.py`) | |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from dagmanager.engine.model.outcome import sentinel_id
from dagmanager.engine.model.rows import SentinelKey, SentinelRow, SentinelState, VersionTransition
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    ClaimTerms,
    Resend,
    VersionChange,
    VersionRequest,
)

ACTIVE, PENDING = SentinelState.ACTIVE, SentinelState.PENDING
PARKED, SUPERSEDED = SentinelState.PARKED, SentinelState.SUPERSEDED

View = dict[SentinelKey, float]
SentinelRows = Mapping[SentinelKey, SentinelRow]


def effective(sentinels: Iterable[SentinelRow]) -> View:
    """The weights of the active versions once every pending transition was applied, in the order of the claims."""
    rows = tuple(sentinels)
    superseded = superseded_by_pending(rows)
    view: View = {row.key: row.weight for row in rows if row.state is ACTIVE}
    for row in sorted((row for row in rows if row.state is PENDING), key=lambda row: row.last_seen_ms):
        if row.takeover is not None:
            view = _weights_after(view, row.key, row.takeover, superseded)
    return view


def start_change(
    change: VersionChange, sentinels: tuple[SentinelRow, ...], request: VersionRequest, terms: ClaimTerms
) -> tuple[SentinelRow, ...]:
    """The sentinel rows that the claim writes for a change; `sentinels` are all of the lineage.

    A new or reinstated sentinel becomes pending. Its `last_seen_ms` is later than that of every pending one: this is
    the order of the effective view, and two claims may read the same clock. A changed weight of an active sentinel
    takes effect at once.
    """
    if isinstance(change, Resend):
        return ()
    if isinstance(change, AddHolder):
        row, asked = change.sentinel, change.weight_asked
        return (replace(row, weight_asked=asked),) if asked not in (None, row.weight_asked) else ()
    before = {row.key: row for row in sentinels}
    now_ms = max([terms.now_ms, *(row.last_seen_ms + 1 for row in sentinels if row.state is PENDING)])
    if isinstance(change, ChangeWeight):
        row = replace(change.sentinel, last_seen_ms=now_ms)
    else:
        row = replace(
            before.get(change.key) or _new_sentinel(change.key, request, terms),
            state=PENDING,
            weight=0.0,
            last_seen_ms=now_ms,
            claim_id=terms.claim_id,
            owner=terms.owner,
            lease_until_ms=terms.lease_until_ms,
        )
    if request.weight is not None:
        row = replace(row, weight_asked=min(max(request.weight, 0.0), 1.0))
    rows = {key: _detach(each, row.key) for key, each in before.items()}
    rows[row.key] = row
    if row.state is PENDING:
        rows[row.key] = replace(row, takeover=change.takeover)
    else:
        rows = _apply(row.key, change.takeover, rows, None)
    return tuple(row for key, row in rows.items() if before.get(key) != row)


def finish_change(
    pending: SentinelRow, sentinels: tuple[SentinelRow, ...], now_ms: int
) -> tuple[SentinelRow, ...]:
    """The rows that change when the queues of a pending sentinel are active, its own among them.

    `sentinels` are all of the lineage, read in the same transaction. Nothing changes when the sentinel is no longer
    pending: it was superseded meanwhile, or this is a repeat.
    """
    rows = {row.key: row for row in sentinels}
    row = rows.get(pending.key)
    if row is None or row.state is not PENDING or row.takeover is None:
        return ()
    after = _apply(row.key, row.takeover, rows, row.last_seen_ms)
    own = replace(after[row.key], last_seen_ms=max(row.last_seen_ms, now_ms))
    after[row.key] = replace(own, claim_id="", owner="", lease_until_ms=0)
    return tuple(row for key, row in after.items() if rows[key] != row)


def superseded_by_pending(rows: Iterable[SentinelRow]) -> frozenset[SentinelKey]:
    """The versions that some pending transition will supersede."""
    return frozenset(key for row in rows if row.takeover is not None for key in row.takeover.supersedes)


def parked_versions(rows: SentinelRows, view: View) -> frozenset[SentinelKey]:
    """The versions that are parked, or will be once every pending transition was applied; `view` is the effective one."""
    coming = [(row.key, row.takeover) for row in rows.values() if row.takeover is not None]
    parked = {row.key for row in rows.values() if row.state is PARKED}
    parked |= {key for key, takeover in coming if takeover.state is PARKED}
    parked |= {key for _, takeover in coming for key, weight in takeover.weights if weight == 0.0}
    return frozenset(parked - superseded_by_pending(rows.values()) - set(view))


def _new_sentinel(key: SentinelKey, request: VersionRequest, terms: ClaimTerms) -> SentinelRow:
    return SentinelRow(
        key,
        request.content,
        PENDING,
        0.0,
        request.commit_hash or request.content,
        terms.now_ms,
        world_id=request.world_id,
        execution_domain=request.execution_domain,
        introduced=terms.introduced,
        sentinel_id=sentinel_id(request.strategy_id),
    )


def _weights_after(
    view: View, key: SentinelKey, takeover: VersionTransition, superseded: frozenset[SentinelKey]
) -> View:
    """The active weights after `key`'s transition: at most two, with a sum of 1.0.

    `superseded` are versions that a pending transition will supersede: they may be replaced, but must not replace.
    """
    removed = set(takeover.supersedes)
    parked = {other for other, weight in takeover.weights if weight == 0.0}
    left = {k: w for k, w in view.items() if k not in removed and k not in parked and k != key}
    # `key` is activated after a later claim has superseded it: it must not push out versions that are newer.
    too_late = key in superseded and (len(left) > 1 or (left and takeover.weight >= 1.0))
    if takeover.state is PARKED or too_late:
        total = sum(left.values())
        return {k: w / total for k, w in left.items()}
    if not left or takeover.weight >= 1.0:
        return {key: 1.0}
    # With two left one has to go: the one that will be superseded anyway, or that the transition does not name.
    stay = [k for k in left if k not in superseded] or list(left)
    partner = next((k for k, _ in takeover.weights if k in stay), max(stay, key=left.__getitem__))
    # 12 digits, here and below: 1.0 - 0.9 is 0.09999999999999998, which would not equal a weight of 0.1 when asked again.
    return {partner: round(1.0 - takeover.weight, 12), key: takeover.weight}


def _apply(
    key: SentinelKey, takeover: VersionTransition, rows: SentinelRows, claimed_ms: int | None
) -> dict[SentinelKey, SentinelRow]:
    """All rows after `key`'s transition, which was claimed at `claimed_ms` (None: now, after all others)."""
    view: View = {row.key: row.weight for row in rows.values() if row.state is ACTIVE}
    superseded = superseded_by_pending(rows.values())
    after = _weights_after(view, key, takeover, superseded)
    # Rule 5: nothing would be active (the newcomer parks itself, say): the heaviest stays, and the pending ones remove it.
    kept = max(view, key=view.__getitem__) if view and not after else None
    if kept is not None:
        after = {kept: 1.0}
    settled: dict[SentinelKey, SentinelRow] = {}
    for row in rows.values():
        new = row
        if row.key == key or row.state in (ACTIVE, PARKED):
            new = _settle(row, key, takeover, after)
        elif row.state is PENDING and (claimed_ms is None or row.last_seen_ms <= claimed_ms):
            # A version that is superseded itself must not set the share of one that stays.
            share = None if key in superseded else takeover.weight
            new = _supersede_or_rebalance(row, takeover, share)
        if kept is not None and new.state is PENDING:
            new = _defer(new, kept, superseded=kept in takeover.supersedes)
        settled[row.key] = new
    return settled


def _settle(row: SentinelRow, key: SentinelKey, takeover: VersionTransition, after: View) -> SentinelRow:
    """A row that is not pending after the transition: active, parked or superseded."""
    if row.key in after:
        return replace(row, state=ACTIVE, weight=after[row.key], takeover=None)
    parks = takeover.state is PARKED if row.key == key else dict(takeover.weights).get(row.key) == 0.0
    if parks or (row.state is PARKED and row.key not in takeover.supersedes):
        return replace(row, state=PARKED, weight=0.0, takeover=None)
    return replace(row, state=SUPERSEDED, weight=0.0, takeover=None)


def _supersede_or_rebalance(
    row: SentinelRow, takeover: VersionTransition, share: float | None
) -> SentinelRow:
    """A pending row that was claimed before: superseded, or left with the rest of a canary pair."""
    if row.key in takeover.supersedes or row.takeover is None:
        return replace(row, state=SUPERSEDED, weight=0.0, takeover=None)
    if share is None or not 0.0 < share < 1.0 or row.takeover.state is PARKED:
        return row
    return replace(row, takeover=replace(row.takeover, weight=round(1.0 - share, 12)))


def _defer(row: SentinelRow, kept: SentinelKey, *, superseded: bool) -> SentinelRow:
    """A pending row whose transition now also supersedes or parks `kept`, which had to stay active until then."""
    own = row.takeover
    if own is None or own.state is not ACTIVE:
        return row
    if superseded:
        return replace(row, takeover=replace(own, supersedes=(*own.supersedes, kept)))
    return replace(row, takeover=replace(own, weights=(*own.weights, (kept, 0.0))))


def _detach(row: SentinelRow, key: SentinelKey) -> SentinelRow:
    """A pending row that no longer supersedes or parks `key`, which is claimed again after it."""
    own = row.takeover
    if row.key == key or own is None:
        return row
    supersedes = tuple(each for each in own.supersedes if each != key)
    weights = tuple((each, weight) for each, weight in own.weights if each != key or weight > 0.0)
    return replace(row, takeover=replace(own, supersedes=supersedes, weights=weights))
