"""How a diff looks: for people, for pull requests. Pure but for `show`; reads the dict of `diff --json`.

A node of the dict may carry `why`, a list of lines; the context may carry `assumed`, the names of
fields that nothing said.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dagmanager.cli.framework.output import (
    is_decorated,
    markdown_code,
    markdown_table,
    markdown_text,
    show_table,
    table_width,
    visible,
)

ACTIONS: Final = ("create", "reuse", "buffer", "isolate")
ID_SHOWN: Final = 15  # `blake3:` and the 8 digits that a topic has too
HEADS: Final = ("action", "name", "node", "topic", "reason")
REASONS: Final = {
    "new_node": "no such computation exists: a node and a queue are created",
    "new_binding": "the computation is known, but has no queue in this namespace yet",
    "resurrected": "its queue was collected or lost: a new one is made, with `_v{n}` at its end",
    "joined": "another submission is creating the queue at this moment: it is shared",
    "same_spec": "the computation and its schema are known: the queue is shared",
    "still_buffering": "the queue is shared; its consumers still buffer after a change of schema",
    "schema_changed": "the queue is shared; the schema changed, so consumers buffer for 7 days",
    "schema_older": "the queue is shared; this schema was current less than 7 days ago, so consumers buffer",
    "removed": "the previous version had this node, this one has not",
    "safe_mode:missing_as_of": "a backtest or dry run without as_of is computed apart from all others",
    "safe_mode:gateway": "the Gateway asked for safe mode: it is computed apart from all others",
    "safe_mode:decision_unavailable": "without an execution domain it is computed apart from all others",
}


def differs(found: Mapping[str, Any]) -> bool:
    """Whether submitting would change anything: a node that is not simply reused, or a removed one."""
    changed = any(node["action"] != "reuse" for node in found["nodes"])
    return changed or bool(found["removed"])


def context_line(found: Mapping[str, Any]) -> str:
    """In which context this was decided; what nothing said is marked as assumed."""
    context = found["context"]
    assumed = context.get("assumed") or ()
    parts = []
    for key, label in (
        ("world_id", "world"),
        ("execution_domain", "domain"),
        ("as_of", "as_of"),
        ("partition", "partition"),
    ):
        value = context.get(key)
        if value:
            mark = " (assumed: nothing says more)" if key in assumed else ""
            parts.append(f"{label} {visible(str(value))}{mark}")
    return "context: " + (", ".join(parts) or "none")


def count_line(found: Mapping[str, Any]) -> str:
    """The whole in one line."""
    counts = [f"{found['actions'].get(action, 0)} {action}" for action in ACTIONS]
    return ", ".join([*counts, f"{len(found['removed'])} removed", f"version {visible(found['version'])}"])


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row per node, in the DAG's order, then the removed ones."""
    shown = [_row(node) for node in found["nodes"]]
    return shown + [_removed_row(node) for node in found["removed"]]


def show(found: Mapping[str, Any], *, explain: bool) -> None:
    """On stdout: context, counts, table, reasons, warnings."""
    for line in _opening(found):
        print(line)
    table = rows(found)
    if table:
        width = shutil.get_terminal_size().columns if is_decorated(sys.stdout) else None
        heads, shown, left_out = fitted(table, width)
        show_table(heads, shown)
        if left_out:
            print(f"({', '.join(left_out)} for {width} columns; --json has all)")
    for line in _closing(found, explain=explain):
        print(line)


def fitted(
    table: Sequence[tuple[str, ...]], width: int | None
) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    """Heads and rows for a terminal so wide, and what was left out: no id or topic is ever broken."""
    columns = {head: (head, *cells) for head, cells in zip(HEADS, zip(*table, strict=True), strict=True)}
    left_out: list[str] = []
    if width is not None and table_width(columns.values()) > width:
        columns["node"] = tuple(cell[:ID_SHOWN] + "…" * (len(cell) > ID_SHOWN) for cell in columns["node"])
        left_out.append("ids are cut")
        for head in ("reason", "name"):
            if table_width(columns.values()) > width:
                del columns[head]
                left_out.append(f"{head} is left out")
    return tuple(columns), list(zip(*(cells[1:] for cells in columns.values()), strict=True)), left_out


def markdown(found: Mapping[str, Any], *, explain: bool) -> str:
    """The same facts as a comment for a pull request."""
    parts = ["### DAG diff", "\n".join(f"- {markdown_text(line)}" for line in _opening(found))]
    table = rows(found)
    if table:
        parts.append(markdown_table(HEADS, [_markdown_cells(row) for row in table]))
    closing = [f"- {markdown_text(line.strip())}" for line in _closing(found, explain=explain)]
    return "\n\n".join([*parts, "\n".join(closing)] if closing else parts)


def _opening(found: Mapping[str, Any]) -> Iterator[str]:
    yield context_line(found)
    yield count_line(found)
    if found.get("safe_mode"):
        yield f"safe mode: {visible(str(found['safe_mode']))}; nothing is shared with other submissions"
    yield f"plan {found['plan_digest']}, submission {found['submission_digest']}"


def _closing(found: Mapping[str, Any], *, explain: bool) -> Iterator[str]:
    if explain:
        for reason in dict.fromkeys(row[4] for row in rows(found)):
            yield f"{visible(reason)}: {REASONS.get(reason, 'computed apart from all other submissions')}"
        for node in found["nodes"]:
            for line in node.get("why") or ():
                yield f"  {visible(node.get('name') or node['node_id'])}: {visible(str(line))}"
    for warning in found["warnings"]:
        node = f" ({warning['node_id']})" if warning.get("node_id") else ""
        details = ", ".join(str(detail) for detail in warning.get("details") or ())
        text = f"warning[{warning['code']}]: {warning['message']}{node}{': ' + details if details else ''}"
        yield visible(text)


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    topic = node.get("topic") or ""
    return node["action"], node.get("name") or "", node["node_id"], topic, node["reason"]


def _markdown_cells(row: tuple[str, ...]) -> tuple[str, ...]:
    return markdown_text(row[0]), *(markdown_code(cell) for cell in row[1:4]), markdown_text(row[4])


def _removed_row(node: Mapping[str, Any] | str) -> tuple[str, ...]:
    if isinstance(node, str):
        return "remove", "", node, "", "removed"
    return "remove", node.get("name") or "", node["node_id"], node.get("topic") or "", "removed"
