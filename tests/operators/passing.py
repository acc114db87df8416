"""One operator alone: items in, a list out; and submissions at every stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream
from bytewax.testing import TestingSink, TestingSource, run_main

from dagmanager.dag.model import Origin, Record
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.graph_port import Known, LookupKeys
from dagmanager.engine.model.rows import Row
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import LookedUp, Planned, Refused
from dagmanager.errors import ErrorCode, Rejection, UnavailableError
from operators.finisher import Finisher
from operators.poison_quarantine import PoisonQuarantine
from operators.step_guard import StepGuard
from operators.store_retry import STORE_BACKOFF, RetryPolicy
from tests.engine.builders import Clock, Json, Stores, engine, node, submission

X = TypeVar("X")
Y = TypeVar("Y")

BAD = Record(b"{", Origin("submissions"), b"bad")
REFUSED = Refused(BAD, "bad", Rejection(ErrorCode.INVALID_JSON, "no JSON"))
FEED = node("feed")
MEAN = node("mean", inputs=[FEED])
IMPATIENT = RetryPolicy(lambda _: None, lambda: True)


def passed(
    step: Callable[[KeyedStream[X]], KeyedStream[Y]], given: Sequence[tuple[str, X]], batch: int = 100
) -> list[tuple[str, Y]]:
    """What comes out of `step` when `given` goes in, `batch` items at a time."""
    found: list[tuple[str, Y]] = []
    flow = Dataflow("test")
    items = op.input("input", flow, TestingSource(given, batch_size=batch))
    op.output("output", step(items), TestingSink(found))
    run_main(flow)
    return found


def guard(retry: RetryPolicy = IMPATIENT) -> StepGuard:
    return StepGuard(PoisonQuarantine(), retry)


def finisher(engine: Engine, retry: RetryPolicy = IMPATIENT) -> Finisher:
    return Finisher(engine, Reader(ReadOptions()), guard(retry), background=False)


def patient(sleep: Callable[[float], object]) -> RetryPolicy:
    """Retries for ever, with pauses of exact length."""
    return RetryPolicy(sleep, lambda: False, backoff=replace(STORE_BACKOFF, jitter=0.0))


def looked_up(engine: Engine, nodes: Sequence[Json], **fields: Any) -> LookedUp:
    (found,) = engine.lookup([submission(nodes, **fields)])
    assert isinstance(found, LookedUp)
    return found


def planned(engine: Engine, nodes: Sequence[Json], **fields: Any) -> Planned:
    return engine.classify(looked_up(engine, nodes, **fields))


def stored(stores: Stores) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """All that is kept, for equality."""
    return stores.all_rows(), stores.topics.names()


class WatchedGraph:
    """A graph that counts its questions and, after `after` calls, is unreachable for `away` calls."""

    def __init__(self, stores: Stores, away: int = 0, after: int = 0) -> None:
        self.asked: list[LookupKeys] = []
        self._graph, self._away, self._after = stores.graph, away, after

    def known(self, keys: LookupKeys) -> Known:
        self._there()
        self.asked.append(keys)
        return self._graph.known(keys)

    def transact(self, work: Callable[[Any], X]) -> X:
        self._there()
        return self._graph.transact(work)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)

    def _there(self) -> None:
        self._after -= 1
        if self._away and self._after < 0:
            self._away -= 1
            raise UnavailableError("gone for a while")


def watched(stores: Stores, away: int = 0, after: int = 0) -> tuple[Engine, WatchedGraph]:
    """An engine and the graph it asks."""
    graph = WatchedGraph(stores, away, after)
    return engine(stores, graph=graph), graph


def cause_of(failed: BaseException) -> BaseException:
    """What Bytewax wrapped."""
    while failed.__cause__ is not None:
        failed = failed.__cause__
    return failed


def fresh() -> Stores:
    """Empty stores whose clock stands still."""
    return Stores(Clock())
