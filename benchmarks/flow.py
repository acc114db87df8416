"""How long one submission takes through the whole flow, and which part is the product's own.

    python -m benchmarks.flow [--json] [--rounds N]

16 strategies of 100 and of 1,000 nodes over the memory stores, one at a time: from the moment the source
emits a record to the moment the sink has its last chunk. `ours` is the time inside canonicalize,
hash, lookup, classify and upsert; the rest is Bytewax. `unchanged`: the same bytes from the same
strategy; `new_id`: the same DAG under a new strategy_id, as the Gateway sends it; `changed`:
1 % of the nodes (at least one) under a new version. `new` is the first submission of each strategy.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from statistics import median, quantiles
from typing import Any, Final, TypeVar

import orjson
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import run_main

from benchmarks.pure import node, strategy
from dagmanager.assembly import Assembled, assemble_over, now_ms
from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Answer, CacheHit, Canonicalized, InProgress, LookedUp, Planned, Refused
from dagmanager.engine.wire.message import Message
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from flows.submissions import Sinks, build
from operators.store_retry import RetryPolicy

T = TypeVar("T")
STRATEGIES: Final = 16
SIZES: Final = (100, 1_000)
KINDS: Final = ("new", "unchanged", "new_id", "changed")


class Watch:
    """When the record in flight was emitted, the time in the steps, and all times by kind."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds
        self.given = 0
        self.answered = 0
        self.began = 0.0
        self.inside = 0.0
        self.total_ms: dict[str, list[float]] = defaultdict(list)
        self.ours_ms: dict[str, list[float]] = defaultdict(list)

    def hand_out(self) -> None:
        """The source emits the next record."""
        self.given += 1
        self.inside = 0.0
        self.began = time.perf_counter()

    def take_back(self) -> None:
        """Its last chunk was written."""
        kind = self.kinds[self.answered]
        self.total_ms[kind].append((time.perf_counter() - self.began) * 1_000)
        self.ours_ms[kind].append(self.inside * 1_000)
        self.answered += 1

    def timed(self, act: Callable[[], T]) -> T:
        """Add the time of this call to the product's own part."""
        began = time.perf_counter()
        found = act()
        self.inside += time.perf_counter() - began
        return found


class WatchedReader(Reader):
    """A reader whose steps are timed."""

    watch: Watch

    def canonicalize(self, record: Record) -> Canonicalized | Refused | None:
        """Timed."""
        read = super().canonicalize
        return self.watch.timed(lambda: read(record))

    def hash(self, item: Canonicalized) -> tuple[Submission | Refused, ...]:
        """Timed."""
        prove = super().hash
        return self.watch.timed(lambda: prove(item))


def watch_engine(assembled: Assembled, watch: Watch) -> None:
    """Time the other steps."""
    engine = assembled.engine
    lookup, classify, claim, advance = engine.lookup, engine.classify, engine.claim, engine.advance

    def timed_lookup(batch: Sequence[Submission]) -> list[LookedUp | CacheHit]:
        return watch.timed(lambda: lookup(batch))

    def timed_classify(item: LookedUp) -> Planned:
        return watch.timed(lambda: classify(item))

    def timed_claim(batch: Sequence[Planned | CacheHit]) -> list[Answer | InProgress]:
        return watch.timed(lambda: claim(batch))

    def timed_advance(items: Sequence[InProgress]) -> list[Answer | InProgress]:
        return watch.timed(lambda: advance(items))

    vars(engine).update(
        lookup=timed_lookup, classify=timed_classify, claim=timed_claim, advance=timed_advance
    )


class OneByOne(StatefulSourcePartition[tuple[str, Record], None]):
    """The next record once the last one is answered."""

    def __init__(self, records: Sequence[Record], watch: Watch) -> None:
        self._records, self._watch = records, watch

    def next_batch(self) -> Iterable[tuple[str, Record]]:
        """One record, or none while one is in flight."""
        if self._watch.answered < self._watch.given:
            return []
        if self._watch.given == len(self._records):
            raise StopIteration
        record = self._records[self._watch.given]
        self._watch.hand_out()
        return [("all", record)]

    def snapshot(self) -> None:
        """There is no state to resume."""
        return


class Source(FixedPartitionedSource[tuple[str, Record], None]):
    """One partition."""

    def __init__(self, records: Sequence[Record], watch: Watch) -> None:
        self._part = OneByOne(records, watch)

    def list_parts(self) -> list[str]:
        """One."""
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> OneByOne:  # noqa: ARG002 - bytewax prescribes it
        """Nothing is resumed."""
        return self._part


