"""Leader changes of a cluster, which cannot be run here: the driver's own errors, and a proxy that names other addresses.

What was and was not tried is in docs/operating/neo4j.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from neo4j.exceptions import (
    ConnectionAcquisitionTimeoutError,
    IncompleteCommit,
    Neo4jError,
    ReadServiceUnavailable,
    RoutingServiceUnavailable,
    ServiceUnavailable,
    SessionExpired,
    WriteServiceUnavailable,
)

from dagmanager.cli.framework.neo4j_session import opened
from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.rows import CounterRow
from dagmanager.errors import DagManagerError, UnavailableError
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.retry import retried
from dagmanager.graph.neo4j.server import Server, connect
from servers.proxy import Direction, FaultProxy
from tests.waiting import TIMEOUT_S, until

HASTY = Server("neo4j://127.0.0.1:7687", retry_within_s=0.2)

# What a member of a cluster answers while leaders change; the driver makes its exceptions from these.
NOT_THE_LEADER = ("Neo.ClientError.Cluster.NotALeader", "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase")
ANSWERS = (
    *NOT_THE_LEADER,
    "Neo.ClientError.Cluster.Routing",
    "Neo.TransientError.Cluster.ReplicationFailure",  # during a commit: it may be applied or not
    "Neo.TransientError.General.DatabaseUnavailable",
    "Neo.TransientError.Transaction.BookmarkTimeout",
    "Neo.TransientError.Transaction.LeaderSwitch",
    "Neo.ClientError.Transaction.Terminated",
)
LOST = (
    SessionExpired("failed to obtain a connection: the writer is gone"),
    ServiceUnavailable("connection refused"),
    IncompleteCommit("the connection was lost during the commit"),
    RoutingServiceUnavailable("no routing table"),
    ReadServiceUnavailable("no reader in the routing table"),
    WriteServiceUnavailable("no writer in the routing table"),
    ConnectionAcquisitionTimeoutError("no connection in time"),
)


def answer(code: str) -> Neo4jError:
    return Neo4jError._hydrate_neo4j(code=code, message=f"words about {code}")


FAILURES = [
    *(pytest.param(answer(code), id=code) for code in ANSWERS),
    *(pytest.param(error, id=type(error).__name__) for error in LOST),
]


@pytest.mark.parametrize("error", FAILURES)
def test_work_runs_again_after_a_change_of_leader(error: Exception) -> None:
    """Also when the error came from the commit: the next run decides from what it reads."""
    left = [error, error]

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    assert retried(HASTY, attempt) == "done"
    assert left == []


@pytest.mark.parametrize("error", FAILURES)
def test_a_change_of_leader_that_does_not_end_is_an_outage(error: Exception) -> None:
    """`UnavailableError`: the flow waits, counts it for no record, and tries again by itself."""

    def attempt() -> None:
        raise error

    with pytest.raises(UnavailableError, match=r"neo4j at neo4j://127\.0\.0\.1:7687") as caught:
        retried(HASTY, attempt)
    assert caught.value.is_retryable()


@pytest.mark.parametrize("code", [*NOT_THE_LEADER, "Neo.ClientError.Cluster.Routing"])
def test_a_server_that_is_no_leader_is_named_as_such(code: str) -> None:
    def attempt() -> None:
        raise answer(code)

    with pytest.raises(UnavailableError, match="accepts no writes: words about"):
        retried(HASTY, attempt)
    direct = Server("bolt://127.0.0.1:7687", retry_within_s=0.2)
    with pytest.raises(UnavailableError, match="in a cluster, neo4j:// finds the leader"):
        retried(direct, attempt)
    with pytest.raises(UnavailableError, match="in a cluster, neo4j:// finds the leader"), opened(direct):
        attempt()


@pytest.mark.parametrize(
    "code", ["Neo.ClientError.Transaction.InvalidBookmark", "Neo.DatabaseError.General.UnknownError"]
)
def test_what_no_other_leader_would_change_is_not_tried_again(code: str) -> None:
    runs: list[int] = []

    def attempt() -> None:
        runs.append(1)
        raise answer(code)

    with pytest.raises(DagManagerError, match=code) as caught:
        retried(HASTY, attempt)
    assert (len(runs), caught.value.is_retryable()) == (1, False)


def count_up(tx: Transaction) -> int:
    tx.lock(Locks(counters=("c",)))
    value = tx.counters(["c"])["c"] + 1
    tx.put([CounterRow("c", value)])
    return value


def after(fault: Callable[[], None]) -> Callable[[Transaction], int]:
    """`count_up`, with a fault before the first commit."""
    left = [fault]

    def work(tx: Transaction) -> int:
        value = count_up(tx)
        tx.nodes(["n1"])  # a query sends pending puts
        if left:
            left.pop()()
        return value

    return work


def port_of(bolt: str) -> int:
    return int(bolt.rpartition(":")[2])


def test_a_stale_routing_table_is_replaced(empty_neo4j: str) -> None:
    """A router names the leader's address; the leader goes, and the router names another one."""
    server = port_of(empty_neo4j)
    with FaultProxy(server) as router, FaultProxy(server) as old, FaultProxy(server) as new:
        router.rename(router.address, old.address)
        place = Server(
            f"neo4j://{router.address}",
            connect_within_s=TIMEOUT_S,
            transaction_within_s=TIMEOUT_S,
            retry_within_s=TIMEOUT_S,
        )
        with connect(place) as driver:
            graph = Neo4jGraph(driver, place)
            assert graph.transact(count_up) == 1
            old.refuse()
            with pytest.raises(UnavailableError, match="unreachable"):
                graph.transact(count_up)
            router.rename(router.address, new.address)
            assert graph.transact(count_up) == 2
            router.rename(router.address, old.address)
            old.forward()

            # The leader dies before a commit, and the router names the next one at once: the caller notices nothing.
            assert graph.transact(after(new.refuse)) == 3
            assert graph.transact(count_up) == 4


def test_a_commit_that_a_dying_leader_did_not_confirm_is_decided_by_reading(empty_neo4j: str) -> None:
    server = port_of(empty_neo4j)
    direct = Server(empty_neo4j)
    with FaultProxy(server) as router, FaultProxy(server) as old, FaultProxy(server) as new:
        router.rename(router.address, old.address)
        place = Server(f"neo4j://{router.address}", connect_within_s=TIMEOUT_S, retry_within_s=TIMEOUT_S)
        with connect(place) as driver, connect(direct) as plain:
            seen = Neo4jGraph(plain, direct)
            graph = Neo4jGraph(driver, place)

            def lose() -> None:
                old.stall(Direction.TO_CLIENT)
                threading.Thread(target=when_landed).start()

            def when_landed() -> None:
                try:
                    until(lambda: seen.transact(lambda tx: tx.counters(["c"])["c"]) == 1)
                finally:
                    router.rename(router.address, new.address)
                    old.refuse()

            def once_only(tx: Transaction) -> str:
                tx.lock(Locks(counters=("c",)))
                if tx.counters(["c"])["c"]:
                    return "found"
                tx.put([CounterRow("c", 1)])
                tx.nodes(["n1"])  # a query sends pending puts
                lose()
                return "made"

            assert graph.transact(once_only) == "found"
            assert graph.rows() == (CounterRow("c", 1),)
