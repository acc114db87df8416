"""One Kafka broker, or several that form a cluster."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from servers.jars import Say
from servers.launch import Launch, LaunchPlan
from servers.ports import HOST, free_port, is_open
from servers.process import Server, silent

HEAP_MB = 512
# Of each broker of a cluster: three fit on a small machine.
CLUSTER_HEAP_MB = 256
MIB = 1024 * 1024
# A submission has at most 8 MiB; headers and the batch come on top.
MESSAGE_BYTES = 10 * MIB
# Of every topic of a cluster that is large enough.
REPLICAS = 3

TUNED = {
    "auto.create.topics.enable": "false",  # a misspelt topic name must fail, as in production
    "controller.quorum.append.linger.ms": "0",  # creating a topic takes 10 ms instead of 35
    "group.initial.rebalance.delay.ms": "0",  # a consumer group starts at once instead of after 3 s
    "message.max.bytes": str(MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(MESSAGE_BYTES),
    # A killed broker can rejoin, and its partitions get new leaders, only when its session has ended: after 4 s instead
    # of 9.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": str(4 * MIB),
    "log.index.size.max.bytes": str(MIB),  # each partition maps two such files, 10 MiB each by default
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def new_cluster() -> str:
    """A cluster id in the format of Kafka's storage tool."""
    encoded = base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()
    return encoded.replace("-", "_")  # a leading dash would be parsed as an option


@dataclass(frozen=True)
class Quorum:
    """The nodes of one cluster; each process is a broker and a controller."""

    controller_ports: tuple[int, ...]
    cluster: str = field(default_factory=new_cluster)
    # (node, controller) to the port at which the node reaches that controller, where it is not the controller's own.
    links: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def voters(self, node_id: int) -> str:
        """The value of `controller.quorum.voters` at this node."""
        ports = enumerate(self.controller_ports, start=1)
        return ",".join(f"{i}@{HOST}:{self.links.get((node_id, i), port)}" for i, port in ports)


class KafkaServer(Server):
    """One process that is broker and controller."""

    kind = "kafka"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        advertised_port: int | None = None,
        node: tuple[int, Quorum] | None = None,
        settings: Mapping[str, str] | None = None,
        launch: Launch | None = None,
    ) -> None:
        """Clients connect to `advertised_port`, for example a proxy's; `settings` override the tuned ones."""
        self.node_id, self.quorum = node or (1, Quorum((free_port(),)))
        heap_mb = HEAP_MB if len(self.quorum.controller_ports) == 1 else CLUSTER_HEAP_MB
        super().__init__(folder, port or free_port(), heap_mb, launch)
        self.advertised_port = advertised_port or self.port
        self.extra = dict(settings or {})

    @property
    def address(self) -> str:
        """Host and port, for `bootstrap.servers`."""
        return f"{HOST}:{self.advertised_port}"

    @property
    def settings_path(self) -> Path:
        """The file name of Kafka's own distribution."""
        return self.folder / "server.properties"

    def plan(self) -> LaunchPlan:
        """With the cluster id, which the storage is formatted with."""
        plain = super().plan()
        return LaunchPlan(
            plain.kind, plain.folder, plain.settings, plain.heap_mb, plain.name, self.quorum.cluster
        )

    def settings(self) -> dict[str, str]:
        """Everything in `server.properties`."""
        copies = str(min(REPLICAS, len(self.quorum.controller_ports)))
        controller_port = self.quorum.controller_ports[self.node_id - 1]
        own = {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": self.quorum.voters(self.node_id),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.advertised_port}",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": "1",
        }
        return own | TUNED | self.extra

    def answers(self) -> bool:
        """Whether a client gets metadata that includes this broker."""
        if not is_open(self.port) or not is_open(self.advertised_port):
            return False
        # Without log_level the client writes to standard error about each early attempt.
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            return self.node_id in client.list_topics(timeout=5).brokers
        except KafkaException:
            return False


class KafkaCluster:
    """Several brokers, for tests of replication and of the loss of one. `brokers` is in the order of their ids, from 1."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 3,
        *,
        settings: Mapping[str, str] | None = None,
        launch: Launch | None = None,
    ) -> None:
        """Nothing is started yet."""
        self.folder = folder
        self.settings = cluster_settings(brokers) | dict(settings or {})
        self.launch = launch
        self.brokers: Sequence[KafkaServer] = self._brokers(brokers)

    @property
    def address(self) -> str:
        """Every broker, for `bootstrap.servers`."""
        return ",".join(broker.address for broker in self.brokers)

    def start(self, say: Say = silent) -> Self:
        """Start all at once: none becomes ready alone. Blocks until all are ready."""
        return self.begin(say).wait()

    def begin(self, say: Say = silent) -> Self:
        """Start all without waiting."""
        for broker in self.brokers:
            broker.begin(say)
        return self

    def wait(self) -> Self:
        """Block until all are ready; raises as `Server.wait`."""
        for broker in self.brokers:
            broker.wait()
        return self

    def stop(self) -> None:
        """Kill all: an orderly stop of the last would wait for a controller that is gone."""
        for broker in self.brokers:
            broker.kill()

    def _brokers(self, count: int) -> Sequence[KafkaServer]:
        quorum = Quorum(tuple(free_port() for _ in range(count)))
        return [self._broker(number, quorum) for number in range(1, count + 1)]

    def _broker(self, number: int, quorum: Quorum, advertised_port: int | None = None) -> KafkaServer:
        return KafkaServer(
            self.folder / str(number),
            advertised_port=advertised_port,
            node=(number, quorum),
            settings=self.settings,
            launch=self.launch,
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def cluster_settings(brokers: int) -> dict[str, str]:
    """What brokers of a cluster of this size have beside `TUNED`: of three replicas two must have a record."""
    return {"min.insync.replicas": "2"} if brokers >= REPLICAS else {}
