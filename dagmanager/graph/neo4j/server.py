"""Where a Neo4j server is, and a driver for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import neo4j
from neo4j.exceptions import ConfigurationError

from dagmanager.errors import SettingsError

# The driver also accepts http(s), but then asks for a package that this product does not need.
SCHEMES: Final = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")


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


def check_address(uri: str) -> None:
    """`SettingsError` for an address that no driver accepts. The message never repeats a password from it."""
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in SCHEMES and parts.hostname and " " not in uri and parts.port != 0
    except ValueError:  # the port is not a number, or too high
        parts, usable = urlsplit(""), False
    if parts.username is not None:
        msg = "the Neo4j address contains a user or a password: give them separately"
        raise SettingsError(msg)
    if usable and parts.path.strip("/"):
        msg = f"the Neo4j address names {parts.path.strip('/')!r} behind the port: set the database with `neo4j_database`"
        raise SettingsError(msg)
    if not usable:
        shown = uri.rpartition("@")[2]
        msg = f"{shown!r} is not a Neo4j address: expected bolt://host:7687 or another scheme of {', '.join(SCHEMES)}"
        raise SettingsError(msg)
