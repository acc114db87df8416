"""Neo4j behind a proxy that stalls: connections stay open, nothing comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from servers.proxy import FaultProxy
from tests.flows.live.sites import LiveSite
from tests.flows.test_poison import submission
from tests.waiting import TIMEOUT_S, until


@pytest.fixture
def proxy(empty_neo4j: str) -> Iterator[FaultProxy]:
    port = urlsplit(empty_neo4j).port
    assert port
    with FaultProxy(port) as started:
        yield started


@pytest.fixture
def site(kafka: str, proxy: FaultProxy, topic_prefix: str, tmp_path: Path) -> Iterator[LiveSite]:
    found = LiveSite(tmp_path, kafka, f"bolt://{proxy.address}", topic_prefix)
    yield found
    found.end()


def test_a_graph_that_hangs_is_in_log_and_heartbeat_and_the_flow_resumes_when_it_answers(
    site: LiveSite, proxy: FaultProxy
) -> None:
    process, alive = site.begin(), site.folder / "alive"
    until(site.is_up)
    world = b'["%s"]' % site.prefix.removesuffix(".").encode()
    proxy.stall()
    site.send(submission(1).replace(b'["w"]', world), key=b"s1")
    until(lambda: "waiting: graph: neo4j at " in alive.read_text())
    assert "the graph does not answer: neo4j at " in site.log()
    proxy.forward()
    until(lambda: [each["status"] for each in site.answers()] == ["ok"])
    until(lambda: alive.read_text() == "ok\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, site.log()
