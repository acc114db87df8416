"""What is in progress on real servers: the bound on what is read, a stop in the middle, and the next run."""

from __future__ import annotations

import pickle
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from operators.result_order import ITEMS_MAX
from tests.flows.live.sites import LiveSite, headers
from tests.flows.test_poison import submission
from tests.kafka.topics import make
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.live("kafka", "neo4j")

WORKERS = 3
EACH = 400
MORE = 50
FINISH = "dagmanager_submissions.upsert.finish"


@pytest.fixture
def site(kafka: str, empty_neo4j: str, topic_prefix: str, tmp_path: Path) -> Iterator[LiveSite]:
    found = LiveSite(tmp_path, kafka, empty_neo4j, topic_prefix, deadly=("finish", "away", "s1"))
    yield found
    found.end()


def snapshot(folder: Path) -> tuple[int, int]:
    """The newest epoch in the recovery folder, and how many items are in progress in it."""
    newest: dict[str, tuple[int, bytes | None]] = {}
    last = -1
    for path in folder.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(path)) as file:
            for step, key, epoch, change in file.execute(
                "SELECT step_id, state_key, snap_epoch, ser_change FROM snaps"
            ):
                last = max(last, epoch)
                if step == FINISH:
                    newest[key] = max(newest.get(key, (-1, None)), (epoch, change))
    states: list[dict[str, Any]] = [
        pickle.loads(change) for _, change in newest.values() if change is not None
    ]
    return last, sum(len(each["items"]) for each in states)


def after_epochs(site: LiveSite, count: int) -> int:
    """How many items are in progress after so many further epochs."""
    began, _ = snapshot(site.folder / "r")
    until(lambda: snapshot(site.folder / "r")[0] >= began + count)
    return snapshot(site.folder / "r")[1]


def test_reading_stops_behind_a_stuck_claim_and_the_next_run_answers_all_in_order(
    site: LiveSite, kafka_admin: AdminClient
) -> None:
    make(kafka_admin, site.topic("submissions_topic"), WORKERS)
    away = site.folder / "away"
    away.touch()
    process = site.begin("--workers", str(WORKERS))
    until(site.is_up)
    world = orjson.dumps([site.prefix.removesuffix(".")])
    site.send(submission(1).replace(b'["w"]', world), key=b"ingest:s1")
    until(lambda: "the store is unreachable" in site.log())
    for partition in range(WORKERS):
        site.send(*[b"no json"] * EACH, key=b"ingest:s1", partition=partition)
    until(lambda: snapshot(site.folder / "r")[1] >= ITEMS_MAX)
    # What was read for another worker arrives within an epoch or two; then nothing more is read, also of new records.
    until(lambda: after_epochs(site, 3) == snapshot(site.folder / "r")[1])
    held = after_epochs(site, 3)
    for partition in range(WORKERS):
        site.send(*[b"no json"] * MORE, key=b"ingest:s1", partition=partition)
    assert after_epochs(site, 5) == held
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 4, site.log()
    assert not site.answers()

    away.unlink()
    again = site.begin("--workers", str(WORKERS))
    until(lambda: len(site.found("dead_letters_topic")) == WORKERS * (EACH + MORE))
    again.send_signal(signal.SIGTERM)
    assert again.wait(TIMEOUT_S) == 0, site.log()
    first, *others = site.answers()
    assert (first["strategy_id"], first["status"]) == ("s1", "ok")
    assert len(others) == WORKERS * (EACH + MORE)
    letters = [headers(each) for each in site.found("dead_letters_topic")]
    for partition in range(WORKERS):
        offsets = [
            int(each["source-offset"]) for each in letters if each["source-partition"] == str(partition)
        ]
        assert offsets == sorted(set(offsets))