class LastChunk(StatefulSinkPartition[Any, None]):
    """Stops the clock at the last chunk."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch

    def write_batch(self, values: list[Any]) -> None:
        """Count answers whose last chunk came."""
        for value in values if self._watch else ():
            if isinstance(value, Message) and self._watch:
                chunk = orjson.loads(value.value)
                assert chunk["status"] == "ok", chunk
                if chunk["chunk"] == chunk["chunks"] - 1:
                    self._watch.take_back()

    def snapshot(self) -> None:
        """There is no state to resume."""
        return


class Sink(FixedPartitionedSink[Any, None]):
    """One partition."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch

    def list_parts(self) -> list[str]:
        """One."""
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> LastChunk:  # noqa: ARG002 - bytewax prescribes it
        """Nothing is resumed."""
        return LastChunk(self._watch)


def submission(
    nodes: list[dict[str, Any]], name: str, strategy_id: str, position: int, version: int
) -> Record:
    """One record as the Gateway writes it."""
    meta = {"strategy_name": name, "version": f"v{version}"}
    dag = {"schema_version": "v1", "nodes": nodes, "meta": meta}
    payload = {"world_ids": ["w1"], "compute_context": {"execution_domain": "live"}, "dag": dag}
    value = orjson.dumps(["gateway.ingest", 1_700_000_000_000, strategy_id, payload])
    origin = Origin("submissions", "topic", 0, position)
    return Record(value, origin, f"ingest:{strategy_id}".encode(), 1_700_000_000_000 + position)


def workload(size: int, rounds: int) -> tuple[list[Record], list[str]]:
    """First every strategy as new; then in each round each one unchanged, under a new id, and changed."""
    dice = random.Random(size)
    dags = {f"s{number}": strategy(size, seed=size + number)[0] for number in range(STRATEGIES)}
    last: dict[str, Record] = {}
    records: list[Record] = []
    kinds: list[str] = []

    def send(kind: str, name: str, strategy_id: str, version: int) -> None:
        last[name] = submission(dags[name], name, strategy_id, len(records), version)
        records.append(last[name])
        kinds.append(kind)

    for name in dags:
        send("new", name, name, 0)
    for turn in range(1, rounds + 1):
        for name, nodes in dags.items():
            send("unchanged", name, name, turn - 1)
            send("new_id", name, f"{dice.getrandbits(128):032x}", turn - 1)
            for step in range(max(1, size // 100)):
                position = size - 1 - 2 * step  # a leaf
                nodes[position] = node(position, dice, nodes[position]["inputs"], salt=turn)
            send("changed", name, name, turn)
    return records, kinds


def measure(size: int, rounds: int) -> dict[str, Any]:
    """p50 and p95 by kind, in milliseconds."""
    records, kinds = workload(size, rounds)
    watch = Watch(kinds)
    parts = assemble_over(Settings(), MemoryGraph(now_ms), MemoryTopics(), MemoryEvents(), MemoryAdminLog())
    watch_engine(parts, watch)
    reader = WatchedReader(parts.read_options)
    reader.watch = watch
    flow = build(
        parts,
        Source(records, watch),
        Sinks(Sink(watch), Sink(None), Sink(None)),
        RetryPolicy(time.sleep, lambda: True),
        reader,
    )
    run_main(flow, epoch_interval=timedelta(seconds=1))
    assert watch.answered == len(records), (watch.answered, len(records))
    found: dict[str, Any] = {"bytes": len(records[0].value), "submissions": len(records)}
    for kind in KINDS:
        total, ours = watch.total_ms[kind], watch.ours_ms[kind]
        found[kind] = {
            "p50_ms": round(median(total), 3),
            "p95_ms": round(quantiles(total, n=20)[-1], 3),
            "ours_p50_ms": round(median(ours), 3),
            "ours_p95_ms": round(quantiles(ours, n=20)[-1], 3),
        }
    return found


def main() -> None:
    """Print the results as text or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    found = {str(size): measure(size, chosen.rounds) for size in SIZES}
    if chosen.json:
        print(json.dumps(found))
        return
    for size, each in found.items():
        print(f"{size} nodes, {each['bytes']} bytes, {each['submissions']} submissions")
        for kind in KINDS:
            row = each[kind]
            print(
                f"  {kind:10} p50 {row['p50_ms']:8.2f} ms  p95 {row['p95_ms']:8.2f} ms"
                f"  ours {row['ours_p50_ms']:8.2f} / {row['ours_p95_ms']:8.2f} ms"
            )


if __name__ == "__main__":
    main()
