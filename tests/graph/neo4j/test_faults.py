"""A server that stops, restarts, is silent or replies too late: what callers see, and what is written twice.

One server for this module, which may be killed; the proxy before it cuts connections during a commit.
"""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest

from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.rows import CounterRow
from dagmanager.errors import DagManagerError, SettingsError, UnavailableError
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from servers.fixtures import address_or_skip
from servers.launch import HOW_TO_GET, chosen_launch
from servers.neo4j import Neo4jServer, wipe
from servers.ports import free_port
from servers.proxy import Direction, FaultProxy
from servers.session import Availability, ServerReply
from tests.engine.builders import START_MS, Stores, WallClock, accepted, engine, submission
from tests.engine.crash_scenarios import MEAN, PRICE
from tests.graph.builders import node, outcome, store
from tests.graph.rivalry import assert_sound, together
from tests.waiting import TIMEOUT_S, until

T = TypeVar("T")
PASSWORD = "correct-horse-battery"  # of a server on loopback that lives for these tests
# The server decides how long the driver trusts a silent connection. Three seconds are too few for a busy machine.
HEARTBEAT = {
    "server.bolt.connection_keep_alive": "4s",
    "server.bolt.connection_keep_alive_probes": "4",
    "server.bolt.connection_keep_alive_for_requests": "ALL",
}

pytestmark = pytest.mark.live("neo4j")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """With a password, and free to be killed."""
    launch = chosen_launch()
    if launch is None:
        address_or_skip(ServerReply(Availability.MISSING, f"no real servers here: {HOW_TO_GET}"))
    folder = tmp_path_factory.mktemp("own-neo4j")
    with Neo4jServer(folder, password=PASSWORD, settings=HEARTBEAT, launch=launch) as server:
        with connect(at(server.port)) as driver:
            Neo4jGraph(driver, at(server.port)).prepare(create=True)  # tries again, as the product does
        yield server


def at(port: int, **fields: Any) -> Server:
    """As long as it takes: what must give up sooner says so."""
    limits = dict.fromkeys(("connect_within_s", "transaction_within_s", "retry_within_s"), TIMEOUT_S)
    return Server(f"bolt://127.0.0.1:{port}", **{"user": "neo4j", "password": PASSWORD, **limits, **fields})


@pytest.fixture
def graph(own: Neo4jServer) -> Iterator[Neo4jGraph]:
    """Straight to the server; empty."""
    wipe(own.address, own.login)
    with connect(at(own.port)) as driver:
        yield Neo4jGraph(driver, at(own.port))


@pytest.fixture
def proxy(own: Neo4jServer) -> Iterator[FaultProxy]:
    with FaultProxy(own.port) as opened:
        yield opened


@pytest.fixture
def through(graph: Neo4jGraph, proxy: FaultProxy) -> Iterator[Neo4jGraph]:
    """The same graph as its client sees it from behind the proxy."""
    with connect(at(proxy.port)) as driver:
        yield Neo4jGraph(driver, at(proxy.port))


