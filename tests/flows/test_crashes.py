"""The flow dies anywhere, again and again: nothing lost, replays equal, stores as if it had lived.

`QMTL_CRASH_SEEDS=5000 pytest tests/flows/test_crashes.py` tries more; a failure names its seed.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main, run_main

from dagmanager.dag.model import Record, Submission
from dagmanager.engine.model.outcome import Outcome, decode
from dagmanager.engine.model.rows import OutcomeRow
from dagmanager.engine.wire.message import Message
from flows.submissions import build
from tests.chunk_reader import merge
from tests.engine.crashing import CrashedError, Fuse
from tests.flows.crashing import ListSource, World, impatient
from tests.flows.stores import assert_equal, stores, submission_of
from tests.flows.strategies import Market, pool, record, records

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("QMTL_CRASH_SEEDS", "120"))
GROUPS = 10
POINTS = ["source", "source after", "lookup", "lookup after", "claim", "claim inside", "claim after"]
POINTS += ["begin", "begin inside", "begin after", "create", "create one", "create after", "verify"]
POINTS += ["verify after", "log", "log after", "activate", "activate inside", "activate after", "publish"]
POINTS += ["publish after", "sink", "sink after"]
STRATEGIES = [f"s{number}" for number in range(4)]
EPOCHS = (timedelta(0), timedelta(0), timedelta(seconds=0.01), timedelta(seconds=10))


@dataclass
class Run:
    """One seed's choices."""

    given: list[Record]
    workers: int
    batch: int
    epoch: timedelta
    dice: random.Random
    races: bool
    slow_topics: bool = False


def drawn(seed: int) -> Run:
    """Two workers answer in any order: there, strategies share no lineage and no schema change.

    If they share nodes, they race for who creates them (`races`).
    """
    dice = random.Random(seed)
    workers = 2 if seed % 2 else 1
    own = {each: pool(dice, 3, each) for each in STRATEGIES}
    alone = workers == 1
    shares = alone or seed % 4 == 1
    market = Market(
        dice,
        pool(dice, 4, "n") if shares else [],
        own,
        schemas_of_shared=("a", "b", "") if alone else ("a",),
        shared_lineages=alone,
        domains=("live", "live", "backtest", "shadow") if alone else ("live", "shadow"),
    )
    # Identical resends store nothing, and a crash shows it: see test_a_resend_asked_again_is_a_question.
    given = records(market, STRATEGIES, dice.randint(6, 14), resend=0)
    batch, epoch = dice.choice([1, 2, 4, 20]), dice.choice(EPOCHS)
    return Run(given, workers, batch, epoch, dice, not alone and shares, slow_topics=seed % 3 == 2)


def live(run: Run, world: World, fuse: Fuse, recovery: RecoveryConfig | None) -> None:
    """One process, until it ends or dies."""
    assembled = world.assembled(fuse, run.slow_topics)
    flow = build(
        assembled, ListSource({"0": run.given}, run.batch, fuse), world.sinks(assembled, fuse), impatient()
    )
    if run.workers == 1:
        run_main(flow, epoch_interval=run.epoch, recovery_config=recovery)
    else:
        cluster_main(
            flow, [], 0, epoch_interval=run.epoch, recovery_config=recovery, worker_count_per_proc=run.workers
        )


def crash_until_done(run: Run, folder: Path, points: int) -> tuple[World, list[str]]:
    """Up to six crashes at random points, then a run to the end; where it crashed."""
    init_db_dir(folder, 1)
    world = World()
    where: list[str] = []
    for _ in range(run.dice.randint(1, 6)):
        fuse = Fuse(run.dice.randint(1, max(2, points)))
        with contextlib.suppress(Exception):
            live(run, world, fuse, RecoveryConfig(str(folder)))
        if not fuse.at:
            break
        where.append(fuse.at)
    live(run, world, Fuse(), RecoveryConfig(str(folder)))
    return world, where


@pytest.mark.parametrize("group", range(GROUPS))
def test_crashes_change_nothing(group: int, tmp_path: Path) -> None:
    for seed in range(group, SEEDS, GROUPS):
        run = drawn(seed)
        expected, count = World(), Fuse()
        live(run, expected, count, None)
        folder = tmp_path / str(seed)
        folder.mkdir()
        world, where = crash_until_done(run, folder, count.passed)
        try:
            check(run, world, expected)
        except AssertionError as wrong:
            wrong.add_note(f"seed {seed}, {run.workers} workers, crashed at {where}")
            raise


