"""Every way in agrees: entry points, batch sizes, worker counts, embedded stores; on the real strategies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from bytewax.testing import cluster_main, run_main

from dagmanager.assembly import Assembled, assemble_over
from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.rows import OutcomeRow, Row, TopicSpec
from dagmanager.engine.wire.message import Message
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.sqlite import SqliteTopics
from examples.submissions import first_submissions, second_version
from flows.submissions import build
from operators.steps.messages import dead_letter_of, diff_messages_of
from tests.engine.crashing import Fuse
from tests.flows.crashing import START_MS, ListSource, World, impatient
from tests.flows.stores import answered, assert_equal, stores
from tests.graph.builders import store

GIVEN = [
    Record(value, Origin("examples", "file", 0, at), None, START_MS + at)
    for at, value in enumerate([*first_submissions(), second_version()])
]


def through_the_flow(world: World, assembled: Assembled, workers: int = 1, batch: int = 100) -> None:
    fuse = Fuse()
    source = ListSource({"0": GIVEN}, batch, fuse)
    flow = build(assembled, source, world.sinks(assembled, fuse), impatient())
    if workers == 1:
        run_main(flow, epoch_interval=timedelta(0))
    else:
        cluster_main(flow, [], 0, epoch_interval=timedelta(0), worker_count_per_proc=workers)


def through_the_engine(world: World, assembled: Assembled) -> None:
    reader = assembled.reader()
    for record in GIVEN:
        for item in reader.read(record):
            answer = assembled.engine.submit([item])[0] if isinstance(item, Submission) else item
            world.diffs += diff_messages_of(answer)
            world.letters += dead_letter_of(answer)


@contextmanager
def kept_in(path: Path, world: World) -> Iterator[tuple[Assembled, SqliteGraph, SqliteTopics]]:
    """An engine over one SQLite file; the world takes its answers and events."""
    file = SqliteFile(path)
    graph, topics = SqliteGraph(file, world.clock), SqliteTopics(file)
    try:
        yield assemble_over(Settings(), graph, topics, world.events, world.admin_log), graph, topics
    finally:
        file.close()


def in_memory(world: World, rows: tuple[Row, ...], names: tuple[str, ...]) -> None:
    """Tell what a file holds as `stores` tells of a world."""
    store(world.graph, *rows)
    world.topics.create(dict.fromkeys(names, TopicSpec(1, 1, 1)))


def from_file(path: Path, workers: int, batch: int = 100) -> World:
    """What is read back by another handle after the run has let go of the file."""
    world = World()
    with kept_in(path, world) as (assembled, _, _):
        through_the_flow(world, assembled, workers, batch)
    with kept_in(path, World()) as (_, graph, topics):
        in_memory(world, graph.rows(), topics.names())
    return world


def outcomes(world: World) -> dict[str, bytes]:
    """Stored answers by claim, byte for byte."""
    return {row.claim_id: row.body for row in world.graph.rows() if isinstance(row, OutcomeRow)}


def values(messages: list[Message]) -> Counter[tuple[str, bytes]]:
    return Counter((each.key, each.value) for each in messages)


@pytest.fixture(scope="module")
def one_by_one() -> World:
    world = World()
    through_the_engine(world, world.assembled(Fuse()))
    return world


def test_the_strategies_meet_every_action(one_by_one: World) -> None:
    kinds = {kind for each in one_by_one.diffs for kind in answered(each)}
    assert kinds == {"create", "reuse", "buffer", "isolate"}
    assert len(GIVEN) == len(one_by_one.diffs) == 10
    assert not one_by_one.letters


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_the_flow_answers_as_the_engine_whatever_the_batch(batch: int, one_by_one: World) -> None:
    world = World()
    through_the_flow(world, world.assembled(Fuse()), batch=batch)
    assert world.diffs == one_by_one.diffs
    assert world.letters == one_by_one.letters
    assert outcomes(world) == outcomes(one_by_one)
    assert_equal(stores(world), stores(one_by_one))
    events = [{each.event_id: each for each in found.events.published} for found in (world, one_by_one)]
    assert events[0].keys() == events[1].keys()


@pytest.mark.parametrize(("workers", "batch"), [(1, 100), (2, 100), (2, 1)])
def test_a_file_holds_what_memory_held_for_one_worker_and_for_two(
    workers: int, batch: int, one_by_one: World, tmp_path: Path
) -> None:
    world = from_file(tmp_path / "graph.sqlite", workers, batch)
    assert values(world.diffs) == values(one_by_one.diffs)
    assert outcomes(world) == outcomes(one_by_one)
    assert_equal(stores(world), stores(one_by_one))
