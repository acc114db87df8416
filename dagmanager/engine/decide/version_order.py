"""Which versions of a lineage are in force: a pure function of what was asked for them, in record order.

Every version keeps what submissions asked for it (`SentinelRow.asks`), each with its place in the record order. The versions
in force follow from these alone. So the order in which partitions, batches and workers process the records has no
influence (docs/semantics.md 6), and a record that is read late takes its place among the others.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

import msgspec

from dagmanager.engine.model.version_ask import VersionAsk
from dagmanager.engine.model.version_rows import SentinelKey, SentinelRow, SentinelState

View = dict[SentinelKey, float]
# Versions that take no part: they were withdrawn, whatever was asked for them.
WITHDRAWN = frozenset(
    {
        SentinelState.ROLLED_BACK,
        SentinelState.RELEASED,
        SentinelState.EXPIRED,
        SentinelState.ARCHIVED,
    }
)
# A client that sends random weights, or two that edit one label in turn, must not let a row grow without end.
ASKS_MAX: Final = 64
# Every claim reads the asks of all versions of its lineage, so thousands of resends of an old version must stay few.
ALL_ASKS_MAX: Final = 16
Asks = Mapping[SentinelKey, tuple[VersionAsk, ...]]


class VersionOrder(msgspec.Struct):
    """The lineage after some of its asks.

    `view` are the versions in force, at most two, with weights that sum to 1. `current` is the newest content of each
    label, `parked` are versions that a weight of 0 parked, `asked` is the weight last asked for each version, None when
    none was.
    """

    view: View
    current: dict[str, SentinelKey]
    parked: set[SentinelKey]
    asked: dict[SentinelKey, float | None]


def asks_in_effect(row: SentinelRow) -> tuple[VersionAsk, ...]:
    """What was asked for this version and is in effect; for a pending one without the ask that it waits with."""
    return () if row.state in WITHDRAWN else row.asks


def asks_claimed(row: SentinelRow) -> tuple[VersionAsk, ...]:
    """As `asks_in_effect`, as if every pending version were active already."""
    if row.state is SentinelState.PENDING and row.takeover is not None:
        return row.takeover.asks
    return asks_in_effect(row)


def ordered(
    asks: Mapping[SentinelKey, Iterable[VersionAsk]], until: VersionAsk | None = None
) -> VersionOrder:
    """The lineage after all of these asks, or after those that come before `until` in the record order."""
    events = [(ask.place, key, ask) for key, each in asks.items() for ask in each]
    order = VersionOrder({}, {}, set(), {})
    # The key after the place: asks that were derived from rows of older releases may have one place.
    for place, key, ask in sorted(events, key=lambda event: (event[0], event[1])):
        if until is not None and place >= until.place:
            break
        _apply(order, key, ask)
    return order


def _apply(order: VersionOrder, key: SentinelKey, ask: VersionAsk) -> None:
    """One ask, after all earlier ones (the table of docs/semantics.md 6)."""
    weight, known = ask.weight, key in order.asked
    prior = order.current.get(key.version)
    if prior is not None and weight is not None:
        repeated = prior == key and order.asked.get(key) == weight
        edited = not known and prior.revision == ask.edits and prior in order.view and len(order.view) > 1
        if repeated or edited:  # a thousand strategy ids that repeat one submission change nothing
            weight = None
    order.asked[key] = order.asked.get(key) if weight is None else weight
    if key in order.view:
        if weight is not None and len(order.view) > 1:
            _share(order, key, weight, [each for each in order.view if each != key])
        return
    replaced = prior is not None and prior != key and prior in order.view
    if weight is None and known and not replaced:
        return  # another label superseded it: it comes back by a weight only
    order.current[key.version] = key
    if weight is None:
        if replaced and prior is not None:
            order.view[key] = order.view.pop(prior)
        elif prior in order.parked:
            order.parked.add(key)
        else:
            order.view = {key: 1.0}
        return
    others = [each for each in order.view if each != prior]
    if replaced and prior is not None and 0.0 < weight < 1.0 and not others:
        others = [prior]  # a canary between two revisions of a label
    _share(order, key, weight, others)


def _share(order: VersionOrder, key: SentinelKey, weight: float, others: list[SentinelKey]) -> None:
    """`key` gets this share, the heaviest of `others` the rest. A version that would be alone has 1.0 in any case."""
    order.parked.discard(key)
    if not others or weight >= 1.0:
        order.view = {key: 1.0}
    elif weight <= 0.0:
        order.parked.add(key)
        # One label may have both versions in force, so the rest may be less than 1.
        total = sum(order.view[each] for each in others)
        order.view = {each: round(order.view[each] / total, 12) for each in others}
    else:
        partner = max(others, key=lambda each: order.view[each])
        # 12 digits: 1.0 - 0.9 is 0.09999999999999998, which would not equal a weight of 0.1 when asked again.
        order.view = {partner: round(1.0 - weight, 12), key: weight}


def with_ask(asks: Asks, key: SentinelKey, ask: VersionAsk) -> tuple[VersionAsk, ...]:
    """What is kept of the asks for `key` when `ask` joins them, in record order: all of them, up to 16.

    Of more, each run of equal ones keeps its first and its last. A run ends where another weight, or another content of
    the label, was asked for in between: what is read later finds an ask on each side. Of more than 64 that are left, those
    asked for longest ago are dropped.
    """
    own = sorted({*asks.get(key, ()), ask}, key=_order)
    if len(own) <= ALL_ASKS_MAX:
        return tuple(own)
    cuts = sorted(
        each.place
        for other, known in asks.items()
        if other.version == key.version and other != key
        for each in known
    )
    kept: list[VersionAsk] = []
    for _, run in groupby(own, lambda each: (each.weight, each.edits, bisect(cuts, each.place))):
        first, *rest = run
        kept += (first, *rest[-1:])
    return tuple(kept[-ASKS_MAX:])


def _order(ask: VersionAsk) -> tuple[tuple[int, int, int], bool, float, int]:
    """By place. The rest makes the order total, for asks that were derived from rows of older releases."""
    return (ask.place, ask.weight is not None, ask.weight or 0.0, ask.edits)


def newest_ask(sentinels: Iterable[SentinelRow]) -> tuple[int, int, int]:
    """The place of the newest ask of a lineage."""
    return max((each.place for row in sentinels for each in asks_claimed(row)), default=(0, 0, 0))


def last_weight(asks: Iterable[VersionAsk]) -> VersionAsk | None:
    """The newest ask with a weight."""
    return max((each for each in asks if each.weight is not None), key=lambda each: each.place, default=None)
