"""What a submission changes about the versions of its lineage (docs/semantics.md 6).

A submission is never refused because of its timing. Its ask takes its place in the record order of the lineage; what is in
force follows from all asks (`version_order`). An older record never undoes what a newer one did: its version is answered
and parked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from dagmanager.dag.model import Notice
from dagmanager.engine.decide.holder_history import was_replaced
from dagmanager.engine.decide.rollout import ACTIVE, PARKED, SUPERSEDED, SentinelRows
from dagmanager.engine.decide.version_order import (
    Asks,
    VersionOrder,
    asks_claimed,
    last_weight,
    ordered,
    with_ask,
)
from dagmanager.engine.model.version_ask import VersionAsk
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
    VersionRequest,
)
from dagmanager.engine.model.version_rows import (
    REFERENCING,
    HolderRow,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
    VersionTransition,
)
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

# A content that was rolled back or archived does not come back: it gets a new revision.
REINSTATED: Final = REFERENCING | {SUPERSEDED, SentinelState.RELEASED, SentinelState.EXPIRED}
# Within this time of another sender's weight a different one is suspicious (docs/semantics.md 6).
CONTESTED_MS: Final = 3_600_000


class Placed(msgspec.Struct, frozen=True):
    """A request at its place in the record order.

    `asks` are those of all versions, its own among them; `before` is the lineage right before it, `after` the lineage
    after everything.
    """

    key: SentinelKey
    ask: VersionAsk
    asks: Asks
    before: VersionOrder
    after: VersionOrder


def next_version(
    sentinels: tuple[SentinelRow, ...],
    lineage: LineageRow | None,
    holder: HolderRow | None,
    request: VersionRequest,
) -> VersionChange | Rejection:
    """What this submission changes; refused with `too_many_versions` only.

    `sentinels` are all of the lineage; `holder` is the strategy id's own row, None when it never submitted.
    `request.at_ms` is at most the store's clock.
    """
    rows = {row.key: row for row in sentinels}
    # Resends before everything else: they change nothing, so their place in the record order is irrelevant.
    if holder is not None and holder.submission_digest == request.submission_digest:
        held = rows.get(holder.sentinel)
        if held is not None:
            return Resend(held, held.state in REFERENCING)
    # The same after a crash: what this record asked was done, and undone by a newer record, before it was read again.
    if holder and rows and was_replaced(holder, request.submission_digest, request.at_ms, request.position):
        return Resend(rows.get(holder.sentinel, sentinels[-1]), referencing=False)
    row = _row_of(sentinels, request)
    key = row.key if row is not None else _new_key(sentinels, request)
    asks = {each.key: asks_claimed(each) for each in sentinels}
    # First: what the clock says must be an ask before this one is placed, which may be older.
    confirmed = _confirmed(asks, lineage, request.now_ms)
    asks.update({each: with_ask(asks, each, ask) for each, ask in confirmed})
    placed = _placed(key, _ask(holder, request, key), asks)
    return _too_many(placed) or _change(rows, row, placed, holder, confirmed, request)


def _row_of(sentinels: tuple[SentinelRow, ...], request: VersionRequest) -> SentinelRow | None:
    """The version with this label and content, its newest revision; None when it was rolled back, or never was."""
    # Several rows when the content was rolled back and came again under its label.
    same = [row for row in sentinels if (row.key.version, row.content) == (request.version, request.content)]
    return max(
        (row for row in same if row.state in REINSTATED), key=lambda row: row.key.revision, default=None
    )


def _new_key(sentinels: tuple[SentinelRow, ...], request: VersionRequest) -> SentinelKey:
    revisions = [row.key.revision for row in sentinels if row.key.version == request.version]
    return SentinelKey(*request.key, request.version, max(revisions, default=0) + 1)


def _confirmed(
    asks: Asks, lineage: LineageRow | None, now_ms: int
) -> tuple[tuple[SentinelKey, VersionAsk], ...]:
    """The ask of the newest holder of the only version in force.

    One more holder moves the lineage's clock only. When the lineage changes, the clock starts from 0 again, and what it says is
    kept as an ask: read after a content of the same label, that record would have brought its own content back.
    """
    view = ordered(asks).view
    if lineage is None or len(view) != 1:
        return ()
    (only,) = view
    # A record of the future, inserted without a look at the store's clock, is one of now.
    ask = VersionAsk(None, min(lineage.last_at_ms, now_ms), lineage.last_partition, lineage.last_position)
    return ((only, ask),) if ask.place > max(each.place for each in asks[only]) else ()


def _ask(holder: HolderRow | None, request: VersionRequest, key: SentinelKey) -> VersionAsk:
    """The ask of this record. It is made of the record and its sender alone: what else was read before must not matter."""
    place = VersionAsk(None, request.at_ms, request.partition, request.position)
    if request.weight is None:
        return place
    wanted = min(max(request.weight, 0.0), 1.0)
    own = holder.sentinel if holder is not None and holder.weight_sent == wanted else key
    edits = own.revision if own != key and own[:3] == key[:3] else 0
    return place._replace(weight=wanted, edits=edits)


def _placed(key: SentinelKey, ask: VersionAsk, asks: Asks) -> Placed:
    before = ordered(asks, until=ask)
    after = {**asks, key: with_ask(asks, key, ask)}
    return Placed(key, ask, after, before, ordered(after))


def _too_many(placed: Placed) -> Rejection | None:
    # The view at its place in the order: versions that newer records brought are none that it would join.
    key, weight, view = placed.key, placed.ask.weight, placed.before.view
    others = [each for each in view if each.version != key.version]
    if key in view or weight is None or not 0.0 < weight < 1.0 or len(others) < 2:
        return None
    names = " and ".join(f"{each.version} (revision {each.revision})" for each in sorted(others))
    message = f"{names} are in force, two at most may be: submit one of them again with weight 1 first"
    return Rejection(ErrorCode.TOO_MANY_VERSIONS, message, field="weight", got=key.version)


def _change(
    rows: SentinelRows,
    row: SentinelRow | None,
    placed: Placed,
    holder: HolderRow | None,
    confirmed: tuple[tuple[SentinelKey, VersionAsk], ...],
    request: VersionRequest,
) -> VersionChange:
    key, asks = placed.key, placed.asks[placed.key]
    warnings = tuple(_warnings(rows, row, placed, holder, request.content))
    referencing = row is not None and row.state in REFERENCING
    if row is not None and referencing and _asks_nothing_new(row, placed):
        return AddHolder(row, warnings, alone=placed.after.view == {key: 1.0})
    weight = placed.after.view.get(key, 0.0)
    takeover = VersionTransition(ACTIVE if key in placed.after.view else PARKED, weight, asks)
    # Parked versions are left out: they kept their queues, so they need no provisioning to be in force again.
    returning = tuple(
        each for each in sorted(placed.after.view) if each != key and rows[each].state is SUPERSEDED
    )
    if row is not None and referencing:
        return ChangeWeight(row, takeover, warnings, returning, confirmed)
    if row is not None:
        return Reinstate(key, takeover, warnings, returning, confirmed)
    return NewSentinel(key, takeover, warnings, returning, confirmed)


def _asks_nothing_new(row: SentinelRow, placed: Placed) -> bool:
    """Whether this is one more holder of the only version in force, and not the version's first record.

    Such a record, the most frequent one, moves the lineage's clock only (`lineage_clock`). In a canary pair, or for a
    version that is not in force, the clock would not show which version it was for: there it is an ask.
    """
    known, key, ask = asks_claimed(row), placed.key, placed.ask
    if with_ask({**placed.asks, key: known}, key, ask) == known:
        return True
    # An ask between the known ones is kept, too: the clock says only what is newer than all of them.
    if ask.weight is not None or not known or ask.place < max(each.place for each in known):
        return False
    return key in placed.before.view and placed.after.view == {key: 1.0}


def _warnings(
    rows: SentinelRows, row: SentinelRow | None, placed: Placed, holder: HolderRow | None, content: str
) -> Iterable[Notice]:
    key, weight, after = placed.key, placed.ask.weight, placed.after
    if (
        weight is not None
        and weight < 1.0
        and after.view == {key: 1.0}
        and weight != placed.before.asked.get(key)
    ):
        message = f"weight {weight:g} was asked for, the only version in force has 1.0"
        yield Notice(NoticeCode.ONLY_VERSION, message)
    if row is not None:
        yield from _contested(row, placed.ask, holder)
    prior = placed.before.current.get(key.version)
    if key in placed.before.asked and key in after.view and prior != key and key not in placed.before.view:
        yield Notice(NoticeCode.LABEL_REUSED, f"label {key.version} had another content in between")
    if key not in after.view and key not in after.parked:
        if key in placed.before.asked:
            yield Notice(
                NoticeCode.SUPERSEDED_VERSION,
                f"{key.version} was superseded; it comes into force again by a weight or a new label",
            )
        else:
            yield Notice(
                NoticeCode.OLDER_THAN_CURRENT, f"a newer record than this one of {key.version} is in force"
            )
    for each in sorted(rows.values(), key=lambda found: found.key)[::-1]:
        if each.content == content and each.state is SentinelState.ROLLED_BACK:
            text = f"this content was rolled back as {each.key.version} (revision {each.key.revision})"
            yield Notice(NoticeCode.ROLLED_BACK_CONTENT, text)
            return


def _contested(row: SentinelRow, ask: VersionAsk, holder: HolderRow | None) -> Iterable[Notice]:
    newest = last_weight(asks_claimed(row))
    if newest is None or ask.weight is None or newest.weight == ask.weight:
        return
    own = holder is not None and holder.sentinel == row.key and holder.weight_sent == newest.weight
    if not own and abs(ask.at_ms - newest.at_ms) <= CONTESTED_MS:
        message = f"another sender asked for weight {newest.weight:g} within the last hour"
        yield Notice(NoticeCode.WEIGHT_CONTESTED, message)


def lineage_clock(lineage: LineageRow | None, request: VersionRequest, change: VersionChange) -> LineageRow:
    """The lineage's row after a change; its clock starts again with each change that is more than a holder."""
    before = lineage if lineage is not None else LineageRow(request.key, 0)
    match change:
        case AddHolder(alone=True):
            now = LineageRow(request.key, request.at_ms, request.partition, request.position)
            return max(before, now, key=lambda row: row.place)
        case AddHolder() | Resend():
            return before
        case _:  # `_confirmed` has made an ask of what the clock said
            return LineageRow(request.key, 0)
