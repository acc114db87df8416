"""Where a Neo4j server is, and a driver for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import neo4j
from neo4j.exceptions import ConfigurationError

from dagmanager.errors import SettingsError
from dagmanager.graph.neo4j.address import check_address


@dataclass(frozen=True)
class Server:
    """Where the database is, and time limits in seconds.

    `connect_within_s` for a connection, `transaction_within_s` for one try of a transaction (enforced by the
    server), `retry_within_s` for all tries together: a call blocks at most for the last plus one try.
    """

    uri: str
    user: str = ""
    password: str = field(default="", repr=False)
    database: str | None = None
    connect_within_s: float = 5.0
    transaction_within_s: float = 30.0
    retry_within_s: float = 30.0


def connect(server: Server) -> neo4j.Driver:
    """A driver that has not connected yet. `SettingsError` for an invalid address."""
    check_address(server.uri)
    try:
        return neo4j.GraphDatabase.driver(
            server.uri,
            auth=(server.user, server.password) if server.user else None,
            connection_timeout=server.connect_within_s,
            connection_acquisition_timeout=server.connect_within_s,
            max_transaction_retry_time=0,
            notifications_min_severity="OFF",
            keep_alive=True,
        )
    except (ConfigurationError, ValueError) as error:
        msg = f"neo4j_dsn: {error}"
        raise SettingsError(msg) from error
