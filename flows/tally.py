"""What one run answered, for its last line, and whether it waits, for its heartbeat; beside the metrics."""

from __future__ import annotations

import threading
from collections import Counter

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.model.rows import QueueRow
from dagmanager.errors import Rejection


class Tally:
    """Counts answers and passes everything on to another observer. Safe between threads."""

    def __init__(self, next_one: Observer) -> None:
        """Start at nothing."""
        self._next = next_one
        self._answers: Counter[str] = Counter()
        self._waits: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def summary(self) -> str:
        """`4 submissions answered: 1 ok, 3 refused (2 missing_fields, 1 late)`."""
        with self._lock:
            answers = dict(self._answers)
        fine = answers.pop("ok", 0)
        refused = ", ".join(f"{count} {code}" for code, count in sorted(answers.items()))
        why = f" ({refused})" if refused else ""
        total = fine + sum(answers.values())
        submissions = "submission" if total == 1 else "submissions"
        return f"{total} {submissions} answered: {fine} ok, {total - fine} refused{why}"

    def standing(self) -> str:
        """`ok`, or one line for each worker that waits: `waiting: upsert: Kafka at … is away`."""
        with self._lock:
            waits = [" ".join(f"waiting: {step}: {reason}".split()) for step, reason in self._waits]
        return "\n".join(waits) or "ok"

    def answered(self, status: str) -> None:
        """Count it."""
        with self._lock:
            self._answers[status] += 1
        self._next.answered(status)

    def foreign(self, kind: str) -> None:
        """Pass it on."""
        self._next.foreign(kind)

    def hashed(self, duration_ms: float) -> None:
        """Pass it on."""
        self._next.hashed(duration_ms)

    def refused(self, rejection: Rejection) -> None:
        """Pass it on."""
        self._next.refused(rejection)

    def tag_query(self, node_id: str, query: TagQuery, queues: int) -> None:
        """Pass it on."""
        self._next.tag_query(node_id, query, queues)

    def lost(self, queue: QueueRow, why: str) -> None:
        """Pass it on."""
        self._next.lost(queue, why)

    def waiting(self, step: str, reason: str) -> None:
        """Note it, and pass it on."""
        with self._lock:
            if reason:
                self._waits.append((step, reason))
            else:
                self._waits.remove(next(each for each in self._waits if each[0] == step))
        self._next.waiting(step, reason)
