"""The poll finishes what others left behind, and an unreachable store does not end it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dagmanager.assembly import assemble_over
from dagmanager.errors import UnavailableError
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from flows.heartbeat import Heartbeat
from flows.polling import poll, poll_once
from flows.stop import Stop
from flows.tally import Tally
from tests.waiting import until


class AwayGraph(MemoryGraph):
    away = True
    asked = 0

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        self.asked += 1
        if self.away:
            raise UnavailableError("gone")
        return super().overdue_claims(limit)


def test_an_unreachable_store_is_tried_again_next_time() -> None:
    graph = AwayGraph(lambda: 1)
    parts = assemble_over(Settings(), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    assert poll_once(parts.engine) == "gone"


def test_heartbeat_shows_an_outage_and_its_end(tmp_path: Path) -> None:
    graph = AwayGraph(lambda: 1)
    parts = assemble_over(Settings(), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    tally = parts.engine.observer = Tally()
    heartbeat = tmp_path / "heartbeat"
    with poll(parts.engine, 0.01, Stop()), Heartbeat(heartbeat, tally.heartbeat_text).beating(0.01):
        until(lambda: heartbeat.exists() and heartbeat.read_text() == "waiting: poll: gone\n")
        graph.away = False
        until(lambda: heartbeat.read_text() == "ok\n")


def test_an_outage_of_many_rounds_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    graph = AwayGraph(lambda: 1)
    parts = assemble_over(Settings(), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    with caplog.at_level(logging.INFO, "dagmanager"), poll(parts.engine, 0.001, Stop()):
        until(lambda: graph.asked > 5)
        graph.away = False
        until(lambda: len(caplog.messages) > 1)
        asked = graph.asked
        until(lambda: graph.asked > asked + 5)
    assert caplog.messages == ["the poll failed: gone; it is tried again", "the poll works again"]


def test_an_internal_error_in_a_round_is_logged_with_its_stack_and_ends_no_poll(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Defective(AwayGraph):
        def overdue_claims(self, limit: int) -> tuple[str, ...]:
            self.asked += 1
            if self.away:
                raise ZeroDivisionError
            return MemoryGraph.overdue_claims(self, limit)

    graph = Defective(lambda: 1)
    parts = assemble_over(Settings(), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    with caplog.at_level(logging.INFO, "dagmanager"), poll(parts.engine, 0.001, Stop()):
        until(lambda: graph.asked > 2)
        graph.away = False
        until(lambda: "the poll works again" in caplog.messages)
    assert "the poll failed: ZeroDivisionError: ; it is tried again" in caplog.messages
    assert any(record.exc_info for record in caplog.records)
