"""The time from bytes to a plan, as a ratio to `orjson.loads` of the same bytes in the same run.

    python -m benchmarks.pure [--json] [--rounds N] [--profile]

cold: everything new, fully validated. warm: the same DAG with 10 changed leaves, the rest known.
Rounds are interleaved (orjson, cold, warm, orjson, …) and a ratio is the median over the rounds, so that
a busy machine slows all three alike. Budgets: cold ≤ 6 ×, warm ≤ 2.5 ×.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import orjson

from dagmanager.dag.canonicalize import canonicalize, parse_node_json
from dagmanager.dag.hashing import hash_dag
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Envelope, Node, Origin, Record, Submission
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.record.decode import decode
from dagmanager.dag.submission import submissions
from dagmanager.engine.decide.classify import bindings
from dagmanager.engine.decide.submission_keys import lookup_keys
from dagmanager.engine.engine import Engine, plan
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.policy import ClaimOptions, Policy
from dagmanager.engine.stages import LookedUp, Planned
from dagmanager.errors import Rejection
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics

LIMITS = Limits(bytes_max=64 * 1024 * 1024)
OPTIONS = ClaimOptions("benchmark", Policy(cap_replication=True))
SIZES = (100, 1_000, 10_000)
CHANGED_LEAVES = 10
SCHEMA = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def to_submission(record: Record, memo: NodeMemo) -> Submission:
    """Bytes to a proven submission: decode, canonicalize, hash, resolve the context."""
    envelope = decode(record, LIMITS)
    assert isinstance(envelope, Envelope), envelope
    dag = canonicalize(envelope, memo, LIMITS)
    assert not isinstance(dag, Rejection), dag
    proven = hash_dag(dag, memo, envelope.node_ids_crc32)
    assert not isinstance(proven, Rejection), proven
    [found] = submissions(envelope, proven, record, namespaces=True, dry_run_ids=frozenset())
    assert isinstance(found, Submission), found
    return found


def to_plan(record: Record, memo: NodeMemo, known: Known) -> Planned:
    """All pure steps of one record; `known` is the result of an earlier look-up."""
    return plan(LookedUp(to_submission(record, memo), known, 0), OPTIONS)


def known_of(record: Record, earlier: Record | None) -> Known:
    """The look-up of a record in a graph to which another was submitted before."""
    graph = MemoryGraph(lambda: record.timestamp_ms)
    if earlier is not None:
        engine = Engine(graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog(), OPTIONS, lambda _: None)
        [answer] = engine.submit([to_submission(earlier, NodeMemo())])
        assert not isinstance(answer.result, Rejection), answer.result
    submission = to_submission(record, NodeMemo())
    return graph.known(lookup_keys(submission, bindings(submission)))


def node(position: int, dice: random.Random, dependencies: list[str], salt: int = 0) -> dict[str, Any]:
    """One node as the SDK writes it, about 900 bytes of JSON with a dependency and its correct id."""
    fields: dict[str, Any] = {
        "node_type": "ProcessingNode" if dependencies else "StreamInput",
        "interval": dice.choice([60, 300, 3600]),
        "period": dice.randint(2, 500),
        "dependencies": dependencies,
        "schema_compat_id": SCHEMA,
        "code_hash": f"{dice.getrandbits(256):064x}",
        "params": {
            "window": dice.randint(2, 500),
            "alpha": round(dice.random(), 4),
            "decay": dice.random() * 100,
            "source": "close",
            "levels": [0.236, 0.382, 0.5, dice.randint(1, 9)],
            "filter": {"kind": "ema", "span": dice.randint(2, 99), "adjust": False, "min": None},
            "seed_window": salt,
        },
        "name": f"node_{position}",
        "tags": ["btc", "price", dice.choice(["binance", "coinbase"])],
        "inputs": dependencies,
        "config_hash": SCHEMA,
        "schema_hash": SCHEMA,
        "pre_warmup": True,
        "expected_schema": {"ts": "int64", "close": "float64"},
    }
    found = parse_node_json(orjson.dumps(fields))
    assert isinstance(found, Node), found
    return fields | {"node_id": found.node_id}


def record_of(nodes: list[dict[str, Any]], form: str = "commit_log") -> Record:
    """A submission of these nodes, in the form the Gateway writes or as a diff request with `dag_json`."""
    dag = {"schema_version": "v1", "nodes": nodes, "meta": {"strategy_name": "bench", "version": "1.0"}}
    payload: dict[str, Any] = {"world_ids": ["w1"], "compute_context": {"execution_domain": "live"}}
    value: object = ["gateway.ingest", 1_700_000_000_000, "bench", payload | {"dag": dag}]
    if form == "dag_json":
        value = {"strategy_id": "bench", "world_id": "w1", "execution_domain": "live"}
        value |= {"dag_json": json.dumps(dag)}
    text = json.dumps(value) if form == "spaced" else json.dumps(value, separators=(",", ":"))
    return Record(text.encode(), Origin("submissions", "topic", 0, 0), b"ingest:bench", 1_700_000_000_000)


def strategy(size: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A DAG of `size` nodes, half of them in chains; and the same with changed leaves."""
    dice = random.Random(seed)
    nodes: list[dict[str, Any]] = []
    for position in range(size):
        chained = position % 2 == 1
        nodes.append(node(position, dice, [nodes[-1]["node_id"]] if chained else []))
    changed = list(nodes)
    for step in range(min(CHANGED_LEAVES, size // 2)):
        position = size - 1 - 2 * step
        changed[position] = node(position, dice, nodes[position]["inputs"], salt=step + 1)
    return nodes, changed


def clocked(act: Callable[[], object]) -> float:
    """Milliseconds of one call, without garbage collection in it."""
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    act()
    taken = time.perf_counter() - began
    gc.enable()
    return taken * 1_000


def loads(value: bytes) -> None:
    """The reference: `orjson.loads`, also of a DAG that is sent as text."""
    tree = orjson.loads(value)
    if isinstance(tree, dict) and "dag_json" in tree:
        orjson.loads(tree["dag_json"])


def measure(size: int, rounds: int, form: str = "commit_log") -> dict[str, float]:
    """Medians over interleaved rounds, in milliseconds, and their ratios to orjson.loads."""
    nodes, changed = strategy(size, seed=size)
    cold_record, warm_record = record_of(nodes, form), record_of(changed, form)
    nothing, most = known_of(cold_record, None), known_of(warm_record, cold_record)
    times: dict[str, list[float]] = {"orjson": [], "cold": [], "warm": []}
    for _ in range(rounds):
        times["orjson"].append(clocked(partial(loads, cold_record.value)))
        memo = NodeMemo()
        times["cold"].append(clocked(partial(to_plan, cold_record, memo, nothing)))
        times["warm"].append(clocked(partial(to_plan, warm_record, memo, most)))
    found = {name: median(values) for name, values in times.items()}
    ratio = {
        name: median(ours / theirs for ours, theirs in zip(times[name], times["orjson"], strict=True))
        for name in ("cold", "warm")
    }
    return {
        "nodes": size,
        "bytes": len(cold_record.value),
        "orjson_ms": round(found["orjson"], 3),
        "cold_ms": round(found["cold"], 3),
        "cold_ratio": round(ratio["cold"], 2),
        "warm_ms": round(found["warm"], 3),
        "warm_ratio": round(ratio["warm"], 2),
    }


def measure_all(rounds: int) -> dict[str, Any]:
    """The result for 1,000 nodes, for the other formats, and for other numbers of nodes."""
    linear = {str(size): measure(size, max(3, rounds * 1_000 // max(size, 1_000))) for size in SIZES}
    headline: dict[str, Any] = dict(measure(1_000, rounds))
    headline["forms"] = {form: measure(1_000, rounds, form) for form in ("spaced", "dag_json")}
    headline["linear"] = {
        size: {
            "cold_us_per_node": round(1_000 * each["cold_ms"] / each["nodes"], 2),
            "warm_us_per_node": round(1_000 * each["warm_ms"] / each["nodes"], 2),
        }
        for size, each in linear.items()
    }
    return headline


def profile() -> None:
    """Where the cold and the warm time go."""
    nodes, changed = strategy(1_000, seed=1)
    cold_record, warm_record = record_of(nodes), record_of(changed)
    nothing, most = known_of(cold_record, None), known_of(warm_record, cold_record)
    for label, count in (("cold", 30), ("warm", 100)):
        profiler = cProfile.Profile()
        memo = NodeMemo()
        to_plan(cold_record, memo, nothing)
        profiler.enable()
        for _ in range(count):
            if label == "cold":
                to_plan(cold_record, NodeMemo(), nothing)
            else:
                to_plan(warm_record, memo, most)
        profiler.disable()
        print(f"== {label}, {count} runs")
        pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


def main() -> None:
    """Print the results as text or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    chosen = parser.parse_args()
    if chosen.profile:
        profile()
        return
    found = measure_all(chosen.rounds)
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{found['nodes']} nodes, {found['bytes']} bytes; orjson.loads {found['orjson_ms']} ms")
    print(f"cold {found['cold_ms']} ms = {found['cold_ratio']} x (budget 6)")
    print(f"warm {found['warm_ms']} ms = {found['warm_ratio']} x (budget 2.5)")
    for form, each in found["forms"].items():
        print(f"{form}: cold {each['cold_ratio']} x, warm {each['warm_ratio']} x")
    for size, each in found["linear"].items():
        print(f"{size} nodes: {each['cold_us_per_node']} us per node cold, {each['warm_us_per_node']} warm")


if __name__ == "__main__":
    main()