def once(fault: Callable[[], None], work: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
    """The work, with a fault at its end the first time it runs."""
    faults = [fault]

    def faulty(tx: Transaction) -> T:
        result = work(tx)
        if faults:
            faults.pop()()
        return result

    return faulty


def count_up(tx: Transaction) -> int:
    tx.lock(Locks(counters=("c",)))
    value = tx.counters(["c"])["c"] + 1
    tx.put([CounterRow("c", value)])
    return value


def test_a_connection_cut_before_the_commit_costs_nothing(
    graph: Neo4jGraph, through: Neo4jGraph, proxy: FaultProxy
) -> None:
    assert through.transact(once(proxy.cut, count_up)) == 1
    assert graph.transact(lambda tx: tx.counters(["c"])["c"]) == 1


def lose_the_reply(graph: Neo4jGraph, proxy: FaultProxy, landed: Callable[[], bool]) -> Callable[[], None]:
    """From now on replies are held back; once the server has committed, the connection is cut."""

    def cut_when_landed() -> None:
        try:
            until(landed, "the server has not committed")
        finally:
            proxy.cut()
            proxy.forward()

    def fault() -> None:
        proxy.stall(Direction.TO_CLIENT)
        threading.Thread(target=cut_when_landed).start()

    return fault


def test_a_commit_whose_answer_was_lost_is_run_again_and_finds_its_own_row(
    graph: Neo4jGraph, through: Neo4jGraph, proxy: FaultProxy
) -> None:
    def landed() -> bool:
        return graph.transact(lambda tx: tx.nodes(["n1"])) != {}

    def made(tx: Transaction) -> str:
        tx.lock(Locks(nodes=("n1",)))
        if tx.nodes(["n1"]):
            return "found"
        tx.put([node("n1")])
        tx.nodes(["n1"])  # a query sends pending puts
        return "made"

    assert through.transact(once(lose_the_reply(graph, proxy, landed), made)) == "found"
    assert graph.rows() == (node("n1"),)


def test_an_epoch_whose_commit_was_not_confirmed_is_raised_at_most_once_more(
    graph: Neo4jGraph, through: Neo4jGraph, proxy: FaultProxy
) -> None:
    fault = lose_the_reply(graph, proxy, lambda: graph.epoch() == 1)
    assert through.transact(once(fault, lambda tx: tx.raise_epoch())) == 2
    assert graph.epoch() == 2


# A warning of the driver itself: it cannot say goodbye on a connection that was reset during its handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_claim_is_doubled_wherever_the_connection_is_cut(
    graph: Neo4jGraph, through: Neo4jGraph, proxy: FaultProxy
) -> None:
    """A submission while connections are reset again and again: each node once, all announced, nothing open."""
    stores = Stores(clock=WallClock(), open_graph=lambda _: graph)
    done = threading.Event()

    def cuts() -> None:
        dice = random.Random(1)
        for _ in range(25):  # then it stops, so that a slow machine gets through at last
            if done.wait(dice.uniform(0.02, 0.3)):
                return
            proxy.cut()

    def patient(position: int) -> None:
        works = engine(stores, "one", graph=through)
        one = submission(
            [PRICE, MEAN | {"tags": [f"t{position}"]}], position=position, at_ms=START_MS + position
        )
        while True:
            try:
                assert len(accepted(works.submit([one])[0]).items) == 2
            except UnavailableError:
                continue
            return

    cutter = threading.Thread(target=cuts)
    cutter.start()
    try:
        for position in range(8):
            patient(position)
    finally:
        done.set()
        cutter.join()
    engine(stores, "one").publish()
    assert_sound(graph.rows(), stores.topics.names())
    revisions = [(row.stream, row.revision) for row in stores.events.published]
    ids = {row.event_id: row.value for row in stores.events.published}
    assert len(set(revisions)) == len(ids)
    assert all(ids[row.event_id] == row.value for row in stores.events.published)
    gc.collect()  # here, where that warning of dead connections is ignored


def test_a_server_that_was_killed_and_is_back_is_not_noticed(own: Neo4jServer, graph: Neo4jGraph) -> None:
    """Even when a handful of idle connections died with it; what was committed is there."""
    all_connected = threading.Barrier(5)

    def connected(tx: Transaction) -> None:
        tx.now_ms()
        all_connected.wait(TIMEOUT_S)

    together([partial(graph.transact, connected)] * 5)
    store(graph, node("n1"))
    own.kill()
    own.start()
    assert graph.rows() == (node("n1"),)
    assert graph.transact(count_up) == 1


