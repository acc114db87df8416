"""Asks whether a Neo4j server answers now, on a connection of its own.

A server that hangs accepts connections and answers nothing; on a pooled connection the driver waits minutes for that.
"""

from __future__ import annotations

from dataclasses import replace

from dagmanager.graph.neo4j.retry import reachable, retried
from dagmanager.graph.neo4j.server import Server, connect


def ping(server: Server, within_s: float) -> None:
    """Connect, authenticate and disconnect. Blocks for about `within_s` seconds at most.

    Raises `UnavailableError` when the server does not answer, `SettingsError` when it rejects the client.
    """
    at = replace(server, connect_within_s=within_s, retry_within_s=0.0)

    def once() -> None:
        with reachable(), connect(at) as driver:
            driver.verify_connectivity()

    retried(at, once)
