"""A cluster in which each broker can be cut off from its clients, from the other brokers and from their controllers.

Clients and replicas reach broker N through `proxies[N - 1]`. A node reaches another one's controller through a proxy of
that pair, so that a broker that is cut off sends no heartbeats either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from typing import Self

from servers.jars import Say
from servers.kafka import KafkaCluster, KafkaServer, Quorum
from servers.launch import Launch
from servers.ports import free_port
from servers.process import silent
from servers.proxy import FaultProxy


class ProxiedCluster(KafkaCluster):
    """`KafkaCluster` whose connections all pass proxies. The proxies listen from `begin` to `stop`."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 3,
        *,
        settings: Mapping[str, str] | None = None,
        launch: Launch | None = None,
    ) -> None:
        """Nothing is started yet."""
        self.proxies = [FaultProxy(0) for _ in range(brokers)]
        self._links: dict[tuple[int, int], FaultProxy] = {}
        self._listening = ExitStack()
        super().__init__(folder, brokers, settings=settings, launch=launch)

    def begin(self, say: Say = silent) -> Self:
        """Start all proxies and brokers without waiting."""
        for proxy in (*self.proxies, *self._links.values()):
            self._listening.enter_context(proxy)
        super().begin(say)
        return self

    def stop(self) -> None:
        """Kill all brokers, then end the proxies."""
        super().stop()
        self._listening.close()

    def cut_off(self, number: int) -> None:
        """Hold back all that this broker sends and gets; connections stay."""
        for proxy in self._around(number):
            proxy.stall()

    def rejoin(self, number: int) -> None:
        """Deliver what was held back, and forward again."""
        for proxy in self._around(number):
            proxy.forward()

    def controller(self) -> int:
        """The id of the active controller, 0 while none is known.

        No client request tells: brokers name a random broker to clients. Each node stores what it knows of the quorum.
        """
        states = [state for broker in self.brokers if (state := _quorum_state(broker.folder)) is not None]
        newest = max(states, key=lambda state: int(state["leaderEpoch"]), default={"leaderId": 0})
        return max(int(newest["leaderId"]), 0)

    def _around(self, number: int) -> Sequence[FaultProxy]:
        links = [proxy for pair, proxy in self._links.items() if number in pair]
        return [self.proxies[number - 1], *links]

    def _brokers(self, count: int) -> Sequence[KafkaServer]:
        ports = tuple(free_port() for _ in range(count))
        self._links = {pair: FaultProxy(ports[pair[1] - 1]) for pair in permutations(range(1, count + 1), 2)}
        quorum = Quorum(ports, links={pair: proxy.port for pair, proxy in self._links.items()})
        made = []
        for number, proxy in enumerate(self.proxies, start=1):
            made.append(self._broker(number, quorum, advertised_port=proxy.port))
            proxy.server_port = made[-1].port
        return made


def _quorum_state(folder: Path) -> dict[str, int] | None:
    """What a node stored last; None before its first election, or while the file is being replaced."""
    try:
        state: dict[str, int] = json.loads(
            (folder / "data" / "__cluster_metadata-0" / "quorum-state").read_bytes()
        )
    except (OSError, ValueError):
        return None
    return state
