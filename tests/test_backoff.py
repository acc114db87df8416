from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.backoff import Backoff


def first(backoff: Backoff, count: int, *draws: float) -> list[float]:
    source = iter(draws)
    return list(islice(backoff.pauses(lambda: next(source)), count))


def test_pauses_grow_by_the_factor_up_to_the_longest() -> None:
    assert first(Backoff(0.25, 2, 1.5, 0), 5, *[0.9] * 5) == [0.25, 0.5, 1.0, 1.5, 1.5]


def test_factor_one_keeps_the_pause() -> None:
    assert first(Backoff(0.5, 1, 0.5, 0), 3, 0, 0, 0) == [0.5, 0.5, 0.5]


def test_jitter_shortens_each_pause_by_a_new_random_number() -> None:
    assert first(Backoff(1, 2, 8, 0.5), 3, 0.0, 0.5, 1.0) == [1.0, 1.5, 2.0]


def test_each_failure_series_starts_with_the_first_pause() -> None:
    backoff = Backoff(1, 2, 8, 0)
    assert first(backoff, 2, 0, 0) == first(backoff, 2, 0, 0) == [1, 2]


def test_processes_that_fail_together_retry_at_different_times() -> None:
    backoff = Backoff(1, 2, 8, 0.5)
    assert len({next(backoff.pauses()) for _ in range(50)}) > 1


@given(
    first_s=st.floats(0.001, 1),
    factor=st.floats(1, 10),
    longest_s=st.floats(1, 100),
    jitter=st.floats(0, 1),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_no_pause_leaves_its_bounds(
    first_s: float, factor: float, longest_s: float, jitter: float, draw: float
) -> None:
    full_s = first_s
    for pause_s in islice(Backoff(first_s, factor, longest_s, jitter).pauses(lambda: draw), 400):
        assert full_s * (1 - jitter) <= pause_s <= full_s <= longest_s
        full_s = min(full_s * factor, longest_s)


@pytest.mark.parametrize(
    "numbers", [(0, 1, 1, 0), (2, 1, 1, 0), (1, 0.5, 1, 0), (1, 1, 1, -0.1), (1, 1, 1, 1.1)]
)
def test_numbers_out_of_range_are_refused(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Backoff(*numbers)
