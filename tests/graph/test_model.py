"""Random rows in random transactions: both embedded graphs answer every question as the naive one does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.graph_port import Graph, Transaction
from dagmanager.engine.model.rows import CounterRow, OutboxState, QueueRow, QueueState, Row, TagSetRow
from dagmanager.engine.model.version_rows import LineageRow, SentinelState
from dagmanager.errors import ConstraintError
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.embedded.sqlite import SqliteGraph
from tests.graph import answers as world
from tests.graph.builders import content, event, holder, locks_for, node, outcome, queue, sentinel
from tests.graph.naive import NaiveGraph

NOW_MS = 100


def one_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


TAGS = st.lists(one_of(world.TAGS), unique=True, max_size=2).map(sorted)
LEASES = one_of([50, 100, 101, 200])
ROWS: st.SearchStrategy[Row] = st.one_of(
    st.builds(
        node,
        one_of(world.NODES),
        base_name=one_of(world.BASE_NAMES),
        tags=TAGS,
        interval=one_of(world.INTERVALS),
        depends_on=st.lists(one_of(world.NODES), unique=True, max_size=2),
        query=st.none() | st.builds(TagQuery, TAGS.map(tuple), one_of(["any", "all"]), one_of([None, 0, 60])),
    ),
    st.builds(
        queue,
        one_of(world.TOPICS),
        one_of(world.NODES),
        one_of(world.NAMESPACES),
        safe=one_of(world.SAFES),
        state=one_of([QueueState.ACTIVE, *QueueState]),
        incarnation=st.integers(1, 3),
        claim_id=one_of(["", *world.CLAIMS]),
        lease_until_ms=LEASES,
    ),
    st.builds(
        lambda digest, members: content(digest, *members),
        one_of(world.CONTENTS),
        st.lists(st.tuples(one_of(world.NODES), TAGS), max_size=3, unique_by=lambda each: each[0]),
    ),
    st.builds(
        lambda key, digest, state, claim_id, until_ms: sentinel(
            digest,
            key.lineage,
            key.namespace,
            version=key.version,
            revision=key.revision,
            state=state,
            claim_id=claim_id,
            lease_until_ms=until_ms,
        ),
        one_of(world.SENTINELS),
        one_of(world.CONTENTS),
        one_of([SentinelState.ACTIVE, SentinelState.PENDING, *SentinelState]),
        one_of(["", *world.CLAIMS]),
        LEASES,
    ),
    st.builds(LineageRow, one_of(world.LINEAGES), st.integers(0, 9)),
    st.builds(holder, one_of(["s1", "s2"]), one_of(world.SENTINELS)),
    st.builds(TagSetRow, one_of(world.TAG_SETS), st.integers(0, 9)),
    st.builds(
        lambda claim, topics: outcome(claim, *topics), one_of(world.CLAIMS), st.lists(one_of(world.TOPICS))
    ),
    st.builds(event, one_of(["x", "y"]), st.integers(1, 3), one_of([1, 2]), one_of([*OutboxState])),
    st.builds(CounterRow, one_of(world.COUNTERS), st.integers(0, 9)),
)
STEPS = st.lists(
    st.tuples(one_of(["put", "put", "put", "delete", "epoch"]), st.lists(ROWS, max_size=4)), max_size=4
)


class DeliberateError(Exception):
    """Ends a transaction that should leave nothing."""


class GraphMachine(RuleBasedStateMachine):
    """The same transactions on all of them; two handles on the file take turns."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.naive = NaiveGraph(lambda: NOW_MS)
        self.memory = MemoryGraph(lambda: NOW_MS)
        self.files = [self.opened(), self.opened()]

    def opened(self) -> SqliteGraph:
        return SqliteGraph(self.folder / "graph.sqlite", lambda: NOW_MS)

    def teardown(self) -> None:
        for each in self.files:
            each.close()
        shutil.rmtree(self.folder)

    @rule(steps=STEPS, fails=st.booleans(), handle=st.sampled_from([0, 1]))
    def transact(self, steps: list[tuple[str, list[Row]]], fails: bool, handle: int) -> None:
        ends = [
            ended(graph, steps, fails and len(steps) > 1)
            for graph in (self.naive, self.memory, self.files[handle])
        ]
        assert ends[0] == ends[1] == ends[2]

    @rule(handle=st.sampled_from([0, 1]))
    def reopen(self, handle: int) -> None:
        self.files[handle].close()
        self.files[handle] = self.opened()

    @invariant()
    def all_say_the_same(self) -> None:
        expected = world.answers(self.naive)
        assert world.answers(self.memory) == expected
        for each in self.files:
            assert world.answers(each) == expected
            assert each.rows() == self.memory.rows()


def ended(graph: Graph, steps: list[tuple[str, list[Row]]], fails: bool) -> object:
    """How the transaction ended, and what it saw of itself just before."""
    seen: list[object] = []

    def work(tx: Transaction) -> None:
        seen.clear()
        tx.lock(locks_for([row for _, rows in steps for row in rows], world.NODES))
        for how, rows in steps:
            if how == "put":
                tx.put(rows)
            elif how == "delete":
                tx.delete([row for row in rows if not isinstance(row, QueueRow)])
        if any(how == "epoch" for how, _ in steps):
            tx.raise_epoch()
        seen.append(world.answers_of(tx))
        if fails:
            raise DeliberateError

    try:
        graph.transact(work)
    except ConstraintError as error:
        return error.key
    except DeliberateError:
        return "failed", seen
    return "kept", seen


TestModel = GraphMachine.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
