from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.running import ROOT, call, call_script

pytestmark = pytest.mark.slow

GOOD = json.dumps({"nodes": [{"node_id": "ID", "node_type": "A", "code_hash": "c", "schema_compat_id": "s"}]})
GOOD = GOOD.replace("ID", "blake3:54d44c437dc22a8e7e1e46c1afa2a5f89668d77b2e4c210f2eed9866a9fb0cb9")
OTHER = GOOD.replace('"c"', '"d"')
CLIENTS = ("bytewax", "confluent_kafka", "neo4j", "grpc", "polars", "rich", "yaml")
KEYS = {
    "context", "plan_digest", "submission_digest", "version", "safe_mode", "actions", "nodes", "removed",
    "changed", "version_change",
    "history_periods", "queue_map", "warnings",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dag.json").write_text(GOOD)
    return tmp_path


def test_json_has_the_shape_promised(folder: Path) -> None:
    done = call("diff", "--file", "dag.json", "--json", cwd=folder)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert set(found) == KEYS
    assert set(found["actions"]) == {"create", "reuse", "buffer", "isolate"}
    assert {"node_id", "name", "action", "reason", "topic"} <= set(found["nodes"][0])


def test_it_loads_no_client_and_writes_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    script = (
        "import sys\nfrom dagmanager.cli.main import dagmanager\n"
        f"dagmanager(['diff', '--file', 'dag.json'])\nprint('LOADED', sorted(set({CLIENTS!r}) & set(sys.modules)))"
    )
    assert "LOADED []" in call_script(script, cwd=folder).out
    assert sorted(folder.rglob("*")) == before


def test_exit_codes(folder: Path) -> None:
    same = ("diff", "--file", "dag.json", "--baseline", "dag.json", "--exit-code")
    assert call(*same, cwd=folder).code == 0
    assert call("diff", "--file", "dag.json", "--exit-code", cwd=folder).code == 3
    assert call("diff", "-", "--exit-code", stdin=GOOD).code == 3


def test_the_first_line_says_what_was_assumed(folder: Path) -> None:
    assert "live (default)" in call("diff", "--file", "dag.json", cwd=folder).out.splitlines()[0]
    first = call("diff", "--file", "dag.json", "--domain", "live", cwd=folder).out.splitlines()[0]
    assert "default" not in first


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b"", "invalid_json", "1:1"),
        (b"[1]", "invalid_json", "1:1"),
        (b'{"nodes": 3}', "invalid_field", "1:11"),
        (b'{"nodes": null}', "invalid_field", "1:11"),
        (b'{"nodes": [], "meta": []}', "invalid_field", "1:15"),
        (b'["gateway.ingest"]', "invalid_field", "1:1"),
        (GOOD.encode()[:-30], "invalid_json", "1:"),
        (GOOD.replace('"c"', "NaN").encode(), "invalid_json", "1:"),
        (GOOD.replace('"c"', "5").encode(), "invalid_field", "1:"),
        (GOOD.replace("code_hash", "code_hsh").encode(), "missing_fields", "1:12"),
        (OTHER.encode(), "node_id_mismatch", "1:24"),
        (b"\n\n {" + GOOD.encode()[1:].replace(b'"c"', b'"c", "code_hash": "c"'), "invalid_json", "3:"),
        (b'{"strategy_id": "s",\n "dag": ' + GOOD.encode().replace(b'"c"', b'"c", "code_hash": 1') + b"}",
         "invalid_json", "2:"),
        (b"\xff" + GOOD.encode(), "invalid_json", "1:1"),
        (b"[" * 100_000, "invalid_json", "1:"),
        (GOOD.replace('"c"', '"\\ud800"').encode(), "invalid_json", "1:"),
    ],
)  # fmt: skip
def test_errors_of_bad_files_say_how_to_correct_them(
    text: bytes, code: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_bytes(text)
    done = call("diff", "--file", "bad.json", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error[{code}]: ")
    assert f"--> bad.json:{place}" in done.err
    assert f"explain-error {code}" in done.err
    assert "Traceback" not in done.err
    shown = call("diff", "--file", "bad.json", "--json", cwd=tmp_path)
    assert (shown.code, shown.err) == (1, "")
    assert json.loads(shown.out)["error"]["code"] == code


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"nodes": null}', "error[invalid_field]: expected a list of objects, got null"),
        (
            '["gateway.ingest", 1]',
            'a commit-log record is ["gateway.ingest", ms, strategy_id, {…}]; '
            "this one ends early, without strategy_id, {…} (the object with the DAG)",
        ),
        ('["gateway.ingest", 1, "s", {}, 5]', "this one has 5 items, 1 too many"),
        (GOOD.replace("code_hash", "code_hsh"), "did you mean `code_hash` where it says `code_hsh`?"),
        (f"{GOOD}\n{GOOD}\n", "take one of them: `sed -n 1p bad.json > one.json`"),
        (OTHER, "blake3:54d44c43… is not the id of this spec"),
    ],
)
def test_a_message_says_what_was_expected(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    printed = call("diff", "--file", "bad.json", cwd=tmp_path).err
    assert said in printed
    assert printed.count("did you mean") <= 1


def test_people_read_the_right_id_whole_and_machines_get_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("\n".join(OTHER.split(" ", 2)))
    wrong = json.loads(OTHER)["nodes"][0]["node_id"]
    lines = call("diff", "--file", "bad.json", cwd=tmp_path).err.splitlines()
    assert [line.split()[0] for line in lines if wrong in line and " | " not in line] == []
    error = json.loads(call("diff", "--file", "bad.json", "--json", cwd=tmp_path).out)["error"]
    assert error["node_id"] == error["got"] == wrong
    assert error["expected"] in error["message"]
    assert lines.count(f"  expected: {error['expected']}") == 1


def test_a_file_whose_name_is_no_text_is_read_like_any_other(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/a\xff.json"
    Path(os.fsdecode(name)).write_text(GOOD)
    assert call("diff", "--file", name, "--baseline", name, "--exit-code").code == 0
    Path(os.fsdecode(name)).write_text("{")
    done = call("diff", "--file", name)
    assert done.code == 1
    assert "a\\xff.json:1:2" in done.err


def test_a_bad_baseline_is_named(folder: Path) -> None:
    (folder / "old.json").write_text("{")
    done = call("diff", "--file", "dag.json", "--baseline", "old.json", cwd=folder)
    assert done.code == 1
    assert "--> old.json:1:2" in done.err


def test_every_real_strategy_is_understood() -> None:
    for path in sorted((ROOT / "examples").rglob("*Strategy.json")):
        assert call("diff", "--file", str(path)).code == 0, path
