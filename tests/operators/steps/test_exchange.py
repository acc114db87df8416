from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dagmanager.dag.model import Record
from operators.steps.exchange import STRATEGY_SHARDS, exchange, shard_of
from tests.flows.strategies import record


def exchanged(given: list[Record], recovery: RecoveryConfig | None = None) -> list[tuple[str, Record]]:
    found: list[tuple[str, Record]] = []
    flow = Dataflow("test")
    source = op.input("input", flow, TestingSource([("any", each) for each in given], batch_size=10))
    op.output("output", exchange("exchange", source), TestingSink(found))
    run_main(flow, recovery_config=recovery)
    return found


def test_records_are_keyed_by_the_shard_of_their_strategy_in_arrival_order() -> None:
    given = [record(b"1", at, who) for at, who in enumerate(["z", "a", "z", "ü", "z"])]
    found = exchanged(given)
    assert [each for _, each in found] == given
    assert [key for key, _ in found] == [shard_of(who) for who in ["z", "a", "z", "ü", "z"]]


def test_shards_are_the_same_in_every_release_and_used_evenly() -> None:
    assert [shard_of(who) for who in ("", "s1", "demo-MA1")] == ["00", "30", "3c"]
    dice = random.Random(1)
    counts = dict.fromkeys((f"{number:02x}" for number in range(STRATEGY_SHARDS)), 0)
    for _ in range(100 * STRATEGY_SHARDS):
        counts[shard_of(f"{dice.getrandbits(128):032x}")] += 1
    assert min(counts.values()) > 50
    assert max(counts.values()) < 200


def test_random_strategy_ids_leave_a_bounded_number_of_rows_in_the_recovery_store(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    dice = random.Random(2)
    given = [record(b"1", at, f"{dice.getrandbits(128):032x}") for at in range(1_000)]
    assert len(exchanged(given, RecoveryConfig(str(tmp_path)))) == 1_000
    with sqlite3.connect(tmp_path / "part-0.sqlite3") as file:
        [(rows,)] = file.execute("SELECT count(*) FROM snaps WHERE step_id LIKE '%exchange%'").fetchall()
    assert rows <= STRATEGY_SHARDS
