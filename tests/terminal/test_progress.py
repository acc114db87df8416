from __future__ import annotations

import io
import logging
from threading import Event

import pytest

from dagmanager.terminal import progress as module
from dagmanager.terminal.progress import StatusHandler, StatusLine, progress, seconds_so_far


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_shows_the_progress_and_keeps_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.001)
    asked, terminal = Event(), Terminal()

    def text() -> str:
        asked.set()
        return "3 of 9 answered"

    with progress(text, StatusLine(terminal)):
        assert asked.wait(60)
    assert "\r\x1b[K3 of 9 answered" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_work_that_cannot_be_counted_shows_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    text = seconds_so_far("schema")
    now[0] = 13.2
    assert text() == "schema: 3 s"


def test_a_pipe_gets_no_status_line() -> None:
    pipe = io.StringIO()
    with progress(lambda: "3 of 9", StatusLine(pipe)) as line:
        line.show("3 of 9")
    assert pipe.getvalue() == ""


def test_a_log_line_takes_the_place_of_the_status_line() -> None:
    terminal = Terminal()
    status = StatusLine(terminal)
    status.show("3 of 9")
    StatusHandler(status).handle(logging.makeLogRecord({"msg": "reading " + "a.jsonl " * 6}))
    assert terminal.getvalue().startswith("\r\x1b[K3 of 9\r\x1b[Kreading a.jsonl")
    assert max(map(len, terminal.getvalue().split("\x1b[K")[-1].splitlines())) <= 40
