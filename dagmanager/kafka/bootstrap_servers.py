"""Which texts are bootstrap servers of Kafka. Loads no client."""

from __future__ import annotations

import re
from typing import Final

PROTOCOLS: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
NEO4J_PORTS: Final = frozenset({7687, 7474})
PORT_MAX: Final = 65_535
_SERVER: Final = re.compile(
    r"(?:(?P<protocol>[A-Za-z0-9_+.-]+)://)?(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>\d+))?"
)


def problems_of(servers: str) -> tuple[str, ...]:
    """What is wrong with each server of the text, in order; no problems for an empty text. Pure."""
    if not servers.strip():
        return ()
    return tuple(problem for each in servers.split(",") if (problem := _problem(each.strip())))


def _problem(server: str) -> str:
    """Never repeats what stands before an `@`: it may be a password."""
    found = _SERVER.fullmatch(server)
    if found is None:
        shown = server.rpartition("@")[2]
        return f"{shown!r} is not an address of Kafka: expected host:9092, several separated by commas"
    protocol, port = found["protocol"], found["port"]
    if protocol is not None and protocol.lower() not in PROTOCOLS:
        return f"{server!r} is not an address of Kafka: write host:9092 without {protocol}://"
    if port is not None and not 0 < int(port) <= PORT_MAX:
        return f"{server!r} has no valid port: ports are 1 to {PORT_MAX}"
    if port is not None and int(port) in NEO4J_PORTS:
        return f"{port} is the port of Neo4j; Kafka listens on 9092 ({found['host']}:9092)"
    return ""
