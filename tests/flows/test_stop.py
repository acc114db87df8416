"""A signal stops a run at any instant and wakes every thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from flows.stop import Stop
from tests.waiting import TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]

# A timer that interrupts the wait at another place each time; `threading.Event` hangs within some hundred rounds.
ROUNDS = """
import signal
from flows.stop import Stop
stop = Stop()
signal.signal(signal.SIGALRM, lambda *_: stop.set())
for number in range(20_000):
    stop = Stop()
    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 40))
    while not stop.wait(0.00001):
        pass
print("all done")
"""


def test_a_signal_ends_a_wait() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert done.stdout == "all done\n"


def test_every_waiting_thread_is_woken() -> None:
    stop, woken = Stop(), list[bool]()
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(TIMEOUT_S))) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert woken == [True] * 3


def test_a_wait_times_out() -> None:
    stop = Stop()
    began = time.monotonic()
    assert not stop.wait(0.02)
    assert time.monotonic() - began >= 0.02
    assert not stop.is_set()


def test_setting_it_twice_is_as_once() -> None:
    stop = Stop()
    stop.set()
    stop.set()
    assert stop.is_set()
    assert stop.wait(TIMEOUT_S)
    assert stop.wait(TIMEOUT_S)
