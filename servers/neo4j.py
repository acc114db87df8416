"""A private Neo4j, Community Edition, with Bolt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

from servers.launch import Launch
from servers.ports import HOST, free_port, is_open
from servers.process import Server

HEAP_MB = 512
FIRST_PASSWORD = "neo4j"  # the initial password, which must be changed before anything else

TUNED = {
    "server.memory.pagecache.size": "64m",
    "db.tx_log.rotation.retention_policy": "keep_none",
    "db.tx_log.rotation.size": "16m",
    "db.tx_log.preallocate": "false",
    "db.logs.query.enabled": "OFF",
    "db.lock.acquisition.timeout": "60s",  # unlimited by default: a lost lock would hang a test
    "db.transaction.timeout": "300s",
    "dbms.usage_report.enabled": "false",
    # An orderly stop waits for these even without connections: 0.5 s instead of 10.
    "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
    "internal.dbms.bolt.netty_server_shutdown_timeout": "2s",
    "internal.server.bolt.thread_pool_shutdown_wait_time": "2s",
}


class Neo4jServer(Server):
    """One Neo4j server with its only database, `neo4j`."""

    kind = "neo4j"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        launch: Launch | None = None,
    ) -> None:
        """With a password, clients must log in as `neo4j`; `settings` override the tuned ones."""
        super().__init__(folder, port or free_port(), HEAP_MB, launch)
        self.password = password
        self.extra = dict(settings or {})

    @property
    def address(self) -> str:
        """The address for a driver."""
        return f"bolt://{HOST}:{self.port}"

    @property
    def settings_path(self) -> Path:
        """The file name of Neo4j's own distribution."""
        return self.folder / "conf" / "neo4j.conf"

    def settings(self) -> dict[str, str]:
        """Everything in `neo4j.conf`."""
        own = {
            "server.bolt.enabled": "true",
            "server.bolt.listen_address": f"{HOST}:{self.port}",
            "server.bolt.advertised_address": f"{HOST}:{self.port}",
            "server.http.enabled": "false",
            "dbms.security.auth_enabled": "false" if self.password is None else "true",
        }
        folders = ("data", "logs", "run", "import", "plugins", "licenses")
        own |= {f"server.directories.{name}": str(self.folder / name) for name in folders}
        return own | TUNED | self.extra

    def answers(self) -> bool:
        """Whether a query succeeds, which is some time after the port opens."""
        if not is_open(self.port):
            return False
        try:
            if self.password is not None:
                self._change_first_password(self.password)
            with GraphDatabase.driver(self.address, auth=self.login) as driver:
                driver.execute_query("RETURN 1")
        except (DriverError, Neo4jError, OSError):
            return False
        return True

    @property
    def login(self) -> tuple[str, str] | None:
        """The driver's `auth`."""
        return None if self.password is None else ("neo4j", self.password)

    def _change_first_password(self, password: str) -> None:
        """Idempotent."""
        changing = "ALTER CURRENT USER SET PASSWORD FROM $first TO $password"
        try:
            with GraphDatabase.driver(self.address, auth=("neo4j", FIRST_PASSWORD)) as driver:
                driver.execute_query(changing, first=FIRST_PASSWORD, password=password, database_="system")
        except Neo4jError:
            return


def wipe(address: str, login: tuple[str, str] | None = None) -> None:
    """Delete every node and relationship; constraints and indexes stay."""
    with GraphDatabase.driver(address, auth=login) as driver, driver.session() as session:
        # In batches: one transaction that deletes a large graph would not fit into the small heap.
        session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS").consume()


def nodes_in(address: str, login: tuple[str, str] | None = None) -> int:
    """The number of nodes."""
    with GraphDatabase.driver(address, auth=login) as driver:
        return int(driver.execute_query("MATCH (n) RETURN count(n) AS nodes").records[0]["nodes"])