@pytest.mark.parametrize("slow_topics", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_each_point_changes_nothing(
    point: str, workers: int, slow_topics: bool, tmp_path: Path
) -> None:
    run = drawn(40 + workers - 1)
    run.batch, run.slow_topics = 3, slow_topics
    expected = World()
    live(run, expected, Fuse(), None)
    init_db_dir(tmp_path, 1)
    world, fuse = World(), Fuse(1, only=point)
    with contextlib.suppress(Exception):
        live(run, world, fuse, RecoveryConfig(str(tmp_path)))
    assert fuse.at == point
    live(run, world, Fuse(), RecoveryConfig(str(tmp_path)))
    check(run, world, expected)


def check(run: Run, world: World, expected: World) -> None:
    """What must hold however often it crashed."""
    answers, without = by_submission(world.diffs), by_submission(expected.diffs)
    assert answers.keys() == without.keys(), "a submission without an answer, or an answer to none"
    for each, values in answers.items():
        assert merge(values) is not None, f"incomplete answer {each}"
    questions = asked_again(run)
    assert_replays_equal(world, answers, questions)
    for each, values in answers.items():
        statuses = {orjson.loads(value)["status"] for value in values}
        assert statuses == {orjson.loads(value)["status"] for value in without[each]}, (each, values)
    assert_equal(stores(world, run.races), stores(expected, run.races))
    assert_order(run, world)
    assert not world.graph.waiting_events(1)
    refused = {each.value for each in world.letters} ^ {each.value for each in expected.letters}
    assert refused <= {each.value for each in run.given}


def by_submission(messages: Sequence[Message]) -> dict[tuple[str, str], list[bytes]]:
    found: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for each in messages:
        found[submission_of(each)].append(each.value)
    return found


def asked_again(run: Run) -> set[str]:
    """Submissions that repeat their strategy's last one."""
    reader = World().assembled(Fuse()).reader()
    last: dict[bytes | None, bytes] = {}
    found: set[str] = set()
    for each in run.given:
        if last.get(each.key) == each.value:
            found.update(getattr(item, "submission_id", "") for item in reader.read(each))
        last[each.key] = each.value
    return found


def assert_replays_equal(
    world: World, answers: dict[tuple[str, str], list[bytes]], questions: set[str]
) -> None:
    """A stored outcome is answered the same, byte for byte, as often as it is sent.

    An identical resend stores nothing at first; asked again after a crash it may.
    """
    stored = [row for row in world.graph.rows() if isinstance(row, OutcomeRow) and row.body]
    for row in stored:
        submission_id, _, world_id = row.claim_id.partition("|")
        if submission_id in questions:
            continue
        values = answers[submission_id, world_id]
        chunks = [orjson.loads(value)["chunk"] for value in values]
        assert len(set(values)) == len(set(chunks)), (decode(row.body), values)


def assert_order(run: Run, world: World) -> None:
    """First answers of a strategy come in the order of its submissions."""
    first: dict[str, list[str]] = defaultdict(list)
    for each in world.diffs:
        submission_id, _ = submission_of(each)
        if submission_id not in first[each.key]:
            first[each.key].append(submission_id)
    assembled = world.assembled(Fuse())
    reader = assembled.reader()
    sent: dict[str, list[str]] = defaultdict(list)
    for each_given in run.given:
        for item in reader.read(each_given):
            submission_id = getattr(item, "submission_id", "")
            if submission_id not in sent[item.strategy_id]:
                sent[item.strategy_id].append(submission_id)
    assert first == sent


def test_a_run_ends_at_its_fuse_only(tmp_path: Path) -> None:
    run = drawn(0)
    with pytest.raises(Exception, match=r"error calling|graph|source") as caught:
        live(run, World(), Fuse(3), None)
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, CrashedError):
        cause = cause.__cause__
    assert cause is not None


@pytest.mark.parametrize("seed", range(4))
def test_a_resend_asked_again_is_a_question(seed: int) -> None:
    """A, A again, B, crash: the replay of the second A must not undo B."""
    dice = random.Random(seed)
    market = Market(dice, pool(dice, 3, "n"), domains=("live",))
    a, b = market.strategy("s1"), market.strategy("s1")
    given = [record(value, at, "s1") for at, value in enumerate([a, a, b])]
    world = World()
    assembled = world.assembled(Fuse())
    reader = assembled.reader()
    for each in given:
        assembled.engine.submit([item for item in reader.read(each) if isinstance(item, Submission)])
    before = stores(world)
    answers = assembled.engine.submit(
        [item for item in reader.read(given[1]) if isinstance(item, Submission)]
    )
    assert_equal(stores(world), before)
    assert all(isinstance(each.result, Outcome) for each in answers)