def test_a_server_that_refuses_connections_is_unavailable_until_it_accepts_them(
    through: Neo4jGraph, proxy: FaultProxy
) -> None:
    assert through.transact(count_up) == 1
    proxy.refuse()
    with pytest.raises(UnavailableError, match="unreachable"):
        through.epoch()
    with pytest.raises(UnavailableError, match="unreachable"):
        through.transact(count_up)
    proxy.forward()
    assert through.transact(count_up) == 2


def test_a_silent_server_is_unavailable_and_serves_again_later(own: Neo4jServer, graph: Neo4jGraph) -> None:
    assert graph.transact(count_up) == 1
    impatient = at(own.port, connect_within_s=2.0)
    with connect(impatient) as driver:
        other = Neo4jGraph(driver, impatient)
        assert other.transact(count_up) == 2
        own.pause()
        try:
            # Ends by itself: the server's heartbeat for the old connection, then the time to connect for each try.
            with pytest.raises(UnavailableError, match="unreachable"):
                other.transact(count_up)
        finally:
            own.resume()
    assert graph.transact(count_up) in {3, 4, 5, 6}


def test_a_server_that_is_unreachable_at_the_start_is_unavailable(graph: Neo4jGraph) -> None:
    absent = at(free_port())
    with connect(absent) as driver, pytest.raises(UnavailableError, match="unreachable"):
        Neo4jGraph(driver, absent).epoch()


@pytest.mark.parametrize("fields", [{"password": "wrong"}, {"user": "unknown"}, {"user": ""}])
def test_refused_credentials_name_their_fields(own: Neo4jServer, fields: dict[str, Any]) -> None:
    """The server does not say which of the two is wrong, so both are named, and no password is shown."""
    server = at(own.port, **fields)
    with (
        connect(server) as driver,
        pytest.raises(SettingsError, match="neo4j_user, neo4j_password") as caught,
    ):
        Neo4jGraph(driver, server).epoch()
    assert PASSWORD not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_an_unknown_database_is_named(own: Neo4jServer) -> None:
    server = at(own.port, database="elsewhere")
    with connect(server) as driver, pytest.raises(DagManagerError, match="elsewhere"):
        Neo4jGraph(driver, server).epoch()


@pytest.mark.parametrize("address", ["", "not an address", "http://127.0.0.1:7687"])
def test_an_invalid_address_is_a_settings_error(address: str) -> None:
    with pytest.raises(SettingsError, match="Neo4j address"):
        connect(Server(address))


def test_work_that_takes_too_long_is_ended_and_reported(own: Neo4jServer, graph: Neo4jGraph) -> None:
    """The server ends a transaction that waits for a lock for longer than it may."""
    hasty = at(own.port, transaction_within_s=0.5, retry_within_s=1.5)
    with connect(hasty) as driver, connect(at(own.port)) as other, other.session() as session:
        with session.begin_transaction() as holds:
            holds.run("MERGE (c:Counter {key: 'c'}) SET c.lock = true").consume()
            with pytest.raises(UnavailableError, match="too busy"):
                Neo4jGraph(driver, hasty).transact(count_up)
            holds.commit()
        assert Neo4jGraph(other, at(own.port)).transact(count_up) == 1


def test_a_deadlock_is_run_again(own: Neo4jServer, graph: Neo4jGraph) -> None:
    """Two that write the same rows in opposite order, each holding one: the server ends one of them."""
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def crossing(first: str, second: str) -> None:
        mine = 0

        def work(tx: Transaction) -> None:
            nonlocal mine
            mine += 1
            runs.append(first)
            tx.put([outcome(first)])
            tx.counters(["c"])  # a query sends pending puts
            if mine == 1:
                both_hold_one.wait(TIMEOUT_S)
            tx.put([outcome(second)])

        with connect(at(own.port)) as driver:
            Neo4jGraph(driver, at(own.port)).transact(work)

    together([partial(crossing, "a", "b"), partial(crossing, "b", "a")])
    assert sorted(runs) in (["a", "a", "b"], ["a", "b", "b"])
    assert graph.rows() == (outcome("a"), outcome("b"))
