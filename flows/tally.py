"""The answers of one run, counted for its last line, and its waiting workers, listed for its heartbeat."""

from __future__ import annotations

import threading
from collections import Counter

from dagmanager.engine.model.observer import Observer


class Tally(Observer):
    """Counts answers and keeps the list of waiting workers. Safe between threads."""

    def __init__(self) -> None:
        """No answers, no waiting workers."""
        self._answers: Counter[str] = Counter()
        self._waits: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def summary(self) -> str:
        """`4 submissions answered: 1 ok, 3 refused (2 missing_fields, 1 expired)`."""
        with self._lock:
            answers = dict(self._answers)
        fine = answers.pop("ok", 0)
        refused = ", ".join(f"{count} {code}" for code, count in sorted(answers.items()))
        why = f" ({refused})" if refused else ""
        total = fine + sum(answers.values())
        submissions = "submission" if total == 1 else "submissions"
        return f"{total} {submissions} answered: {fine} ok, {total - fine} refused{why}"

    def heartbeat_text(self) -> str:
        """`ok`, or one line for each waiting worker: `waiting: upsert: Kafka at … is unreachable`."""
        with self._lock:
            waits = [" ".join(f"waiting: {step}: {reason}".split()) for step, reason in self._waits]
        return "\n".join(waits) or "ok"

    def waiting_steps(self) -> list[str]:
        """The steps that wait, each once, in order."""
        with self._lock:
            return list(dict.fromkeys(step for step, _ in self._waits))

    def answered(self, status: str) -> None:
        """Count the answer by its status."""
        with self._lock:
            self._answers[status] += 1

    def waiting(self, step: str, reason: str) -> None:
        """Add a waiting worker, or remove one of this step when `reason` is ''."""
        with self._lock:
            if reason:
                self._waits.append((step, reason))
            else:
                self._waits.remove(next(each for each in self._waits if each[0] == step))
