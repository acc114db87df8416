"""Usual mistakes of a file are named, placed and have a help of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagmanager.cli.explain.json_mistake import encoding_mistake, syntax_mistake
from tests.cli.running import call

DAG = '{\n  "nodes": [],\n  "name": "é"\n}\n'


@pytest.mark.parametrize(
    ("raw", "message", "place", "help_"),
    [
        (b"\xef\xbb\xbf" + DAG.encode(), "starts with a byte order mark", "1:1", "without a byte order mark"),
        (DAG.encode("utf-16"), "looks like UTF-16", "1:1", "as UTF-8"),
        (DAG.encode("utf-16-be"), "looks like UTF-16", "1:1", "as UTF-8"),
        (DAG.encode("latin-1"), "byte 0xe9 is not valid UTF-8", "3:12", "looks like Latin-1"),
        (b"", "the file is empty", "1:1", "a submission or a DAG is due"),
        (b" \n\n", "the file is empty", "", "a submission or a DAG is due"),
        (b'{"nodes": [],\n}', "trailing comma", "2:1", "remove the comma before `}`"),
        (b'{"nodes": [1, ]}', "trailing comma", "1:15", "remove the comma before `]`"),
        (b'{\n  // all\n  "nodes": []}', "JSON has no comments", "2:3", "remove the comment"),
        (b'{\n  # all\n  "nodes": []}', "JSON has no comments", "2:3", "remove the comment"),
        (b"{'nodes': []}", "written in double quotes", "1:2", "use double quotes"),
        (b'{"nodes": None}', "`None` is Python", "1:11", "write `null`"),
        (b'{"nodes": NaN}', "NaN is not a JSON number", "1:11", "a finite number, or null"),
        (b'{"nodes": [', "ends too early", "1:12", "write the file again"),
        (b'{"nodes": "open', "ends too early", "1:11", "write the file again"),
        (b'{"a": 1\n "nodes": []}', "',' was expected", "2:2", "write a comma"),
        (b'{"nodes": [], "nodes": []}', "appears twice", "1:15", "remove one of the two"),
        (b'{"nodes": "a\nb"}', "control character", "1:13", "\\n for a line break"),
    ],
)
def test_a_mistake_has_a_name_a_place_and_a_help(
    raw: bytes, message: str, place: str, help_: str, tmp_path: Path
) -> None:
    (tmp_path / "dag.json").write_bytes(raw)
    done = call("diff", "dag.json", cwd=tmp_path)
    assert done.code == 1
    first = done.err.splitlines()[0]
    assert first.startswith("error[invalid_json]: ")
    assert message in first
    assert f"--> dag.json:{place}" in done.err
    assert help_ in done.err
    assert done.err.count("help:") == 2


def test_a_file_that_is_too_large_says_its_size(tmp_path: Path) -> None:
    with (tmp_path / "dag.json").open("wb") as file:
        file.truncate(600 * 1024 * 1024)
    done = call("diff", "dag.json", cwd=tmp_path)
    assert done.code == 1
    assert "error[too_large]: the file has 629,145,600 bytes; the limit is 8,388,608" in done.err


def test_what_is_right_or_unusual_is_no_known_mistake() -> None:
    assert encoding_mistake(DAG.encode()) is None
    assert syntax_mistake('{"a": @}', 6, "a value was expected") is None


def test_a_cycle_is_named_by_its_nodes(tmp_path: Path) -> None:
    ids = {name: "blake3:" + name * 64 for name in "ab"}
    nodes = [
        {"node_id": ids[name], "name": f"node_{name}", "node_type": "N", "code_hash": "c",
         "schema_compat_id": "s", "inputs": [ids[other]]}
        for name, other in ("ab", "ba")
    ]  # fmt: skip
    (tmp_path / "dag.json").write_text(json.dumps({"nodes": nodes}))
    done = call("diff", "dag.json", cwd=tmp_path)
    assert "2 nodes depend on each other: node_a -> node_b -> node_a\n" in done.err
    assert "  node: node_a\n" in done.err
