"""Which asks of a version are kept: all of a few, the ends of runs of many (docs/semantics.md 6)."""

from __future__ import annotations

from dagmanager.engine.decide.version_order import ALL_ASKS_MAX, ASKS_MAX, Asks, ordered, with_ask
from dagmanager.engine.model.version_ask import VersionAsk
from dagmanager.engine.model.version_rows import SentinelKey
from tests.engine.lineage import key

A, B, OTHER = key("v1"), key("v1.2"), key("v2")


def after(*asked: tuple[SentinelKey, int, float | None]) -> Asks:
    """These asks, read in this order: version, time, weight."""
    asks: dict[SentinelKey, tuple[VersionAsk, ...]] = {}
    for version, at_ms, weight in asked:
        asks[version] = with_ask(asks, version, VersionAsk(weight, at_ms))
    return asks


def times(asks: Asks, version: SentinelKey) -> list[int]:
    return [each.at_ms for each in asks[version]]


def test_a_few_asks_are_all_kept_in_record_order() -> None:
    asks = after(*((A, at_ms, None) for at_ms in reversed(range(ALL_ASKS_MAX))))
    assert times(asks, A) == list(range(ALL_ASKS_MAX))


def test_an_ask_is_kept_once() -> None:
    assert times(after((A, 1, None), (A, 1, None)), A) == [1]


def test_of_many_equal_asks_the_first_and_the_last_are_kept() -> None:
    kept = times(after(*((A, at_ms, None) for at_ms in range(100))), A)
    assert (kept[0], kept[-1], len(kept) <= ALL_ASKS_MAX) == (0, 99, True)
    assert times(after(*((A, at_ms, None) for at_ms in range(ALL_ASKS_MAX + 1))), A) == [0, ALL_ASKS_MAX]


def test_a_run_ends_at_another_weight_and_at_another_content_of_the_label() -> None:
    edited = [(A, at_ms, None) for at_ms in range(0, 40, 2)]
    asks = after((B, 11, None), (OTHER, 21, None), (A, 29, 0.5), *edited)
    assert times(asks, A)[:4] == [0, 10, 12, 28]
    assert 29 in times(asks, A)
    assert times(asks, A)[-1] == 38


def test_of_many_runs_the_oldest_are_dropped() -> None:
    asks = after(*((A, at_ms, 0.1 * (at_ms % 3)) for at_ms in range(3 * ASKS_MAX)))
    assert times(asks, A) == list(range(2 * ASKS_MAX, 3 * ASKS_MAX))


def test_an_edit_that_is_read_between_two_asks_finds_both() -> None:
    given = [(A, 20, None), (B, 30, 1.0), (A, 50, None), (B, 70, 0.3), (A, 80, None)]
    assert ordered(after(*given)).view == {A: 0.7, B: 0.3}
    assert ordered(after(*(given[place] for place in (4, 1, 0, 2, 3)))).view == {A: 0.7, B: 0.3}
