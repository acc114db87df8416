"""The pytest plugin: the fixtures `kafka` and `neo4j` are addresses of real servers, started when first requested.

One broker serves the whole session, and tests use topics under a `topic_prefix` of their own. Each parallel worker has its
own Neo4j, because the Community Edition has one database per server; `empty_neo4j` wipes it first.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Protocol, cast

import pytest
from confluent_kafka.admin import AdminClient

from servers.jars import Say
from servers.launch import Launch, chosen_launch, in_ci
from servers.neo4j import wipe
from servers.session import LAUNCH, Availability, OwnedServers, RemoteServers, ServerReply, SessionServers

KINDS = ("kafka", "neo4j")
SERVERS = pytest.StashKey[SessionServers]()


class WorkerNode(Protocol):
    """What pytest-xdist passes about a worker that it is about to start."""

    config: pytest.Config
    workerinput: dict[str, str]


def pytest_configure(config: pytest.Config) -> None:
    """A worker requests servers from the main process, which owns them. Nothing is started yet."""
    given: dict[str, str] | None = getattr(config, "workerinput", None)
    config.stash[SERVERS] = (
        OwnedServers(reporter_of(config)) if given is None else RemoteServers(given["session_servers"])
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerNode) -> None:
    """Pass the owner's socket to each worker."""
    pool = node.config.stash[SERVERS]
    if isinstance(pool, OwnedServers):
        node.workerinput["session_servers"] = pool.open()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use a server `live`, before `-m` selects."""
    for item in items:
        used = [name for name in (*KINDS, LAUNCH) if name in getattr(item, "fixturenames", ())]
        if used:
            item.add_marker(pytest.mark.live(*used))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers of the selected tests in the background, while other tests already run."""
    if not session.config.option.collectonly:
        pool = session.config.stash[SERVERS]
        wanted = {kind for item in session.items for kind in kinds_of(item)}
        if wanted:
            pool.warm(name_for(kind) for kind in sorted(wanted))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers when the session ends, for whatever reason."""
    pool = config.stash.get(SERVERS, None)
    if isinstance(pool, OwnedServers):
        pool.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One red line when tests were skipped because this machine cannot run servers."""
    pool = config.stash[SERVERS]
    if isinstance(pool, OwnedServers) and pool.missing:
        text = f"LIVE TESTS DID NOT RUN: {pool.missing}. See docs/contributing/servers.md."
        terminalreporter.write_line(text, red=True, bold=True)


def reporter_of(config: pytest.Config) -> Say:
    """Writes to the terminal what takes long, mainly fetching the jars."""

    def say(line: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(line)

    return say


def kinds_of(item: pytest.Item) -> set[str]:
    """The servers that a live test uses: all, unless its marker or fixtures name them."""
    markers = list(item.iter_markers("live"))
    named = {name for marker in markers for name in marker.args}
    return named & set(KINDS) if named or not markers else set(KINDS)


def name_for(kind: str) -> str:
    """Kafka is shared, each worker has its own Neo4j."""
    return kind if kind == "kafka" else f"{kind}/{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def address_or_skip(answer: ServerReply) -> str:
    """The address; without one the test is skipped, or fails in CI."""
    if answer.state is Availability.MISSING and not in_ci():
        pytest.skip(answer.text)
    if answer.state is not Availability.READY:
        pytest.fail(answer.text, pytrace=False)
    return answer.text


@pytest.fixture(scope="session")
def launch(pytestconfig: pytest.Config) -> Launch:
    """For tests that start, kill and pause servers of their own: `KafkaServer(tmp_path, launch=launch)`."""
    address_or_skip(pytestconfig.stash[SERVERS].ask(LAUNCH))
    return cast("Launch", chosen_launch())  # READY means that there is one


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """`bootstrap.servers` of the session's one broker."""
    return address_or_skip(pytestconfig.stash[SERVERS].ask(name_for("kafka")))


@pytest.fixture(scope="session")
def kafka_admin(kafka: str) -> AdminClient:
    """A client for creating and deleting topics."""
    return AdminClient({"bootstrap.servers": kafka, "log_level": 0})


@pytest.fixture
def topic_prefix(kafka_admin: AdminClient) -> Iterator[str]:
    """The prefix of this test's topics, which are deleted after it."""
    prefix = f"t{uuid.uuid4().hex[:10]}."
    yield prefix
    topics = [name for name in kafka_admin.list_topics(timeout=30).topics if name.startswith(prefix)]
    if topics:
        for done in kafka_admin.delete_topics(topics).values():
            done.result(30)


@pytest.fixture(scope="session")
def neo4j(pytestconfig: pytest.Config) -> str:
    """The bolt address of this worker's Neo4j, without authentication, with the data of earlier tests."""
    return address_or_skip(pytestconfig.stash[SERVERS].ask(name_for("neo4j")))


@pytest.fixture
def empty_neo4j(neo4j: str) -> str:
    """The same database without nodes; constraints and indexes stay."""
    wipe(neo4j)
    return neo4j
