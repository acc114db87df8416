"""`make demo`: nine real strategies through the Bytewax flow, then a changed second version of one.

No servers: the graph and the topics are kept in memory, the answers land as JSON lines. `--all` and `--wide` as in `diff`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from bytewax.testing import run_main

from dagmanager.assembly import Assembled, assemble
from dagmanager.cli.explain.diff_engine import as_found
from dagmanager.cli.explain.diff_text import Detail, changed_lines, cost_line, count_line, node_table, rows
from dagmanager.engine.decide.predecessor import predecessor
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.rows import Member
from dagmanager.engine.stages import Answer, CacheHit, InProgress, Planned
from dagmanager.errors import Rejection
from dagmanager.settings.table import Settings
from dagmanager.terminal.pipe import until_reader_leaves
from dagmanager.terminal.progress import progress
from dagmanager.terminal.text import columns, counted, painted, visible, wrapped
from examples.submissions import CHANGED, first_submissions, second_version
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


Found = dict[str, Any]


@dataclass
class ShowingEngine(Engine):
    """The engine, which also keeps what `diff` would show of each submission: an answer has no reasons."""

    found: dict[str, Found] = field(default_factory=dict)

    def claim(self, batch: Sequence[Planned | CacheHit]) -> list[Answer | InProgress]:
        """Plan and claim one by one. Nothing else writes to this graph, so that each claim is as it was planned."""
        results: list[Answer | InProgress] = []
        for item in batch:
            [planned] = self.plan([item.submission])
            if isinstance(planned, Planned):
                found = as_found(planned, self._nodes_before(planned))
                if not isinstance(found, Rejection):
                    self.found[item.submission.strategy_id] = found
            results += super().claim([planned])
        return results

    def _nodes_before(self, planned: Planned) -> Sequence[Member]:
        """The nodes of the version in force."""
        before = predecessor(planned.submission, planned.known)
        if before is None:
            return ()
        return self.graph.transact(lambda tx: tx.contents([before.content]))[before.content].members


def main(arguments: list[str] | None = None) -> int:
    """Run both parts and show what came out; 1 when an answer is missing, or is not as it was planned."""
    given = _parser().parse_args(arguments)
    detail = Detail(all_rows=given.all, wide=given.wide)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    assembled, engine = _assembled()
    first = first_submissions()
    say(f"1. {len(first)} strategies, and an empty graph", "1")
    answers = _run(assembled, first, "first")
    as_planned = [_show(answer, engine, detail) for answer in answers]
    _explain_warnings(answers)
    say(f"\n2. {CHANGED}, version 2: one period and one schema changed", "1")
    again = _run(assembled, [second_version()], "second")
    as_planned += [_show(answer, engine, detail) for answer in again]
    say("\nThe same as JSON lines:")
    for path in sorted(RESULTS.rglob("*.jsonl")):
        say(f"  {path}")
    return 0 if as_planned == [True] * (len(first) + 1) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument(
        "--all", action="store_true", help="show unchanged nodes also where there are more than 10"
    )
    parser.add_argument("--wide", action="store_true", help="show ids, at any width")
    return parser


def _assembled() -> tuple[Assembled, ShowingEngine]:
    found = assemble(Settings(results_path=str(RESULTS)))
    parts = found.engine
    engine = ShowingEngine(
        parts.graph,
        parts.topics,
        parts.events,
        parts.admin_log,
        parts.options,
        parts.sleep,
        observer=parts.observer,
    )
    return replace(found, engine=engine), engine


def say(text: str, style: str = "") -> None:
    """One line, wrapped at words."""
    print(painted(wrapped(text, columns(), "    "), style, sys.stdout), flush=True)


def _run(assembled: Assembled, submissions: list[bytes], name: str) -> list[dict[str, Any]]:
    """Through the real flow; the answers in the order of the submissions."""
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
    names = [orjson.loads(each)["strategy_id"] for each in submissions]
    return [answers[each] for each in names if each in answers]


def _answers(results: Path) -> dict[str, dict[str, Any]]:
    path = results / "diffs.jsonl"
    if not path.exists():
        return {}
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return {answer["strategy_id"]: answer for answer in map(orjson.loads, whole)}


def _show(answer: dict[str, Any], engine: ShowingEngine, detail: Detail) -> bool:
    """As `diff` shows it: every node, its action, why, and its topic; the summary last. Whether the answer is that plan."""
    found = engine.found[answer["strategy_id"]]
    context = found["context"]
    name = visible(answer["strategy_id"].removeprefix("demo-"))
    say(f"\n{name} in {context['world_id']}.{context['execution_domain']}", "1")
    width = None if detail.wide else columns() - 2
    for line in node_table(rows(found), detail, width):
        print(f"  {line}")
    for line in changed_lines(found, detail):
        say(f"  {line}")
    if answer["safe_mode"]:
        say(f"  isolated (safe mode): {answer['safe_mode']}, so it shares nothing with others")
    say(f"  {cost_line(found)}")
    say(f"  {count_line(found)}", "1")
    same: bool = answer["queue_map"] == found["queue_map"] and answer["actions"] == found["actions"]
    return same


def _explain_warnings(answers: list[dict[str, Any]]) -> None:
    """One sentence for each kind of warning."""
    found = [each["code"] for answer in answers for each in answer.get("warnings", ())]
    if not found:
        return
    say(f"\n{counted(len(found), 'warning')}; `dagmanager explain-error CODE` explains each code:")
    for code in dict.fromkeys(found):
        why = f": {WARNINGS[code]}" if code in WARNINGS else ""
        say(f"  {code} ({found.count(code)}){why}")


if __name__ == "__main__":
    sys.exit(until_reader_leaves(main))
