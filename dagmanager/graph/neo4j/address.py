"""Which texts are addresses of a Neo4j server. Loads no driver."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from dagmanager.errors import SettingsError

# The driver also accepts http(s), but then asks for a package that this product does not need.
SCHEMES: Final = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
KAFKA_PORT: Final = 9092


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
    if parts.port == KAFKA_PORT:
        msg = f"{KAFKA_PORT} is the port of Kafka; Neo4j listens on 7687 (bolt://{parts.hostname}:7687)"
        raise SettingsError(msg)
