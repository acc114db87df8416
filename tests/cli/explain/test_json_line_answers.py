from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.running import ROOT, call

NODE = '{"node_type":"A","code_hash":"c","schema_compat_id":"s"}'
NODE_ID = "blake3:54d44c437dc22a8e7e1e46c1afa2a5f89668d77b2e4c210f2eed9866a9fb0cb9"
BAD = ["", "[1]", "{", '{"a":1,"a":2}', '{"node_type":3}', '{"params":{"x":NaN}}', "[" * 500, '"\\ud800"']


def vectors(name: str) -> list[dict[str, str]]:
    lines = (ROOT / "tests" / "contract" / name).read_text().split("\n")
    return [json.loads(line) for line in lines if line]


def test_node_ids_of_the_contract() -> None:
    rows = vectors("node_id_vectors.jsonl")
    done = call("node-id", stdin="\n".join(json.dumps(row["node"]) for row in rows))
    assert done.code == 0
    assert done.out.splitlines() == [row["node_id"] for row in rows]


def test_compute_keys_of_the_contract() -> None:
    rows = vectors("compute_key_vectors.jsonl")
    done = call("compute-key", "--json", stdin="\n".join(json.dumps(row) for row in rows))
    assert done.code == 0
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"compute_key": row["compute_key"]} for row in rows
    ]


def test_a_bad_line_stops_nothing_and_lines_match() -> None:
    text = "\n".join([NODE, *BAD, NODE]) + "\n"
    done = call("node-id", stdin=text)
    assert done.code == 1
    assert done.out.splitlines() == [NODE_ID, *[""] * len(BAD), NODE_ID]
    errors = [line for line in done.err.splitlines() if line.startswith("error[")]
    assert len(errors) == len(BAD)
    places = [line for line in done.err.splitlines() if line.startswith("  --> <stdin>:")]
    assert [line.split(":")[1] for line in places] == [str(number) for number in range(2, len(BAD) + 2)]


def test_a_bad_line_as_json() -> None:
    done = call("node-id", "--json", stdin="\n".join([NODE, *BAD, NODE]))
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, done.err) == (1, "")
    assert answers[0] == answers[-1] == {"node_id": NODE_ID}
    assert [list(answer) for answer in answers[1:-1]] == [["error"]] * len(BAD)


def test_bytes_that_are_no_text() -> None:
    done = call("node-id", stdin=b"\xff\xfe\n" + NODE.encode() + b"\r\n")
    assert done.code == 1
    assert done.out == f"\n{NODE_ID}\n"


def test_no_input_is_fine() -> None:
    assert call("node-id") == (0, "", "")


def test_a_very_long_line_is_one_error(tmp_path: Path) -> None:
    done = call("node-id", stdin=b'"' + b"x" * (9 * 1024 * 1024) + b'"\n' + NODE.encode())
    assert done.out == f"\n{NODE_ID}\n"
    assert "error[too_large]" in done.err


def test_compute_key_refuses_what_has_no_meaning() -> None:
    lines = [
        "{}",
        '{"node_id":"x"}',
        '{"node_id":"blake3:a","as_of":5}',
        '{"node_id":"blake3:a","world_id":"a\\u001fb"}',
    ]
    done = call("compute-key", stdin="\n".join(lines))
    assert done.code == 1
    assert done.out == "\n" * 4
    assert re.findall(r"(?m)^error\[(\w+)\]", done.err) == [
        "missing_fields",
        "invalid_field",
        "invalid_field",
        "invalid_field",
    ]
