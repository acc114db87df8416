"""A reading of the epoch is used again for 200 ms, and never after a write of this process (docs/semantics.md 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from dagmanager.engine.caches.epoch_cache import IDLE_AFTER_S, MAX_AGE_S, EpochCache
from dagmanager.engine.caches.holder_counters import COUNTERS
from dagmanager.engine.model.graph_port import EpochReading, Graph
from dagmanager.errors import UnavailableError
from dagmanager.graph.embedded.memory import MemoryGraph
from tests.engine.builders import START_MS


def nothing() -> None: ...


@dataclass
class Readings:
    """The one method of a graph that the cache calls; `meanwhile` runs within each read."""

    inner: Graph
    count: int = 0
    meanwhile: Callable[[], None] = nothing

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        self.count += 1
        found = self.inner.epoch_reading(counters)
        self.meanwhile()
        return found


@dataclass
class Site:
    now_s: float = 100.0
    graph: MemoryGraph = field(default_factory=lambda: MemoryGraph(lambda: START_MS))

    def __post_init__(self) -> None:
        self.readings = Readings(self.graph)
        self.cache = EpochCache(self.readings, lambda: self.now_s)  # type: ignore[arg-type]  # it calls this one method

    def write(self) -> None:
        self.graph.transact(lambda tx: tx.raise_epoch())


def test_a_reading_has_the_epoch_all_holder_counters_and_the_clock_of_the_store() -> None:
    site = Site()
    site.write()
    found = site.cache.fresh()
    assert (found.epoch, set(found.counters), found.now_ms) == (1, set(COUNTERS), START_MS)


def test_a_reading_is_used_again_until_it_is_too_old() -> None:
    site = Site()
    site.cache.fresh()
    site.write()  # of another process
    site.now_s += MAX_AGE_S * 0.99
    assert (site.cache.fresh().epoch, site.readings.count) == (0, 1)
    site.now_s += MAX_AGE_S * 0.02
    assert (site.cache.fresh().epoch, site.readings.count) == (1, 2)


def test_the_clock_of_a_cached_reading_continues() -> None:
    site = Site()
    site.cache.fresh()
    site.now_s += 0.125
    assert site.cache.fresh().now_ms == START_MS + 125


def test_an_own_write_takes_effect_at_once() -> None:
    site = Site()
    site.cache.fresh()
    site.write()
    site.cache.invalidate()
    assert site.cache.fresh().epoch == 1


def test_a_reading_that_an_own_write_overtook_is_not_cached() -> None:
    """It was read before the write was committed, and arrives after `invalidate`."""
    site = Site()

    def write() -> None:
        site.readings.meanwhile = nothing
        site.write()
        site.cache.invalidate()

    site.readings.meanwhile = write
    assert site.cache.fresh().epoch == 0
    assert site.cache.fresh().epoch == 1


def test_reading_ahead_saves_the_next_use_a_read() -> None:
    site = Site()
    site.cache.read()
    site.cache.fresh()
    assert site.readings.count == 1


def test_the_age_of_a_reading_counts_from_before_the_read() -> None:
    site = Site()

    def slow() -> None:
        site.now_s += MAX_AGE_S * 2

    site.readings.meanwhile = slow
    site.cache.read()
    site.readings.meanwhile = nothing
    site.cache.fresh()
    assert site.readings.count == 2


def test_reading_ahead_is_wanted_only_while_readings_are_used() -> None:
    site = Site()
    assert not site.cache.is_wanted()
    site.cache.read()
    assert not site.cache.is_wanted()
    site.cache.fresh()
    assert site.cache.is_wanted()
    site.now_s += IDLE_AFTER_S
    assert not site.cache.is_wanted()


def test_an_unreachable_store_is_an_error_and_keeps_nothing() -> None:
    site = Site()

    def unreachable() -> None:
        raise UnavailableError("gone")

    site.readings.meanwhile = unreachable
    with pytest.raises(UnavailableError):
        site.cache.fresh()
    site.readings.meanwhile = nothing
    assert (site.cache.fresh().epoch, site.readings.count) == (0, 2)
