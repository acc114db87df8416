from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from dagmanager.errors import UnavailableError
from operators.store_retry import STORE_BACKOFF, RetryPolicy


class Store:
    """Away for so many calls."""

    def __init__(self, away: int) -> None:
        self.away = away

    def __call__(self) -> str:
        self.away -= 1
        if self.away >= 0:
            raise UnavailableError(f"away, {self.away} more")
        return "here"


def observed_and_logged(
    caplog: pytest.LogCaptureFixture, away: int, stops_after: int
) -> tuple[list[str], list[str]]:
    observed: list[str] = []
    pauses: list[float] = []
    retry = RetryPolicy(
        pauses.append,
        lambda: len(pauses) >= stops_after,
        lambda _, reason: observed.append(reason),
        backoff=replace(STORE_BACKOFF, jitter=0.0),
    )
    with caplog.at_level(logging.INFO):
        if away <= stops_after:
            assert retry.in_step("lookup")(Store(away)) == "here"
        else:
            with pytest.raises(UnavailableError):
                retry.in_step("lookup")(Store(away))
    return observed, [record.getMessage() for record in caplog.records]


def test_an_outage_is_observed_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    observed, logged = observed_and_logged(caplog, away=5, stops_after=9)
    assert observed == ["away, 4 more", ""]
    assert logged == [
        "lookup: waiting for a store (away, 4 more), next try in 0.25 s",
        "lookup: the store is reachable again",
    ]


def test_a_stop_during_an_outage_is_not_its_end(caplog: pytest.LogCaptureFixture) -> None:
    observed, logged = observed_and_logged(caplog, away=9, stops_after=2)
    assert observed == ["away, 8 more", ""]
    assert len(logged) == 1


def test_a_store_that_answers_is_neither_observed_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert observed_and_logged(caplog, away=0, stops_after=1) == ([], [])
