"""The poll finishes what others left behind, and a store that is away does not end it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from dagmanager.assembly import embedded
from dagmanager.errors import UnavailableError
from dagmanager.graph.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from flows.polling import Heartbeat, poll, poll_once


class AwayGraph(MemoryGraph):
    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        raise UnavailableError("gone")


def test_a_store_that_is_away_is_tried_again_next_time() -> None:
    graph = AwayGraph(lambda: 1)
    parts = embedded(Settings(), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    assert poll_once(parts.engine) == 0


def test_the_heartbeat_is_touched_before_the_first_round(tmp_path: Path) -> None:
    parts = embedded(Settings(), MemoryGraph(lambda: 1), MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    heartbeat = tmp_path / "heartbeat"
    with poll(parts.engine, 60.0, threading.Event(), Heartbeat(heartbeat, lambda: "ok")):
        deadline = time.monotonic() + 10
        while not heartbeat.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert heartbeat.read_text() == "ok\n"
