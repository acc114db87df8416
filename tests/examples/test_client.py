"""The client that people copy: it needs nothing of ours, and reads what we write."""

from __future__ import annotations

import ast
import random
import sys
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st

from examples import client
from examples.client import Chunks, Json
from tests.chunk_reader import merge

NODES = 250


def chunk(number: int, total: int, digest: str = "d1") -> Json:
    share = range(number, NODES, total)
    return {
        "submission_id": "s1",
        "world_id": "w1",
        "outcome_digest": digest,
        "chunk": number,
        "chunks": total,
        "queue_map": {f"n{each}": f"q{each}" for each in share},
        "buffer_nodes": [{"node_id": f"n{each}", "lag": 1} for each in share],
    } | ({"warnings": []} if number == 0 else {})


def test_it_imports_the_standard_library_and_the_kafka_client_only() -> None:
    tree = ast.parse(Path(client.__file__).read_text(encoding="utf-8"))
    roots = {
        name.split(".")[0]
        for each in ast.walk(tree)
        for name in (
            [alias.name for alias in each.names]
            if isinstance(each, ast.Import)
            else [each.module or ""]
            if isinstance(each, ast.ImportFrom)
            else []
        )
    }
    assert roots - sys.stdlib_module_names == {"confluent_kafka"}


@given(seed=st.integers(), total=st.integers(1, 4), repeats=st.integers(0, 3))
def test_answers_are_put_together_as_the_product_does(seed: int, total: int, repeats: int) -> None:
    """Chunks in any order, some of them sent before a crash already."""
    dice, whole = random.Random(seed), [chunk(number, total) for number in range(total)]
    sent = [dice.choice(whole) for _ in range(repeats)] + dice.sample(whole, total)
    chunks = Chunks()
    answers = [answer for each in sent if (answer := chunks.add(each)) is not None]
    expected = merge([orjson.dumps(each) for each in sent])
    assert expected is not None
    assert answers
    assert all(each == answers[0] for each in answers)
    assert answers[0]["queue_map"] == {f"n{each}": f"q{each}" for each in range(NODES)}
    assert answers[0] == expected


def test_chunks_of_two_answers_are_never_mixed() -> None:
    chunks = Chunks()
    assert chunks.add(chunk(0, 2, "d1")) is None
    assert chunks.add(chunk(1, 2, "d2")) is None
    answer = chunks.add(chunk(1, 2, "d1"))
    assert answer is not None
    assert answer["outcome_digest"] == "d1"
