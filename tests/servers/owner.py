"""A process that starts a broker and waits, for tests that end it by force: owner.py FOLDER [pause]."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from servers.kafka import KafkaServer

if __name__ == "__main__":
    server = KafkaServer(Path(sys.argv[1])).start()
    if "pause" in sys.argv:
        server.pause()
    print(server.pid, flush=True)
    signal.pause()
