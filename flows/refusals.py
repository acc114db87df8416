"""Shows refused submissions on stderr as they happen, each with place and cause; a bounded number per minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dagmanager.dag.model import Origin
from dagmanager.engine.stages import Answer, Refused
from dagmanager.errors import Rejection
from dagmanager.terminal.node_label import NodeLabels
from dagmanager.terminal.progress import StatusLine
from dagmanager.terminal.report import PROGRAM, Report, show
from dagmanager.terminal.text import counted
from operators.sources.submission_files import STDIN

SHOWN_MAX: Final = 20  # in each window
WINDOW_SECONDS: Final = 60.0


class RefusalLog:
    """Shows the first 20 refusals of each minute on stderr, and counts the rest. Safe between threads.

    The first of each code says what explains it.
    """

    def __init__(self, status: StatusLine, clock_s: Callable[[], float] = time.monotonic) -> None:
        """`status` is the status line that is cleared meanwhile; `clock_s` gives monotonic seconds."""
        self.status = status
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._window_s = clock_s()
        self._shown = self._hidden = self.count = 0
        self._explained: set[str] = set()

    def note(self, item: Answer | Refused) -> None:
        """Show it if it is a refusal. One record may be refused in several worlds: each counts."""
        match item:
            case Refused():
                report = refusal_report(item.rejection, item.record.origin, item.strategy_id)
            case Answer(submission=submission, result=Rejection() as why) if submission.record is not None:
                report = refusal_report(why, submission.record.origin, submission.strategy_id)
            case _:
                return
        with self._lock:
            self.count += 1
            if self._clock_s() - self._window_s >= WINDOW_SECONDS:
                self._show_hidden_count()
                self._window_s, self._shown = self._clock_s(), 0
            if self._shown == SHOWN_MAX:
                self._hidden += 1
                return
            self._shown += 1
            with self.status.cleared():
                show(report, "" if report.code in self._explained else PROGRAM, self.status.stream)
            self._explained.add(report.code)

    def finish(self) -> None:
        """At the end of a run: how many were not shown."""
        with self._lock:
            self._show_hidden_count()

    def _show_hidden_count(self) -> None:
        if self._hidden:
            with self.status.cleared():
                self.status.stream.write(
                    f"… and {counted(self._hidden, 'more refusal')}, all in the dead letters\n"
                )
            self._hidden = 0


def refusal_report(rejection: Rejection, origin: Origin, strategy_id: str) -> Report:
    """The error with its place: `file:line`, or topic, partition and offset."""
    message = NodeLabels().labelled(rejection.message.removeprefix(f"{rejection.field or ''}: "))
    file = _file_of(origin)
    topic = f"topic {origin.source}, partition {origin.partition}, offset {origin.position}"
    return Report(
        code=rejection.code.value,
        message=message,
        file=file or topic,
        line=origin.position if file else 0,
        pointer=rejection.field or "",
        notes=(f"strategy: {strategy_id}",) if strategy_id else (),
    )


def _file_of(origin: Origin) -> str:
    """The path of a file, relative to the working directory if it is below it; `""` for a topic."""
    if origin.source == STDIN:
        return "<stdin>"
    path = Path(origin.source)
    if not path.is_absolute():
        return ""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
