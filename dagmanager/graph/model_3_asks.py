"""Asks for the versions of a lineage that a release without `SentinelRow.asks` wrote (`dagmanager.graph.model_version`).

That release stored states and weights, and decided the next submission from these. Since model 3 what is in force follows
from the asks alone (docs/semantics.md 6), so each old lineage gets asks from which its stored state follows again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from dagmanager.engine.decide.version_order import WITHDRAWN
from dagmanager.engine.model.version_ask import VersionAsk
from dagmanager.engine.model.version_rows import SentinelKey, SentinelRow, SentinelState


def with_asks(rows: Iterable[SentinelRow], last_at_ms: int | None) -> tuple[SentinelRow, ...]:
    """All sentinels of a lineage, with asks that explain their states and weights; unchanged where none lacks asks.

    `last_at_ms` is the record time of the lineage's newest record. The asks take place then, or when a row was last changed
    if that was earlier: times of rows are of the store's clock, and after a backlog every record that is still to be read
    would be older than they are.
    """
    found = tuple(rows)
    if all(row.state in WITHDRAWN or _has_asks(row) for row in found):
        return found
    at_ms = max(max(row.created_ms, row.last_seen_ms) for row in found)
    if last_at_ms is not None:
        at_ms = min(at_ms, last_at_ms)
    asks: dict[SentinelKey, list[VersionAsk]] = {}
    for position, (row, weight) in enumerate(_in_order(found)):
        asks.setdefault(row.key, []).append(VersionAsk(weight, at_ms, 0, position))
    return tuple(_asked(row, tuple(asks[row.key])) if row.key in asks else row for row in found)


def _has_asks(row: SentinelRow) -> bool:
    return bool(row.takeover.asks if row.takeover is not None else row.asks)


def _asked(row: SentinelRow, asks: tuple[VersionAsk, ...]) -> SentinelRow:
    if row.takeover is None:
        return replace(row, asks=asks)
    return replace(row, asks=(), takeover=replace(row.takeover, asks=asks))


def _in_order(rows: tuple[SentinelRow, ...]) -> Iterator[tuple[SentinelRow, float | None]]:
    """The asks that lead to the stored states: superseded versions, active ones, parked ones, pending ones by claim."""
    active = _in_state(rows, SentinelState.ACTIVE)
    labels = {row.key.version for row in active}
    parked = _in_state(rows, SentinelState.PARKED)
    # A label has one current content: a parked one of an active label was replaced, though it keeps its queues.
    replaced = [row for row in parked if row.key.version in labels]
    past = [*_in_state(rows, SentinelState.SUPERSEDED), *replaced]
    yield from ((row, None) for row in sorted(past, key=lambda row: row.created_ms))
    # Of a pair the newer ask is the one that set the stored weights.
    active.sort(key=lambda row: (row.weight_asked == row.weight, row.last_seen_ms))
    for row in active[:1]:
        yield row, None
        if row.weight_asked is not None:
            yield row, row.weight_asked  # alone it changes nothing, but it counts once there is a second one
    yield from ((row, row.weight) for row in active[1:])
    yield from ((row, 0.0) for row in parked if row not in replaced)
    pending = _in_state(rows, SentinelState.PENDING)
    yield from ((row, _wanted(row)) for row in sorted(pending, key=lambda row: row.last_seen_ms))


def _in_state(rows: Iterable[SentinelRow], state: SentinelState) -> list[SentinelRow]:
    return [row for row in rows if row.state is state]


def _wanted(pending: SentinelRow) -> float | None:
    """None for a version that is to be in force as a whole and was given no weight."""
    takeover = pending.takeover
    if takeover is None or (takeover.weight == 1.0 and pending.weight_asked is None):
        return None
    return takeover.weight
