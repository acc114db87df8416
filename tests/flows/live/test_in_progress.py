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
from operators.sources.submission_topic import BATCH_RECORDS
from tests.flows.live.sites import LiveSite, headers
from tests.flows.test_poison import submission
from tests.kafka.topics import make
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.live("kafka", "neo4j")

WORKERS = 3
EACH = 400
FINISH = "dagmanager_submissions.upsert.finish"


@pytest.fixture
def site(kafka: str, empty_neo4j: str, topic_prefix: str, tmp_path: Path) -> Iterator[LiveSite]:
    found = LiveSite(tmp_path, kafka, empty_neo4j, topic_prefix, deadly=("finish", "away", "s1"))
    yield found
    found.end()


def states(folder: Path) -> dict[str, list[Any]]:
    """The newest state of each key of each step in the recovery folder."""
    found: dict[tuple[str, str], tuple[int, bytes | None]] = {}
    for path in folder.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(path)) as file:
            for step, key, epoch, change in file.execute(
                "SELECT step_id, state_key, snap_epoch, ser_change FROM snaps"
            ):
                found[step, key] = max(found.get((step, key), (-1, None)), (epoch, change))
    by_step: dict[str, list[Any]] = {}
    for (step, _), (_, change) in found.items():
        if change is not None:
            by_step.setdefault(step, []).append(pickle.loads(change))
    return by_step


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
    until(lambda: in_progress(site) >= ITEMS_MAX)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 4, site.log()
    assert in_progress(site) <= ITEMS_MAX + WORKERS * (BATCH_RECORDS + 1)
    assert not site.answers()

    away.unlink()
    again = site.begin("--workers", str(WORKERS))
    until(lambda: len(site.found("dead_letters_topic")) == WORKERS * EACH)
    again.send_signal(signal.SIGTERM)
    assert again.wait(TIMEOUT_S) == 0, site.log()
    first, *others = site.answers()
    assert (first["strategy_id"], first["status"]) == ("s1", "ok")
    assert len(others) == WORKERS * EACH
    letters = [headers(each) for each in site.found("dead_letters_topic")]
    for partition in range(WORKERS):
        offsets = [
            int(each["source-offset"]) for each in letters if each["source-partition"] == str(partition)
        ]
        assert offsets == sorted(set(offsets))


def in_progress(site: LiveSite) -> int:
    return sum(len(each["items"]) for each in states(site.folder / "r").get(FINISH, ()))
