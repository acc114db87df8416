"""JSON is read exactly: what another reader would guess or lose is refused, with its position (docs/semantics.md 2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagmanager.dag.json.exact_json import SCAN_MAX
from dagmanager.dag.model import Record
from dagmanager.errors import ErrorCode, Rejection
from tests.dag import made

NODE = made.node()
NODE_TEXT = json.dumps(NODE).encode()


TEXT_DAG = json.dumps(made.dag(NODE, made.node(period=9))).encode()


BROKEN: list[tuple[str, bytes, str]] = [
    ("empty", b"", ""),
    ("truncated", TEXT_DAG[:-40], "/nodes/1"),
    ("no object", b"[]", "/dag"),
    ("number alone", b"7", "/dag"),
    ("NaN", TEXT_DAG.replace(b'"window": 3', b'"window": NaN'), "/nodes/0/params/window"),
    ("Infinity", TEXT_DAG.replace(b'"window": 3', b'"window": -Infinity'), "/nodes/0/params/window"),
    ("beyond a double", TEXT_DAG.replace(b'"window": 3', b'"window": 1e999'), "/nodes/0/params/window"),
    ("same key twice in a node", TEXT_DAG.replace(b'"period"', b'"interval"', 1), "/nodes/0/interval"),
    ("same key twice at the top", TEXT_DAG[:-1] + b',"nodes":[]}', "/nodes"),
    ("same key twice, one escaped", b'{"nodes":[{"a":1,"\\u0061":2}]}', "/nodes/0/a"),
    ("same key twice with quotes", b'{"nodes":[],"m":{"\\"":1,"\\"":2}}', '/m/"'),
    ("same key twice deep", b'{"nodes":[],"m":[{"x":{"k":1,"k":1}}]}', "/m/0/x/k"),
    ("lone surrogate", TEXT_DAG.replace(b'"n"', b'"\\ud800"'), "/nodes/0/name"),
    ("encoded surrogate", TEXT_DAG.replace(b'"n"', b'"\xed\xa0\x80"'), ""),
    ("invalid UTF-8", TEXT_DAG.replace(b'"n"', b'"\xff"'), ""),
    ("too deep in a node", b'{"nodes":[{"a":' + b"[" * 62 + b"]" * 62 + b"}]}", "/nodes/0/a"),
    ("far too deep", b'{"nodes":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "/nodes/0"),
    ("raw control character", TEXT_DAG.replace(b'"n"', b'"\x01"'), "/nodes/0/name"),
    ("byte order mark", b"\xef\xbb\xbf" + TEXT_DAG, "/dag"),
    ("something behind", TEXT_DAG + b"x", ""),
]


@pytest.mark.parametrize(("text", "pointer"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
@pytest.mark.parametrize("form", ["dag_json", "dag"])
def test_broken_json_is_refused_where_it_breaks(form: str, text: bytes, pointer: str) -> None:
    try:
        plain = text.decode()
    except UnicodeDecodeError:
        plain = None
    if form == "dag_json" and plain is not None:
        record = Record(json.dumps({"strategy_id": "s", "dag_json": plain}).encode(), made.TOPIC, b"s")
    else:
        record = made.raw_request(text)
    found = made.refused(record)
    assert found.code in (ErrorCode.INVALID_JSON, ErrorCode.INVALID_FIELD, ErrorCode.MISSING_FIELDS)
    if found.code is ErrorCode.INVALID_JSON and found.details:
        assert {"offset", "line", "column"} <= set(found.details[0])
        assert (found.field or "").removeprefix("/dag").startswith(pointer.removeprefix("/dag")[:8])


def test_the_position_of_a_problem_is_that_of_the_text() -> None:
    text = b'{\n "nodes": [\n  {"a": 1},\n  {"b": 1,\n   "b": 2}\n ]\n}'
    found = made.refused(
        Record(json.dumps({"strategy_id": "s", "dag_json": text.decode()}).encode(), made.TOPIC)
    )
    assert found.code is ErrorCode.INVALID_JSON
    assert found.field == "/nodes/1/b"
    assert found.details == ({"offset": text.rindex(b'"b"'), "line": 5, "column": 4},)


@pytest.mark.parametrize(
    "member",
    [
        b'"a":NaN',
        b'"a":1e999',
        b'"a":"\\ud800"',
        b'"k":1,"k":2',
        b'"a":{"\\"":1,"\\"":2}',
        b'"a":"\x01"',
        b'"a":tru',
        b'"a":' + b"[" * 70 + b"]" * 70,
        b'"a":"\xff"',
        b'"a":1',
    ],
)
@pytest.mark.parametrize("number", [b"1", b"9" * 5_000])
def test_long_texts_are_read_as_strictly_as_short_ones(member: bytes, number: bytes) -> None:
    filler = b'"filler":[' + b"1," * SCAN_MAX + b'1],"n":' + number + b","
    for text in (
        b'{"nodes":[' + NODE_TEXT + b"]," + filler + member + b"}",
        b'{"nodes":[' + NODE_TEXT + b',{"node_type":"VersionSentinel",' + filler + member + b"}]}",
    ):
        found = made.hashed(made.raw_request(text))
        if member == b'"a":1':
            assert not isinstance(found, Rejection)
        else:
            assert isinstance(found, Rejection)
            assert found.code is ErrorCode.INVALID_JSON


def test_depth_64_is_the_last_that_is_accepted() -> None:
    def nested(levels: int) -> Record:
        params: Any = {}
        for _ in range(levels - 4):  # DAG, nodes, node, params
            params = [params]
        return made.request(made.dag(made.node(params={"p": params}) if levels > 4 else NODE))

    made.accepted(nested(63))
    found = made.refused(nested(64))
    assert found.code is ErrorCode.INVALID_JSON
    assert "nested too deep" in found.message
