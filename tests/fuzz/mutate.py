"""Seeded mutations of real submissions: bytes flipped and cut, values replaced, dropped and doubled."""

from __future__ import annotations

import base64
import copy
import json
import random
import zlib
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    60,
    "60",
    60.0,
    60.5,
    1e-7,
    1e22,
    -0.0,
    2**31,
    2**63,
    2**64,
    -(2**64),
    10**400,
    10**4_290,
    float("nan"),
    float("inf"),
    "x" * 5_000,
    "\x00" * 2_000,
    "\ud800",
    "\x1b[2J\r\n",
    {"deep": {"er": [{"n": 10**400}]}},
    [2**64, "y" * 2_000, {"z": None}],
    10**40,
    -(10**30),
    "",
    " ",
    "|",
    ",",
    "a,b",
    "live",
    "default",
    "backtest",
    "한국",
    "e\u0301\U0001f600",
    'q"\\uote',
    "\x00\x1f",
    "\u2028",
    [],
    {},
    [[]],
    [None],
    [""],
    {"": ""},
    {"seed": 1, "World": 2, "kept": 3},
    {"a": [1e-7, {"env_x": 1}]},
    "blake3:" + "0" * 64,
    "blake3:" + "f" * 128,
    "VersionSentinel",
    "TagQueryNode",
)
ODD_KEYS = (
    "config",
    "schema_id",
    "global",
    "compute_key",
    "artifacts",
    "match_mode",
    "traffic_weight",
    "version",
    "meta",
    "compute_context",
    "world_ids",
    "world_id",
    "as_of",
    "safe_mode",
    "node_ids_crc32",
    "query_tags",
    "seed",
    'a"b',
    "a\\b",
    "키",
)
ODD_TEXTS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"\xff",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b'"\\ude00x"',
    b'{"a":1,"a":2}',
    b'{"a":1,"\\u0061":2}',
    b"[" * 70 + b"]" * 70,
    b"[" * 60 + b"]" * 60,
    b"9" * 30,
    b"9" * 5000,
    b"-0",
    b"01",
    b"1.",
    b"\x00",
    b"\\",
    b'"',
    b",",
    b"}",
    b"]",
    b"",
    b"\xef\xbb\xbf",
    b"nul",
    b"'x'",
)


def real_dags() -> list[dict[str, Any]]:
    """The nine DAGs of the contract."""
    return [json.loads(path.read_text()) for path in sorted(EXAMPLES.glob("*Strategy.json"))] + [
        json.loads((EXAMPLES / "MA1.json").read_text())
    ]


def submission(dag: dict[str, Any], dice: random.Random) -> Any:
    """A DAG in one of the forms that clients send."""
    ids = [n["node_id"] for n in dag["nodes"]]
    crc = zlib.crc32("".join(ids).encode(errors="surrogatepass"))
    if dice.random() < 0.3:
        dag = dag | {"meta": {"strategy_name": "s", "version": "2"}, "compute_context": {"as_of": "x"}}
    form = dice.randrange(4)
    if form == 0:
        nodes = [*dag["nodes"], {"node_type": "VersionSentinel", "node_id": "s-sentinel", "version": "v2"}]
        payload = {"dag": dag | {"nodes": nodes}, "node_ids_crc32": crc, "world_ids": ["w1", "w2"]}
        return ["gateway.ingest", 1, "s", payload | {"compute_context": {"execution_domain": "live"}}]
    fields: dict[str, Any] = {"strategy_id": "s", "world_id": "w", "execution_domain": "live"}
    if form == 1:
        return fields | {"dag": dag}
    text = json.dumps(dag, ensure_ascii=dice.random() < 0.5)
    return fields | {
        "dag_json": text if form == 2 else base64.b64encode(text.encode(errors="surrogatepass")).decode()
    }


def places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in members:
        found.append((tree, key))
        places(value, found)
    return found


def change(tree: Any, dice: random.Random) -> None:
    """One structural mutation in place."""
    found = places(tree, [])
    if not found:
        return
    container, key = dice.choice(found)
    act = dice.randrange(6)
    if act == 0:
        del container[key]
    elif act == 1:
        container[key] = copy.deepcopy(dice.choice(ODD_VALUES))
    elif act == 2:
        other, other_key = dice.choice(found)
        container[key] = copy.deepcopy(other[other_key])
    elif act == 3 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif act == 4 and isinstance(container, dict):
        container[dice.choice(ODD_KEYS)] = copy.deepcopy(dice.choice(ODD_VALUES))
    elif isinstance(container[key], str):
        container[key] = container[key] + dice.choice(["x", " ", "é", "|", ""])
    elif isinstance(container[key], int | float):
        container[key] = dice.choice([str(container[key]), float(container[key] % 10**15), -container[key]])


def spoil(value: bytes, dice: random.Random) -> bytes:
    """One mutation of the bytes."""
    at = dice.randrange(len(value) + 1)
    act = dice.randrange(5)
    if act == 0:
        return value[:at]
    if act == 1 and value:
        at = min(at, len(value) - 1)
        return value[:at] + bytes([value[at] ^ (1 << dice.randrange(8))]) + value[at + 1 :]
    if act == 2:
        return value[:at] + dice.choice(ODD_TEXTS) + value[at:]
    if act == 3:
        until = at + dice.randrange(40)
        return value[:at] + value[until:]
    colon = value.find(b":", at)
    return value if colon < 0 else value[: colon + 1] + dice.choice(ODD_TEXTS) + value[colon + 1 :]


def mutated(seed: int) -> bytes:
    """The record value of one seed; the same seed gives the same bytes."""
    dice = random.Random(seed)
    dag = copy.deepcopy(dice.choice(real_dags_once()))
    if dice.random() < 0.7:
        for _ in range(dice.choice([1, 1, 1, 2, 4])):
            change(dag, dice)
    try:
        tree = submission(dag, dice)
    except (KeyError, TypeError, AttributeError):
        tree = {"strategy_id": "s", "dag": dag}
    if dice.random() < 0.2:
        change(tree, dice)
    value = json.dumps(tree, ensure_ascii=dice.random() < 0.7).encode(errors="surrogatepass")
    if dice.random() < 0.35:
        value = spoil(value, dice)
    return value


def real_dags_once() -> list[dict[str, Any]]:
    """`real_dags`, read from disk the first time only."""
    if not _DAGS:
        _DAGS.extend(real_dags())
    return _DAGS


_DAGS: list[dict[str, Any]] = []
