"""Bad submissions through the flow: answered, kept with their bytes, and the flow continues. And outages."""

from __future__ import annotations

import random
from datetime import timedelta

import orjson
import pytest
from bytewax.testing import cluster_main, run_main

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Record
from dagmanager.errors import UnavailableError
from flows.submissions import build
from operators.store_retry import RetryPolicy
from tests.engine.crashing import Fuse
from tests.flows.crashing import ListSource, World, impatient
from tests.flows.stores import submission_of
from tests.flows.strategies import Market, pool, record, records
from tests.operators.passing import patient

DICE = random.Random(1)
GOOD = orjson.loads(Market(DICE, pool(DICE, 4, "n")).strategy("s1"))
GOOD[3]["world_ids"] = ["w1"]
NODES = [each for each in GOOD[3]["dag"]["nodes"] if each["node_type"] != "VersionSentinel"]


def bent(**fields: object) -> bytes:
    """A good submission with the first node's fields replaced."""
    return submitted([NODES[0] | fields, *NODES[1:]])


def submitted(nodes: list[dict[str, object]], **more: object) -> bytes:
    return orjson.dumps(["gateway.ingest", 1, "s1", GOOD[3] | {"dag": {"nodes": nodes}} | more])


def cycle() -> bytes:
    ids = ["blake3:" + digit * 64 for digit in "ab"]
    pair = zip(ids, reversed(ids), strict=True)
    return submitted([NODES[0] | {"node_id": one, "dependencies": [other]} for one, other in pair])


GOOD_BYTES = submitted(NODES)
BAD: dict[str, tuple[bytes, str]] = {
    "malformed": (b'{"strategy_id": }', "invalid_json"),
    "empty": (b"", "invalid_json"),
    "truncated": (GOOD_BYTES[:-20], "invalid_json"),
    "deeply nested": (b'["gateway.ingest",1,"s1",' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, "invalid_json"),
    "huge": (b'{"strategy_id":"s1","pad":"' + b"x" * Limits().bytes_max + b'"}', "too_large"),
    "duplicate key": (GOOD_BYTES.replace(b'"period":', b'"period":1,"period":', 1), "invalid_json"),
    "NaN": (GOOD_BYTES.replace(b'"params":{', b'"params":{"x":NaN,', 1), "invalid_json"),
    "surrogate": (GOOD_BYTES.replace(b'"params":{', b'"params":{"x":"\\ud800",', 1), "invalid_json"),
    "no UTF-8": (GOOD_BYTES.replace(b'"params":{', b'"params":{"x":"\xff",', 1), "invalid_json"),
    "wrong type": (bent(period="x"), "invalid_field"),
    "wrong id": (bent(code_hash="0" * 64), "node_id_mismatch"),
    "missing": (bent(code_hash=None), "missing_fields"),
    "cyclic": (cycle(), "dependency_cycle"),
    "conflicting": (submitted([NODES[0], NODES[0] | {"schema_hash": "other"}]), "conflicting_node"),
    "integer of more than 64 bits": (
        GOOD_BYTES.replace(b'"node_id":', b'"node_id":18446744073709551616,"x":', 1),
        "invalid_field",
    ),
    "no compute nodes": (submitted([]), "invalid_field"),
    "checksum": (submitted(NODES, node_ids_crc32=1), "crc_mismatch"),
}


def run(given: list[Record], world: World, retry: RetryPolicy, fuse: Fuse, workers: int = 1) -> None:
    assembled = world.assembled(fuse)
    source = ListSource({"0": given}, 8, Fuse())
    flow = build(assembled, source, world.sinks(assembled, Fuse(), retry), retry)
    if workers == 1:
        run_main(flow, epoch_interval=timedelta(0))
    else:
        cluster_main(flow, [], 0, epoch_interval=timedelta(0), worker_count_per_proc=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_kind_is_answered_and_kept(workers: int) -> None:
    values = [value for value, _ in BAD.values()]
    world = World()
    given = [record(value, position, "s1") for position, value in enumerate([*values, GOOD_BYTES])]
    run(given, world, impatient(), Fuse(), workers)
    answers = [orjson.loads(each.value) for each in world.diffs]
    codes = [each["error"]["code"] for each in answers[:-1]]
    assert dict(zip(BAD, codes, strict=True)) == {name: code for name, (_, code) in BAD.items()}
    assert answers[-1]["status"] == "ok", "the flow went on"
    assert len(world.letters) == len(BAD)
    for (name, (value, code)), letter in zip(BAD.items(), world.letters, strict=True):
        headers = dict(letter.headers)
        assert orjson.loads(headers["error"])["code"] == code
        assert headers["source-topic"] == b"submissions"
        whole = len(value) <= Limits().bytes_max
        assert letter.value == (value if whole else value[: 64 * 1024]), name
        assert whole or headers["value-length"] == b"%d" % len(value)


def test_bad_input_leaves_the_stores_untouched() -> None:
    world = World()
    given = [record(value, position, "s1") for position, (value, _) in enumerate(BAD.values())]
    run(given, world, impatient(), Fuse())
    assert world.graph.rows() == ()
    assert world.topics.names() == ()
    assert not world.events.published
    assert not world.admin_log.entries


def test_records_of_other_kinds_leave_the_stream_silently() -> None:
    world = World()
    others = [b'["gateway.rebalance",1,"s1",{}]', b'["n1",60,1,{"x":1}]']
    run([record(value, at, "s1") for at, value in enumerate(others)], world, impatient(), Fuse())
    assert world.diffs == world.letters == []


@pytest.mark.parametrize("seed", range(6))
def test_an_outage_is_waited_for_and_nothing_is_lost(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(seed)
    given = records(Market(dice, pool(dice, 6, "n")), ["s0", "s1"], 30)
    world, fuse, pauses = World(), Fuse(dice.randint(2, 40)), []
    fuse.raises = UnavailableError

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            fuse.left = None  # it is back

    run(given, world, patient(sleep), fuse)
    assert pauses == [0.25, 0.5, 1.0, 2.0]
    assert "waiting for a store" in caplog.text
    alone = World()
    run(given, alone, impatient(), Fuse())
    assert {submission_of(each) for each in world.diffs} == {submission_of(each) for each in alone.diffs}
    assert not world.graph.waiting_events(1)


def test_a_stop_during_an_outage_leaves_the_rest_to_the_next_run() -> None:
    fuse = Fuse(1)
    fuse.raises = UnavailableError
    with pytest.raises(Exception, match="lookup"):
        run([record(GOOD_BYTES, 0, "s1")], World(), impatient(), fuse)
