"""How the versions of a lineage move through their states, in two steps: claimed, then activated.

Between the two steps topics are provisioned, so several changes of one lineage may be pending at once, and they may be
activated in any order. What is in force follows from the asks alone (`version_order`): from all of them for the *effective
view*, that is, as if every pending version were active already; from those in effect for the states and weights that
are stored. A pending version's ask takes effect when it is activated. At every moment:

1. At most two versions are active, and their weights sum to 1.0; one alone has 1.0.
2. A lineage that has an active version keeps one, until a pending one takes its place.

Transitions of a sentinel (docs/semantics.md 6):

| from | when | to |
|---|---|---|
| none, superseded, released, expired | claimed by a submission, or in force again by a record that was read late | pending, weight 0 |
| pending | its queues are active | active with its share, else parked if its claim said so, else superseded |
| active | not in force any more | parked if a weight of 0 did that, else superseded |
| parked | in force by a change of another version or by its own weight | active |
| parked | its label has a newer content | superseded |
| pending | the broker refuses a topic | released (not here: `transactions/claim_repair.py`) |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from dagmanager.engine.decide.version_order import (
    VersionOrder,
    View,
    asks_claimed,
    asks_in_effect,
    last_weight,
    ordered,
    with_ask,
)
from dagmanager.engine.model.outcome import sentinel_id
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    ClaimTerms,
    Resend,
    VersionChange,
    VersionRequest,
)
from dagmanager.engine.model.version_rows import SentinelKey, SentinelRow, SentinelState, VersionTransition

ACTIVE, PENDING = SentinelState.ACTIVE, SentinelState.PENDING
PARKED, SUPERSEDED = SentinelState.PARKED, SentinelState.SUPERSEDED

SentinelRows = Mapping[SentinelKey, SentinelRow]


def effective(sentinels: Iterable[SentinelRow]) -> VersionOrder:
    """The lineage as it will be once every pending version was activated."""
    return ordered({row.key: asks_claimed(row) for row in sentinels})


def start_change(
    change: VersionChange, sentinels: tuple[SentinelRow, ...], request: VersionRequest, terms: ClaimTerms
) -> tuple[SentinelRow, ...]:
    """The sentinel rows that the claim writes for a change; `sentinels` are all of the lineage.

    A new or reinstated sentinel becomes pending, and so do superseded ones that come into force again by it. The asks of
    an active or parked one take effect at once.
    """
    if isinstance(change, Resend | AddHolder):
        return ()
    before = {row.key: row for row in sentinels}
    if isinstance(change, ChangeWeight):
        row = _asked(change.sentinel, change.takeover)
    else:
        row = _pending(
            before.get(change.key) or _new_sentinel(change.key, request, terms), change.takeover, terms
        )
    rows = before | {row.key: row}
    # Before `returning`, which reads the asks: a version that comes back has to keep the newest of them.
    for key, ask in change.confirmed:
        asks = with_ask({each: asks_claimed(found) for each, found in rows.items()}, key, ask)
        rows[key] = _asked(rows[key], VersionTransition(ACTIVE, rows[key].weight, asks))
    for key in change.returning:
        asks = asks_claimed(rows[key])
        rows[key] = _pending(rows[key], VersionTransition(ACTIVE, 1.0, asks), terms)
    rows = _settled(rows, before)
    return tuple(row for key, row in rows.items() if before.get(key) != row)


def finish_change(
    pending: SentinelRow, sentinels: tuple[SentinelRow, ...], now_ms: int
) -> tuple[SentinelRow, ...]:
    """The rows that change when the queues of a pending sentinel are active, its own among them.

    `sentinels` are all of the lineage, read in the same transaction. Nothing changes when the sentinel is no longer
    pending: this is a repeat.
    """
    before = {row.key: row for row in sentinels}
    row = before.get(pending.key)
    # Two processes may finish one claim: the lease of the first ended while it waited for the broker.
    if row is None or row.state is not PENDING or row.takeover is None:
        return ()
    # Ready, and so parked until the asks say more. A version that was in force once its claim was made, and is not any
    # more, is superseded.
    ready = replace(
        row,
        state=PARKED,
        asks=asks_claimed(row),
        takeover=None,
        last_seen_ms=max(row.last_seen_ms, now_ms),
        claim_id="",
        owner="",
        lease_until_ms=0,
    )
    after = _settled(before | {row.key: ready}, before)
    if after[row.key].state is PARKED and not _stays_parked(row.key, row.takeover, after):
        after[row.key] = replace(after[row.key], state=SUPERSEDED)
    return tuple(row for key, row in after.items() if before[key] != row)


def _stays_parked(key: SentinelKey, takeover: VersionTransition, after: SentinelRows) -> bool:
    """Whether a version that is ready and not in force keeps its queues."""
    order = _in_effect(after)
    if key in order.parked:
        return order.current[key.version] == key
    return takeover.state is PARKED or key in effective(after.values()).view


def _asked(row: SentinelRow, takeover: VersionTransition) -> SentinelRow:
    newest = last_weight(takeover.asks)
    row = replace(row, weight_asked=newest.weight if newest is not None else row.weight_asked)
    return replace(row, takeover=takeover) if row.state is PENDING else replace(row, asks=takeover.asks)


def _pending(row: SentinelRow, takeover: VersionTransition, terms: ClaimTerms) -> SentinelRow:
    claimed = replace(
        row,
        state=PENDING,
        weight=0.0,
        last_seen_ms=terms.now_ms,
        claim_id=terms.claim_id,
        owner=terms.owner,
        lease_until_ms=terms.lease_until_ms,
    )
    return _asked(claimed, takeover)


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


def _in_effect(rows: SentinelRows) -> VersionOrder:
    return ordered({key: asks_in_effect(row) for key, row in rows.items()})


def _settled(rows: SentinelRows, before: SentinelRows) -> dict[SentinelKey, SentinelRow]:
    """The rows with the states and weights that follow from the asks in effect; `before` are those before the change."""
    order, was = _in_effect(rows), _in_effect(before)
    view = _ready_part(order.view, rows)
    if not view:  # rule 2: what is in force is not ready yet, so what is active stays
        view = {key: row.weight for key, row in rows.items() if row.state is ACTIVE}
    replaced = {key for label, key in was.current.items() if order.current.get(label, key) != key}
    # What will be in force again when everything pending is active keeps its queues until then.
    coming = effective(rows.values()).view.keys()
    return {key: _settle(row, view, order.parked | coming, replaced - coming) for key, row in rows.items()}


def _ready_part(view: View, rows: SentinelRows) -> View:
    """The versions of the view that need not be provisioned, with weights that sum to 1.0."""
    ready = {key: weight for key, weight in view.items() if rows[key].state in (ACTIVE, PARKED)}
    # The share of what is not ready goes to the others in proportion: the active weights sum to 1 at every moment.
    total = sum(ready.values())
    return {key: round(weight / total, 12) for key, weight in ready.items()}


def _settle(
    row: SentinelRow, view: View, parked: set[SentinelKey], replaced: set[SentinelKey]
) -> SentinelRow:
    """`parked` are versions that keep their queues when they leave, `replaced` those whose label has a newer content."""
    if row.key in view:
        return replace(row, state=ACTIVE, weight=view[row.key])
    if row.state is ACTIVE:
        return replace(row, state=PARKED if row.key in parked else SUPERSEDED, weight=0.0)
    if row.state is PARKED and row.key in replaced:
        return replace(row, state=SUPERSEDED, weight=0.0)
    return row
