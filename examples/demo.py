"""`make demo`: nine real strategies through the Bytewax flow, then a changed second version of one.

No servers: the graph and the topics are kept in memory, the answers land as JSON lines.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from bytewax.testing import run_main

from dagmanager.assembly import Assembled, assemble
from dagmanager.cli.explain.diff_text import Detail, node_table
from dagmanager.settings.table import Settings
from dagmanager.terminal.progress import progress
from dagmanager.terminal.text import columns, counted, painted, visible, wrapped
from examples.submissions import CHANGED, first_submissions, names_of, second_version
from flows.stop import Stop
from flows.submissions import from_files

RESULTS = Path("results/demo")
# Why the files of this folder give warnings: they are what a real SDK sent.
WARNINGS = {
    "unresolved_dependencies": "the SDK that wrote these files left out a parent, or computed its id before "
    "it set the defaults, so no node here has that id; each node runs all the same",
    "same_id_different_tags": "two inputs differ in their tags only, which are no part of a node's id: they "
    "share one topic",
}


def main() -> int:
    """Run both parts and show what came out; 1 when an answer is missing."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    assembled = assemble(Settings(results_path=str(RESULTS)))
    first = first_submissions()
    say(f"1. {len(first)} strategies, and an empty graph", "1")
    answers = _run(assembled, first, "first")
    for submission, answer in answers:
        _show(submission, answer)
    _explain_warnings(answers)
    say(f"\n2. {CHANGED}, version 2: one period and one schema changed", "1")
    again = _run(assembled, [second_version()], "second")
    for submission, answer in again:
        _show(submission, answer)
        say(f"  {_cost(answer)}")
    say("\nThe same as JSON lines:")
    for path in sorted(RESULTS.rglob("*.jsonl")):
        say(f"  {path}")
    return 0 if len(answers) + len(again) == len(first) + 1 else 1


def say(text: str, style: str = "") -> None:
    """One line, wrapped at words."""
    print(painted(wrapped(text, columns(), "    "), style, sys.stdout), flush=True)


def _run(assembled: Assembled, submissions: list[bytes], name: str) -> list[tuple[bytes, dict[str, Any]]]:
    """Through the real flow; each submission with its answer."""
    results = RESULTS / name
    path = results / "submissions.jsonl"
    results.mkdir()
    path.write_bytes(b"\n".join(submissions) + b"\n")
    flow = from_files(assembled, str(path), results, Stop())
    started = time.perf_counter()
    with progress(lambda: f"  {len(_answers(results))} of {len(submissions)} answered"):
        run_main(flow)
    took_ms = (time.perf_counter() - started) * 1000
    answers = _answers(results)
    say(f"   {len(answers)} answered in {took_ms:.0f} ms, with the start and end of the flow")
    return [
        (submission, answers[key])
        for submission in submissions
        if (key := orjson.loads(submission)["strategy_id"]) in answers
    ]


def _answers(results: Path) -> dict[str, dict[str, Any]]:
    path = results / "diffs.jsonl"
    if not path.exists():
        return {}
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return {answer["strategy_id"]: answer for answer in map(orjson.loads, whole)}


def _show(submission: bytes, answer: dict[str, Any]) -> None:
    """One table per submission: every node, its action, why, and its topic; the summary last."""
    asked = orjson.loads(submission)
    counts = ", ".join(f"{number} {action}" for action, number in answer["actions"].items() if number)
    where = f"{asked['world_id']}.{asked['execution_domain']}"
    name = visible(asked["dag"]["meta"]["strategy_name"])
    say(f"\n{name} in {where}", "1")
    rows = list(_rows(submission, answer))
    for line in node_table(rows, Detail(all_rows=True), columns() - 2):
        print(f"  {line}")
    say(f"  {counts}, version {answer['version']}", "1")
    if answer["safe_mode"]:
        say(f"  isolated (safe mode): {answer['safe_mode']}, so it shares nothing with others")


def _rows(submission: bytes, answer: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The rows of `diff`. An answer has no reasons: here they follow from it and from the admin log."""
    names, created = names_of(submission), _created(answer)
    first_topic = {entry["node_id"]: entry["topic"] for entry in reversed(_admin_log())}
    buffered = {each["node_id"] for each in answer["buffer_nodes"]}
    for key, topic in answer["queue_map"].items():
        node_id = key.split("#")[0].rsplit(":", 2)[0]
        action = "create" if topic in created else "buffer" if node_id in buffered else "reuse"
        reason = {"reuse": "same_spec", "buffer": "schema_changed"}.get(action, "new_node")
        if answer["safe_mode"]:
            action, reason = "isolate", f"safe_mode:{answer['safe_mode']}"
        elif action == "create" and first_topic[node_id] != topic:
            reason = "new_binding"
        yield action, names.get(node_id, node_id), reason, topic, node_id


def _explain_warnings(answers: list[tuple[bytes, dict[str, Any]]]) -> None:
    """One sentence for each kind of warning."""
    found = [each["code"] for _, answer in answers for each in answer.get("warnings", ())]
    if not found:
        return
    say(f"\n{counted(len(found), 'warning')}; `dagmanager explain-error CODE` explains each code:")
    for code in dict.fromkeys(found):
        why = f": {WARNINGS[code]}" if code in WARNINGS else ""
        say(f"  {code} ({found.count(code)}){why}")


def _created(answer: dict[str, Any]) -> set[str]:
    """Topics that this submission created, by the admin log."""
    claim = f"{answer['submission_id']}|{answer['world_id']}"
    return {entry["topic"] for entry in _admin_log() if entry["claim_id"] == claim}


def _admin_log() -> list[dict[str, Any]]:
    """An entry for each topic that was created, in that order."""
    path = RESULTS / "admin-log.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _cost(answer: dict[str, Any]) -> str:
    actions = answer["actions"]
    lag = sum(each["lag"] for each in answer["buffer_nodes"])
    return (
        f"the change costs {counted(actions['create'], 'new topic')}; "
        f"{counted(actions['reuse'], 'node')} unchanged; "
        f"{actions['buffer']} with its old topic, and {lag} periods of history to buffer"
    )


if __name__ == "__main__":
    sys.exit(main())
