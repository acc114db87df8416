"""A run says at its end what became of its submissions."""

from __future__ import annotations

from flows.tally import Tally


def test_the_summary_names_each_kind_of_refusal() -> None:
    tally = Tally()
    for status in ("ok", "late", "missing_fields", "missing_fields"):
        tally.answered(status)
    assert tally.summary() == "4 submissions answered: 1 ok, 3 refused (1 late, 2 missing_fields)"


def test_nothing_answered_is_said_too() -> None:
    assert Tally().summary() == "0 submissions answered: 0 ok, 0 refused"


def test_whoever_waits_is_named_with_the_reason_until_it_waits_no_more() -> None:
    tally = Tally()
    assert tally.standing() == "ok"
    tally.waiting("lookup", "neo4j is away:\nrefused")
    tally.waiting("diffs", "Kafka is away")
    assert tally.standing() == "waiting: lookup: neo4j is away: refused\nwaiting: diffs: Kafka is away"
    tally.waiting("lookup", "")
    tally.waiting("diffs", "")
    assert tally.standing() == "ok"
