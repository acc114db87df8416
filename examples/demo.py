"""`make demo`: nine real strategies through the Bytewax flow, then a changed second version of one.

No servers: the graph and the topics are kept in memory, the answers land as JSON lines.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson
from bytewax.testing import run_main
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dagmanager.assembly import Assembled, assemble
from dagmanager.settings.table import Settings
from examples.submissions import CHANGED, first_submissions, names_of, second_version
from flows.stop import Stop
from flows.submissions import from_files

RESULTS = Path("results/demo")
STYLES = {"create": "green", "reuse": "cyan", "buffer": "yellow", "isolate": "magenta"}


def main() -> int:
    """Run both parts and show what came out; 1 when an answer is missing."""
    piped = not sys.stdout.isatty()
    console = Console(width=160 if piped else None, highlight=False, no_color=_plain())
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    assembled = assemble(Settings(results_path=str(RESULTS)))
    first = first_submissions()
    console.print(f"[bold]1[/] {len(first)} strategies meet an empty graph", soft_wrap=True)
    answers = _run(assembled, first, "first", console)
    for submission, answer in answers:
        _show(console, submission, answer)
    console.print(f"\n[bold]2[/] {CHANGED}, version 2: one period and one schema changed", soft_wrap=True)
    again = _run(assembled, [second_version()], "second", console)
    for submission, answer in again:
        _show(console, submission, answer)
        _cost(console, answer)
    console.print("\nthe same as JSON lines:", *_files(), sep="\n  ", soft_wrap=True)
    return 0 if len(answers) + len(again) == len(first) + 1 else 1


def _run(
    assembled: Assembled, submissions: list[bytes], name: str, console: Console
) -> list[tuple[bytes, dict[str, Any]]]:
    """Through the real flow, watched; each submission with its answer."""
    results = RESULTS / name
    path = results / "submissions.jsonl"
    results.mkdir()
    path.write_bytes(b"\n".join(submissions) + b"\n")
    flow = from_files(assembled, str(path), results, Stop())
    started = time.perf_counter()
    worker = threading.Thread(target=_quietly, args=(flow,))
    with _progress(console) as progress:
        task = progress.add_task("submissions", total=len(submissions))
        worker.start()
        while worker.is_alive():
            worker.join(0.02)
            progress.update(task, completed=len(_answers(results)))
        progress.update(task, completed=len(_answers(results)))
    took_ms = (time.perf_counter() - started) * 1000
    answers = _answers(results)
    console.print(f"  {len(answers)} answered in {took_ms:.0f} ms, the flow's start and end included")
    return [
        (submission, answers[key])
        for submission in submissions
        if (key := orjson.loads(submission)["strategy_id"]) in answers
    ]


def _quietly(flow: Any) -> None:
    run_main(flow)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _answers(results: Path) -> dict[str, dict[str, Any]]:
    path = results / "diffs.jsonl"
    if not path.exists():
        return {}
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return {answer["strategy_id"]: answer for answer in map(orjson.loads, whole)}


def _show(console: Console, submission: bytes, answer: dict[str, Any]) -> None:
    """One table per submission: every node, what became of it, its queue."""
    names = names_of(submission)
    asked = orjson.loads(submission)
    counts = ", ".join(f"{number} {action}" for action, number in answer["actions"].items() if number)
    where = f"{asked['world_id']}.{asked['execution_domain']}"
    console.print(
        f"\n[bold]{asked['dag']['meta']['strategy_name']}[/] in {where}, {answer['version']}: {counts}",
        soft_wrap=True,
    )
    created = _created(answer)
    buffered = {each["node_id"] for each in answer["buffer_nodes"]}
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for column in ("action", "node", "queue"):
        table.add_column(column, no_wrap=True, overflow="ignore")
    for key, topic in answer["queue_map"].items():
        node_id = key.split("#")[0].rsplit(":", 2)[0]
        action = "create" if topic in created else "buffer" if node_id in buffered else "reuse"
        action = "isolate" if answer["safe_mode"] else action
        table.add_row(f"[{STYLES[action]}]{action}[/]", names.get(node_id, node_id), topic)
    # A table as wide as its names: a narrow terminal wraps lines, it must not cut names.
    Console(width=200, highlight=False, no_color=_plain()).print(table)
    for warning in answer.get("warnings", ()):
        console.print(f"  [yellow]warning[/] {_warned(warning, names)}", soft_wrap=True)
    if answer["safe_mode"]:
        console.print(f"  [magenta]isolated[/]: {answer['safe_mode']}", soft_wrap=True)


def _warned(warning: dict[str, Any], names: dict[str, str]) -> str:
    who = names.get(warning["node_id"] or "", "")
    about = ", ".join(
        f"{detail[:19]}…" if detail.startswith("blake3:") else detail for detail in warning["details"]
    )
    return (
        f"{warning['code']}: {who + ': ' if who else ''}{warning['message']}{': ' + about if about else ''}"
    )


def _created(answer: dict[str, Any]) -> set[str]:
    """Topics that this very submission brought, by the admin log."""
    path = RESULTS / "admin-log.jsonl"
    if not path.exists():
        return set()
    claim = f"{answer['submission_id']}|{answer['world_id']}"
    entries = map(orjson.loads, path.read_bytes().splitlines())
    return {entry["topic"] for entry in entries if entry["claim_id"] == claim}


def _cost(console: Console, answer: dict[str, Any]) -> None:
    actions = answer["actions"]
    lag = sum(each["lag"] for each in answer["buffer_nodes"])
    console.print(
        f"  it costs {actions['create']} new queue; {actions['reuse']} nodes go on unchanged; "
        f"{actions['buffer']} keeps its queue and buffers {lag} periods of history",
        soft_wrap=True,
    )


def _files() -> list[str]:
    return [str(path) for path in sorted(RESULTS.rglob("*.jsonl"))]


def _plain() -> bool:
    return bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()


if __name__ == "__main__":
    sys.exit(main())
