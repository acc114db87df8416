"""A graph server that hangs is noticed by a thread of its own, and the heartbeat asks no store."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dagmanager.assembly import assemble_over
from dagmanager.errors import UnavailableError
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.neo4j.ping import ping
from dagmanager.graph.neo4j.server import Server
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from flows import heartbeat, store_watch
from flows.heartbeat import Heartbeat
from flows.polling import poll
from flows.runner import heartbeat_text_of
from flows.stop import Stop
from flows.store_watch import watched
from flows.tally import Tally
from tests.waiting import TIMEOUT_S, until


class HangingGraph(MemoryGraph):
    """Answers nothing until `over` is set, and raises nothing either."""

    def __init__(self) -> None:
        super().__init__(lambda: 1)
        self.asked, self.over = threading.Event(), threading.Event()

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        self.asked.set()
        self.over.wait(TIMEOUT_S)
        return super().overdue_claims(limit)


def test_the_heartbeat_is_written_while_the_graph_hangs(tmp_path: Path) -> None:
    graph, beats = HangingGraph(), list[int]()
    parts = assemble_over(Settings(), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog())

    def beat() -> str:
        beats.append(1)
        return "ok"

    text = Heartbeat(tmp_path / "alive", beat)
    with poll(parts.engine, 0.01, Stop()) as round_s, text.beating(0.01):
        assert graph.asked.wait(TIMEOUT_S)
        until(lambda: round_s() > 0.05)
        tally = Tally()
        assert heartbeat_text_of(tally, round_s()) == "ok"
        assert heartbeat_text_of(tally, 61.0) == "waiting: poll: a round has taken 61 s so far"
        seen = len(beats)
        until(lambda: len(beats) > seen + 5)
        graph.over.set()
        until(lambda: round_s() < 0.05)
    assert (tmp_path / "alive").read_text() == "ok\n"


def test_begin_and_end_of_an_outage_are_logged_once_and_observed(caplog: pytest.LogCaptureFixture) -> None:
    tally, away, pings = Tally(), [True], list[float]()

    def pinged(within_s: float) -> None:
        pings.append(within_s)
        if away[0]:
            raise UnavailableError("gone")

    with caplog.at_level(logging.INFO, "dagmanager"), watched(pinged, lambda: tally, 0.001, 2.0):
        until(lambda: len(pings) > 5)
        assert tally.heartbeat_text() == "waiting: graph: gone"
        assert tally.waiting_steps() == ["graph"]
        away[0] = False
        until(lambda: tally.heartbeat_text() == "ok")
    assert caplog.messages == ["the graph does not answer: gone", "the graph answers again"]
    assert set(pings) == {2.0}


def test_a_defect_of_the_driver_does_not_end_the_watch() -> None:
    tally, failing = Tally(), [True]

    def pinged(within_s: float) -> None:
        if failing[0]:
            raise ZeroDivisionError

    with watched(pinged, lambda: tally, 0.001):
        until(lambda: "ZeroDivisionError" in tally.heartbeat_text())
        failing[0] = False
        until(lambda: tally.heartbeat_text() == "ok")


def test_a_server_that_accepts_and_answers_nothing_is_unreachable() -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"bolt://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="is unreachable"):
            ping(Server(address, "neo4j", "x"), 0.2)


def test_a_hang_is_in_the_heartbeat_file_within_15_seconds() -> None:
    """The sum of what may pass: until the next ping, its time limit, until the file is written."""
    assert store_watch.EVERY_S + store_watch.ANSWER_WITHIN_S + heartbeat.EVERY_S < 15
