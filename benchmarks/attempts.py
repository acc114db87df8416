"""The cost of in-flight markers in the recovery folder (documented: < 20 µs per record)."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from dagmanager.dag.model import Origin
from flows.attempt_files import AttemptFiles
from operators.poison_quarantine import PoisonQuarantine
from operators.store_retry import RetryPolicy

ROUNDS = 200
BATCH = 64
ITEM_STEPS = ("remember", "canonicalize", "hash", "classify", "diff_messages", "dead_letter_messages")
BATCH_STEPS = ("lookup", "upsert", "diffs")


def _origin(item: Origin) -> Origin:
    return item


def main() -> None:
    """Time one record through every step, in batches of different sizes, with and without a recovery folder."""
    origins: list[Origin] = [
        Origin("submissions", "xN3cQ0Y6Rj2rH8m1", 3, position) for position in range(BATCH)
    ]
    patience = RetryPolicy(time.sleep, lambda: True)
    with tempfile.TemporaryDirectory() as folder:
        for counting in (False, True):
            quarantine = PoisonQuarantine()
            if counting:
                quarantine.begin(AttemptFiles(Path(folder)))
            items = [quarantine.each(step, lambda item: item, _origin) for step in ITEM_STEPS]
            batches = [
                quarantine.batches(step, lambda batch: batch, _origin, patience) for step in BATCH_STEPS
            ]
            took_s: list[float] = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                for each in items:
                    for origin in origins:
                        each(origin)
                for work in batches:
                    work(list(origins))
                took_s.append(time.perf_counter() - began)
            took_us = statistics.median(took_s) * 1e6 / BATCH
            print(f"{'counted' if counting else 'not counted'}: {took_us:.1f} µs a record in all steps")


if __name__ == "__main__":
    main()
