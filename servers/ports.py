"""Free ports on loopback."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"

# Below the kernel's range of ephemeral ports: a killed server finds its port free again, however many clients tried to
# connect meanwhile.
FIRST, LAST = 12_000, 32_000


def free_port() -> int:
    """A port that was free a moment ago; random, so that parallel processes rarely choose the same."""
    while True:
        port = random.randrange(FIRST, LAST)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind((HOST, port))
            except OSError:
                continue
            return port


def is_open(port: int) -> bool:
    """Whether connections are accepted there. Blocks for at most 1 s."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False
