"""Faults of three brokers: the death of one that matters, a rolling restart, a broker that is cut off, a full disk.

Each ends by itself, with all brokers up and all replicas in sync again, so that two faults never add up.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    ClusterMetadata,
)

from chaos.small_disk import SmallDisk
from servers.kafka import KafkaServer
from servers.proxied_cluster import ProxiedCluster

# A broker that cannot be reached is noticed after its session of 4 s; it stays away at least as long.
CUT_OFF_S: Final = 6.0
# Enough for a broker to recover its logs on a busy machine.
IN_SYNC_WITHIN_S: Final = 180.0
ASK_S: Final = 10.0
LOOK_S: Final = 0.2


class NotInSyncError(Exception):
    """The brokers are up, but replicas stay behind."""


@dataclass(frozen=True)
class ClusterTarget:
    """Three brokers; `disk` is that of the last broker, None where no small disk can be mounted."""

    cluster: ProxiedCluster
    disk: SmallDisk | None
    rng: random.Random

    def faults(self) -> Mapping[str, Callable[[float], None]]:
        """The faults by name; each lasts for the given seconds or longer, and then is undone."""
        found: dict[str, Callable[[float], None]] = {
            "kafka: controller killed": lambda s: self._killed(self.cluster.controller(), s),
            "kafka: leader of partitions killed": lambda s: self._killed(self.leader(), s),
            "kafka: brokers rolled": lambda _: self._rolled(),
            "kafka: broker cut off": lambda s: self._cut_off(self._any(), s),
            "kafka: controller cut off": lambda s: self._cut_off(self.cluster.controller(), s),
        }
        if self.disk is not None:
            disk = self.disk
            found["kafka: disk of a broker full"] = lambda s: self._disk_full(disk, s)
        return found

    def leader(self) -> int:
        """The broker that leads most partitions, 0 when none does."""
        listed = self._listed()
        partitions = [each for topic in listed.topics.values() for each in topic.partitions.values()]
        led = Counter(each.leader for each in partitions if each.leader > 0)
        return max(led, key=lambda number: (led[number], number), default=0)

    def wait_in_sync(self) -> None:
        """Wait until every replica of every partition is in sync; `NotInSyncError` after `IN_SYNC_WITHIN_S`."""
        deadline = time.monotonic() + IN_SYNC_WITHIN_S
        while behind := self._behind():
            if time.monotonic() > deadline:
                raise NotInSyncError(f"after {IN_SYNC_WITHIN_S:.0f} s: {behind}")
            time.sleep(LOOK_S)

    def _killed(self, number: int, seconds: float) -> None:
        broker = self._broker(number)
        broker.kill()
        time.sleep(seconds)
        broker.start()
        self.wait_in_sync()

    def _rolled(self) -> None:
        for broker in self.cluster.brokers:
            broker.restart()
            self.wait_in_sync()

    def _cut_off(self, number: int, seconds: float) -> None:
        number = number or self._any()
        self.cluster.cut_off(number)
        try:
            time.sleep(CUT_OFF_S + seconds)
        finally:
            self.cluster.rejoin(number)
        self.wait_in_sync()

    def _disk_full(self, disk: SmallDisk, seconds: float) -> None:
        """A broker whose only disk is full ends itself, as soon as it writes."""
        broker = self.cluster.brokers[-1]
        deadline = time.monotonic() + IN_SYNC_WITHIN_S
        try:
            while broker.is_running and time.monotonic() < deadline:
                disk.fill()
                time.sleep(LOOK_S)
            time.sleep(seconds)
        finally:
            disk.clear()
            broker.kill()
        broker.start()
        self.wait_in_sync()

    def _any(self) -> int:
        return self.rng.randint(1, len(self.cluster.brokers))

    def _broker(self, number: int) -> KafkaServer:
        return self.cluster.brokers[(number or self._any()) - 1]

    def _behind(self) -> str:
        """A partition with a replica that is behind; empty when there is none."""
        try:
            listed = self._listed()
        except KafkaException as error:
            return str(error)
        if len(listed.brokers) < len(self.cluster.brokers):
            return f"brokers {sorted(listed.brokers)} only"
        for name, topic in listed.topics.items():
            for number, partition in topic.partitions.items():
                if set(partition.isrs) != set(partition.replicas):
                    return f"{name}/{number}: {partition.isrs} of {partition.replicas}"
        return ""

    def _listed(self) -> ClusterMetadata:
        # A new client each time: an old one may wait for a connection that died with its broker.
        return AdminClient({"bootstrap.servers": self.cluster.address, "log_level": 0}).list_topics(
            timeout=ASK_S
        )
