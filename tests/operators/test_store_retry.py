from __future__ import annotations

import logging

import pytest

from dagmanager.errors import UnavailableError
from operators.store_retry import RetryPolicy


class Store:
    """Away for so many calls."""

    def __init__(self, away: int) -> None:
        self.away = away

    def __call__(self) -> str:
        self.away -= 1
        if self.away >= 0:
            raise UnavailableError(f"away, {self.away} more")
        return "here"


def told_and_logged(
    caplog: pytest.LogCaptureFixture, away: int, stops_after: int
) -> tuple[list[str], list[str]]:
    told: list[str] = []
    pauses: list[float] = []
    patient = RetryPolicy(
        pauses.append, lambda: len(pauses) >= stops_after, lambda _, reason: told.append(reason)
    )
    with caplog.at_level(logging.INFO):
        if away <= stops_after:
            assert patient.in_step("lookup")(Store(away)) == "here"
        else:
            with pytest.raises(UnavailableError):
                patient.in_step("lookup")(Store(away))
    return told, [record.getMessage() for record in caplog.records]


def test_a_store_that_comes_back_is_told_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    told, logged = told_and_logged(caplog, away=5, stops_after=9)
    assert told == ["away, 4 more", ""]
    assert logged == [
        "lookup: waiting for a store (away, 4 more), next try in 0.25 s",
        "lookup: the store is back",
    ]


def test_a_stop_while_it_is_away_is_no_return_of_it(caplog: pytest.LogCaptureFixture) -> None:
    told, logged = told_and_logged(caplog, away=9, stops_after=2)
    assert told == ["away, 8 more", ""]
    assert len(logged) == 1


def test_a_store_that_is_there_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert told_and_logged(caplog, away=0, stops_after=1) == ([], [])
