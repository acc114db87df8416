"""The report of a campaign, and the rounds that a stopped campaign continues after."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chaos.findings import AuditFinding, Violation
from chaos.points import POINTS, RANDOM, REQUIRED_POINTS
from chaos.report import Round, RoundStore, Summary
from chaos.victim import may_die
from dagmanager.dag.model import Origin
from flows.attempt_files import FILE as ATTEMPTS
from operators.poison_quarantine import PoisonCandidate

SEED = 7
PLAN = "100 kills, 4 shares, faults"


def done(number: int, plan: str = PLAN, findings: tuple[AuditFinding, ...] = ()) -> Round:
    return Round(
        number=number,
        plan=plan,
        kills={"claim inside": 2, "source read": 1, RANDOM: 3},
        injected={"kafka killed": 1},
        endings={4: 5},
        counts={"submissions answered": 10},
        findings=findings,
        killing_s=1.5,
        audit_s=0.5,
    )


def test_finished_rounds_are_stored(tmp_path: Path) -> None:
    store = RoundStore(tmp_path, SEED)
    rounds = [done(0), done(1, findings=(AuditFinding(Violation.LEFT_IN_OUTBOX, "an event"),)), done(10)]
    for each in reversed(rounds):
        store.save(each)
    assert RoundStore(tmp_path, SEED).rounds(dict.fromkeys((0, 1, 2, 10), PLAN)) == rounds
    assert RoundStore(tmp_path, SEED + 1).rounds({0: PLAN}) == []


def test_a_round_of_another_plan_is_run_again(tmp_path: Path) -> None:
    store = RoundStore(tmp_path, SEED)
    store.save(done(0, plan="40 kills, 4 shares, faults"))
    store.save(done(3))
    assert store.rounds({0: PLAN, 1: PLAN}) == []
    store.delete()
    assert store.rounds({3: PLAN}) == []


def test_the_report_has_kills_by_point_and_place_and_every_fault_found_or_not() -> None:
    text = Summary(SEED, [done(0), done(1)]).text()
    lines = [line.split() for line in text.splitlines()]
    assert ["4", "claim", "claim", "0,", "claim", "inside", "4,", "claim", "after", "0"] in lines
    assert ["6", "random", "instant"] in lines
    assert ["20", "submissions", "answered"] in lines
    for violation in Violation:
        assert f"       0  {violation.value}" in text.splitlines()


def test_the_report_as_json_says_the_same() -> None:
    report = Summary(
        SEED, [done(0), done(1, findings=(AuditFinding(Violation.LEFT_IN_OUTBOX, "an event"),))]
    ).as_json()
    points = {each["point"]: each for each in report["points"]}
    assert points.keys() == {*POINTS, RANDOM}
    assert points["claim"]["places"] == {"claim": 0, "claim inside": 4, "claim after": 0}
    assert [name for name in points if points[name]["in_issue"]] == sorted(
        REQUIRED_POINTS, key=list(POINTS).index
    )
    assert (report["kills"], report["passed"]) == (12, False)
    assert report["faults"][Violation.LEFT_IN_OUTBOX.value] == 1
    assert set(report["faults"]) == {violation.value for violation in Violation}


@pytest.mark.parametrize(("attempts", "free"), [([], True), ([1, 1], True), ([1, 2], False)])
def test_no_kill_over_a_record_that_one_more_death_would_quarantine(
    tmp_path: Path, attempts: list[int], free: bool
) -> None:
    assert may_die(tmp_path)
    suspects = [
        PoisonCandidate(Origin("t", "id", 0, at), count, "upsert") for at, count in enumerate(attempts)
    ]
    (tmp_path / ATTEMPTS).write_bytes(msgspec.json.encode(suspects))
    assert may_die(tmp_path) == free
