"""Ports on loopback that nobody else listens on."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"

# Below the range that kernels take ports of outgoing connections from: a server that is killed finds its port
# free again, however many clients knocked meanwhile.
FIRST, LAST = 12_000, 32_000


def free_port() -> int:
    """A port that was free a moment ago; drawn at random, so that neighbours hardly ever draw the same."""
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
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False
