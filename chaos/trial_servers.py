"""The servers of a trial: a database behind a proxy, and one broker or three, behind proxies too."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from chaos.cluster_faults import ClusterTarget
from chaos.faults import FaultSource, FaultTarget
from chaos.site import Site
from chaos.small_disk import SmallDisk, may_mount
from servers.kafka import KafkaServer
from servers.neo4j import Neo4jServer, wipe
from servers.proxied_cluster import ProxiedCluster
from servers.proxy import FaultProxy

# After each restart Neo4j would plan every statement repeatedly, most of its time: once is enough.
PLANS: Final = {
    "dbms.cypher.min_replan_interval": "1h",
    "dbms.cypher.statistics_divergence_threshold": "1.0",
}


class OneBroker:
    """A broker and the proxy in front of it."""

    replicas = 1

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet."""
        self._proxy = FaultProxy(0)
        self._server = KafkaServer(folder / "kafka", advertised_port=self._proxy.port)
        self._proxy.server_port = self._server.port

    @property
    def address(self) -> str:
        """For `bootstrap.servers`."""
        return self._server.address

    def begin(self, running: ExitStack) -> None:
        """Start; `running` stops it."""
        running.enter_context(self._proxy)
        running.enter_context(self._server)

    def target(self, _: str) -> FaultSource:
        """Its faults."""
        return FaultTarget(self._server, self._proxy)


class ThreeBrokers:
    """A cluster in which each topic has three replicas; the last broker has a small disk, where one can be mounted."""

    replicas = 3

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet."""
        self._cluster = ProxiedCluster(folder / "kafka")
        data = self._cluster.brokers[-1].folder / "data"
        self._disk = SmallDisk(data) if may_mount() else None

    @property
    def address(self) -> str:
        """For `bootstrap.servers`."""
        return self._cluster.address

    def begin(self, running: ExitStack) -> None:
        """Start; `running` stops it."""
        if self._disk is not None:
            running.enter_context(self._disk)
        running.enter_context(self._cluster)

    def target(self, seed: str) -> FaultSource:
        """Its faults; the seed chooses brokers."""
        return ClusterTarget(self._cluster, self._disk, random.Random(f"{seed}/brokers"))


class TrialServers:
    """Brokers and a database, started and stopped together."""

    def __init__(self, folder: Path, brokers: int) -> None:
        """Nothing is started yet. `brokers` is 1 or 3."""
        self.folder = folder
        self.kafka = OneBroker(folder) if brokers == 1 else ThreeBrokers(folder)
        self._proxy = FaultProxy(0)
        self._neo4j = Neo4jServer(folder / "neo4j", settings=PLANS)
        self._proxy.server_port = self._neo4j.port
        self._running = ExitStack()

    def site(self, name: str, shares: int) -> Site:
        """A site with an empty database, a new folder and its own topics."""
        wipe(self._neo4j.address)
        address = f"bolt://{self._proxy.address}"
        return Site(name, self.folder / name, self.kafka.address, address, shares, self.kafka.replicas)

    def fault_targets(self, seed: str) -> tuple[FaultSource, ...]:
        """What can go wrong here."""
        return self.kafka.target(seed), FaultTarget(self._neo4j, self._proxy)

    def __enter__(self) -> Self:
        with ExitStack() as begun:
            self.kafka.begin(begun)
            begun.enter_context(self._proxy)
            begun.enter_context(self._neo4j)
            self._running = begun.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
